"""For tests: compiles profiles with libseccomp, as runc uses it, and prints the programs.

Reads one JSON list of profiles (runtime-spec) from standard input; prints one line of hexadecimal for each: its BPF program.
Needs Debian's python3-seccomp.
"""
import json
import sys
import tempfile

import seccomp

# __NR_SCMP_ERROR: no architecture has such a call.
UNKNOWN = -1
OPERATORS = {
    "NE": seccomp.NE,
    "LT": seccomp.LT,
    "LE": seccomp.LE,
    "EQ": seccomp.EQ,
    "GE": seccomp.GE,
    "GT": seccomp.GT,
    "MASKED_EQ": seccomp.MASKED_EQ,
}
PLAIN = {
    "ALLOW": seccomp.ALLOW,
    "KILL": seccomp.KILL,
    "KILL_THREAD": seccomp.KILL,
    "KILL_PROCESS": seccomp.KILL_PROCESS,
    "TRAP": seccomp.TRAP,
    "LOG": seccomp.LOG,
}


def action(name, errno):
    name = name.removeprefix("SCMP_ACT_")
    errno = 1 if errno is None else errno
    if name == "ERRNO":
        return seccomp.ERRNO(errno)
    if name == "TRACE":
        return seccomp.TRACE(errno)
    return PLAIN[name]


def condition(arg):
    operator = OPERATORS[arg["op"].removeprefix("SCMP_CMP_")]
    if operator == seccomp.MASKED_EQ:
        return seccomp.Arg(arg["index"], operator, arg["value"], arg.get("valueTwo") or 0)
    return seccomp.Arg(arg["index"], operator, arg["value"])


def compile_profile(profile):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    program = seccomp.SyscallFilter(default)
    for arch in profile.get("architectures") or []:
        arch = arch.removeprefix("SCMP_ARCH_").lower()
        if not program.exist_arch(seccomp.Arch(arch)):
            program.add_arch(seccomp.Arch(arch))
    for rule in profile.get("syscalls") or []:
        then = action(rule["action"], rule.get("errnoRet"))
        if then == default:
            continue
        args = [condition(arg) for arg in rule.get("args") or []]
        indexes = [arg["index"] for arg in rule.get("args") or []]
        for name in rule["names"]:
            if seccomp.resolve_syscall(seccomp.Arch(), name) == UNKNOWN:
                continue
            # As runc and crun: conditions on the same argument become rules of their own.
            sets = [[arg] for arg in args] if len(set(indexes)) < len(indexes) else [args]
            for conditions in sets:
                program.add_rule(then, name, *conditions)
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read().hex()


for profile in json.load(sys.stdin):
    print(compile_profile(profile))
