#!/usr/bin/env python3
"""Writes table.rs: the system call numbers of every architecture that the seccomp compiler knows.

Source of the numbers: the constants `__NR_*` of the crate linux-raw-sys (bindgen over the kernel's own user-space headers;
0.12.1 is Linux 6.17), which the workspace has through rustix. What newer kernels added since then stands in NEWER
below, and Arm's private calls (arch/arm/include/uapi/asm/unistd.h: 0x0f0000 + n) are renamed as libseccomp and every
profile in use name them.

Usage: generate_table.py <folder of linux-raw-sys>/src > table.rs
"""
import pathlib
import re
import sys

ARCHES = ["x86_64", "x86", "x32", "aarch64", "arm"]
X32_BIT = 1 << 30

# Later than Linux 6.17 (or left out by its x86 headers' generator): (name, {architecture: number}).
NEWER = {
    "uprobe": {"x86_64": 336, "x32": 336},
    "listns": dict.fromkeys(ARCHES, 470),
    "rseq_slice_yield": dict.fromkeys(ARCHES, 471),
}
# Constants that are no calls, or a second name of one.
NOT_CALLS = {"OABI_SYSCALL_BASE", "SYSCALL_BASE", "SYSCALL_MASK"}
ALIASES = {("arm", "sync_file_range2")}


def numbers(source: pathlib.Path, arch: str) -> dict[str, int]:
    found = {}
    for line in (source / arch / "general.rs").read_text().splitlines():
        if match := re.match(r"pub const __NR_(\w+): u32 = (\d+);", line):
            if match[1] not in NOT_CALLS and (arch, match[1]) not in ALIASES:
                found[match[1]] = int(match[2]) & ~X32_BIT if arch == "x32" else int(match[2])
        elif match := re.match(r"pub const __ARM_NR_([a-z]\w+): u32 = (\d+);", line):
            found[match[1]] = int(match[2])
    for name, by_arch in NEWER.items():
        if arch in by_arch:
            found.setdefault(name, by_arch[arch])
    return found


def main() -> None:
    tables = [numbers(pathlib.Path(sys.argv[1]), arch) for arch in ARCHES]
    names = sorted(set().union(*tables))
    print("//! System call numbers by name, sorted: x86_64, x86, x32 (without its bit 30), aarch64, arm; -1 where there is none.")
    print("//!")
    print("//! Made by generate_table.py beside this file, which says where the numbers come from. Do not edit.")
    print()
    print("/// A name and its numbers, in the order of [`super::Arch`].")
    print("pub(super) type Row = (&'static str, [i32; 5]);")
    print()
    print("#[rustfmt::skip]")
    print(f"pub(super) static TABLE: [Row; {len(names)}] = [")
    for name in names:
        print(f'    ("{name}", [{", ".join(str(table.get(name, -1)) for table in tables)}]),')
    print("];")


main()
