//! What a container without a control group cannot have. Where nobody delegated one to a plain user, limits are not had, and
//! that is said for each.

use docker_types::ContainerSpec;
use docker_types::container::Resources;

use crate::Engine;
use crate::config::CgroupSetting;

impl Engine {
    /// Who keeps the control groups: a plain user's command itself where one is delegated, else nobody.
    pub(crate) fn cgroups(&self) -> CgroupSetting {
        match (super::is_rootless(), self.config().runtime.cgroups) {
            (true, CgroupSetting::Cgroupfs) if super::delegated::base().is_some() => CgroupSetting::Cgroupfs,
            (true, _) => CgroupSetting::Disabled,
            (false, setting) => setting,
        }
    }

    /// Says which limits of a request will not be had.
    pub(crate) fn limit_warnings(&self, spec: &ContainerSpec) -> Vec<String> {
        if self.cgroups() != CgroupSetting::Disabled {
            return Vec::new();
        }
        let why = match super::is_rootless() {
            true => {
                "no control group is delegated to this session; run as root for limits, or in `systemd-run --user --scope -p Delegate=yes`"
            }
            false => "control groups are disabled in brig.toml",
        };
        let list = asked(&spec.host_config.resources).into_iter();
        list.map(|name| format!("Limitation discarded: {name} has no effect: {why}")).collect()
    }
}

/// The options by which limits were asked for.
fn asked(limits: &Resources) -> Vec<&'static str> {
    let list = [
        (limits.memory != 0, "--memory"),
        (limits.memory_reservation != 0, "--memory-reservation"),
        (limits.memory_swap != 0, "--memory-swap"),
        (limits.memory_swappiness.is_some_and(|value| value >= 0), "--memory-swappiness"),
        (limits.oom_kill_disable == Some(true), "--oom-kill-disable"),
        (limits.nano_cpus != 0, "--cpus"),
        (limits.cpu_shares != 0, "--cpu-shares"),
        (limits.cpu_quota != 0, "--cpu-quota"),
        (limits.cpu_period != 0, "--cpu-period"),
        (limits.cpu_realtime_period != 0, "--cpu-rt-period"),
        (limits.cpu_realtime_runtime != 0, "--cpu-rt-runtime"),
        (!limits.cpuset_cpus.is_empty(), "--cpuset-cpus"),
        (!limits.cpuset_mems.is_empty(), "--cpuset-mems"),
        (limits.blkio_weight != 0, "--blkio-weight"),
        (!limits.blkio_weight_device.is_empty(), "--blkio-weight-device"),
        (!limits.blkio_device_read_bps.is_empty(), "--device-read-bps"),
        (!limits.blkio_device_write_bps.is_empty(), "--device-write-bps"),
        (!limits.blkio_device_read_iops.is_empty(), "--device-read-iops"),
        (!limits.blkio_device_write_iops.is_empty(), "--device-write-iops"),
        (limits.pids_limit.is_some_and(|limit| limit > 0), "--pids-limit"),
        (!limits.cgroup_parent.is_empty(), "--cgroup-parent"),
        (limits.device_cgroup_rules.as_ref().is_some_and(|rules| !rules.is_empty()), "--device-cgroup-rule"),
    ];
    list.into_iter().filter_map(|(asked, name)| asked.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named() {
        assert!(asked(&Resources::default()).is_empty());
        let limits = Resources {
            memory: 1 << 26,
            nano_cpus: 5,
            pids_limit: Some(10),
            cpuset_cpus: "0".to_owned(),
            ..Resources::default()
        };
        assert_eq!(asked(&limits), ["--memory", "--cpus", "--cpuset-cpus", "--pids-limit"]);
    }
}
