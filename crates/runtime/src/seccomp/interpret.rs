//! For tests: runs a classic BPF program on a system call as the kernel would, and reads a profile call by call.

use oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
};

use super::syscalls::{multiplexed, number};
use super::{Arch, Instruction};

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let argument = |index: u32, high: bool| {
            let value = self.args[index as usize];
            if high { (value >> 32) as u32 } else { value as u32 }
        };
        match offset {
            0 => self.number,
            4 => self.audit,
            8 | 12 => 0,
            16..64 => argument((offset - 16) / 8, offset % 8 == 4),
            _ => panic!("the kernel refuses a load at {offset}"),
        }
    }
}

/// Runs `program` on `call` and returns the action. Panics where the kernel would have refused the program.
pub(super) fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    loop {
        let Instruction { code, jump_true, jump_false, k } = program[at];
        let jump = |holds: bool| 1 + usize::from(if holds { jump_true } else { jump_false });
        at += match code {
            0x20 => {
                assert!(k % 4 == 0);
                accumulator = call.word(k);
                1
            }
            0x54 => {
                accumulator &= k;
                1
            }
            0x05 => 1 + k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return k,
            other => panic!("unknown operation {other:#x}"),
        };
    }
}

/// Reads the profile for one call, rule by rule, as rules.rs describes it and without its code.
pub(super) fn evaluate(profile: &LinuxSeccomp, arch: Arch, number_called: u32, args: [u64; 6]) -> u32 {
    let value = |action: Action, errno: Option<u32>| match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => 0x8000_0000,
        Action::ScmpActTrap => 0x3_0000,
        Action::ScmpActErrno => 0x5_0000 | errno.unwrap_or(1),
        Action::ScmpActNotify => 0x7fc0_0000,
        Action::ScmpActTrace => 0x7ff0_0000 | errno.unwrap_or(1),
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
    };
    let default = value(profile.default_action(), profile.default_errno_ret());
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let mut last = None;
    let mut found = Vec::new();
    for rule in rules {
        for name in rule.names() {
            let direct = number(name, arch);
            last = last.max(direct);
            let action = value(rule.action(), rule.errno_ret());
            if action == default {
                continue;
            }
            let list = rule.args().as_deref().unwrap_or_default();
            let twice = list.iter().any(|a| list.iter().filter(|b| b.index() == a.index()).count() > 1);
            let sets: Vec<Vec<_>> =
                if twice { list.iter().map(|arg| vec![*arg]).collect() } else { vec![list.to_vec()] };
            for set in sets {
                if direct == Some(number_called) {
                    let free = set.iter().all(|arg| trivial(arg, arch));
                    found.push((free, set.iter().all(|arg| holds(arg, args, arch)), action));
                }
                if let Some((multiplexer, operation)) = multiplexed(name, arch)
                    && number(multiplexer, arch) == Some(number_called)
                {
                    let rest = set.iter().filter(|arg| arg.index() != 0).all(|arg| holds(arg, args, arch));
                    found.push((false, args[0] as u32 == operation as u32 && rest, action));
                }
            }
        }
    }
    let permissive =
        matches!(profile.default_action(), Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace);
    if !permissive && default != 0x5_0026 && last.is_some_and(|last| number_called > last) {
        return 0x5_0026;
    }
    if let Some((_, _, action)) = found.iter().find(|(free, _, _)| *free) {
        return *action;
    }
    found.iter().find(|(_, holds, _)| *holds).map_or(default, |(_, _, action)| *action)
}

fn narrow(arch: Arch) -> bool {
    !matches!(arch, Arch::X86_64 | Arch::Aarch64)
}

fn trivial(arg: &LinuxSeccompArg, arch: Arch) -> bool {
    let value = if narrow(arch) { u64::from(arg.value() as u32) } else { arg.value() };
    value == 0 && matches!(arg.op(), Operator::ScmpCmpGe | Operator::ScmpCmpMaskedEq)
}

fn holds(arg: &LinuxSeccompArg, args: [u64; 6], arch: Arch) -> bool {
    let cut = |value: u64| if narrow(arch) { u64::from(value as u32) } else { value };
    let (given, value) = (cut(args[arg.index()]), cut(arg.value()));
    match arg.op() {
        Operator::ScmpCmpNe => given != value,
        Operator::ScmpCmpLt => given < value,
        Operator::ScmpCmpLe => given <= value,
        Operator::ScmpCmpEq => given == value,
        Operator::ScmpCmpGe => given >= value,
        Operator::ScmpCmpGt => given > value,
        Operator::ScmpCmpMaskedEq => given & value == cut(arg.value_two().unwrap_or(0)) & value,
    }
}
