//! Compares what the compiler writes with a reading of the profile that shares no code with it, and with the kernel.

use oci::runtime::{LinuxSeccomp, LinuxSyscall};
use proptest::prelude::*;

use super::interpret::{Call, evaluate, run};
use super::*;

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 1 };
const SECTIONS: [(Arch, u32); 5] = [
    (Arch::X86_64, 0xc000_003e),
    (Arch::X32, 0xc000_003e),
    (Arch::X86, 0x4000_0003),
    (Arch::Aarch64, 0xc000_00b7),
    (Arch::Arm, 0x4000_0028),
];

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect(json)
}

/// Returns what the compiled `profile` does with the call `name`.
fn action(profile: &LinuxSeccomp, arch: Arch, name: &str, args: [u64; 6]) -> u32 {
    let host = if matches!(arch, Arch::Aarch64 | Arch::Arm) { Arch::Aarch64 } else { Arch::X86_64 };
    let program = compile(profile, host).expect("compiles");
    let audit = SECTIONS.iter().find(|section| section.0 == arch).expect("known").1;
    let number = syscalls::number(name, arch).expect("a call of this architecture");
    run(program.instructions(), &Call { number, audit, args })
}

#[test]
fn the_default_profile_means_what_it_says_for_every_call() {
    for (host, others) in [(Arch::X86_64, 3), (Arch::Aarch64, 2)] {
        let everything: Vec<_> =
            crate::defaults::CAPABILITIES.iter().copied().chain(["CAP_SYS_ADMIN"]).collect();
        for caps in [crate::defaults::CAPABILITIES, &everything, &[]] {
            let profile = default_profile(caps, host, KERNEL);
            let program = compile(&profile, host).expect("compiles");
            let named = profile.architectures().as_ref().expect("named").len();
            assert_eq!(named, others);
            compare_everywhere(&profile, &program, host);
        }
    }
}

/// Compares `program` with the reading of `profile` for all numbers and a set of arguments that lie on edges.
fn compare_everywhere(profile: &LinuxSeccomp, program: &Program, host: Arch) {
    let edges = [0, 8, 38, 41, 0x2_0008, 0x0200_0000, 0x1_0000_0026, 0xffff_ffff];
    for (arch, audit) in SECTIONS {
        let native = matches!(arch, Arch::Aarch64 | Arch::Arm) == (host == Arch::Aarch64);
        let bit = if arch == Arch::X32 { syscalls::X32_BIT } else { 0 };
        for number in (0..480).chain([600]).chain(0xf_0000..0xf_0008).map(|number| number | bit) {
            let named = ["socket", "personality", "clone", "socketcall"];
            let conditional = named.iter().any(|name| syscalls::number(name, arch) == Some(number));
            for edge in edges.into_iter().take(if conditional { edges.len() } else { 1 }) {
                let args = [edge, edge, 0, 0, 0, 0];
                let expected =
                    if native { evaluate(profile, arch, number, args) } else { rules::KILL_THREAD };
                let found = run(program.instructions(), &Call { number, audit, args });
                assert_eq!(found, expected, "{arch:?} call {number} with {edge:#x}");
            }
        }
    }
}

#[test]
fn the_default_profile_denies_what_it_must() {
    const DENIED: u32 = 0x5_0001;
    let profile = default_profile(crate::defaults::CAPABILITIES, Arch::X86_64, KERNEL);
    let denied = [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "keyctl",
        "add_key",
        "request_key",
        "userfaultfd",
        "mount",
        "umount2",
        "pivot_root",
        "setns",
        "unshare",
        "bpf",
        "perf_event_open",
        "kexec_load",
        "init_module",
        "reboot",
        "swapon",
        "open_by_handle_at",
        "move_mount",
        "open_tree",
        "fsopen",
        "settimeofday",
        "iopl",
        "acct",
        "quotactl",
        "syslog",
        "move_pages",
        "mbind",
        "kcmp",
        "vhangup",
        "nfsservctl",
        "lookup_dcookie",
        "clock_settime",
    ];
    for name in denied {
        assert_eq!(action(&profile, Arch::X86_64, name, [0; 6]), DENIED, "{name}");
    }
    for name in ["read", "openat", "clone", "execve", "chroot", "ptrace", "socket", "personality", "mseal"] {
        assert_eq!(action(&profile, Arch::X86_64, name, [0; 6]), rules::ALLOW, "{name}");
    }
    assert_eq!(action(&profile, Arch::X86_64, "clone3", [0; 6]), rules::NO_SUCH_CALL);
    assert_eq!(action(&profile, Arch::X86_64, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), DENIED);
    // AF_ALG, AF_VSOCK, and both with bits that the kernel drops: Docker's profile lets the latter through.
    for family in [38, 40, 0x1_0000_0026, 0x1_0000_0028, 46] {
        assert_eq!(
            action(&profile, Arch::X86_64, "socket", [family, 0, 0, 0, 0, 0]),
            DENIED,
            "family {family:#x}"
        );
    }
    for family in [1, 2, 10, 16, 17, 39, 41, 44, 45] {
        assert_eq!(
            action(&profile, Arch::X86_64, "socket", [family, 0, 0, 0, 0, 0]),
            rules::ALLOW,
            "family {family}"
        );
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","statx"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(action(&profile, Arch::X86_64, "clone3", [0; 6]), rules::NO_SUCH_CALL);
    assert_eq!(action(&profile, Arch::X86_64, "write", [0; 6]), 0x5_0001);
    let killing = self::profile(
        r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(action(&killing, Arch::X86_64, "clone3", [0; 6]), rules::NO_SUCH_CALL);
    let allowing = self::profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(action(&allowing, Arch::X86_64, "clone3", [0; 6]), rules::ALLOW);
}

#[test]
fn unnamed_architectures_are_killed() {
    let profile = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    let program = compile(&profile, Arch::X86_64).expect("compiles");
    let ask = |audit, number| run(program.instructions(), &Call { number, audit, args: [0; 6] });
    assert_eq!(ask(0xc000_003e, 0), rules::ALLOW);
    assert_eq!(ask(0xc000_003e, syscalls::X32_BIT), rules::KILL_THREAD);
    assert_eq!(ask(0xc000_003e, u32::MAX), rules::ALLOW, "-1 skips a call");
    assert_eq!(ask(0x4000_0003, 3), rules::KILL_THREAD);
}

#[test]
fn profiles_that_cannot_be_meant_are_refused() {
    let rows = [
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#, "defaultErrnoRet"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#, "defaultErrnoRet is 4096"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[],"action":"SCMP_ACT_ERRNO"}]}"#,
            "syscalls[0].names",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "syscalls[0].args[0].index is 6",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","syscalls":[{"names":["write"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "write",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            "listenerPath",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#, "listenerMetadata"),
    ];
    for (json, expected) in rows {
        let error = compile(&profile(json), Arch::X86_64).expect_err(json).to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn flags_follow_the_profile() {
    use sys::seccomp::*;
    let rows = [
        (r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, 0),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_SPEC_ALLOW","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
            FLAG_LOG | FLAG_TSYNC | FLAG_SPEC_ALLOW,
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/a","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],"syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
            FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV,
        ),
    ];
    for (json, expected) in rows {
        assert_eq!(compile(&profile(json), Arch::X86_64).expect(json).flags(), expected, "{json}");
    }
}

/// Some calls: plain ones, ones with other numbers elsewhere, multiplexed ones, ones that only few architectures have.
const NAMES: [&str; 14] = [
    "read",
    "write",
    "openat",
    "clone",
    "socket",
    "accept",
    "semop",
    "msgctl",
    "statx",
    "set_tls",
    "arch_prctl",
    "ioctl",
    "open_tree_attr",
    "unheard_of",
];

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(0xffff_ffff),
        Just(0x1_0000_0000),
        0_u64..8,
        (0_u64..4, 0_u64..4).prop_map(|(high, low)| high << 32 | low),
        any::<u64>(),
    ]
}

fn any_arg() -> impl Strategy<Value = serde_json::Value> {
    let op = prop::sample::select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    (0_usize..6, any_value(), any_value(), op).prop_map(|(index, value, two, op)| {
        serde_json::json!({"index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")})
    })
}

fn any_rule() -> impl Strategy<Value = LinuxSyscall> {
    let action = prop::sample::select(vec!["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG"]);
    let names = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4);
    (names, action, prop::option::of(0_u32..200), prop::collection::vec(any_arg(), 0..4)).prop_map(
        |(names, action, errno, args)| {
            let errno = errno.filter(|_| matches!(action, "ERRNO" | "TRACE"));
            let json = serde_json::json!({
                "names": names, "action": format!("SCMP_ACT_{action}"), "errnoRet": errno, "args": args});
            serde_json::from_value(json).expect("a rule")
        },
    )
}

fn any_profile() -> impl Strategy<Value = LinuxSeccomp> {
    let default = prop::sample::select(vec!["ALLOW", "ERRNO", "KILL", "LOG"]);
    let arches = prop::sample::subsequence(vec!["X86_64", "X86", "X32", "AARCH64", "ARM", "RISCV64"], 0..6);
    (default, arches, prop::collection::vec(any_rule(), 0..40)).prop_map(|(default, arches, rules)| {
        let arches: Vec<_> = arches.iter().map(|arch| format!("SCMP_ARCH_{arch}")).collect();
        let json =
            serde_json::json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": arches});
        let mut profile: LinuxSeccomp = serde_json::from_value(json).expect("a profile");
        profile.set_syscalls(Some(rules));
        profile
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// The program and the reading agree on every call of the profile and some others, with arguments near its values.
    #[test]
    fn programs_mean_their_profiles(
        profile in any_profile(),
        arm in any::<bool>(),
        args in prop::collection::vec(prop::array::uniform6(any_value()), 12),
    ) {
        let host = if arm { Arch::Aarch64 } else { Arch::X86_64 };
        let program = compile(&profile, host).expect("compiles");
        let named = |arch| {
            let spec = docker::spec_arch(arch);
            arch == host || profile.architectures().iter().flatten().any(|other| *other == spec)
        };
        for (arch, audit) in SECTIONS {
            let native = matches!(arch, Arch::Aarch64 | Arch::Arm) == arm;
            for name in NAMES.iter().chain(&["exit", "listns", "socketcall", "ipc"]) {
                let Some(number) = syscalls::number(name, arch) else { continue };
                for args in &args {
                    let expected = if native && named(arch) {
                        evaluate(&profile, arch, number, *args)
                    } else {
                        rules::KILL_THREAD
                    };
                    let found = run(program.instructions(), &Call { number, audit, args: *args });
                    prop_assert_eq!(found, expected, "{:?} {} {:x?}", arch, name, args);
                }
            }
        }
    }
}

/// A profile of many rules makes jumps longer than a conditional jump reaches.
#[test]
fn long_programs_reach_their_targets() {
    let rules: Vec<LinuxSyscall> = (0..300_u32)
        .map(|n| {
            let json = serde_json::json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": n + 2,
                "args": [{"index": 1, "value": (u64::from(n) << 33) | 5, "op": "SCMP_CMP_EQ"}]});
            serde_json::from_value(json).expect("a rule")
        })
        .collect();
    let mut profile = profile(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
    profile.set_syscalls(Some(rules));
    let program = compile(&profile, Arch::X86_64).expect("compiles");
    assert!(program.instructions().len() > 1200);
    for n in [0_u64, 1, 100, 298, 299, 300] {
        let args = [0, (n << 33) | 5, 0, 0, 0, 0];
        let found = run(program.instructions(), &Call { number: 16, audit: 0xc000_003e, args });
        assert_eq!(found, evaluate(&profile, Arch::X86_64, 16, args));
    }
}

#[test]
fn a_program_too_long_for_the_kernel_is_refused() {
    let rule = |n: u32| {
        let json = serde_json::json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": n,
            "args": [{"index": 1, "value": n, "op": "SCMP_CMP_EQ"}]});
        serde_json::from_value::<LinuxSyscall>(json).expect("a rule")
    };
    let mut profile = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    profile.set_syscalls(Some((0..2000).map(rule).collect()));
    assert!(matches!(compile(&profile, Arch::X86_64), Err(Error::TooLong { limit: 4096, .. })));
}

/// Compiles `profiles` with libseccomp; `None` when it is not installed.
fn libseccomp(profiles: &[LinuxSeccomp]) -> Option<Vec<Vec<Instruction>>> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    // Debian's own interpreter has Debian's modules; another one may stand before it in PATH.
    let debian = "/usr/bin/python3";
    let python = if std::path::Path::new(debian).exists() { debian } else { "python3" };
    let mut child = Command::new(python)
        .args(["-c", include_str!("differential.py")])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let json = serde_json::to_vec(profiles).expect("JSON");
    child.stdin.take().expect("stdin").write_all(&json).ok()?;
    let output = child.wait_with_output().expect("python");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("ModuleNotFoundError") {
        return None;
    }
    assert!(output.status.success(), "{complaint}");
    let text = String::from_utf8(output.stdout).expect("text");
    let byte =
        |line: &str, at: usize| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).expect("hexadecimal");
    let instruction = |line: &str, n: usize| Instruction {
        code: u16::from_le_bytes([byte(line, 8 * n), byte(line, 8 * n + 1)]),
        jump_true: byte(line, 8 * n + 2),
        jump_false: byte(line, 8 * n + 3),
        k: u32::from_le_bytes([4, 5, 6, 7].map(|at| byte(line, 8 * n + at))),
    };
    Some(text.lines().map(|line| (0..line.len() / 16).map(|n| instruction(line, n)).collect()).collect())
}

/// Where one action is enough (an order between rules of different actions is libseccomp's own affair), both compilers
/// must mean the same. The default is `ENOSYS`, so that runc's stub, which libseccomp has not, adds nothing.
///
/// The installed libseccomp (2.5.4) is at fault in two ways, which the random profiles leave out: where a call has several rules that compare
/// by order it loses some, and in some profiles its part for 32-bit x86 forgets to load the call's number, though its own
/// pseudo code is right. So each call has one rule there, and only x86-64 is compared; the default profile is, everywhere.
#[test]
fn libseccomp_means_the_same() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    if Arch::host() != Some(Arch::X86_64) {
        eprintln!("SKIP the comparison with libseccomp is written for x86_64");
        return;
    }
    let mut runner = TestRunner::deterministic();
    let mut profiles: Vec<_> =
        (0..60).map(|_| any_profile().new_tree(&mut runner).expect("a profile").current()).collect();
    profiles.push(default_profile(crate::defaults::CAPABILITIES, Arch::X86_64, KERNEL));
    let same = |mut profile: LinuxSeccomp| {
        profile.set_default_action(oci::runtime::LinuxSeccompAction::ScmpActErrno);
        profile.set_default_errno_ret(Some(38));
        profile.set_architectures(Some(
            ["X86_64", "X86", "X32"].map(|a| format!("SCMP_ARCH_{a}").parse_arch()).to_vec(),
        ));
        let rules = profile.syscalls().iter().flatten().cloned().map(|mut rule| {
            rule.set_action(oci::runtime::LinuxSeccompAction::ScmpActAllow);
            rule.set_errno_ret(None);
            rule
        });
        let rules = rules.collect();
        profile.set_syscalls(Some(rules));
        profile
    };
    let once = |mut profile: LinuxSeccomp| {
        let mut named = std::collections::HashSet::new();
        let mut rules: Vec<_> = profile.syscalls().iter().flatten().cloned().collect();
        for rule in &mut rules {
            let fresh: Vec<_> =
                rule.names().iter().filter(|name| named.insert((*name).clone())).cloned().collect();
            rule.set_names(if fresh.is_empty() { vec!["unheard_of".into()] } else { fresh });
            let mut seen = [false; 6];
            let args =
                rule.args().iter().flatten().filter(|arg| !std::mem::replace(&mut seen[arg.index()], true));
            let args = args.copied().collect();
            rule.set_args(Some(args));
        }
        profile.set_syscalls(Some(rules));
        profile
    };
    let default = profiles.pop().expect("the last");
    let mut profiles: Vec<_> = profiles.into_iter().map(once).collect();
    profiles.push(default);
    let profiles: Vec<_> = profiles.into_iter().map(same).collect();
    let Some(theirs) = libseccomp(&profiles) else {
        eprintln!("SKIP python3-seccomp is not installed: nothing was compared with libseccomp");
        return;
    };
    let mut compared = 0_u64;
    let values =
        [0, 1, 2, 3, 5, 38, 40, 41, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x3_0000_0002, u64::MAX];
    for (n, (profile, theirs)) in profiles.iter().zip(&theirs).enumerate() {
        let sections = if n + 1 == profiles.len() { &SECTIONS[..3] } else { &SECTIONS[..1] };
        let ours = compile(profile, Arch::X86_64).expect("compiles");
        let mut seen: Vec<u64> = values.to_vec();
        for arg in profile.syscalls().iter().flatten().flat_map(|rule| rule.args().iter().flatten()) {
            seen.extend([arg.value().wrapping_sub(1), arg.value(), arg.value().wrapping_add(1)]);
        }
        for (arch, audit) in sections {
            for name in NAMES.iter().chain(&["exit", "socketcall", "ipc", "personality", "clone3"]) {
                // The installed libseccomp is older than this call.
                if *name == "open_tree_attr" {
                    continue;
                }
                let Some(number) = syscalls::number(name, *arch) else { continue };
                for (n, value) in seen.iter().enumerate() {
                    let other = seen[(n * 7 + 3) % seen.len()];
                    let all = [
                        [*value; 6],
                        [*value, other, *value, other, *value, other],
                        [other, *value, 0, 0, 1, 2],
                    ];
                    for args in all {
                        let call = Call { number, audit: *audit, args };
                        let (found, expected) = (run(ours.instructions(), &call), run(theirs, &call));
                        compared += 1;
                        assert_eq!(
                            found,
                            expected,
                            "{arch:?} {name} {args:x?} under {}",
                            serde_json::to_string(profile).expect("JSON")
                        );
                    }
                }
            }
        }
        let lengths = (ours.instructions().len(), theirs.len());
        if profile.syscalls().iter().flatten().count() > 15 {
            eprintln!("instructions: {} ours, {} libseccomp's", lengths.0, lengths.1);
        }
    }
    assert!(compared > 10_000);
}

trait ParseArch {
    fn parse_arch(&self) -> oci::runtime::Arch;
}

impl ParseArch for String {
    fn parse_arch(&self) -> oci::runtime::Arch {
        serde_json::from_value(serde_json::Value::String(self.clone())).expect("an architecture")
    }
}

/// Runs `body` in a thread of its own under the filter of `profile`, which dies with the thread.
fn under<T: Send + 'static>(
    profile: &LinuxSeccomp,
    body: impl FnOnce(Option<OwnedFd>) -> T + Send + 'static,
) -> Option<T> {
    let program = compile(profile, Arch::host()?).expect("compiles");
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        install(&program).map(body)
    });
    match thread.join().expect("the thread lives") {
        Ok(value) => Some(value),
        Err(error) => {
            eprintln!("SKIP {}", base::error::render_chain(&error));
            None
        }
    }
}

#[test]
fn the_kernel_refuses_what_the_profile_refuses() {
    use rustix::io::Errno;
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":99},
        {"names":["fchmod"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":448,"op":"SCMP_CMP_EQ"}]}]}"#;
    let file = tempfile::tempfile().expect("file");
    let found = under(&profile(json), move |listener| {
        let mode = |bits| rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(bits));
        let made = rustix::fs::mkdir("/nonexistent/folder", rustix::fs::Mode::RWXU);
        (listener.is_none(), made, mode(0o700), mode(0o600))
    });
    let Some(found) = found else { return };
    assert_eq!(found, (true, Err(Errno::from_raw_os_error(99)), Err(Errno::PERM), Ok(())));
}

#[test]
fn the_default_profile_holds_in_the_kernel() {
    use rustix::io::Errno;
    let Some(arch) = Arch::host() else { return };
    let profile = default_profile(crate::defaults::CAPABILITIES, arch, KERNEL);
    let found = under(&profile, |_| {
        let flags = rustix::thread::UnshareFlags::NEWUTS;
        let opened = rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).map(drop);
        let socket = |family| {
            let family = rustix::net::AddressFamily::from_raw(family);
            rustix::net::socket(family, rustix::net::SocketType::DGRAM, None).map(drop)
        };
        #[expect(
            deprecated,
            reason = "the safe form only allows what needs no right; here it must fail anyway"
        )]
        let unshared = rustix::thread::unshare(flags);
        (unshared, opened, socket(40), socket(1))
    });
    let Some(found) = found else { return };
    assert_eq!(found, (Err(Errno::PERM), Err(Errno::PERM), Err(Errno::PERM), Ok(())));
}

#[test]
fn a_notified_call_waits_for_its_listener() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/agent","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"}]}"#;
    let (send, receive) = std::sync::mpsc::channel();
    let program = compile(&profile(json), Arch::X86_64).expect("compiles");
    if Arch::host() != Some(Arch::X86_64) {
        eprintln!("SKIP mkdir(2) is a call of x86");
        return;
    }
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        send.send(install(&program)).expect("send");
        rustix::fs::mkdir("/nonexistent/folder", rustix::fs::Mode::RWXU)
    });
    match receive.recv().expect("an answer") {
        Ok(listener) => {
            let listener = listener.expect("a listener");
            let mut fds = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
            let second = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut fds, Some(&second)), Ok(1));
            // The agent goes away: the kernel answers ENOSYS.
            drop(listener);
            assert_eq!(thread.join().expect("thread"), Err(rustix::io::Errno::NOSYS));
        }
        Err(error) => {
            eprintln!("SKIP {}", base::error::render_chain(&error));
            let _ = thread.join();
        }
    }
}
