//! Finds system call numbers by name, and the 32-bit x86 calls that hide behind a multiplexer.

use super::Arch;
use super::table::TABLE;

/// Bit 30 marks the x32 calls among those of x86-64 (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 1 << 30;

/// Returns the number of the call `name` on `arch`, with bit 30 for x32; `None` where there is no such call.
pub(super) fn number(name: &str, arch: Arch) -> Option<u32> {
    let row = TABLE.binary_search_by(|row| row.0.cmp(name)).ok()?;
    let number = u32::try_from(TABLE[row].1[arch as usize]).ok()?;
    Some(if arch == Arch::X32 { number | X32_BIT } else { number })
}

/// Returns the multiplexer behind which 32-bit x86 has the call `name` too, and the value of its first argument.
///
/// Source: `linux/net.h` (`SYS_SOCKET` …), `linux/ipc.h` (`SEMOP` …).
pub(super) fn multiplexed(name: &str, arch: Arch) -> Option<(&'static str, u64)> {
    if arch != Arch::X86 {
        return None;
    }
    let position = |list: &[&str]| list.iter().position(|entry| *entry == name);
    if let Some(index) = position(&SOCKET_CALLS) {
        return Some(("socketcall", index as u64 + 1));
    }
    let (_, value) = IPC_CALLS.iter().find(|(entry, _)| *entry == name)?;
    Some(("ipc", *value))
}

const SOCKET_CALLS: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

const IPC_CALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_agrees_with_libc() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        let rows: [(&str, Arch, Option<u32>); 9] = [
            ("read", Arch::X86_64, Some(0)),
            ("read", Arch::X86, Some(3)),
            ("read", Arch::Aarch64, Some(63)),
            ("execve", Arch::X32, Some(X32_BIT | 520)),
            ("set_tls", Arch::Arm, Some(0xf_0005)),
            ("socketcall", Arch::X86_64, None),
            ("clone3", Arch::Arm, Some(435)),
            ("open", Arch::Aarch64, None),
            ("no_such_call", Arch::X86_64, None),
        ];
        for (name, arch, expected) in rows {
            assert_eq!(number(name, arch), expected, "{name} on {arch:?}");
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_systems_headers() {
        let headers =
            [("unistd_64.h", Arch::X86_64), ("unistd_32.h", Arch::X86), ("unistd_x32.h", Arch::X32)];
        for (header, arch) in headers {
            let path = format!("/usr/include/x86_64-linux-gnu/asm/{header}");
            let Ok(text) = std::fs::read_to_string(&path) else {
                eprintln!("SKIP {path} is not installed (linux-libc-dev)");
                continue;
            };
            for line in text.lines() {
                let Some((name, value)) = line.strip_prefix("#define __NR_").and_then(|l| l.split_once(' '))
                else {
                    continue;
                };
                let digits = value.rsplit(' ').next().unwrap_or(value).trim_matches(')');
                let expected: u32 = digits.parse().expect("a number in the kernel's header");
                let bit = if arch == Arch::X32 { X32_BIT } else { 0 };
                assert_eq!(number(name, arch), Some(expected | bit), "{name} in {header}");
            }
        }
    }
}
