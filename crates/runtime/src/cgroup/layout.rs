//! What hierarchies this machine has, where they are mounted and where in them this process is.
//!
//! Three layouts exist: *unified* (cgroup v2 carries every controller), *legacy* (v1: one mount for each controller or
//! group of controllers) and *hybrid* (v1 carries the controllers, v2 is mounted beside for systemd and may carry
//! those that v1 left over).
//!
//! Source: proc_pid_mountinfo(5), cgroups(7) "/proc/pid/cgroup"; kernel cgroup-v2.rst "Mounting".

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::Error;

/// Where v2 is mounted on a unified machine.
const UNIFIED_MOUNT: &str = "/sys/fs/cgroup";
/// `CGROUP2_SUPER_MAGIC`.
pub(super) const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// `CGROUP_SUPER_MAGIC`.
pub(super) const CGROUP1_MAGIC: u64 = 0x0027_e0eb;

/// The hierarchies that are mounted on this machine, and where in them this process is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The cgroup v2 hierarchy, if mounted.
    pub unified: Option<Hierarchy>,
    /// The v1 hierarchies: one for each mount, with every controller that is mounted there.
    pub v1: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The controllers; for v1 as in the mount options (`cpu`, `cpuacct`, `name=systemd`), for v2 empty.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Our own group, as a path below `mount`, without a leading slash.
    pub own: PathBuf,
}

impl Layout {
    /// Asks the kernel. On a unified machine that is one statfs(2) and `/proc/self/cgroup`; else `/proc/self/mountinfo` too.
    pub fn detect() -> Result<Self, Error> {
        let groups = read("/proc/self/cgroup")?;
        if is_cgroup2(Path::new(UNIFIED_MOUNT)) {
            let own = own_group(&groups, |controllers| controllers.is_empty(), "/");
            let mount = PathBuf::from(UNIFIED_MOUNT);
            return Ok(Self {
                unified: Some(Hierarchy { controllers: Vec::new(), mount, own }),
                v1: Vec::new(),
            });
        }
        Self::parse(&read("/proc/self/mountinfo")?, &groups)
    }

    /// Reads the layout out of the text of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn parse(mountinfo: &str, groups: &str) -> Result<Self, Error> {
        let mut layout = Self::default();
        for mount in mountinfo.lines().filter_map(CgroupMount::parse) {
            if mount.version2 {
                let own = own_group(groups, |controllers| controllers.is_empty(), &mount.root);
                layout.unified.get_or_insert(Hierarchy { controllers: Vec::new(), mount: mount.point, own });
                continue;
            }
            let controllers = controllers_of(groups, &mount.options);
            let known = layout.v1.iter().any(|other| other.controllers == controllers);
            if controllers.is_empty() || known {
                continue;
            }
            let own =
                own_group(groups, |named| named.split(',').any(|name| name == controllers[0]), &mount.root);
            layout.v1.push(Hierarchy { controllers, mount: mount.point, own });
        }
        if layout.unified.is_none() && layout.v1.is_empty() {
            return Err(Error::Layout("no cgroup hierarchy is mounted".into()));
        }
        Ok(layout)
    }

    /// Returns whether v2 carries the resource controllers: no v1 controller is mounted.
    pub fn is_unified(&self) -> bool {
        self.unified.is_some() && self.v1.iter().all(|h| h.controllers.iter().all(|c| c.starts_with("name=")))
    }

    /// Returns the v1 hierarchy that carries `controller`.
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }
}

fn read(path: &'static str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::from_io("read", path, source))
}

/// Returns whether `path` is the mount of a v2 hierarchy.
fn is_cgroup2(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|magic| magic == CGROUP2_MAGIC))
}

/// One line of mountinfo that is of type cgroup or cgroup2.
struct CgroupMount {
    root: String,
    point: PathBuf,
    version2: bool,
    /// The super block's options: a v1 mount names its controllers there.
    options: Vec<String>,
}

impl CgroupMount {
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let version2 = match after.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let options = after.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
        let mut before = before.split(' ').skip(3);
        let (root, point) = (unescape(before.next()?), unescape(before.next()?));
        Some(Self { root, point: point.into(), version2, options })
    }
}

/// Undoes mountinfo's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// Returns the controllers of a v1 mount: those of the line of `/proc/self/cgroup` that shares one with its options.
fn controllers_of(groups: &str, options: &[String]) -> Vec<String> {
    let lines = groups.lines().filter_map(|line| line.split(':').nth(1));
    let named = lines.filter(|controllers| !controllers.is_empty());
    let mut named = named.map(|controllers| controllers.split(',').map(str::to_owned).collect::<Vec<_>>());
    named.find(|controllers| controllers.iter().any(|name| options.contains(name))).unwrap_or_default()
}

/// Returns our own group in the hierarchy that `is_it` picks, below the group `root` that is mounted.
fn own_group(groups: &str, is_it: impl Fn(&str) -> bool, root: &str) -> PathBuf {
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        is_it(controllers).then_some(path)
    });
    // In a container whose mount shows only a part of the hierarchy, our group lies below that part.
    let path = Path::new(path.unwrap_or("/"));
    let below = path.strip_prefix(root).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if plain { below.to_owned() } else { PathBuf::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:7 master:2 - cgroup cgroup rw,memory
36 31 0:32 / /else\\040where rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_GROUPS: &str = "\
9:name=systemd:/user.slice/session-1.scope
4:memory:/boss/one
1:cpuacct,cpu:/
0::/user.slice/session-1.scope
";

    #[test]
    fn hybrid_is_read() {
        let layout = Layout::parse(HYBRID_MOUNTS, HYBRID_GROUPS).expect("parse");
        assert!(!layout.is_unified());
        assert_eq!(layout.v1.len(), 3, "{layout:?}");
        let memory = layout.v1("memory").expect("memory");
        assert_eq!(
            (memory.mount.to_str(), memory.own.to_str()),
            (Some("/sys/fs/cgroup/memory"), Some("boss/one"))
        );
        assert_eq!(layout.v1("cpu"), layout.v1("cpuacct"));
        assert_eq!(layout.v1("cpu").expect("cpu").own, Path::new(""));
        assert_eq!(layout.unified.expect("v2").own, Path::new("user.slice/session-1.scope"));
        assert!(layout.v1.iter().any(|h| h.controllers == ["name=systemd"]));
    }

    #[test]
    fn a_partial_mount_in_a_container_is_read() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let layout = Layout::parse(mounts, "4:memory:/docker/abc/inner\n").expect("parse");
        assert_eq!(layout.v1[0].own, Path::new("inner"));
        let outside = Layout::parse(mounts, "4:memory:/../other\n").expect("parse");
        assert_eq!(outside.v1[0].own, Path::new(""));
    }

    #[test]
    fn unified_is_read_and_none_is_an_error() {
        let mounts = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let layout = Layout::parse(mounts, "0::/user.slice/app\n").expect("parse");
        assert!(layout.is_unified());
        assert!(Layout::parse("", "0::/\n").is_err());
    }
}
