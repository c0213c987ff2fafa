//! The meaning of a profile: for each architecture, which action each system call gets under which conditions.
//!
//! This is libseccomp's and runc's reading, so that a profile means here what it means there:
//! - Rules are read in order. A rule whose action is the default action says nothing. For one call the first rule without
//!   conditions wins and makes all with conditions void; among those with conditions the first that matches wins.
//! - The conditions of a rule must all hold. When two of them look at the same argument, libseccomp cannot join them, and
//!   runc and crun make a rule of each; so do we.
//! - On 32-bit architectures (x32 too) only the lower half of arguments and values is compared.
//! - A name that an architecture lacks is skipped; one that 32-bit x86 has behind `socketcall` or `ipc` is matched there too.
//! - Calls of an architecture that the profile does not name kill the thread.
//! - With a default action that refuses, a call with a number above the highest that the profile names gets `ENOSYS`, not the
//!   default: a program must be able to tell a new call that nobody knew of from a forbidden one, or C libraries
//!   do not fall back to the older call (runc's `patchbpf`). `defaultErrnoRet` 38 means the same and adds nothing.

use std::collections::BTreeMap;

use oci::runtime::{
    Arch as SpecArch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};

use super::syscalls::{multiplexed, number};
use super::{Arch, Error};

/// `SECCOMP_RET_KILL_THREAD`, what calls of unnamed architectures get (libseccomp's default).
pub(super) const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
/// `SECCOMP_RET_ALLOW`.
pub(super) const ALLOW: u32 = 0x7fff_0000;

/// The highest error number that the kernel hands out (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// `ERRNO` with `ENOSYS`.
pub(super) const NO_SUCH_CALL: u32 = ERRNO | ENOSYS;

/// A profile, read for a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// What a call gets that no rule matches, as the kernel's number.
    pub(super) default: u32,
    /// The rules of each architecture that the profile names, the machine's own always among them.
    pub(super) abis: BTreeMap<Arch, Abi>,
    /// Whether a rule notifies.
    pub(super) notifies: bool,
}

/// The rules for one architecture.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Abi {
    /// By call number (x32 with bit 30).
    pub(super) calls: BTreeMap<u32, Call>,
    /// Numbers above this one are unknown to the profile and get [`NO_SUCH_CALL`].
    pub(super) last: Option<u32>,
}

/// What one system call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// Always this action.
    Always(u32),
    /// The action of the first rule that matches, else the default.
    When(Vec<Rule>),
}

/// Conditions that all must hold, and the action then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) index: u32,
    /// Whether all 64 bits are compared, or the lower 32.
    pub(super) wide: bool,
    pub(super) comparison: Comparison,
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    /// The argument under `mask` equals `value`, which has no bit outside of it. Plain equality has all bits in its mask.
    Masked {
        mask: u64,
        value: u64,
    },
    GreaterOrEqual(u64),
    Greater(u64),
}

/// Reads `profile` for a machine of architecture `host`.
pub(super) fn read(profile: &LinuxSeccomp, host: Arch) -> Result<Policy, Error> {
    let default = action(profile.default_action(), profile.default_errno_ret(), "default")?;
    if default == NOTIFY {
        return Err(invalid(
            "defaultAction",
            "SCMP_ACT_NOTIFY",
            "the process could not hand over the descriptor",
        ));
    }
    let mut policy = Policy { default, abis: BTreeMap::new(), notifies: false };
    for arch in arches(profile, host) {
        policy.abis.insert(arch, Abi::default());
    }
    for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
        add(&mut policy, syscall, index)?;
    }
    check_listener(profile, &policy)?;
    if is_allowing(profile.default_action()) || default == NO_SUCH_CALL {
        for abi in policy.abis.values_mut() {
            abi.last = None;
        }
    }
    Ok(policy)
}

/// Returns the architectures to write code for. Those that cannot run on `host` need none: the kernel never reports them.
fn arches(profile: &LinuxSeccomp, host: Arch) -> Vec<Arch> {
    let named = profile.architectures().iter().flatten().filter_map(|arch| match arch {
        SpecArch::ScmpArchNative => Some(host),
        SpecArch::ScmpArchX86_64 => Some(Arch::X86_64),
        SpecArch::ScmpArchX86 => Some(Arch::X86),
        SpecArch::ScmpArchX32 => Some(Arch::X32),
        SpecArch::ScmpArchAarch64 => Some(Arch::Aarch64),
        SpecArch::ScmpArchArm => Some(Arch::Arm),
        _ => None,
    });
    named.filter(|arch| runs_on(*arch, host)).chain([host]).collect()
}

fn runs_on(arch: Arch, host: Arch) -> bool {
    match host {
        Arch::X86_64 | Arch::X32 => matches!(arch, Arch::X86_64 | Arch::X86 | Arch::X32),
        Arch::Aarch64 => matches!(arch, Arch::Aarch64 | Arch::Arm),
        Arch::X86 | Arch::Arm => arch == host,
    }
}

/// Adds one entry of `syscalls` to every architecture.
fn add(policy: &mut Policy, syscall: &LinuxSyscall, index: usize) -> Result<(), Error> {
    let field = format!("syscalls[{index}]");
    if syscall.names().is_empty() {
        return Err(invalid(format!("{field}.names"), "empty", "at least one name is wanted"));
    }
    let action = action(syscall.action(), syscall.errno_ret(), &field)?;
    let conditions = conditions(syscall.args().as_deref().unwrap_or_default(), &field)?;
    for name in syscall.names() {
        if name.is_empty() {
            return Err(invalid(format!("{field}.names"), "\"\"", "a system call has a name"));
        }
        if action == NOTIFY && name == "write" {
            return Err(invalid(
                format!("{field}.action"),
                "SCMP_ACT_NOTIFY for write",
                "the process could not hand over the descriptor",
            ));
        }
        policy.notifies |= action == NOTIFY;
        let default = policy.default;
        for (arch, abi) in &mut policy.abis {
            abi.add(*arch, name, &conditions, action, default);
        }
    }
    Ok(())
}

impl Abi {
    /// Adds the rules of one name: each of `alternatives` is a list of conditions that all must hold.
    fn add(&mut self, arch: Arch, name: &str, alternatives: &[Vec<Condition>], action: u32, default: u32) {
        let direct = number(name, arch);
        self.last = self.last.max(direct);
        if action == default {
            return;
        }
        for conditions in alternatives {
            let conditions: Vec<_> = conditions.iter().map(|c| c.narrowed(arch)).collect();
            if let Some((multiplexer, operation)) = multiplexed(name, arch) {
                let first = Condition { index: 0, wide: false, comparison: Comparison::equal(operation) };
                let others = conditions.iter().copied().filter(|c| c.index != 0);
                let all = std::iter::once(first).chain(others).collect();
                if let Some(number) = number(multiplexer, arch) {
                    self.insert(number, Rule { conditions: all, action });
                }
            }
            if let Some(number) = direct {
                self.insert(number, Rule { conditions, action });
            }
        }
    }

    fn insert(&mut self, number: u32, mut rule: Rule) {
        rule.conditions.retain(|condition| !condition.comparison.always());
        let call = self.calls.entry(number).or_insert_with(|| Call::When(Vec::new()));
        match call {
            Call::Always(_) => {}
            Call::When(_) if rule.conditions.is_empty() => *call = Call::Always(rule.action),
            Call::When(rules) => rules.push(rule),
        }
    }
}

impl Comparison {
    fn equal(value: u64) -> Self {
        Self::Masked { mask: u64::MAX, value }
    }

    /// Returns whether every argument fulfils this.
    fn always(self) -> bool {
        matches!(self, Self::Masked { mask: 0, .. } | Self::GreaterOrEqual(0))
    }
}

impl Condition {
    /// Returns the condition as it is compared on `arch`: on 32-bit architectures the lower half.
    fn narrowed(self, arch: Arch) -> Self {
        if matches!(arch, Arch::X86_64 | Arch::Aarch64) {
            return self;
        }
        let low = |value: u64| value & u64::from(u32::MAX);
        let comparison = match self.comparison {
            Comparison::NotEqual(value) => Comparison::NotEqual(low(value)),
            Comparison::Less(value) => Comparison::Less(low(value)),
            Comparison::LessOrEqual(value) => Comparison::LessOrEqual(low(value)),
            Comparison::Masked { mask, value } => Comparison::Masked { mask: low(mask), value: low(value) },
            Comparison::GreaterOrEqual(value) => Comparison::GreaterOrEqual(low(value)),
            Comparison::Greater(value) => Comparison::Greater(low(value)),
        };
        Self { index: self.index, wide: false, comparison }
    }
}

/// Reads the arguments of a rule into alternatives of conditions that all must hold.
fn conditions(args: &[LinuxSeccompArg], field: &str) -> Result<Vec<Vec<Condition>>, Error> {
    let conditions =
        args.iter().enumerate().map(|(n, arg)| condition(arg, field, n)).collect::<Result<Vec<_>, _>>()?;
    let mut seen = [0_u32; 6];
    for condition in &conditions {
        seen[condition.index as usize] += 1;
    }
    if seen.iter().any(|count| *count > 1) {
        return Ok(conditions.into_iter().map(|condition| vec![condition]).collect());
    }
    Ok(vec![conditions])
}

fn condition(arg: &LinuxSeccompArg, field: &str, n: usize) -> Result<Condition, Error> {
    let index = u32::try_from(arg.index()).ok().filter(|index| *index < 6);
    let index = index.ok_or_else(|| {
        invalid(
            format!("{field}.args[{n}].index"),
            arg.index().to_string(),
            "a system call has the arguments 0 to 5",
        )
    })?;
    let value = arg.value();
    let comparison = match arg.op() {
        Operator::ScmpCmpNe => Comparison::NotEqual(value),
        Operator::ScmpCmpLt => Comparison::Less(value),
        Operator::ScmpCmpLe => Comparison::LessOrEqual(value),
        Operator::ScmpCmpEq => Comparison::equal(value),
        Operator::ScmpCmpGe => Comparison::GreaterOrEqual(value),
        Operator::ScmpCmpGt => Comparison::Greater(value),
        Operator::ScmpCmpMaskedEq => {
            Comparison::Masked { mask: value, value: arg.value_two().unwrap_or(0) & value }
        }
    };
    Ok(Condition { index, wide: true, comparison })
}

/// Returns the kernel's number for an action.
fn action(action: Action, errno: Option<u32>, field: &str) -> Result<u32, Error> {
    let (base, limit) = match action {
        Action::ScmpActErrno => (ERRNO, MAX_ERRNO),
        Action::ScmpActTrace => (TRACE, u32::from(u16::MAX)),
        other => {
            if let Some(errno) = errno {
                let name =
                    if field == "default" { "defaultErrnoRet".into() } else { format!("{field}.errnoRet") };
                return Err(invalid(
                    name,
                    errno.to_string(),
                    "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a number",
                ));
            }
            return Ok(plain_action(other));
        }
    };
    let errno = errno.unwrap_or(EPERM);
    if errno > limit {
        let name = if field == "default" { "defaultErrnoRet".into() } else { format!("{field}.errnoRet") };
        return Err(invalid(name, errno.to_string(), format!("0 to {limit} is allowed")));
    }
    Ok(base | errno)
}

fn plain_action(action: Action) -> u32 {
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => KILL_THREAD,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => TRAP,
        Action::ScmpActErrno => ERRNO | EPERM,
        Action::ScmpActNotify => NOTIFY,
        Action::ScmpActTrace => TRACE | EPERM,
        Action::ScmpActLog => LOG,
        Action::ScmpActAllow => ALLOW,
    }
}

/// Returns whether a call that no rule names goes through (or to a tracer, who can answer by itself).
fn is_allowing(action: Action) -> bool {
    matches!(action, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace)
}

fn check_listener(profile: &LinuxSeccomp, policy: &Policy) -> Result<(), Error> {
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    if policy.notifies && path.is_none() {
        return Err(invalid("listenerPath", "missing", "SCMP_ACT_NOTIFY needs the socket of an agent"));
    }
    let metadata = profile.listener_metadata().as_ref().filter(|metadata| !metadata.is_empty());
    if path.is_none()
        && let Some(metadata) = metadata
    {
        return Err(invalid("listenerMetadata", format!("{metadata:?}"), "it needs a listenerPath"));
    }
    Ok(())
}

fn invalid(field: impl Into<String>, value: impl Into<String>, allowed: impl Into<String>) -> Error {
    Error::Invalid { field: field.into(), value: value.into(), allowed: allowed.into() }
}
