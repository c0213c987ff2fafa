//! Limits as systemd's properties. systemd writes them into the scope's group, and again whenever it reloads: without being
//! told it would undo what we write into the files ourselves.
//!
//! Source: systemd.resource-control(5), org.freedesktop.systemd1(5).

use oci::runtime::LinuxResources;

use super::dbus::Value;
use crate::cgroup::devices::{Exception, Kind, Rules};
use crate::cgroup::plan::Version;
use crate::cgroup::plan::convert::{Limit, swap_alone, weight_of_shares};

/// Returns the properties of `resources`, which were checked. `devices` is `/proc/devices`: systemd names device groups by it.
pub(super) fn properties(
    resources: &LinuxResources,
    rules: Option<&Rules>,
    version: Version,
    devices: &str,
) -> Vec<(&'static str, Value)> {
    let mut properties = Vec::new();
    if let Some(memory) = resources.memory() {
        let limit = Limit::from_spec(memory.limit());
        let (max, low) = match version {
            Version::V2 => ("MemoryMax", Limit::from_spec(memory.reservation())),
            Version::V1 => ("MemoryLimit", None),
        };
        properties.extend(limit.map(|limit| (max, bytes(limit))));
        properties.extend(low.map(|low| ("MemoryLow", bytes(low))));
        if version == Version::V2 {
            let swap = swap_alone(memory.swap(), memory.limit());
            properties.extend(swap.map(|swap| ("MemorySwapMax", bytes(swap))));
        }
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            properties.push(match version {
                // A weight of zero is systemd's word for cpu.idle.
                Version::V2 if cpu.idle() == Some(1) => ("CPUWeight", Value::U64(0)),
                Version::V2 => ("CPUWeight", Value::U64(weight_of_shares(shares))),
                Version::V1 => ("CPUShares", Value::U64(shares)),
            });
        }
        properties.extend(quota(cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0)));
        let lists = [("AllowedCPUs", cpu.cpus()), ("AllowedMemoryNodes", cpu.mems())];
        for (name, list) in lists {
            properties
                .extend(list.as_deref().filter(|list| !list.is_empty()).map(|list| (name, bit_mask(list))));
        }
    }
    if let Some(pids) = resources.pids() {
        let most = if pids.limit() <= 0 { u64::MAX } else { pids.limit().unsigned_abs() };
        properties.push(("TasksMax", Value::U64(most)));
    }
    if let Some(rules) = rules {
        properties.extend(device_properties(rules, devices));
    }
    properties
}

fn bytes(limit: Limit) -> Value {
    Value::U64(match limit {
        Limit::Max => u64::MAX,
        Limit::Bytes(bytes) => bytes.unsigned_abs(),
    })
}

/// Returns the quota as microseconds a second, in steps of 10 ms a second as systemd keeps it, rounded up.
fn quota(quota: i64, period: u64) -> Vec<(&'static str, Value)> {
    const STEP: u64 = 10_000;
    if quota == 0 && period == 0 {
        return Vec::new();
    }
    let period = if period == 0 { 100_000 } else { period };
    let per_second = match u64::try_from(quota) {
        Ok(quota) if quota > 0 => (quota.saturating_mul(1_000_000) / period).next_multiple_of(STEP),
        _ => u64::MAX,
    };
    vec![("CPUQuotaPeriodUSec", Value::U64(period)), ("CPUQuotaPerSecUSec", Value::U64(per_second))]
}

/// Returns a list such as `0-2,5` as bits, lowest number first.
fn bit_mask(list: &str) -> Value {
    let mut mask = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
            continue;
        };
        for number in first..=last {
            if mask.len() <= number / 8 {
                mask.resize(number / 8 + 1, 0_u8);
            }
            mask[number / 8] |= 1 << (number % 8);
        }
    }
    Value::Bytes(mask)
}

fn device_properties(rules: &Rules, devices: &str) -> Vec<(&'static str, Value)> {
    if rules.default_allow {
        // Exceptions from "everything" cannot be said to systemd: the group's own program or list holds them.
        return vec![("DevicePolicy", Value::Text("auto".into())), ("DeviceAllow", Value::Pairs(Vec::new()))];
    }
    let allowed = rules
        .exceptions
        .iter()
        .filter_map(|exception| Some((device_name(exception, devices)?, exception.access.to_string())));
    vec![("DevicePolicy", Value::Text("strict".into())), ("DeviceAllow", Value::Pairs(allowed.collect()))]
}

/// Returns systemd's name for a device or a group of them; `None` for a major number that this kernel has no driver of.
fn device_name(exception: &Exception, devices: &str) -> Option<String> {
    let kind = if exception.kind == Kind::Char { "char" } else { "block" };
    match (exception.major, exception.minor) {
        (None, _) => Some(format!("{kind}-*")),
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{}", driver_name(kind, major, devices)?)),
    }
}

/// Finds the name of a driver in `/proc/devices`.
fn driver_name<'a>(kind: &str, major: u32, devices: &'a str) -> Option<&'a str> {
    let title = if kind == "char" { "Character devices:" } else { "Block devices:" };
    let section = devices.split_once(title)?.1;
    let lines = section.lines().skip(1).take_while(|line| !line.trim().is_empty());
    let mut pairs = lines.filter_map(|line| line.trim().split_once(' '));
    pairs.find(|(number, _)| number.parse() == Ok(major)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::rules;

    const DEVICES: &str = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n";

    #[test]
    fn limits_become_properties() {
        let json = r#"{"memory":{"limit":1000,"swap":3000,"reservation":10},"cpu":{"shares":1024,"quota":50000,"cpus":"0-1,9"},"pids":{"limit":7}}"#;
        let resources: LinuxResources = serde_json::from_str(json).expect("JSON");
        let number = |value| Value::U64(value);
        assert_eq!(
            properties(&resources, None, Version::V2, DEVICES),
            [
                ("MemoryMax", number(1000)),
                ("MemoryLow", number(10)),
                ("MemorySwapMax", number(2000)),
                ("CPUWeight", number(100)),
                ("CPUQuotaPeriodUSec", number(100_000)),
                ("CPUQuotaPerSecUSec", number(500_000)),
                ("AllowedCPUs", Value::Bytes(vec![3, 2])),
                ("TasksMax", number(7)),
            ]
        );
        let v1 = properties(&resources, None, Version::V1, DEVICES);
        assert!(
            v1.contains(&("MemoryLimit", number(1000))) && v1.contains(&("CPUShares", number(1024))),
            "{v1:?}"
        );
    }

    #[test]
    fn quotas_are_rounded_up_and_unlimited_is_infinity() {
        assert_eq!(quota(33_333, 100_000)[1], ("CPUQuotaPerSecUSec", Value::U64(340_000)));
        assert_eq!(quota(-1, 0)[1], ("CPUQuotaPerSecUSec", Value::U64(u64::MAX)));
        assert!(quota(0, 0).is_empty());
    }

    #[test]
    fn devices_are_named_as_systemd_names_them() {
        let found = device_properties(&rules(&[]).expect("rules"), DEVICES);
        let Value::Pairs(pairs) = &found[1].1 else { panic!("{found:?}") };
        assert_eq!(found[0], ("DevicePolicy", Value::Text("strict".into())));
        for (name, access) in [("char-*", "m"), ("/dev/char/1:3", "rwm"), ("char-pts", "rwm")] {
            assert!(pairs.contains(&(name.into(), access.into())), "{name} in {pairs:?}");
        }
    }
}
