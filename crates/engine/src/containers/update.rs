//! `update`: other limits and another restart policy for a container, in the kernel where it runs and in the record.

use std::path::Path;

use docker_types::container::{HostConfig, Resources, RestartPolicy};
use docker_types::validate;
use serde_json::{Value, json};

use super::spec;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::Status;

/// What is to change; what is left at its default stays.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Limits.
    pub resources: Resources,
    /// The restart policy.
    pub restart: Option<RestartPolicy>,
}

impl Engine {
    /// Changes limits and restart policy of a container. Returns what has no effect, in whole sentences.
    ///
    /// The kernel comes first and the record second: what cannot be had changes nothing.
    pub fn update(&self, name: &str, changes: &Changes) -> Result<Vec<String>> {
        let id = self.row(name)?.id;
        let _lock = self.lock(&id)?;
        let row = self.row(id.as_str())?;
        let cannot = |error: Error| match error {
            Error::Invalid(text) => Error::Invalid(format!("Cannot update container {id}: {text}")),
            Error::Conflict(text) => Error::Conflict(format!("Cannot update container {id}: {text}")),
            other => other,
        };
        if matches!(row.status, Status::Removing | Status::Dead) {
            let text = "container is marked for removal and cannot be \"update\"".to_owned();
            return Err(cannot(Error::Conflict(text)));
        }
        let mut changed = row.spec.clone();
        apply(&mut changed.host_config, changes).map_err(cannot)?;
        if !rt_is_there(&changes.resources) {
            return Err(Error::Unsupported(
                "Your kernel does not support CPU real-time scheduler".to_owned(),
            ));
        }
        let before = &row.spec.host_config.resources;
        let alive = self.state_of(&row).status.is_alive();
        if alive {
            self.set_live(&row, &live(&changed.host_config.resources, before))?;
        }
        if let Err(error) = self.db()?.set_spec(&id, &changed) {
            if alive {
                // Best effort: the first error is the one that is told.
                let _ = self.set_live(&row, &live(before, &changed.host_config.resources));
            }
            return Err(error);
        }
        self.record(&[crate::events::of_container(&id, "update")]);
        Ok(self.limit_warnings(&changed))
    }

    fn set_live(&self, row: &ContainerRow, limits: &Value) -> Result<()> {
        if limits.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(());
        }
        let limits = serde_json::from_value(limits.clone())
            .map_err(|error| Error::Invalid(format!("cannot render the limits: {error}")))?;
        runtime::update(&self.roots().run.join("runtime"), row.id.as_str(), &limits)
            .doing(|| format!("cannot update container {}", row.name))
    }
}

/// Merges what changes into what is. The words of the refusals are Docker's.
fn apply(host: &mut HostConfig, changes: &Changes) -> Result<()> {
    let (new, old) = (&changes.resources, &mut host.resources);
    let conflict = |text: &str| Err(Error::Conflict(format!("Conflicting options: {text}")));
    if new.nano_cpus > 0 && old.cpu_period > 0 {
        return conflict("Nano CPUs cannot be updated as CPU Period has already been set");
    }
    if new.nano_cpus > 0 && old.cpu_quota > 0 {
        return conflict("Nano CPUs cannot be updated as CPU Quota has already been set");
    }
    if new.cpu_period > 0 && old.nano_cpus > 0 {
        return conflict("CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if new.cpu_quota > 0 && old.nano_cpus > 0 {
        return conflict("CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    // What was implied when the container was made holds as if it had been said.
    old.memory_swap = spec::swap(old);
    if new.memory > 0 && new.memory_swap == 0 && old.memory_swap > 0 && new.memory > old.memory_swap {
        return Err(Error::Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .to_owned(),
        ));
    }
    merge(old, new);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    validate::resources(old, cpus).map_err(|error| Error::Invalid(error.to_string()))?;
    if let Some(policy) = &changes.restart {
        validate::restart(policy, false).map_err(|error| Error::Invalid(error.to_string()))?;
        if host.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
            return Err(Error::Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned(),
            ));
        }
        host.restart_policy = policy.clone();
    }
    Ok(())
}

fn merge(old: &mut Resources, new: &Resources) {
    let numbers = [
        (&mut old.cpu_shares, new.cpu_shares),
        (&mut old.nano_cpus, new.nano_cpus),
        (&mut old.cpu_period, new.cpu_period),
        (&mut old.cpu_quota, new.cpu_quota),
        (&mut old.cpu_realtime_period, new.cpu_realtime_period),
        (&mut old.cpu_realtime_runtime, new.cpu_realtime_runtime),
        (&mut old.memory, new.memory),
        (&mut old.memory_swap, new.memory_swap),
        (&mut old.memory_reservation, new.memory_reservation),
    ];
    numbers.into_iter().filter(|(_, new)| *new != 0).for_each(|(old, new)| *old = new);
    for (old, new) in [(&mut old.cpuset_cpus, &new.cpuset_cpus), (&mut old.cpuset_mems, &new.cpuset_mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    if new.blkio_weight != 0 {
        old.blkio_weight = new.blkio_weight;
    }
    old.pids_limit = new.pids_limit.or(old.pids_limit);
}

/// Says whether real-time limits are not asked for or there to be had.
fn rt_is_there(new: &Resources) -> bool {
    let asked = new.cpu_realtime_period != 0 || new.cpu_realtime_runtime != 0;
    !asked || Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists()
}

/// What of `now` differs from `before`, as a section `linux.resources`.
fn live(now: &Resources, before: &Resources) -> Value {
    let mut value = json!({});
    let mut set = |section: &str, key: &str, now: i64, before: i64, none: i64| {
        if now != before {
            value[section][key] = json!(if now == 0 { none } else { now });
        }
    };
    let memory = (now.memory, spec::swap(now));
    if memory != (before.memory, spec::swap(before)) {
        // Both, since the one bounds the other.
        set("memory", "limit", memory.0, i64::MIN, -1);
        set("memory", "swap", memory.1, i64::MIN, -1);
    }
    set("memory", "reservation", now.memory_reservation, before.memory_reservation, -1);
    set("cpu", "shares", now.cpu_shares, before.cpu_shares, 1024);
    set("cpu", "period", spec::cpu_period(now), spec::cpu_period(before), 100_000);
    set("cpu", "quota", spec::cpu_quota(now), spec::cpu_quota(before), -1);
    set("cpu", "realtimePeriod", now.cpu_realtime_period, before.cpu_realtime_period, 1_000_000);
    if now.cpu_realtime_runtime != before.cpu_realtime_runtime {
        value["cpu"]["realtimeRuntime"] = json!(now.cpu_realtime_runtime);
    }
    if now.blkio_weight != before.blkio_weight && now.blkio_weight != 0 {
        value["blockIO"]["weight"] = json!(now.blkio_weight);
    }
    let pids = |limits: &Resources| limits.pids_limit.filter(|limit| *limit > 0).unwrap_or(-1);
    if pids(now) != pids(before) {
        value["pids"]["limit"] = json!(pids(now));
    }
    let sets =
        [("cpus", &now.cpuset_cpus, &before.cpuset_cpus), ("mems", &now.cpuset_mems, &before.cpuset_mems)];
    for (key, now, before) in sets {
        if now != before && !now.is_empty() {
            value["cpu"][key] = json!(now);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: i64 = 1 << 20;

    fn limits(change: impl FnOnce(&mut Resources)) -> Resources {
        let mut limits = Resources::default();
        change(&mut limits);
        limits
    }

    fn updated(old: Resources, new: Resources) -> std::result::Result<Resources, String> {
        let mut host = HostConfig { resources: old, ..HostConfig::default() };
        let changes = Changes { resources: new, restart: None };
        apply(&mut host, &changes).map_err(|error| error.to_string())?;
        Ok(host.resources)
    }

    #[test]
    fn what_is_not_named_stays() {
        let old = limits(|old| (old.cpu_shares, old.cpuset_cpus) = (512, "0".to_owned()));
        let new = updated(old, limits(|new| new.pids_limit = Some(-1))).unwrap();
        assert_eq!((new.cpu_shares, new.cpuset_cpus.as_str(), new.pids_limit), (512, "0", Some(-1)));
    }

    #[test]
    fn swap_that_was_implied_holds() {
        let old = || limits(|old| old.memory = 300 * MB);
        let new = updated(old(), limits(|new| new.memory = 500 * MB)).unwrap();
        assert_eq!((new.memory, new.memory_swap), (500 * MB, 600 * MB));
        let refused = updated(old(), limits(|new| new.memory = 700 * MB)).unwrap_err();
        assert!(refused.contains("update the memoryswap at the same time"), "{refused}");
        let both = limits(|new| (new.memory, new.memory_swap) = (700 * MB, -1));
        assert_eq!(updated(old(), both).unwrap().memory_swap, -1);
        // Where nothing was limited nothing is in the way.
        assert!(updated(Resources::default(), limits(|new| new.memory = 100 * MB)).is_ok());
    }

    #[test]
    fn cpus_and_quota_exclude_each_other() {
        let refused = updated(limits(|old| old.nano_cpus = 500_000_000), limits(|new| new.cpu_quota = 5000))
            .unwrap_err();
        assert!(
            refused.contains("CPU Quota cannot be updated as NanoCPUs has already been set"),
            "{refused}"
        );
        let refused =
            updated(limits(|old| old.cpu_period = 50_000), limits(|new| new.nano_cpus = 500_000_000))
                .unwrap_err();
        assert!(
            refused.contains("Nano CPUs cannot be updated as CPU Period has already been set"),
            "{refused}"
        );
        assert!(updated(Resources::default(), limits(|new| new.memory = MB)).unwrap_err().contains("6MB"));
    }

    #[test]
    fn only_what_differs_goes_to_the_kernel() {
        let old = limits(|old| (old.memory, old.memory_swap, old.cpu_shares) = (300 * MB, 600 * MB, 512));
        assert_eq!(live(&old, &old), json!({}));
        let new = limits(|new| (new.memory, new.memory_swap, new.cpu_shares) = (200 * MB, 600 * MB, 512));
        assert_eq!(live(&new, &old), json!({ "memory": { "limit": 200 * MB, "swap": 600 * MB } }));
        let new =
            limits(|new| (new.memory, new.memory_swap, new.nano_cpus) = (300 * MB, 600 * MB, 1_500_000_000));
        assert_eq!(
            live(&new, &old),
            json!({ "cpu": { "shares": 1024, "period": 100_000, "quota": 150_000 } })
        );
        // And back.
        assert_eq!(live(&old, &new), json!({ "cpu": { "shares": 512, "period": 100_000, "quota": -1 } }));
    }
}
