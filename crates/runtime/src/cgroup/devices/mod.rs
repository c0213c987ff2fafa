//! Which devices a group may open and make: the rules of `linux.resources.devices` with those that every container gets,
//! brought into one state, then written as a v1 list or as a v2 program.
//!
//! The state is that of the v1 controller: a default, and exceptions from it. A rule for all devices sets the default
//! and forgets the exceptions; others add or take away exceptions (devices.rst). The rules start from "deny all", and
//! the default rules come last, as with runc.
//!
//! Source: kernel `Documentation/admin-guide/cgroup-v1/devices.rst`, `security/device_cgroup.c`; runtime-spec
//! `config-linux.md` "Device allowed list" and "Default Devices".

mod program;
mod v1;
mod v2;

use oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::Error;
use super::folder::Folder;

pub use program::program;

/// Which devices may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What holds for a device that no exception names.
    pub default_allow: bool,
    /// What is allowed although the default denies, or the other way round.
    pub exceptions: Vec<Exception>,
}

/// Devices that are treated unlike the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// Character or block.
    pub kind: Kind,
    /// `None` is every number.
    pub major: Option<u32>,
    /// `None` is every number.
    pub minor: Option<u32>,
    /// To what it applies.
    pub access: Access,
}

/// The kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// What may be done with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make a node (mknod(2)).
    pub mknod: bool,
}

impl Access {
    const NONE: Self = Self { read: false, write: false, mknod: false };
    const ALL: Self = Self { read: true, write: true, mknod: true };
    const MKNOD: Self = Self { read: false, write: false, mknod: true };

    fn union(self, other: Self) -> Self {
        Self {
            read: self.read | other.read,
            write: self.write | other.write,
            mknod: self.mknod | other.mknod,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            read: self.read & !other.read,
            write: self.write & !other.write,
            mknod: self.mknod & !other.mknod,
        }
    }
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (set, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if set {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Exception {
    /// Renders the line that the v1 files take.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == Kind::Char { 'c' } else { 'b' };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

/// What every container may use: any node may be made (it cannot be opened), and runtime-spec's default devices:
/// null, zero, full, random, urandom, tty, pseudo-terminals and their multiplexer.
const DEFAULTS: [(Kind, Option<u32>, Option<u32>, Access); 10] = [
    (Kind::Char, None, None, Access::MKNOD),
    (Kind::Block, None, None, Access::MKNOD),
    (Kind::Char, Some(1), Some(3), Access::ALL),
    (Kind::Char, Some(1), Some(8), Access::ALL),
    (Kind::Char, Some(1), Some(7), Access::ALL),
    (Kind::Char, Some(5), Some(0), Access::ALL),
    (Kind::Char, Some(1), Some(5), Access::ALL),
    (Kind::Char, Some(1), Some(9), Access::ALL),
    (Kind::Char, Some(136), None, Access::ALL),
    (Kind::Char, Some(5), Some(2), Access::ALL),
];

/// Brings the rules of a spec and the default ones into one state.
///
/// Fails with [`Error::Invalid`] for a rule with a bad number or access, or one for all devices that names a number.
pub fn rules(spec: &[LinuxDeviceCgroup]) -> Result<Rules, Error> {
    let mut rules = Rules { default_allow: false, exceptions: Vec::new() };
    for (index, rule) in spec.iter().enumerate() {
        let field = format!("devices[{index}]");
        let (major, minor) = (number(rule.major(), &field, "major")?, number(rule.minor(), &field, "minor")?);
        let access = access(rule.access().as_deref().unwrap_or("rwm"), &field)?;
        let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
            LinuxDeviceType::A => {
                all_devices(&mut rules, rule, (major, minor), &field)?;
                continue;
            }
            LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
            LinuxDeviceType::B => Kind::Block,
            LinuxDeviceType::P => return Err(invalid(&field, "type", "p", "a, b, c or u")),
        };
        rules.add(rule.allow(), Exception { kind, major, minor, access });
    }
    for (kind, major, minor, access) in DEFAULTS {
        rules.add(true, Exception { kind, major, minor, access });
    }
    Ok(rules)
}

/// Sets the default, and forgets the exceptions. The kernel reads "all" as all accesses to all numbers.
fn all_devices(
    rules: &mut Rules,
    rule: &LinuxDeviceCgroup,
    numbers: (Option<u32>, Option<u32>),
    field: &str,
) -> Result<(), Error> {
    if numbers != (None, None) {
        return Err(invalid(field, "type", "a with a number", "c or b where a number is given"));
    }
    *rules = Rules { default_allow: rule.allow(), exceptions: Vec::new() };
    Ok(())
}

impl Rules {
    /// Adds one rule as the kernel's v1 controller does.
    fn add(&mut self, allow: bool, rule: Exception) {
        let same = |other: &&mut Exception| {
            (other.kind, other.major, other.minor) == (rule.kind, rule.major, rule.minor)
        };
        let present = self.exceptions.iter_mut().find(same);
        match (allow == self.default_allow, present) {
            (true, Some(exception)) => exception.access = exception.access.without(rule.access),
            (true, None) => {}
            (false, Some(exception)) => exception.access = exception.access.union(rule.access),
            (false, None) => self.exceptions.push(rule),
        }
        self.exceptions.retain(|exception| exception.access != Access::NONE);
    }
}

fn number(number: Option<i64>, field: &str, part: &str) -> Result<Option<u32>, Error> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(invalid(field, part, &number.to_string(), "a device number, or -1 for all")),
        },
    }
}

fn access(text: &str, field: &str) -> Result<Access, Error> {
    let mut access = Access::NONE;
    for letter in text.chars() {
        match letter {
            'r' => access.read = true,
            'w' => access.write = true,
            'm' => access.mknod = true,
            _ => return Err(invalid(field, "access", &format!("{text:?}"), "letters out of rwm")),
        }
    }
    // Docker writes rules without access as "rwm"; runtime-spec leaves an empty one open.
    Ok(if access == Access::NONE { Access::ALL } else { access })
}

fn invalid(field: &str, part: &str, value: &str, allowed: &str) -> Error {
    Error::Invalid {
        field: format!("{field}.{part}"),
        value: value.into(),
        allowed: format!("allowed is {allowed}"),
    }
}

/// Sets `rules` on a group: by the v1 list where that controller is mounted, else by a program on the v2 group.
pub(super) fn set(v1: Option<&Folder>, unified: Option<&Folder>, rules: &Rules) -> Result<(), Error> {
    match (v1, unified) {
        (Some(folder), _) => v1::set(folder, rules),
        (None, Some(folder)) => v2::set(folder, rules),
        (None, None) => Err(Error::Missing {
            limit: "devices".into(),
            value: "the device rules".into(),
            reason: "neither the v1 controller devices nor cgroup v2 is available".into(),
        }),
    }
}

/// Returns whether this process is in the machine's first user namespace: its map has every number.
pub fn in_initial_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(json: &str) -> (bool, Vec<String>) {
        let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
        let rules = rules(&spec).expect(json);
        (rules.default_allow, rules.exceptions.iter().map(Exception::to_string).collect())
    }

    #[test]
    fn defaults_stand_in_every_container() {
        let (allow, exceptions) = state(r#"[{"allow":false,"access":"rwm"}]"#);
        assert!(!allow);
        assert_eq!(
            exceptions,
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:8 rwm",
                "c 1:7 rwm",
                "c 5:0 rwm",
                "c 1:5 rwm",
                "c 1:9 rwm",
                "c 136:* rwm",
                "c 5:2 rwm"
            ]
        );
        assert_eq!(state("[]"), (false, exceptions));
    }

    #[test]
    fn rules_are_joined() {
        let own = |json: &str| {
            let (allow, all) = state(json);
            let none = state("[]").1;
            (allow, all.into_iter().filter(|line| !none.contains(line)).collect::<Vec<_>>())
        };
        let rows: [(&str, bool, &[&str]); 7] = [
            (r#"[{"allow":true,"type":"a","access":"rwm"}]"#, true, &[]),
            (
                r#"[{"allow":true,"type":"b","major":8,"minor":1,"access":"r"},{"allow":true,"type":"b","major":8,"minor":1,"access":"w"}]"#,
                false,
                &["b 8:1 rw"],
            ),
            (
                r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"m"}]"#,
                false,
                &["c 10:229 rw"],
            ),
            (
                r#"[{"allow":true,"type":"c","major":10,"minor":229},{"allow":false,"type":"c","major":10,"minor":229}]"#,
                false,
                &[],
            ),
            (r#"[{"allow":true,"type":"c","major":10,"minor":229},{"allow":false}]"#, false, &[]),
            (r#"[{"allow":true},{"allow":false,"type":"b","access":"rw"}]"#, true, &["b *:* rw"]),
            (r#"[{"allow":true},{"allow":false,"type":"c","major":1,"minor":3,"access":"rwm"}]"#, true, &[]),
        ];
        for (json, allow, exceptions) in rows {
            assert_eq!(own(json), (allow, exceptions.iter().map(|s| (*s).to_owned()).collect()), "{json}");
        }
    }

    #[test]
    fn bad_rules_are_named() {
        let rows = [
            (r#"[{"allow":true,"type":"c","major":-2,"access":"r"}]"#, "devices[0].major"),
            (r#"[{"allow":true},{"allow":true,"type":"c","access":"rx"}]"#, "devices[1].access"),
            (r#"[{"allow":true,"type":"a","major":1,"access":"r"}]"#, "devices[0].type"),
            (r#"[{"allow":true,"type":"p"}]"#, "devices[0].type"),
        ];
        for (json, expected) in rows {
            let spec: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect(json);
            let error = rules(&spec).expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
