//! An assembler for classic BPF that works from the end of the program to its beginning.
//!
//! Every jump of BPF goes forward. Written backwards, each target is known when a jump to it is written, so that the
//! distance is known too: a conditional jump reaches 255 instructions, and where that is too short a longer one is put in
//! between.

use std::collections::HashMap;

use super::Instruction;

/// A place in the program: its distance from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// What a jump compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The accumulator equals the operand.
    Equal,
    /// It is greater.
    Greater,
    /// It is greater or equal.
    GreaterEqual,
}

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// `BPF_LD | BPF_W | BPF_ABS`: load four bytes of `struct seccomp_data`.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const JUMP_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const JUMP_GREATER_EQUAL: u16 = 0x35;

/// A program under construction, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    returns: HashMap<u32, Label>,
}

impl Assembler {
    /// Writes a plain instruction in front of what there is.
    fn push(&mut self, code: u16, k: u32) -> Label {
        self.reversed.push(Instruction { code, jump_true: 0, jump_false: 0, k });
        self.here()
    }

    /// Returns the first instruction written so far.
    pub(super) fn here(&self) -> Label {
        Label(self.reversed.len())
    }

    /// Returns how many instructions lie between an instruction written next and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0
    }

    /// Loads the four bytes at `offset` of `struct seccomp_data`, then goes on.
    pub(super) fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, offset)
    }

    /// Masks the accumulator, then goes on.
    pub(super) fn and(&mut self, mask: u32) -> Label {
        self.push(AND, mask)
    }

    /// Returns a place that ends the program with `action`: one within reach where there is one.
    pub(super) fn ret(&mut self, action: u32) -> Label {
        // Two instructions are kept free: a condition may write two long jumps before it uses this place.
        match self.returns.get(&action) {
            Some(label) if self.distance(*label) + 2 <= REACH => *label,
            _ => {
                let label = self.push(RETURN, action);
                self.returns.insert(action, label);
                label
            }
        }
    }

    /// Makes execution go to `target`: nothing to write when `target` comes next anyway.
    pub(super) fn go(&mut self, target: Label) -> Label {
        match self.distance(target) {
            0 => target,
            distance => self.push(JUMP, u32::try_from(distance).unwrap_or(u32::MAX)),
        }
    }

    /// Compares the accumulator with `k`, goes to `yes` or `no`.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        let far = |this: &Self, label| this.distance(label) + 2 > REACH;
        let yes = if far(self, yes) { self.push_jump(yes) } else { yes };
        let no = if far(self, no) { self.push_jump(no) } else { no };
        let code = match test {
            Test::Equal => JUMP_EQUAL,
            Test::Greater => JUMP_GREATER,
            Test::GreaterEqual => JUMP_GREATER_EQUAL,
        };
        let short = |distance: usize| u8::try_from(distance).expect("long jumps were put in between");
        let (jump_true, jump_false) = (short(self.distance(yes)), short(self.distance(no)));
        self.reversed.push(Instruction { code, jump_true, jump_false, k });
        self.here()
    }

    fn push_jump(&mut self, target: Label) -> Label {
        let distance = self.distance(target);
        self.push(JUMP, u32::try_from(distance).unwrap_or(u32::MAX))
    }

    /// Returns the program, first instruction first.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}
