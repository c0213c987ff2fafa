//! From limits (`linux.resources`) to a list of writes. Pure: nothing here touches the system, so that v1 and v2 can be
//! compared in tables. Devices are planned elsewhere (`devices`).
//!
//! Values are checked first, all of them; an error names field, value and what is allowed, and nothing was written.
//! Zero means "not set" for shares, quota, period, memory and weights, as runc and every engine above it have it.

pub(super) mod convert;
mod v1;
mod v2;
mod validate;

use oci::runtime::LinuxResources;

use super::Error;

/// Which file interface to plan for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// One value to write into one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller that has the file.
    pub controller: String,
    /// The file.
    pub file: String,
    /// What to write.
    pub value: String,
    /// The field of `linux.resources` that asked for it, dotted.
    pub field: String,
    /// What to do when the kernel does not take it.
    pub otherwise: Otherwise,
}

/// What to do when a write fails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// It is an error.
    #[default]
    Fail,
    /// A kernel without that file has nothing to be set.
    SkipMissing,
    /// A kernel without that file has this one, which takes this value.
    Instead(String, String),
    /// The kernel compares the value with another file's (quota with period, memory with swap): try once more
    /// after the other writes of the controller.
    Again,
}

impl Write {
    fn new(
        controller: &str,
        file: impl Into<String>,
        value: impl ToString,
        field: impl Into<String>,
    ) -> Self {
        Self {
            controller: controller.to_owned(),
            file: file.into(),
            value: value.to_string(),
            field: field.into(),
            otherwise: Otherwise::Fail,
        }
    }

    fn otherwise(mut self, otherwise: Otherwise) -> Self {
        self.otherwise = otherwise;
        self
    }
}

/// What is to be done, and what was asked for that this version cannot do.
#[derive(Debug, Default)]
pub struct Plan {
    /// In this order.
    pub writes: Vec<Write>,
    /// Each an [`Error::Missing`].
    pub missing: Vec<Error>,
    /// Refuse when the group uses more memory than the new limit.
    pub check_memory: Option<i64>,
}

impl Plan {
    fn missing(&mut self, field: &str, value: impl ToString, reason: &str) {
        let (limit, value) = (field.to_owned(), value.to_string());
        self.missing.push(Error::Missing { limit, value, reason: reason.to_owned() });
    }

    fn push(&mut self, write: Write) {
        self.writes.push(write);
    }
}

/// Plans the writes for `resources`.
///
/// Fails with [`Error::Invalid`] for a value that is malformed or out of range.
pub fn plan(resources: &LinuxResources, version: Version) -> Result<Plan, Error> {
    validate::validate(resources, version)?;
    let mut plan = match version {
        Version::V1 => v1::plan(resources),
        Version::V2 => v2::plan(resources)?,
    };
    if let Some(memory) =
        resources.memory().as_ref().filter(|memory| memory.check_before_update() == Some(true))
    {
        plan.check_memory = memory.limit().filter(|limit| *limit > 0);
    }
    Ok(plan)
}

/// Returns the controllers that `resources` needs, by their v1 names.
pub(super) fn controllers(resources: &LinuxResources) -> Vec<&'static str> {
    let asked = [
        ("hugetlb", resources.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())),
        ("rdma", resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty())),
        ("net_cls", resources.network().as_ref().is_some_and(|network| network.class_id().is_some())),
        ("net_prio", resources.network().as_ref().is_some_and(|network| network.priorities().is_some())),
    ];
    asked.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests;
