//! The system calls that change something: the points of a scene. What only reads or waits is none.

use std::fs;
use std::path::PathBuf;

use rustix::io::Errno;

/// What a call changes, which decides whether it is a point and which errors it may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Opens a file, and makes it when it is to be made; the flags are the given argument.
    Open(usize),
    /// openat2, whose flags are in memory.
    Open2,
    /// Makes, renames or removes a name, or changes what is known of a file.
    Name,
    /// Writes to the descriptor that is the first argument.
    Write,
    /// Mounts and unmounts.
    Mount,
    /// Makes a process or a namespace, or executes a program.
    Process,
    /// Prepares a descriptor that leads to others: a socket, a pipe.
    Socket,
    /// Brings to disk.
    Sync,
    /// Changes the process's own rights.
    Rights,
    /// Sends a signal.
    Signal,
}

/// Calls by number; those that an architecture lacks are left out of its table.
const TABLE: &[(i64, &str, Kind)] = &[
    (libc::SYS_openat, "openat", Kind::Open(2)),
    (libc::SYS_openat2, "openat2", Kind::Open2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open", Kind::Open(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Kind::Name),
    (libc::SYS_mkdirat, "mkdirat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Kind::Name),
    (libc::SYS_renameat, "renameat", Kind::Name),
    (libc::SYS_renameat2, "renameat2", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Kind::Name),
    (libc::SYS_unlinkat, "unlinkat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", Kind::Name),
    (libc::SYS_linkat, "linkat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, "symlink", Kind::Name),
    (libc::SYS_symlinkat, "symlinkat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, "mknod", Kind::Name),
    (libc::SYS_mknodat, "mknodat", Kind::Name),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Kind::Name),
    (libc::SYS_fchmod, "fchmod", Kind::Name),
    (libc::SYS_fchmodat, "fchmodat", Kind::Name),
    (libc::SYS_fchown, "fchown", Kind::Name),
    (libc::SYS_fchownat, "fchownat", Kind::Name),
    (libc::SYS_ftruncate, "ftruncate", Kind::Name),
    (libc::SYS_fallocate, "fallocate", Kind::Name),
    (libc::SYS_utimensat, "utimensat", Kind::Name),
    (libc::SYS_setxattr, "setxattr", Kind::Name),
    (libc::SYS_lsetxattr, "lsetxattr", Kind::Name),
    (libc::SYS_fsetxattr, "fsetxattr", Kind::Name),
    (libc::SYS_write, "write", Kind::Write),
    (libc::SYS_writev, "writev", Kind::Write),
    (libc::SYS_pwrite64, "pwrite64", Kind::Write),
    (libc::SYS_sendto, "sendto", Kind::Write),
    (libc::SYS_sendmsg, "sendmsg", Kind::Write),
    (libc::SYS_sendfile, "sendfile", Kind::Write),
    (libc::SYS_mount, "mount", Kind::Mount),
    (libc::SYS_umount2, "umount2", Kind::Mount),
    (libc::SYS_move_mount, "move_mount", Kind::Mount),
    (libc::SYS_open_tree, "open_tree", Kind::Mount),
    (libc::SYS_fsopen, "fsopen", Kind::Mount),
    (libc::SYS_fsconfig, "fsconfig", Kind::Mount),
    (libc::SYS_fsmount, "fsmount", Kind::Mount),
    (libc::SYS_mount_setattr, "mount_setattr", Kind::Mount),
    (libc::SYS_pivot_root, "pivot_root", Kind::Mount),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_fork, "fork", Kind::Process),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_vfork, "vfork", Kind::Process),
    (libc::SYS_clone, "clone", Kind::Process),
    (libc::SYS_clone3, "clone3", Kind::Process),
    (libc::SYS_unshare, "unshare", Kind::Process),
    (libc::SYS_setns, "setns", Kind::Process),
    (libc::SYS_execve, "execve", Kind::Process),
    (libc::SYS_execveat, "execveat", Kind::Process),
    (libc::SYS_socket, "socket", Kind::Socket),
    (libc::SYS_socketpair, "socketpair", Kind::Socket),
    (libc::SYS_pipe2, "pipe2", Kind::Socket),
    (libc::SYS_bind, "bind", Kind::Socket),
    (libc::SYS_listen, "listen", Kind::Socket),
    (libc::SYS_connect, "connect", Kind::Socket),
    (libc::SYS_fsync, "fsync", Kind::Sync),
    (libc::SYS_fdatasync, "fdatasync", Kind::Sync),
    (libc::SYS_sync_file_range, "sync_file_range", Kind::Sync),
    (libc::SYS_syncfs, "syncfs", Kind::Sync),
    (libc::SYS_setresuid, "setresuid", Kind::Rights),
    (libc::SYS_setresgid, "setresgid", Kind::Rights),
    (libc::SYS_setgroups, "setgroups", Kind::Rights),
    (libc::SYS_capset, "capset", Kind::Rights),
    (libc::SYS_seccomp, "seccomp", Kind::Rights),
    (libc::SYS_bpf, "bpf", Kind::Rights),
    (libc::SYS_setsid, "setsid", Kind::Rights),
    (libc::SYS_kill, "kill", Kind::Signal),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", Kind::Signal),
];

/// What a call does, for people: its name and what it works on. `None` when it is no point.
pub(crate) fn describe(pid: i32, number: i64, arguments: &[u64; 6]) -> Option<String> {
    let (_, name, kind) = TABLE.iter().find(|(known, ..)| *known == number)?;
    let object = match kind {
        Kind::Open(at) if makes(arguments[*at]) => path(pid, arguments[at - 1]),
        Kind::Open2 if makes(word(pid, arguments[2])) => path(pid, arguments[1]),
        Kind::Open(_) | Kind::Open2 => return None,
        // What goes to the caller's terminal changes nothing.
        Kind::Write if arguments[0] == 1 || arguments[0] == 2 => return None,
        Kind::Write => written(pid, arguments[0])?,
        Kind::Name | Kind::Mount => names(pid, arguments),
        Kind::Signal if arguments[1] == 0 => return None,
        Kind::Process if *name == "execve" => path(pid, arguments[0]),
        _ => String::new(),
    };
    Some(if object.is_empty() { (*name).to_owned() } else { format!("{name} {object}") })
}

/// The errors that a call is made to answer, each a fault of its own; `call` is its description.
pub(crate) fn errors(call: &str) -> &'static [Errno] {
    let (name, object) = call.split_once(' ').unwrap_or((call, ""));
    let Some((.., kind)) = TABLE.iter().find(|(_, known, _)| *known == name) else { return &[] };
    match kind {
        Kind::Open(_) | Kind::Open2 => &[Errno::NOSPC, Errno::MFILE],
        Kind::Name => &[Errno::NOSPC, Errno::IO],
        Kind::Write if object == "socket" => &[Errno::NOBUFS, Errno::PIPE],
        Kind::Write => &[Errno::NOSPC, Errno::IO],
        Kind::Mount => &[Errno::NOMEM, Errno::PERM],
        Kind::Process if name.starts_with("exec") => &[Errno::NOMEM],
        Kind::Process => &[Errno::AGAIN, Errno::NOMEM],
        Kind::Socket => &[Errno::MFILE],
        Kind::Sync => &[Errno::IO],
        Kind::Rights => &[Errno::PERM],
        Kind::Signal => &[Errno::PERM],
    }
}

fn makes(flags: u64) -> bool {
    let wanted = (libc::O_CREAT | libc::O_TRUNC).unsigned_abs();
    flags & u64::from(wanted) != 0
}

/// Shortens paths to what is the same in each run.
fn written(pid: i32, descriptor: u64) -> Option<String> {
    let link: PathBuf = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    let text = link.to_string_lossy().into_owned();
    if text.starts_with("anon_inode:[eventfd]") || text == "/dev/null" {
        return None;
    }
    Some(same(&text))
}

/// Takes away from a path what differs between two runs: the world's folder, numbers and random names.
fn same(path: &str) -> String {
    let path = path.strip_prefix("/tmp/").and_then(|rest| Some(rest.split_once('/')?.1)).unwrap_or(path);
    let parts: Vec<String> = path.split('/').map(same_part).collect();
    let from = parts.len().saturating_sub(4);
    parts[from..].join("/")
}

fn same_part(part: &str) -> String {
    let part = part.split(":[").next().unwrap_or(part);
    let is_random = |word: &str| {
        let hexadecimal = word.len() >= 6 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal || !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let words = part.split('-').map(|word| if is_random(word) { "*" } else { word });
    words.collect::<Vec<_>>().join("-")
}

/// The first argument that is a path.
fn names(pid: i32, arguments: &[u64; 6]) -> String {
    let first = arguments[..2].iter().map(|address| path(pid, *address));
    first.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// Reads a path out of a process's memory; empty when there is none.
fn path(pid: i32, address: u64) -> String {
    if address < 0x1000 {
        return String::new();
    }
    let bytes = memory(pid, address, 256);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    same(&String::from_utf8_lossy(&bytes[..end]))
}

fn word(pid: i32, address: u64) -> u64 {
    memory(pid, address, 8).try_into().map_or(0, u64::from_ne_bytes)
}

/// Reads up to `length` bytes, in steps that end at a page's end: what follows may not be there.
fn memory(pid: i32, address: u64, length: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let Ok(file) = fs::File::open(format!("/proc/{pid}/mem")) else { return Vec::new() };
    let mut bytes = vec![0; length];
    let first = length.min((4096 - address % 4096) as usize);
    if file.read_exact_at(&mut bytes[..first], address).is_err() {
        return Vec::new();
    }
    if first < length && file.read_exact_at(&mut bytes[first..], address + first as u64).is_err() {
        bytes.truncate(first);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_runs_is_taken_out() {
        assert_eq!(same("/tmp/b1/root/containers/0123456789abcdef/lock"), "root/containers/*/lock");
        assert_eq!(same("0123456789abcdef-0123456789abcdef"), "*-*");
        assert_eq!(same("socket:[1234]"), "socket");
        assert_eq!(same("/proc/123/fd"), "/proc/*/fd");
    }

    #[test]
    fn a_call_that_is_no_point_answers_no_error() {
        assert!(errors("read").is_empty());
        assert_eq!(errors("mkdir").len(), 2);
    }
}
