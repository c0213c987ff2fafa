//! Device rules as an eBPF program: cgroup v2 has no device files, a program of type `BPF_PROG_TYPE_CGROUP_DEVICE` on the group is
//! asked at each open and mknod.
//!
//! ```text
//!   r2 = kind of device   r3 = access asked for   r4 = major   r5 = minor
//!   for each exception: not this kind, number or access → next; else return the exception's answer
//!   return the default's answer
//! ```
//! An exception that allows must cover all of the access asked for; one that denies must touch any of it.
//!
//! Source: `struct bpf_cgroup_dev_ctx` in `linux/bpf.h`; kernel cgroup-v2.rst "Device controller".

use sys::bpf::Insn;

use super::{Access, Exception, Kind, Rules};

/// `BPF_DEVCG_ACC_MKNOD`, `_READ`, `_WRITE`.
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
/// `BPF_DEVCG_DEV_BLOCK`, `_CHAR`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Registers.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;

/// Operations: `BPF_LDX|BPF_MEM|BPF_W`, `BPF_ALU|…|BPF_K`, `BPF_ALU64|BPF_MOV|BPF_X`, `BPF_JMP|…`.
const LOAD_WORD: u8 = 0x61;
const AND_K: u8 = 0x54;
const SHIFT_RIGHT_K: u8 = 0x74;
const MOVE_X: u8 = 0xbf;
const MOVE_K: u8 = 0xb7;
const JUMP_NOT_EQUAL_K: u8 = 0x55;
const JUMP_EQUAL_K: u8 = 0x15;
const EXIT: u8 = 0x95;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, registers: src << 4 | dst, off, imm }
}

/// Returns the program for `rules`.
pub fn program(rules: &Rules) -> Vec<Insn> {
    let mut program = vec![
        insn(LOAD_WORD, R2, R1, 0, 0),
        insn(AND_K, R2, 0, 0, 0xffff),
        insn(LOAD_WORD, R3, R1, 0, 0),
        insn(SHIFT_RIGHT_K, R3, 0, 0, 16),
        insn(LOAD_WORD, R4, R1, 4, 0),
        insn(LOAD_WORD, R5, R1, 8, 0),
    ];
    for exception in &rules.exceptions {
        program.extend(one(exception, rules.default_allow));
    }
    program.extend([insn(MOVE_K, R0, 0, 0, i32::from(rules.default_allow)), insn(EXIT, 0, 0, 0, 0)]);
    program
}

/// Returns the instructions for one exception; each condition that does not hold jumps behind them.
fn one(exception: &Exception, default_allow: bool) -> Vec<Insn> {
    let kind = if exception.kind == Kind::Char { CHAR } else { BLOCK };
    let mut part = vec![insn(JUMP_NOT_EQUAL_K, R2, 0, 0, kind)];
    if exception.access != Access::ALL {
        let bits = bits(exception.access);
        part.push(insn(MOVE_X, R1, R3, 0, 0));
        if default_allow {
            part.push(insn(AND_K, R1, 0, 0, bits));
        } else {
            part.push(insn(AND_K, R1, 0, 0, (READ | WRITE | MKNOD) & !bits));
        }
        let skip = if default_allow { JUMP_EQUAL_K } else { JUMP_NOT_EQUAL_K };
        part.push(insn(skip, R1, 0, 0, 0));
    }
    for (register, number) in [(R4, exception.major), (R5, exception.minor)] {
        if let Some(number) = number {
            part.push(insn(JUMP_NOT_EQUAL_K, register, 0, 0, number.cast_signed()));
        }
    }
    part.extend([insn(MOVE_K, R0, 0, 0, i32::from(!default_allow)), insn(EXIT, 0, 0, 0, 0)]);
    let len = part.len();
    for (at, insn) in part.iter_mut().enumerate() {
        if matches!(insn.code, JUMP_NOT_EQUAL_K | JUMP_EQUAL_K) {
            insn.off = i16::try_from(len - at - 1).expect("an exception has at most eight instructions");
        }
    }
    part
}

fn bits(access: Access) -> i32 {
    let bit = |set: bool, bit: i32| if set { bit } else { 0 };
    bit(access.read, READ) | bit(access.write, WRITE) | bit(access.mknod, MKNOD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::rules;

    /// Runs the program as the kernel would.
    fn run(program: &[Insn], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_i64; 11];
        let mut at = 0_usize;
        loop {
            let Insn { code, registers: packed, off, imm } = program[at];
            let (dst, src) = (usize::from(packed & 15), usize::from(packed >> 4));
            at += 1;
            match code {
                LOAD_WORD => {
                    registers[dst] =
                        i64::from(context[usize::try_from(off).expect("offset") / 4].cast_unsigned())
                }
                AND_K => registers[dst] &= i64::from(imm),
                SHIFT_RIGHT_K => registers[dst] >>= imm,
                MOVE_X => registers[dst] = registers[src],
                MOVE_K => registers[dst] = i64::from(imm),
                JUMP_NOT_EQUAL_K if registers[dst] != i64::from(imm) => {
                    at += usize::try_from(off).expect("forward")
                }
                JUMP_EQUAL_K if registers[dst] == i64::from(imm) => {
                    at += usize::try_from(off).expect("forward")
                }
                JUMP_NOT_EQUAL_K | JUMP_EQUAL_K => {}
                EXIT => return registers[0] != 0,
                other => panic!("unknown operation {other:#x}"),
            }
        }
    }

    #[test]
    fn programs_answer_as_the_rules_say() {
        let deny = r#"[{"allow":true,"type":"b","major":8,"minor":1,"access":"r"}]"#;
        let rows = [
            (deny, CHAR, READ | WRITE, (1, 3), true),
            (deny, CHAR, READ, (1, 1), false),
            (deny, CHAR, MKNOD, (10, 200), true),
            (deny, BLOCK, MKNOD, (8, 0), true),
            (deny, BLOCK, READ, (8, 1), true),
            (deny, BLOCK, READ | WRITE, (8, 1), false),
            (deny, BLOCK, READ, (8, 2), false),
            (deny, CHAR, READ, (136, 77), true),
            (r#"[{"allow":true}]"#, BLOCK, READ | WRITE, (8, 0), true),
            (
                r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"}]"#,
                BLOCK,
                READ,
                (8, 0),
                true,
            ),
            (
                r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"}]"#,
                BLOCK,
                READ | WRITE,
                (8, 0),
                false,
            ),
            (
                r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"}]"#,
                BLOCK,
                READ | WRITE,
                (9, 0),
                true,
            ),
        ];
        for (json, kind, access, (major, minor), expected) in rows {
            let spec: Vec<oci::runtime::LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
            let program = program(&rules(&spec).expect(json));
            assert_eq!(
                run(&program, kind, access, major, minor),
                expected,
                "{json} {kind} {access} {major}:{minor}"
            );
        }
    }
}
