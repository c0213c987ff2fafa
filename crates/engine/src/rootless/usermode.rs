//! The network of a plain user's container: the program pasta beside it (Debian package passt), which carries what the
//! container sends over sockets of the user's own. No bridge: containers do not reach each other but by published ports.
//!
//! pasta is told the namespace by a file in the container's run folder, on which it is mounted for a moment, in a mount
//! namespace that only this command and pasta see. When the file goes, at the end of the container, pasta ends; it is
//! also killed and waited for, so that its ports are free then.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::ids;
use crate::error::{Error, IoContext, Result};
use crate::model::Port;

/// Where containers ask for names when the host's own servers are on its loopback; pasta hands it on to them.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

const PROGRAM: &str = "pasta";
/// How long a killed pasta may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Finds pasta, or says what to install.
pub(crate) fn check() -> Result<PathBuf> {
    ids::find_program(PROGRAM, std::env::var_os("PATH")).ok_or_else(|| {
        Error::Unsupported(
            "a plain user's containers reach the network by the program pasta, which is not installed: have root run `apt-get install passt`, or use --network none or --network host"
                .to_owned(),
        )
    })
}

/// Checks that a plain user may publish `ports`.
pub(crate) fn check_ports(ports: &[Port]) -> Result<()> {
    let setting = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let lowest = setting.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    ports.iter().try_for_each(|port| check_port(port, lowest))
}

fn check_port(port: &Port, lowest: u16) -> Result<()> {
    let (number, proto) = (port.host_first, port.proto.as_str());
    if !matches!(proto, "tcp" | "udp") {
        return Err(Error::Unsupported(format!(
            "cannot publish port {number}/{proto}: a plain user's containers have tcp and udp ports only"
        )));
    }
    if number < lowest {
        return Err(Error::Unsupported(format!(
            "cannot publish port {number}/{proto}: only root may listen on ports below {lowest} here; choose a higher one, or have root run `sysctl -w net.ipv4.ip_unprivileged_port_start={number}`"
        )));
    }
    Ok(())
}

/// Starts pasta for the namespace `netns`, with the link `link` there; `folder` is the container's run folder. Returns when the network is there.
pub(crate) fn start(netns: &OwnedFd, folder: &Path, link: &str, ports: &[Port]) -> Result<()> {
    let program = check()?;
    let (file, pid_file) = files(folder);
    File::create(&file).at("make", &file)?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    let bound = mount(source.as_str(), &file, "", MountFlags::BIND, None);
    bound.map_err(std::io::Error::from).at("mount a network namespace on", &file)?;
    let output = Command::new(program)
        .args(arguments(&file, &pid_file, link, ports))
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    // pasta has opened it, or has failed.
    unmount(&file, UnmountFlags::DETACH).map_err(std::io::Error::from).at("unmount", &file)?;
    let output = output.map_err(|source| Error::System { action: "run pasta".to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Unavailable(format!(
        "cannot set up the container's network: pasta said: {}",
        said(&output.stderr)
    )))
}

/// Ends the pasta of a container, if there is one.
pub(crate) fn stop(folder: &Path) -> Result<()> {
    let (file, pid_file) = files(folder);
    // Mounted only when a start was killed half-way, and then only in that command's namespace.
    let _ = unmount(&file, UnmountFlags::DETACH);
    let recorded = fs::read_to_string(&pid_file).ok();
    match recorded.and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw) {
        Some(pid) => end(pid, &file)?,
        // Killed before it wrote its number, or somebody emptied the run root.
        None if file.exists() || !folder.exists() => {
            processes().try_for_each(|pid| end(pid, &file))?;
        }
        None => return Ok(()),
    }
    for path in [&file, &pid_file] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", path);
            }
            _ => {}
        }
    }
    Ok(())
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
}

/// Kills process `pid` when it is the pasta that was started for `file`: a number may have been given to another since.
fn end(pid: Pid, file: &Path) -> Result<()> {
    let is_ours = || {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(PROGRAM.as_bytes()))
            && words.any(|word| word == file.as_os_str().as_encoded_bytes())
    };
    if !is_ours() {
        return Ok(());
    }
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if !is_ours() {
        return Ok(());
    }
    let fail = |errno: Errno| Error::System {
        action: format!("end the network program {pid}"),
        source: errno.into(),
    };
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(fail(errno)),
    }
    // Its ports are free when it has ended, and not before.
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut ended, Some(&PATIENCE))).map_err(fail)? {
        0 => Err(fail(Errno::TIMEDOUT)),
        _ => Ok(()),
    }
}

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("netns"), folder.join("pasta.pid"))
}

/// The command line of pasta(1). Nothing of the host's own network is reachable but what is asked for: neither its
/// loopback by the gateway's address, nor its listening ports by the namespace's loopback.
fn arguments(file: &Path, pid_file: &Path, link: &str, ports: &[Port]) -> Vec<String> {
    let mut list: Vec<String> =
        ["--config-net", "--quiet", "--no-map-gw", "--ns-ifname", link].map(str::to_owned).into();
    list.extend(["--tcp-ns", "none", "--udp-ns", "none", "--dns-forward"].map(str::to_owned));
    list.push(DNS.to_string());
    for (flag, proto) in [("--tcp-ports", "tcp"), ("--udp-ports", "udp")] {
        let mut wanted: Vec<String> = ports.iter().filter(|port| port.proto == proto).map(forward).collect();
        if wanted.is_empty() {
            wanted.push("none".to_owned());
        }
        list.extend(wanted.into_iter().flat_map(|spec| [flag.to_owned(), spec]));
    }
    let path = |path: &Path| path.to_string_lossy().into_owned();
    list.extend(["--pid".to_owned(), path(pid_file), "--netns".to_owned(), path(file)]);
    list
}

/// A published range as pasta writes it: `ADDRESS/FIRST-LAST:FIRST-LAST`.
fn forward(port: &Port) -> String {
    let range = |first: u16| match port.count {
        1 => first.to_string(),
        count => format!("{first}-{}", first.saturating_add(count - 1)),
    };
    let address =
        port.host_ip.filter(|ip| !ip.is_unspecified()).map(|ip| format!("{ip}/")).unwrap_or_default();
    format!("{address}{}:{}", range(port.host_first), range(port.guest_first))
}

/// What pasta said, without its complaints about the system's log.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.ends_with("to syslog")).collect();
    let mut text = lines.join("; ");
    if text.contains("/dev/net/tun") {
        text.push_str(" (its mode must let you open it: `chmod 666 /dev/net/tun`)");
    }
    if text.contains("Too many open files") {
        text.push_str(
            " (it needs a socket for each port: publish fewer, or raise the limit with `ulimit -n`)",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(proto: &str, ip: Option<&str>, host: u16, guest: u16, count: u16) -> Port {
        let host_ip = ip.map(|ip| ip.parse().unwrap());
        Port { proto: proto.into(), host_ip, host_first: host, guest_first: guest, count, open: false }
    }

    #[test]
    fn nothing_is_forwarded_that_was_not_asked_for() {
        let line = arguments(Path::new("/r/netns"), Path::new("/r/pasta.pid"), "eth0", &[]).join(" ");
        assert!(line.contains("--tcp-ports none --udp-ports none"), "{line}");
        assert!(line.contains("--no-map-gw") && line.contains("--tcp-ns none --udp-ns none"), "{line}");
        assert!(line.ends_with("--netns /r/netns"), "{line}");
    }

    #[test]
    fn ports_are_written_as_pasta_reads_them() {
        let ports = [
            port("tcp", None, 8080, 80, 1),
            port("tcp", Some("127.0.0.1"), 9000, 90, 3),
            port("udp", Some("::1"), 53, 5353, 1),
            port("tcp", Some("0.0.0.0"), 1, 2, 1),
        ];
        assert_eq!(
            ports.each_ref().map(forward),
            ["8080:80", "127.0.0.1/9000-9002:90-92", "::1/53:5353", "1:2"]
        );
        assert!(ports.iter().all(|port| check_port(port, 0).is_ok()));
        assert!(check_port(&port("sctp", None, 9000, 1, 1), 0).is_err());
        assert!(
            check_port(&port("tcp", None, 80, 80, 1), 1024).unwrap_err().to_string().contains("start=80")
        );
    }

    #[test]
    fn a_strangers_process_is_never_ended() {
        let folder = std::env::temp_dir().join(format!("usermode-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(folder.join("pasta.pid"), child.id().to_string()).unwrap();
        stop(&folder).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it still runs");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!folder.join("pasta.pid").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
