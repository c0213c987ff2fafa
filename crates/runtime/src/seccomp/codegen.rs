//! From a [`Policy`] to instructions: architecture, then a binary search over call numbers, then arguments.
//!
//! ```text
//!   load arch ── x86_64? ── load nr ── ≥ 2^30? ── x32 ──┐
//!      │           └ x86? ── load nr ─┐         └ x86_64 ┤      ┌ one action for a range of numbers: return
//!      └ else: kill                   └──────────────────┴ tree ┤
//!                                                               └ conditions: load argument halves, compare
//! ```
//! Neighbouring numbers with the same action are one range. Loads and comparisons of number and architecture are of the
//! kind that the kernel evaluates ahead (since 5.11 it keeps a bitmap of calls that are allowed whatever their arguments).

use super::assemble::{Assembler, Label, Test};
use super::rules::{Abi, Call, Comparison, Condition, KILL_THREAD, NO_SUCH_CALL, Policy, Rule};
use super::syscalls::X32_BIT;
use super::{Arch, Instruction};

/// Offsets in `struct seccomp_data` (`linux/seccomp.h`).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_*` (`linux/audit.h`): the ELF machine, 64-bit, little-endian.
const fn audit_number(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::X32 => 0xc000_003e,
        Arch::X86 => 0x4000_0003,
        Arch::Aarch64 => 0xc000_00b7,
        Arch::Arm => 0x4000_0028,
    }
}

/// Writes the program of `policy`.
pub(super) fn generate(policy: &Policy) -> Vec<Instruction> {
    let mut asm = Assembler::default();
    let mut sections: Vec<(u32, Label)> = Vec::new();
    for arch in [Arch::Arm, Arch::Aarch64, Arch::X86] {
        if let Some(abi) = policy.abis.get(&arch) {
            search(&mut asm, policy, abi, 0);
            sections.push((audit_number(arch), asm.load(NUMBER)));
        }
    }
    let (x86_64, x32) = (policy.abis.get(&Arch::X86_64), policy.abis.get(&Arch::X32));
    if x86_64.is_some() || x32.is_some() {
        sections.push((audit_number(Arch::X86_64), x86_64_section(&mut asm, policy, x86_64, x32)));
    }
    let mut next = asm.ret(KILL_THREAD);
    for (audit, section) in sections {
        next = asm.branch(Test::Equal, audit, section, next);
    }
    asm.go(next);
    asm.load(ARCH);
    asm.finish()
}

/// Writes the part for `AUDIT_ARCH_X86_64`: numbers with bit 30 are x32 calls. A profile that does not name x32 kills
/// them, but for -1, which a tracer sets to skip a call.
fn x86_64_section(asm: &mut Assembler, policy: &Policy, x86_64: Option<&Abi>, x32: Option<&Abi>) -> Label {
    let high = match x32 {
        Some(abi) => search(asm, policy, abi, X32_BIT),
        None => {
            let skipped = asm.ret(policy.default);
            let kill = asm.ret(KILL_THREAD);
            asm.branch(Test::Equal, u32::MAX, skipped, kill)
        }
    };
    let low = match x86_64 {
        Some(abi) => search(asm, policy, abi, 0),
        None => asm.ret(KILL_THREAD),
    };
    asm.branch(Test::GreaterEqual, X32_BIT, high, low);
    asm.load(NUMBER)
}

/// What a range of numbers gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf<'a> {
    Return(u32),
    Conditions(&'a [Rule]),
}

/// Writes the search for a call number, from `first` upwards; returns where it begins. The number is loaded.
fn search(asm: &mut Assembler, policy: &Policy, abi: &Abi, first: u32) -> Label {
    let ranges = ranges(policy, abi, first);
    tree(asm, policy.default, &ranges)
}

/// Cuts the numbers from `first` upwards into ranges: each begins at its number and ends where the next begins.
fn ranges<'a>(policy: &Policy, abi: &'a Abi, first: u32) -> Vec<(u32, Leaf<'a>)> {
    let mut ranges = vec![(first, Leaf::Return(policy.default))];
    for (number, call) in &abi.calls {
        let leaf = match call {
            Call::Always(action) => Leaf::Return(*action),
            Call::When(rules) => Leaf::Conditions(rules),
        };
        begin(&mut ranges, *number, leaf);
        if let Some(next) = number.checked_add(1) {
            begin(&mut ranges, next, Leaf::Return(policy.default));
        }
    }
    if let Some(next) = abi.last.and_then(|last| last.checked_add(1)) {
        begin(&mut ranges, next, Leaf::Return(NO_SUCH_CALL));
    }
    ranges.dedup_by(|later, earlier| matches!(later.1, Leaf::Return(_)) && later.1 == earlier.1);
    ranges
}

/// Begins a range, replacing one that began at the same number. Numbers only grow.
fn begin<'a>(ranges: &mut Vec<(u32, Leaf<'a>)>, number: u32, leaf: Leaf<'a>) {
    if ranges.last().is_some_and(|last| last.0 == number) {
        ranges.pop();
    }
    ranges.push((number, leaf));
}

/// Writes a balanced tree over `ranges`.
fn tree(asm: &mut Assembler, default: u32, ranges: &[(u32, Leaf<'_>)]) -> Label {
    if let [(_, leaf)] = ranges {
        return match leaf {
            Leaf::Return(action) => asm.ret(*action),
            Leaf::Conditions(rules) => conditional(asm, default, rules),
        };
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let from = upper[0].0;
    let upper = tree(asm, default, upper);
    let lower = tree(asm, default, lower);
    asm.branch(Test::GreaterEqual, from, upper, lower)
}

/// Writes the rules of one call: the first that matches returns its action.
fn conditional(asm: &mut Assembler, default: u32, rules: &[Rule]) -> Label {
    let mut otherwise = asm.ret(default);
    for rule in rules.iter().rev() {
        let mut matched = asm.ret(rule.action);
        for condition in rule.conditions.iter().rev() {
            matched = compare(asm, *condition, matched, otherwise);
        }
        otherwise = matched;
    }
    otherwise
}

/// An argument to compare: where its lower half lies, and whether the upper half counts.
#[derive(Debug, Clone, Copy)]
struct Argument {
    offset: u32,
    wide: bool,
}

/// Writes the comparison of one argument, by its two halves.
fn compare(asm: &mut Assembler, condition: Condition, yes: Label, no: Label) -> Label {
    let argument = Argument { offset: ARGUMENTS + 8 * condition.index, wide: condition.wide };
    match condition.comparison {
        Comparison::Masked { mask, value } => equal(asm, argument, (mask, value), yes, no),
        Comparison::NotEqual(value) => equal(asm, argument, (u64::MAX, value), no, yes),
        Comparison::Greater(value) => above(asm, argument, Test::Greater, value, yes, no),
        Comparison::GreaterOrEqual(value) => above(asm, argument, Test::GreaterEqual, value, yes, no),
        Comparison::LessOrEqual(value) => above(asm, argument, Test::Greater, value, no, yes),
        Comparison::Less(value) => above(asm, argument, Test::GreaterEqual, value, no, yes),
    }
}

/// Splits into the upper and the lower half.
fn halves(value: u64) -> (u32, u32) {
    let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    let high = u32::try_from(value >> 32).unwrap_or_default();
    (high, low)
}

/// Writes `argument & mask == value`.
fn equal(asm: &mut Assembler, argument: Argument, (mask, value): (u64, u64), yes: Label, no: Label) -> Label {
    let ((high_mask, low_mask), (high, low)) = (halves(mask), halves(value));
    let mut matched = yes;
    let upper = (argument.offset + 4, if argument.wide { high_mask } else { 0 }, high);
    for (offset, mask, value) in [(argument.offset, low_mask, low), upper] {
        if mask == 0 {
            continue;
        }
        asm.branch(Test::Equal, value, matched, no);
        if mask != u32::MAX {
            asm.and(mask);
        }
        matched = asm.load(offset);
    }
    matched
}

/// Writes `argument > value` or `argument >= value`.
fn above(asm: &mut Assembler, argument: Argument, test: Test, value: u64, yes: Label, no: Label) -> Label {
    let (high, low) = halves(value);
    asm.branch(test, low, yes, no);
    let lower_half = asm.load(argument.offset);
    if !argument.wide {
        return lower_half;
    }
    let same = asm.branch(Test::Equal, high, lower_half, no);
    asm.branch(Test::Greater, high, yes, same);
    asm.load(argument.offset + 4)
}
