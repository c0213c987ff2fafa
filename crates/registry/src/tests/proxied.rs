//! A proxy on the way: CONNECT, its refusal, and hosts that go without it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use testkit::registry::FakeRegistry;

use super::*;
use crate::Proxies;

/// Serves one CONNECT after the other to `target`, whatever host is named; tells the heads that came.
fn proxy(target: Option<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:pw@{}", listener.local_addr().unwrap());
    let (heads, seen) = channel();
    // Ends with the first connection that nobody's test wants any more.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            if heads.send(relay(stream, target.as_deref())).is_err() {
                return;
            }
        }
    });
    (url, seen)
}

fn relay(mut client: TcpStream, target: Option<&str>) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|got| got == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) else {
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        return head;
    };
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    let (Ok(mut client_out), Ok(mut server_in)) = (client.try_clone(), server.try_clone()) else {
        return head;
    };
    thread::spawn(move || {
        let _ = std::io::copy(&mut client, &mut server_in);
        let _ = server_in.shutdown(Shutdown::Both);
    });
    let mut server = server;
    thread::spawn(move || {
        let _ = std::io::copy(&mut server, &mut client_out);
        let _ = client_out.shutdown(Shutdown::Both);
    });
    head
}

/// `registry.test` over plain HTTP, reached by a proxy only.
fn client_through(proxy: &str, no_proxy: &str) -> Client {
    let mut config = impatient();
    config.proxy = Proxies { http: Some(proxy.to_owned()), https: None, no_proxy: vec![no_proxy.to_owned()] };
    config.hosts.insert(
        "registry.invalid".to_owned(),
        crate::HostConfig { insecure_http: Some(true), ..Default::default() },
    );
    Client::new(config, crate::Anonymous).unwrap()
}

#[test]
fn a_proxy_leads_to_the_registry() {
    let registry = FakeRegistry::start();
    registry.put_image("me/app", "1", &[]);
    let (url, heads) = proxy(Some(registry.host()));
    let reference = "registry.invalid/me/app:1".parse().unwrap();
    client_through(&url, "").resolve(&reference, &Platform::host()).unwrap();
    let head = heads.recv().unwrap();
    assert!(head.starts_with("CONNECT registry.invalid:80 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("proxy-authorization: basic bwu6chc="), "{head}");
    client_through(&url, "registry.invalid").resolve(&reference, &Platform::host()).unwrap_err();
    assert!(heads.try_recv().is_err(), "NO_PROXY goes without");
}

#[test]
fn a_proxy_that_refuses_is_named_as_one() {
    let (url, _heads) = proxy(None);
    let error = client_through(&url, "")
        .resolve(&"registry.invalid/a:1".parse().unwrap(), &Platform::host())
        .unwrap_err();
    assert_says(&shown(&error), &["registry.invalid", "proxy"]);
    assert!(!shown(&error).contains("pw"));
}
