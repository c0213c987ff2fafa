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
            for edge in edges {
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
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

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
