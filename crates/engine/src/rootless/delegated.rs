//! The control group that somebody delegated to the user: the topmost one above this process that belongs to the user.
//!
//! Source: kernel cgroup-v2.rst, "Delegation"; systemd's CGROUP_DELEGATION.md. Only v2 can be delegated, and processes are moved
//! within what was: a command that was started outside has none, and no limits.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static BASE: OnceLock<Option<String>> = OnceLock::new();

/// Returns the delegated group as a path below the root of the hierarchy (`/user.slice/…`), for a plain user.
pub(crate) fn base() -> Option<&'static str> {
    let find = || {
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mount = mount.into_iter().find(|mount| mount.join("cgroup.controllers").exists())?;
        let own = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        // Our user is 0 here; files of the machine's root are nobody's.
        topmost(&own, |group| {
            let is_ours = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.uid() == 0);
            let folder = mount.join(group.strip_prefix("/").unwrap_or(group));
            is_ours(folder.join("cgroup.procs")) && is_ours(folder)
        })
    };
    BASE.get_or_init(|| super::is_rootless().then(find).flatten()).as_deref()
}

/// Our own group of v2 in the text of `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// The highest of the groups from `own` upwards that are all ours.
fn topmost(own: &Path, is_ours: impl Fn(&Path) -> bool) -> Option<String> {
    let ours = own.ancestors().take_while(|group| *group != Path::new("/") && is_ours(group));
    ours.last().map(|group| group.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_group_of_ours_is_found() {
        let own =
            own_group("12:cpu:/x\n0::/user.slice/user-7.slice/user@7.service/app.slice/a.scope\n").unwrap();
        let delegated = |group: &Path| group.starts_with("/user.slice/user-7.slice/user@7.service");
        assert_eq!(topmost(&own, delegated).as_deref(), Some("/user.slice/user-7.slice/user@7.service"));
        assert_eq!(topmost(&own, |_| false), None);
        assert_eq!(topmost(Path::new("/"), |_| true), None);
    }
}
