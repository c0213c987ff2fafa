//! A host that is a fresh network namespace, containers and a neighbour on its LAN. Everything dies with the test.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use network::{Attachment, BridgeConfig, FirewallState, Protocol, PublishedPort};

/// The table of the tests.
pub(crate) const TABLE: &str = "brig-test";

/// Long enough for a loaded machine, short enough for a test of what must not arrive.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Runs `test` with this thread in a namespace of its own that stands for the host; skips it without the right to.
pub(crate) fn on_host(test: impl FnOnce()) {
    match network::create_netns() {
        Ok(host) => sys::netns::inside(host.as_fd(), test).unwrap(),
        Err(error) => eprintln!("SKIP no network namespace: {}", base::error::render_chain(&error)),
    }
}

/// The containers' bridge.
pub(crate) fn bridge() -> BridgeConfig {
    BridgeConfig {
        name: "brig0".into(),
        subnet4: Some(("10.7.0.0".parse().unwrap(), 24)),
        gateway4: Some("10.7.0.1".parse().unwrap()),
        subnet6: Some(("fd07::".parse().unwrap(), 64)),
        gateway6: Some("fd07::1".parse().unwrap()),
        mtu: None,
        masquerade: true,
        icc: true,
        internal: false,
        mode4: network::GatewayMode::Nat,
        mode6: network::GatewayMode::Nat,
    }
}

/// The network that the host shares with its neighbour; the firewall knows nothing of it.
pub(crate) fn lan() -> BridgeConfig {
    BridgeConfig {
        name: "lan0".into(),
        subnet4: Some(("192.0.2.0".parse().unwrap(), 24)),
        gateway4: Some("192.0.2.1".parse().unwrap()),
        subnet6: Some(("fd99::".parse().unwrap(), 64)),
        gateway6: Some("fd99::1".parse().unwrap()),
        ..bridge()
    }
}

/// The host with bridge and firewall.
pub(crate) fn set_up() {
    network::ensure_bridge(&bridge()).unwrap();
    assert_eq!(network::ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::Rebuilt);
}

/// A namespace with an address on a bridge.
pub(crate) struct Guest {
    pub(crate) netns: OwnedFd,
    pub(crate) ip4: IpAddr,
    pub(crate) ip6: IpAddr,
}

/// Makes the container with this number.
pub(crate) fn container(number: u8) -> Guest {
    guest_on(&bridge(), "c", number)
}

/// Makes a neighbour on the LAN.
pub(crate) fn neighbour(number: u8) -> Guest {
    network::ensure_bridge(&lan()).unwrap();
    guest_on(&lan(), "n", number)
}

/// Returns the attachment of the guest with this number.
pub(crate) fn attachment(bridge: &BridgeConfig, prefix: &str, number: u8) -> Attachment {
    let ip4 = std::net::Ipv4Addr::from_bits(bridge.gateway4.unwrap().to_bits() + u32::from(number));
    let ip6 = std::net::Ipv6Addr::from_bits(bridge.gateway6.unwrap().to_bits() + u128::from(number));
    Attachment {
        upper: network::Upper::Bridge {
            bridge: bridge.name.clone(),
            host_ifname: format!("v{prefix}{number}"),
            isolated: !bridge.icc,
        },
        guest_ifname: "eth0".into(),
        mac: network::ipam::mac_for(ip4.into()),
        address4: Some((ip4, 24)),
        address6: Some((ip6, 64)),
        gateway4: bridge.gateway4,
        gateway6: bridge.gateway6,
        mtu: None,
        link_local: vec![],
        sysctls: vec![],
    }
}

/// Makes a guest on a bridge.
pub(crate) fn guest_on(bridge: &BridgeConfig, prefix: &str, number: u8) -> Guest {
    let netns = network::create_netns().unwrap();
    let attachment = attachment(bridge, prefix, number);
    network::attach(netns.as_fd(), &attachment).unwrap();
    Guest { netns, ip4: attachment.address4.unwrap().0.into(), ip6: attachment.address6.unwrap().0.into() }
}

impl Guest {
    /// Runs `visit` in the namespace.
    pub(crate) fn inside<T>(&self, visit: impl FnOnce() -> T) -> T {
        sys::netns::inside(self.netns.as_fd(), visit).unwrap()
    }

    /// Answers each TCP connection to `port` with `name` and the address that it sees as the caller's.
    pub(crate) fn serve_tcp(&self, port: u16, name: &'static str) {
        let listener = self.inside(|| TcpListener::bind(("::", port))).unwrap();
        serve(listener, name);
    }

    /// Answers each datagram to `port` the same way.
    pub(crate) fn serve_udp(&self, port: u16, name: &'static str) {
        let socket = self.inside(|| UdpSocket::bind(("::", port))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(answer(name, from).as_bytes(), from);
            }
        });
    }
}

/// Answers connections to the host itself.
pub(crate) fn serve(listener: TcpListener, name: &'static str) {
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(answer(name, from).as_bytes());
        }
    });
}

fn answer(name: &str, from: SocketAddr) -> String {
    format!("{name} {}", from.ip().to_canonical())
}

/// Connects from the thread's namespace and returns the answer.
pub(crate) fn tcp(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Sends a datagram from the thread's namespace and returns the answer.
pub(crate) fn udp(address: &str) -> Result<String, String> {
    let address: SocketAddr = address.parse().unwrap();
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    udp_from(&UdpSocket::bind(any).unwrap(), address)
}

/// Sends a datagram by `socket` and returns the answer.
pub(crate) fn udp_from(socket: &UdpSocket, address: SocketAddr) -> Result<String, String> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"?", address).map_err(|error| error.to_string())?;
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).map_err(|error| error.to_string())?;
    assert_eq!(from, address, "the answer comes from elsewhere");
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A published port of TCP or UDP that leads to `guest`.
pub(crate) fn port(
    protocol: Protocol,
    host_ip: Option<&str>,
    host: u16,
    guest: &Guest,
    guest_port: u16,
) -> PublishedPort {
    range(protocol, host_ip, host..=host, guest, guest_port..=guest_port)
}

/// Published ports that lead to `guest`.
pub(crate) fn range(
    protocol: Protocol,
    host_ip: Option<&str>,
    host_ports: std::ops::RangeInclusive<u16>,
    guest: &Guest,
    guest_ports: std::ops::RangeInclusive<u16>,
) -> PublishedPort {
    let (IpAddr::V4(ip4), IpAddr::V6(ip6)) = (guest.ip4, guest.ip6) else {
        panic!("a guest has both families")
    };
    PublishedPort {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_ports,
        guest_ip4: Some(ip4),
        guest_ip6: Some(ip6),
        guest_ports,
        open: true,
    }
}

/// Writes a setting of the thread's namespace.
pub(crate) fn sysctl(path: &str, value: &str) -> std::io::Result<()> {
    std::fs::write(format!("/proc/sys/{path}"), value)
}

/// Runs a program in the thread's namespace and returns its output; `None`, loudly, when it is not installed.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Option<String> {
    let output = match std::process::Command::new(name).args(arguments).current_dir("/").output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIP no {name}: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
