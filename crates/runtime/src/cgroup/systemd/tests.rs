//! The driver against a small bus with a small systemd on it, in a thread. It checks what it is sent by its own reading of the wire
//! format, and answers as systemd does.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::cgroup::Driver;

fn request<'a>(path: Option<&'a str>) -> Request<'a> {
    let cgroups_path = path.map(Path::new);
    Request { id: "web", cgroups_path, driver: Driver::Systemd, resources: None, pid: Some(1) }
}

#[test]
fn scopes_are_named() {
    let name = |slice: &str, unit: &str| ScopeName { slice: slice.into(), unit: unit.into() };
    let rows = [
        (None, true, name("system.slice", "brig-web.scope")),
        (None, false, name("user.slice", "brig-web.scope")),
        (Some("machine.slice:docker:abc"), true, name("machine.slice", "docker-abc.scope")),
        (Some(":crio:abc"), true, name("system.slice", "crio-abc.scope")),
        (Some("a-b.slice::abc"), true, name("a-b.slice", "abc.scope")),
    ];
    for (path, root, expected) in rows {
        assert_eq!(ScopeName::of(&request(path), root).expect("valid"), expected, "{path:?}");
    }
    for path in
        ["/brig/web", "a:b", "a.scope:b:c", "a/b.slice:b:c", "a--b.slice:b:c", ":b:", ":b:c.slice", ":b:c d"]
    {
        assert!(ScopeName::of(&request(Some(path)), true).is_err(), "{path}");
    }
}

#[test]
fn addresses_are_read() {
    let rows = [
        (Some("unix:path=/run/bus"), Some("/run/bus")),
        (Some("tcp:host=x;unix:guid=1,path=/b"), Some("/b")),
        (Some("unix:abstract=/tmp/x"), None),
        (None, None),
    ];
    for (address, expected) in rows {
        assert_eq!(socket_path(address), expected.map(PathBuf::from), "{address:?}");
    }
}

/// Reads a line of the authentication.
fn line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line");
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim().to_owned()
}

/// Reads one call: its serial number and its member.
fn call(stream: &mut UnixStream) -> Option<(u32, String, Vec<u8>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four")) as usize;
    let fields_len = number(12).next_multiple_of(8);
    let mut rest = vec![0; fields_len + number(4)];
    stream.read_exact(&mut rest).ok()?;
    let body = rest.split_off(fields_len);
    // Field 3, a string: code, signature "s", then length and text.
    let at = rest.windows(4).position(|window| window == [3, 1, b's', 0]).expect("a member") + 4;
    let length = u32::from_le_bytes(rest[at..at + 4].try_into().expect("four")) as usize;
    let member = String::from_utf8(rest[at + 4..at + 4 + length].to_vec()).expect("text");
    Some((number(8) as u32, member, body))
}

/// Sends a message; `fields` are complete header fields, each a multiple of eight bytes.
fn send(stream: &mut UnixStream, kind: u8, fields: &[Vec<u8>], body: &[u8]) {
    let mut header = Vec::new();
    for field in fields {
        header.resize(header.len().next_multiple_of(8), 0);
        header.extend_from_slice(field);
    }
    let mut message = vec![b'l', kind, 0, 1];
    message.extend_from_slice(&(body.len() as u32).to_le_bytes());
    message.extend_from_slice(&77_u32.to_le_bytes());
    message.extend_from_slice(&(header.len() as u32).to_le_bytes());
    message.extend_from_slice(&header);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend_from_slice(body);
    stream.write_all(&message).expect("send");
}

fn reply_to(serial: u32) -> Vec<u8> {
    [&[5, 1, b'u', 0], serial.to_le_bytes().as_slice()].concat()
}

fn text_field(code: u8, text: &str) -> Vec<u8> {
    [&[code, 1, b's', 0], wire(text).as_slice()].concat()
}

fn wire(text: &str) -> Vec<u8> {
    [(text.len() as u32).to_le_bytes().as_slice(), text.as_bytes(), &[0]].concat()
}

/// Answers calls as a bus with systemd on it; returns the members that were called. The first start is refused.
fn serve(mut stream: UnixStream) -> Vec<String> {
    let mut zero = [9];
    stream.read_exact(&mut zero).expect("the first byte");
    assert_eq!((zero[0], line(&mut stream).as_str()), (0, "AUTH EXTERNAL"));
    stream.write_all(b"DATA\r\n").expect("send");
    assert_eq!(line(&mut stream), "DATA");
    stream.write_all(b"OK 1234\r\n").expect("send");
    assert_eq!(line(&mut stream), "BEGIN");
    let mut members = Vec::new();
    while let Some((serial, member, body)) = call(&mut stream) {
        let reply = [reply_to(serial)];
        match member.as_str() {
            "StartTransientUnit" if !members.contains(&member) => {
                let error = [reply_to(serial), text_field(4, "org.freedesktop.systemd1.UnitExists")];
                send(&mut stream, 3, &error, &wire("it exists"));
            }
            "StartTransientUnit" => {
                assert!(body.starts_with(&wire("brig-web.scope")), "{body:?}");
                let find = |text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(find("Delegate") && find("PIDs") && find("MemoryMax"), "{body:?}");
                let job = wire("/job/7");
                // Another unit's job, and ours, both before the answer: the client must keep and find it.
                for (path, result) in [("/job/6", "failed"), ("/job/7", "done")] {
                    let mut signal = 7_u32.to_le_bytes().to_vec();
                    for text in [path, "brig-web.scope", result] {
                        signal.resize(signal.len().next_multiple_of(4), 0);
                        signal.extend(wire(text));
                    }
                    send(&mut stream, 4, &[text_field(3, "JobRemoved")], &signal);
                }
                send(&mut stream, 2, &reply, &job);
            }
            "GetUnit" => send(&mut stream, 2, &reply, &wire("/org/freedesktop/systemd1/unit/x")),
            "Get" => {
                let mut variant = vec![1, b's', 0, 0];
                variant.extend(wire("/system.slice/brig-web.scope"));
                send(&mut stream, 2, &reply, &variant);
            }
            _ => send(&mut stream, 2, &reply, &[]),
        }
        members.push(member);
    }
    members
}

#[test]
fn a_scope_is_started_and_found() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("bus");
    let listener = UnixListener::bind(&path).expect("bind");
    let server = std::thread::spawn(move || serve(listener.accept().expect("accept").0));
    let mut bus = Connection::open(&path).expect("connect");
    let name = ScopeName::of(&request(None), true).expect("name");
    let resources: LinuxResources =
        serde_json::from_str(r#"{"memory":{"limit":4096},"devices":[{"allow":false}]}"#).expect("JSON");
    let mut all = scope_properties(&name, 4711, Version::V2);
    all.extend(limits(&resources, Version::V2).expect("limits"));
    start(&mut bus, &name.unit, &all).expect("start");
    let group = control_group(&mut bus, &name.unit).expect("group");
    assert_eq!(group, Path::new("system.slice/brig-web.scope"));
    drop(bus);
    let members = server.join().expect("thread");
    let expected = [
        "Hello",
        "AddMatch",
        "Subscribe",
        "StartTransientUnit",
        "ResetFailedUnit",
        "StartTransientUnit",
        "GetUnit",
        "Get",
    ];
    assert_eq!(members, expected);
}

#[test]
fn a_missing_bus_and_a_missing_process_are_named() {
    let layout = Layout::default();
    let error = create(&layout, &Request { pid: None, ..request(None) }).expect_err("no process");
    assert!(error.to_string().contains("brig-web.scope"), "{error}");
    assert!(Connection::open(Path::new("/nonexistent/bus")).is_err());
}

/// Against the reference bus: it takes our authentication and our messages, and refuses a name that nobody has.
#[test]
fn the_reference_bus_understands_us() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("bus");
    let address = format!("--address=unix:path={}", path.display());
    let daemon = std::process::Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--nopidfile", "--nosyslog", &address])
        .current_dir("/")
        .stdout(std::process::Stdio::null())
        .spawn();
    let Ok(mut daemon) = daemon else {
        eprintln!("SKIP dbus-daemon is not installed");
        return;
    };
    let connected = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Connection::open(&path).ok()
    });
    let result = connected.map(|mut bus| start(&mut bus, "x.scope", &[]));
    let _ = daemon.kill();
    let _ = daemon.wait();
    match result {
        // There is no systemd on that bus, or the daemon tried to start one and could not.
        Some(Err(dbus::Error::Refused { name, .. })) => {
            assert!(name.starts_with("org.freedesktop.DBus.Error."), "{name}")
        }
        Some(other) => panic!("{other:?}"),
        None => eprintln!("SKIP dbus-daemon does not start here"),
    }
}
