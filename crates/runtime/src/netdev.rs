//! `linux.netDevices`: moves links of the host into the container's network namespace.

use oci::runtime::Spec;

use crate::error::{Error, Result};

/// Moves every link that the spec names into the network namespace of process `pid`.
pub(crate) fn move_links(spec: &Spec, _pid: i32) -> Result<()> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    match devices.and_then(|devices| devices.keys().next()) {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(format!("linux.netDevices {name:?}"), "it is being written")),
    }
}
