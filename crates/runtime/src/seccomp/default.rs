//! The default profile: what a container's processes may ask of the kernel when nobody says otherwise.
//!
//! It is Docker's of August 2026 (moby/profiles), rule by rule, and tighter in one place, see [`SOCKET_FAMILIES`].
//! docs/security.md says it in words.

use oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};

use super::docker::{argument, spec_arch};
use super::{Arch, KernelVersion};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Returns the default profile for a process whose bounding set has the capabilities `caps` (names such as
/// `CAP_SYS_ADMIN`), on `arch` and `kernel`.
pub fn default_profile<S: AsRef<str>>(caps: &[S], arch: Arch, kernel: KernelVersion) -> LinuxSeccomp {
    let has = |name: &str| caps.iter().any(|cap| cap.as_ref() == name);
    let mut rules = vec![allow(ALWAYS)];
    if kernel >= PTRACE_SAFE {
        rules.push(allow(&["process_vm_readv", "process_vm_writev", "ptrace"]));
    }
    rules.extend(
        SOCKET_FAMILIES.iter().map(|(op, family)| allow_when("socket", &[argument(0, *family, 0, *op)])),
    );
    rules.extend(
        PERSONALITIES
            .iter()
            .map(|value| allow_when("personality", &[argument(0, *value, 0, Operator::ScmpCmpEq)])),
    );
    rules.push(allow(of_arch(arch)));
    if !has("CAP_SYS_ADMIN") {
        rules.push(allow_when("clone", &[argument(0, NEW_NAMESPACES, 0, Operator::ScmpCmpMaskedEq)]));
        rules.push(rule(&["clone3"], Action::ScmpActErrno, Some(ENOSYS), &[]));
    }
    rules.extend(BY_CAPABILITY.iter().filter(|(cap, _)| has(cap)).map(|(_, names)| allow(names)));

    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(Action::ScmpActErrno);
    profile.set_default_errno_ret(Some(EPERM));
    let related: &[Arch] = match arch {
        Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
        Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
        _ => &[],
    };
    profile.set_architectures(Some(related.iter().map(|arch| spec_arch(*arch)).collect::<Vec<_>>()));
    profile.set_syscalls(Some(rules));
    profile
}

fn allow(names: &[&str]) -> LinuxSyscall {
    rule(names, Action::ScmpActAllow, None, &[])
}

fn allow_when(name: &str, args: &[LinuxSeccompArg]) -> LinuxSyscall {
    rule(&[name], Action::ScmpActAllow, None, args)
}

fn rule(names: &[&str], action: Action, errno: Option<u32>, args: &[LinuxSeccompArg]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect());
    rule.set_action(action);
    rule.set_errno_ret(errno);
    rule.set_args(Some(args.to_vec()).filter(|args| !args.is_empty()));
    rule
}

fn of_arch(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 | Arch::X32 => &["arch_prctl", "modify_ldt"],
        Arch::X86 => &["modify_ldt"],
        Arch::Aarch64 | Arch::Arm => &[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "sync_file_range2",
            "breakpoint",
            "cacheflush",
            "set_tls",
        ],
    }
}

/// Before this kernel ptrace(2) could be used to get around a filter.
const PTRACE_SAFE: KernelVersion = KernelVersion { major: 4, minor: 8 };

/// The address families that socket(2) may open: all but `AF_ALG` (38) and `AF_VSOCK` (40).
///
/// Docker writes the last step as "greater than 40". The kernel takes the family as a 32-bit `int` while a filter sees the whole register, so
/// 2^32 + 38 passes Docker's rule and opens `AF_ALG`. Here the families above 40 are named one by one, up to the last that
/// Linux has (`AF_MCTP`, 45).
const SOCKET_FAMILIES: &[(Operator, u64)] = &[
    (Operator::ScmpCmpLt, 38),
    (Operator::ScmpCmpEq, 39),
    (Operator::ScmpCmpEq, 41),
    (Operator::ScmpCmpEq, 42),
    (Operator::ScmpCmpEq, 43),
    (Operator::ScmpCmpEq, 44),
    (Operator::ScmpCmpEq, 45),
];

/// Arguments of personality(2): Linux, uname 2.6, no randomisation and both, and the question for the present one.
const PERSONALITIES: &[u64] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The flags of clone(2) that make namespaces: mount, cgroup, uts, ipc, user, pid, net.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Calls that come with a capability.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "lsm_get_self_attr",
            "lsm_list_modules",
            "lsm_set_self_attr",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"],
    ),
    ("CAP_SYS_RAWIO", &["iopl", "ioperm"]),
    ("CAP_SYS_TIME", &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

/// Calls that every container may make.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat", "capget", "capset",
    "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64", "clock_getres",
    "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
    "clock_nanosleep_time64", "close", "close_range", "connect", "copy_file_range", "creat", "dup",
    "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit",
    "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate", "fanotify_mark",
    "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64",
    "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat",
    "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futex",
    "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "futimesat", "getcpu",
    "getcwd", "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
    "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32",
    "getrlimit", "get_robust_list", "getrusage", "getsid", "getsockname", "getsockopt",
    "get_thread_area", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "ioctl",
    "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "ioprio_get", "ioprio_set",
    "io_setup", "io_submit", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset",
    "landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen",
    "listmount", "listxattr", "listxattrat", "llistxattr", "_llseek", "lremovexattr", "lseek",
    "lsetxattr", "lstat", "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create",
    "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall",
    "mmap", "mmap2", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
    "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap", "mseal",
    "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap",
    "name_to_handle_at", "nanosleep", "newfstatat", "_newselect", "open", "openat", "openat2", "pause",
    "pidfd_open", "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "poll", "ppoll", "ppoll_time64", "prctl", "pread64", "preadv", "preadv2", "prlimit64",
    "process_mrelease", "pselect6", "pselect6_time64", "pwrite64", "pwritev", "pwritev2", "read",
    "readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64",
    "recvmsg", "remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2",
    "restart_syscall", "riscv_hwprobe", "rmdir", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_get_priority_max", "sched_get_priority_min", "sched_getscheduler",
    "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr",
    "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget",
    "semop", "semtimedop", "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg",
    "sendto", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups",
    "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "set_robust_list",
    "setsid", "setsockopt", "set_thread_area", "set_tid_address", "setuid", "setuid32", "setxattr",
    "setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack", "signalfd",
    "signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair", "splice", "stat", "stat64",
    "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun",
    "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create",
    "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times", "tkill",
    "truncate", "truncate64", "ugetrlimit", "umask", "uname", "unlink", "unlinkat", "uretprobe",
    "utime", "utimensat", "utimensat_time64", "utimes", "vfork", "vmsplice", "wait4", "waitid",
    "waitpid", "write", "writev"
];
