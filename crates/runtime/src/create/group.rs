//! The control group of a new container.

use std::time::Duration;

use oci::runtime::Spec;

use crate::cgroup::{self, Layout, Manager, OnMissing};
use crate::error::{Result, part};
use crate::request::CgroupDriver;

/// How long a group may stay busy after its processes were killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the control group and sets its limits. A caller without rights goes on without one, unless limits are asked for.
///
/// systemd makes a group around a process: there `pid` is the init, which waits for it.
pub(super) fn make(
    spec: &Spec,
    id: &str,
    driver: CgroupDriver,
    pid: Option<i32>,
    warnings: &mut Vec<String>,
) -> Result<Option<Manager>> {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let driver = match driver {
        CgroupDriver::Disabled => return Ok(None),
        CgroupDriver::Cgroupfs => cgroup::Driver::File,
        CgroupDriver::Systemd => cgroup::Driver::Systemd,
    };
    let root = rustix::process::geteuid().is_root() && cgroup::in_initial_user_namespace();
    let make = || {
        let layout = Layout::detect()?;
        let cgroups_path = linux.and_then(|linux| linux.cgroups_path().as_deref());
        Manager::create(&layout, &cgroup::Request { id, cgroups_path, driver, resources, pid })
    };
    let group = match make() {
        Ok(group) => group,
        Err(error) if error.is_denied() && !root => {
            warnings.push(format!("no cgroup: {}", base::error::render_chain(&error)));
            return Ok(None);
        }
        Err(error) => return Err(part("make the cgroup", error)),
    };
    let missing = if root { OnMissing::Refuse } else { OnMissing::Warn };
    match group.apply_new(resources, missing) {
        Ok(said) => {
            warnings.extend(said.iter().map(|warning| base::error::render_chain(&warning.0)));
            Ok(Some(group))
        }
        Err(error) => {
            let _ = group.delete(PATIENCE);
            Err(part("limit the container", error))
        }
    }
}
