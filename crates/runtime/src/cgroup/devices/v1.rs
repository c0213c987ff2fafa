//! Writes device rules into a v1 group.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Folder, Rules};
use crate::cgroup::Error;
use crate::cgroup::folder::write_once;

/// What `devices.list` says of a group that may use everything.
const EVERYTHING: &str = "a *:* rwm";

/// Sets `rules`: first the default, then each exception, one write each into a file that stays open.
pub(super) fn set(folder: &Folder, rules: &Rules) -> Result<(), Error> {
    let (all, exceptions) = if rules.default_allow {
        ("devices.allow", "devices.deny")
    } else {
        ("devices.deny", "devices.allow")
    };
    // In a nested group the kernel refuses to allow everything anew, though it is allowed already.
    let open_already =
        rules.default_allow && folder.read("devices.list").is_ok_and(|list| list.trim() == EVERYTHING);
    if !open_already {
        folder.write(all, "a").map_err(|errno| folder.error("set device rules of", all, errno))?;
    }
    if rules.exceptions.is_empty() {
        return Ok(());
    }
    let fail = |errno: Errno| folder.error("set device rules of", exceptions, errno);
    let file = folder.open_to_write(exceptions).map_err(fail)?;
    for exception in &rules.exceptions {
        write_once(file.as_fd(), &exception.to_string()).map_err(fail)?;
    }
    Ok(())
}
