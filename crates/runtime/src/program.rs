//! From the spec's process to what the last steps before its exec need.

use std::ffi::CString;
use std::path::Path;

use oci::runtime::{
    IOPriorityClass, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, LinuxSeccomp, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};
use rustix::thread::CpuSet;
use sys::sched::SchedAttr;

use crate::error::{Error, Result, part};
use crate::init::finish::Program;
use crate::seccomp;

/// Prepares everything that can be decided before the process exists.
pub(crate) fn prepare(
    process: &Process,
    seccomp: Option<&LinuxSeccomp>,
    cache: Option<&Path>,
) -> Result<Program> {
    let user = process.user();
    let seccomp = seccomp
        .map(|profile| {
            seccomp::load_or_compile(profile, cache)
                .map_err(|error| part("prepare the seccomp filter", error))
        })
        .transpose()?;
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let apparmor = text(process.apparmor_profile());
    if apparmor.is_some() && !Path::new("/sys/kernel/security/apparmor").exists() {
        return Err(Error::unsupported("an AppArmor profile", "AppArmor is not enabled in this kernel"));
    }
    let selinux = text(process.selinux_label());
    if selinux.is_some() && !Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::unsupported("an SELinux label", "SELinux is not enabled in this kernel"));
    }
    Ok(Program {
        args: strings(process.args().as_deref().unwrap_or_default()),
        env: strings(&last_of_each(process.env().as_deref().unwrap_or_default())),
        cwd: process.cwd().clone(),
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask(),
        caps: process.capabilities().clone(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        rlimits: process.rlimits().clone().unwrap_or_default(),
        seccomp,
        apparmor,
        selinux,
        scheduler: process.scheduler().as_ref().map(scheduler),
        io_priority: process.io_priority().as_ref().map(|io| {
            let class = match io.class() {
                IOPriorityClass::IoprioClassRt => 1,
                IOPriorityClass::IoprioClassBe => 2,
                IOPriorityClass::IoprioClassIdle => 3,
            };
            (class, u16::try_from(io.priority()).unwrap_or(0))
        }),
        affinity: None,
        memory_policy: None,
        personality: None,
        preserve_fds: 0,
        reaper: false,
    })
}

/// Returns the environment with the last value of each name only: programs would find the first.
fn last_of_each(env: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<String> = env.iter().rev().filter(|entry| seen.insert(name(entry))).cloned().collect();
    kept.reverse();
    kept
}

/// Validation has refused NUL bytes before.
fn strings(list: &[String]) -> Vec<CString> {
    list.iter().filter_map(|text| CString::new(text.as_str()).ok()).collect()
}

fn scheduler(scheduler: &Scheduler) -> SchedAttr {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    SchedAttr {
        policy,
        flags: scheduler.flags().iter().flatten().fold(0, |bits, word| bits | flag(word)),
        nice: scheduler.nice().unwrap_or(0),
        priority: scheduler.priority().and_then(|priority| u32::try_from(priority).ok()).unwrap_or(0),
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    }
}

/// Returns the number of an execution domain.
pub(crate) fn personality(personality: &LinuxPersonality) -> Result<u64> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        return Err(Error::invalid("linux.personality.flags", flag, "no flag is defined"));
    }
    // Source: linux/personality.h.
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 0x0008,
    })
}

/// Returns mode and node mask of a memory policy.
pub(crate) fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<(i32, Vec<u64>)> {
    // Source: linux/mempolicy.h.
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0, |bits, flag| {
        bits | match flag {
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        }
    });
    let nodes = list(policy.nodes().as_deref().unwrap_or(""), 1024).ok_or_else(|| {
        Error::invalid("linux.memoryPolicy.nodes", policy.nodes().clone().unwrap_or_default(), LIST)
    })?;
    let mut mask = vec![0; nodes.iter().max().map_or(0, |highest| highest / 64 + 1)];
    nodes.iter().for_each(|node| mask[node / 64] |= 1 << (node % 64));
    Ok((mode | flags, mask))
}

const LIST: &str = "numbers and ranges such as 0-3,7";

/// Returns a set of processors.
pub(crate) fn cpu_set(field: &str, text: &str) -> Result<CpuSet> {
    let cpus = list(text, CpuSet::MAX_CPU).filter(|cpus| !cpus.is_empty());
    let cpus = cpus.ok_or_else(|| Error::invalid(field, text, LIST))?;
    let mut set = CpuSet::new();
    cpus.into_iter().for_each(|cpu| set.set(cpu));
    Ok(set)
}

/// Parses `0-3,7`; numbers stay below `limit`.
fn list(text: &str, limit: usize) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if first > last || last >= limit {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let env = ["A=1", "B=2", "A=3", "C"].map(str::to_owned);
        assert_eq!(last_of_each(&env), ["B=2", "A=3", "C"]);
    }

    #[test]
    fn lists_have_numbers_and_ranges() {
        assert_eq!(list("0-2, 7", 8), Some(vec![0, 1, 2, 7]));
        for text in ["3-1", "8", "a", "1-", "-1"] {
            assert_eq!(list(text, 8), None, "{text}");
        }
        assert!(cpu_set("x", "").is_err());
    }

    #[test]
    fn memory_policies_become_masks() {
        let json =
            serde_json::json!({"mode": "MPOL_BIND", "nodes": "0,65", "flags": ["MPOL_F_STATIC_NODES"]});
        let policy: LinuxMemoryPolicy = serde_json::from_value(json).unwrap();
        assert_eq!(memory_policy(&policy).unwrap(), (2 | 1 << 15, vec![1, 2]));
    }
}
