//! Who listens where, by the kernel's tables of sockets.
//!
//! Source: proc_pid_net(5), `/proc/net/tcp`: local address and port in hexadecimal, state `0A` listens, the socket's inode.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    inode: u64,
}

/// Reads `8080`, `8080/tcp`, `127.0.0.1:53/udp`.
pub(super) fn parse(text: &str) -> Option<(u16, &'static str)> {
    let (address, proto) = match text.rsplit_once('/') {
        None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), "tcp"),
        Some((address, "udp")) => (address, "udp"),
        Some(_) => return None,
    };
    let port = match address.rsplit_once(':') {
        Some((ip, port)) if ip.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => port,
        Some(_) => return None,
        None => address,
    };
    Some((port.parse().ok().filter(|port| *port > 0)?, proto))
}

/// The sockets that listen (tcp) or are bound (udp) in the network of the process `pid`.
pub(crate) fn listeners(pid: &str, proto: &str) -> Vec<Listener> {
    let files = [proto.to_owned(), format!("{proto}6")];
    let texts = files.iter().filter_map(|file| fs::read_to_string(format!("/proc/{pid}/net/{file}")).ok());
    texts
        .flat_map(|text| text.lines().skip(1).filter_map(|line| listener(line, proto)).collect::<Vec<_>>())
        .collect()
}

fn listener(line: &str, proto: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    // A udp socket without a peer has the state of a closed one.
    if *state != (if proto == "tcp" { "0A" } else { "07" }) {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes())),
        32 => {
            // Four words, each in the machine's own order.
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                let word = u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok()?;
                part.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(Listener { ip, port: u16::from_str_radix(port, 16).ok()?, inode: inode.parse().ok()? })
}

/// Names the process of this machine that has `port`, as far as it can be seen: `nginx (process 12)`.
pub(crate) fn holder(port: u16, proto: &str) -> Option<String> {
    let inodes: Vec<String> = listeners("self", proto)
        .iter()
        .filter(|listener| listener.port == port)
        .map(|listener| format!("socket:[{}]", listener.inode))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for pid in pids.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        // Those of others may not be looked into by a plain user, and some end meanwhile.
        let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let mut links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        if links.any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str())) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        assert_eq!(parse("8080"), Some((8080, "tcp")));
        assert_eq!(parse("53/udp"), Some((53, "udp")));
        assert_eq!(parse("127.0.0.1:80/tcp"), Some((80, "tcp")));
        assert_eq!(parse("[::1]:80"), Some((80, "tcp")));
        for text in ["web", "0", "70000", "80/sctp", "image:80", "a/b"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn lines_of_the_tables_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 74991 1 0";
        let found = listener(line, "tcp").unwrap();
        assert_eq!((found.port, found.inode), (8080, 74991));
        if cfg!(target_endian = "little") {
            assert_eq!(found.ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let six = "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 7 1";
        assert!(listener(six, "tcp").unwrap().ip.is_unspecified());
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), "tcp"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = holder(socket.local_addr().unwrap().port(), "tcp").unwrap();
        assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    }
}
