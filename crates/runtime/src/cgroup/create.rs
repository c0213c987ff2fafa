//! Makes the folders of a group.

use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::folder::Folder;
use super::layout::Hierarchy;
use super::{CgroupPaths, Driver, Error, Group, Layout, Manager, Request, plan, systemd};

/// v1 controllers that are joined only when a limit asks for them.
const ONLY_WHEN_ASKED: [&str; 7] = ["perf_event", "net_cls", "net_prio", "hugetlb", "rdma", "misc", "debug"];
/// v2 controllers that are enabled for a container's group where the machine offers them.
const V2_CONTROLLERS: [&str; 8] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc"];
/// How often the folders on the way are made again when somebody removes them.
const TRIES: u32 = 8;
/// The group into which processes are moved that stand in the way at the root of a nested hierarchy.
const INNER: &str = "init";

impl Manager {
    /// Makes the group in every hierarchy that it needs. What was made is removed again when a step fails.
    ///
    /// A group that exists already and is empty is taken as it is, one with processes is refused.
    pub fn create(layout: &Layout, request: &Request<'_>) -> Result<Self, Error> {
        match request.driver {
            Driver::File => {
                let path = group_path(request)?;
                let mut made = Made::default();
                let result = create_folders(layout, request, &path, &mut made);
                result.inspect_err(|_| made.undo())
            }
            Driver::Systemd => systemd::create(layout, request),
        }
    }
}

/// Where a group is wanted: from the root of the hierarchies or from our own group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupPath {
    /// Below the root (of what is mounted).
    Absolute(PathBuf),
    /// Below our own group; on v2 beside it, since a group with processes cannot have limited children.
    Relative(PathBuf),
}

/// Reads `linux.cgroupsPath`. Parts such as `..` are refused.
fn group_path(request: &Request<'_>) -> Result<GroupPath, Error> {
    let default = Path::new(request.id);
    let path = request.cgroups_path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(default);
    let invalid = |allowed: &str| Error::Invalid {
        field: "linux.cgroupsPath".into(),
        value: format!("{path:?}"),
        allowed: allowed.into(),
    };
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(invalid("a path without .. is wanted")),
        }
    }
    if plain.as_os_str().is_empty() {
        return Err(invalid("the root of a hierarchy cannot be a container's group"));
    }
    Ok(if path.is_absolute() { GroupPath::Absolute(plain) } else { GroupPath::Relative(plain) })
}

/// What was made and must go again when a later step fails.
#[derive(Default)]
struct Made {
    folders: Vec<(Folder, PathBuf)>,
}

impl Made {
    fn undo(self) {
        for (parent, name) in self.folders.into_iter().rev() {
            // The first failure is the one to report.
            let _ = parent.remove_below(&name);
        }
    }
}

fn create_folders(
    layout: &Layout,
    request: &Request<'_>,
    path: &GroupPath,
    made: &mut Made,
) -> Result<Manager, Error> {
    let asked = request.resources.map(plan::controllers).unwrap_or_default();
    let mut manager = Manager { paths: CgroupPaths::default(), v1: Vec::new(), unified: None };
    for hierarchy in layout.v1.iter().filter(|hierarchy| is_needed(hierarchy, &asked)) {
        let below = below_mount(hierarchy, path, false);
        let folder = match make(hierarchy, &below, made) {
            // v1 is never delegated; what a plain user was given of v2 is enough.
            Err(error)
                if error.is_denied() && layout.unified.is_some() && !super::in_initial_user_namespace() =>
            {
                continue;
            }
            made => made?,
        };
        if hierarchy.controllers.iter().any(|name| name == "cpuset") {
            inherit_cpuset(hierarchy, &below)?;
        }
        manager.add_v1(hierarchy, folder);
    }
    if let Some(hierarchy) = &layout.unified {
        let below = below_mount(hierarchy, path, true);
        match make(hierarchy, &below, made) {
            Ok(folder) => {
                enable_controllers(hierarchy, &below, &folder);
                manager.paths.unified = Some(folder.path().to_owned());
                manager.unified = Some(folder);
            }
            // Beside v1 the v2 group is a convenience (kill, pressure): a host that mounts it read-only can do without.
            Err(error) if !layout.is_unified() && error.is_denied() && !manager.v1.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(manager)
}

impl Manager {
    pub(super) fn add_v1(&mut self, hierarchy: &Hierarchy, folder: Folder) {
        for controller in &hierarchy.controllers {
            self.paths.v1.insert(controller.clone(), folder.path().to_owned());
        }
        self.v1.push(Group { controllers: hierarchy.controllers.clone(), folder });
    }
}

/// Returns whether a container joins this v1 hierarchy.
pub(super) fn is_needed(hierarchy: &Hierarchy, asked: &[&str]) -> bool {
    hierarchy.controllers.iter().any(|name| match name.strip_prefix("name=") {
        Some(named) => named == "systemd",
        None => asked.contains(&name.as_str()) || !ONLY_WHEN_ASKED.contains(&name.as_str()),
    })
}

/// Returns the path of the group below the hierarchy's mount.
fn below_mount(hierarchy: &Hierarchy, path: &GroupPath, version2: bool) -> PathBuf {
    match path {
        GroupPath::Absolute(path) => path.clone(),
        GroupPath::Relative(path) if version2 => hierarchy.own.parent().unwrap_or(Path::new("")).join(path),
        GroupPath::Relative(path) => hierarchy.own.join(path),
    }
}

/// Makes the folder `below` the hierarchy's mount, with the folders on the way to it, and opens it.
fn make(hierarchy: &Hierarchy, below: &Path, made: &mut Made) -> Result<Folder, Error> {
    let root = open_mount(hierarchy)?;
    let path = || hierarchy.mount.join(below);
    match make_all(hierarchy, &root, below) {
        Ok(()) => {
            let folder = root.open_below(below).map_err(|errno| Error::from_io("open", path(), errno))?;
            made.folders.push((root, below.to_owned()));
            Ok(folder)
        }
        Err(Errno::EXIST) => {
            let folder = root.open_below(below).map_err(|errno| Error::from_io("open", path(), errno))?;
            refuse_occupied(&folder)?;
            Ok(folder)
        }
        Err(errno) => Err(Error::from_io("create", path(), errno)),
    }
}

/// Makes the folder `below` the hierarchy's mount where it is missing, ready for processes, and opens it.
pub(super) fn ensure(hierarchy: &Hierarchy, below: &Path) -> Result<Folder, Error> {
    let root = open_mount(hierarchy)?;
    let fail = |errno| Error::from_io("create", hierarchy.mount.join(below), errno);
    match make_all(hierarchy, &root, below) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(fail(errno)),
    }
    if hierarchy.controllers.iter().any(|name| name == "cpuset") {
        inherit_cpuset(hierarchy, below)?;
    }
    root.open_below(below).map_err(fail)
}

fn open_mount(hierarchy: &Hierarchy) -> Result<Folder, Error> {
    let missing = || Error::Layout(format!("{:?} is not mounted any more", hierarchy.mount));
    Folder::open(&hierarchy.mount)?.ok_or_else(missing)
}

/// Makes the folder `below` and those on the way to it. Somebody may remove an empty one of those at the same moment.
fn make_all(hierarchy: &Hierarchy, root: &Folder, below: &Path) -> Result<(), Errno> {
    let mut result = root.make_below(below);
    for _ in 0..TRIES {
        if result != Err(Errno::NOENT) {
            break;
        }
        result = make_way(hierarchy, root, below).and_then(|()| root.make_below(below));
    }
    result
}

/// Makes the folders above `below`. They stay: other containers share them.
fn make_way(hierarchy: &Hierarchy, root: &Folder, below: &Path) -> Result<(), Errno> {
    let cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
    let parents: Vec<_> = below.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    for parent in parents.into_iter().rev() {
        match root.make_below(parent) {
            Ok(()) if cpuset => {
                let above = root.open_below(
                    parent.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
                )?;
                let folder = root.open_below(parent)?;
                copy_cpuset(&above, &folder)?;
                // New groups below copy the settings by themselves from now on (cpusets.rst 1.9): two writes less a start.
                let _ = folder.write("cgroup.clone_children", "1");
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Fails when a group that exists already has processes: it belongs to somebody else.
fn refuse_occupied(folder: &Folder) -> Result<(), Error> {
    match folder.read("cgroup.procs") {
        Ok(text) if text.is_empty() => Ok(()),
        Ok(_) => Err(Error::Occupied { path: folder.path().to_owned() }),
        Err(Errno::OPNOTSUPP) => Err(Error::Occupied { path: folder.path().to_owned() }),
        Err(errno) => Err(folder.error("read", "cgroup.procs", errno)),
    }
}

/// Gives a v1 cpuset group processors and memory nodes: a new one has none, and no process can enter it.
fn inherit_cpuset(hierarchy: &Hierarchy, below: &Path) -> Result<(), Error> {
    let root = open_mount(hierarchy)?;
    let io = |errno| Error::from_io("set up", hierarchy.mount.join(below), errno);
    let mut ancestors: Vec<_> = below.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    let folder = root.open_below(ancestors[0]).map_err(io)?;
    if !is_unset(&folder, "cpuset.cpus").map_err(io)? && !is_unset(&folder, "cpuset.mems").map_err(io)? {
        return Ok(());
    }
    ancestors.reverse();
    let mut above = root;
    for path in ancestors {
        let folder = open_mount(hierarchy)?.open_below(path).map_err(io)?;
        copy_cpuset(&above, &folder).map_err(io)?;
        above = folder;
    }
    Ok(())
}

fn is_unset(folder: &Folder, file: &str) -> Result<bool, Errno> {
    Ok(folder.read(file)?.trim().is_empty())
}

/// Copies processors and memory nodes from the group above where `folder` has none.
fn copy_cpuset(above: &Folder, folder: &Folder) -> Result<(), Errno> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if is_unset(folder, file)? {
            folder.write(file, above.read(file)?.trim())?;
        }
    }
    Ok(())
}

/// Turns on the controllers for a v2 group: each group on the way lists in `cgroup.subtree_control` what its children get.
///
/// A controller that cannot be had is left out: a limit that needs it fails later and names it, and a container without limits
/// runs (cgroup-v2.rst, "Controlling Controllers", "No Internal Process Constraint").
fn enable_controllers(hierarchy: &Hierarchy, below: &Path, folder: &Folder) {
    let (Ok(root), Ok(have)) = (open_mount(hierarchy), folder.read("cgroup.controllers")) else { return };
    let Ok(offered) = root.read("cgroup.controllers") else { return };
    let have: Vec<_> = have.split_whitespace().collect();
    let wanted: Vec<_> = offered
        .split_whitespace()
        .filter(|name| V2_CONTROLLERS.contains(name) && !have.contains(name))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let given = !super::in_initial_user_namespace();
    enable_in(&root, &wanted, true);
    let mut ancestors: Vec<_> =
        below.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    ancestors.reverse();
    for path in ancestors {
        if let Ok(ancestor) = root.open_below(path) {
            enable_in(&ancestor, &wanted, given);
        }
    }
}

/// Writes `+name …` into `cgroup.subtree_control`: all at once, one by one when that fails. `is_ours`: processes that stand
/// in the way may be moved.
fn enable_in(folder: &Folder, controllers: &[&str], is_ours: bool) {
    const FILE: &str = "cgroup.subtree_control";
    let all: Vec<_> = controllers.iter().map(|name| format!("+{name}")).collect();
    let mut result = folder.write(FILE, &all.join(" "));
    if result == Err(Errno::BUSY) && is_ours && move_inward(folder).is_ok() {
        result = folder.write(FILE, &all.join(" "));
    }
    if result.is_err() {
        for one in &all {
            let _ = folder.write(FILE, one);
        }
    }
}

/// Moves the processes at the root of what is mounted into a group of their own. Only the root of a nested hierarchy (in a
/// container) has processes that forbid limits below it; the machine's root is exempt from the rule. The same goes for a
/// group that was delegated to a plain user.
fn move_inward(root: &Folder) -> Result<(), Errno> {
    match root.make_below(Path::new(INNER)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let inner = root.open_below(Path::new(INNER))?;
    for _ in 0..8 {
        let processes = root.read("cgroup.procs")?;
        if processes.is_empty() {
            break;
        }
        for pid in processes.split_whitespace() {
            match inner.write("cgroup.procs", pid) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(path: Option<&'a str>) -> Request<'a> {
        let cgroups_path = path.map(Path::new);
        Request { id: "web", cgroups_path, driver: Driver::File, resources: None, pid: None }
    }

    #[test]
    fn paths_are_read_and_climbing_is_refused() {
        let absolute = |path: &str| GroupPath::Absolute(path.into());
        let relative = |path: &str| GroupPath::Relative(path.into());
        let rows = [
            (None, relative("web")),
            (Some(""), relative("web")),
            (Some("/brig/web"), absolute("brig/web")),
            (Some("//brig/./web/"), absolute("brig/web")),
            (Some("a/b"), relative("a/b")),
        ];
        for (path, expected) in rows {
            assert_eq!(group_path(&request(path)).expect("valid"), expected, "{path:?}");
        }
        for path in ["/", ".", "/a/../../b", "..", "a/.."] {
            assert!(group_path(&request(Some(path))).is_err(), "{path}");
        }
    }

    #[test]
    fn only_useful_hierarchies_are_joined() {
        let hierarchy = |controllers: &[&str]| Hierarchy {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: "/m".into(),
            own: "own/group".into(),
        };
        let rows: [(&[&str], &[&str], bool); 8] = [
            (&["memory"], &[], true),
            (&["cpu", "cpuacct"], &[], true),
            (&["name=systemd"], &[], true),
            (&["name=elogind"], &[], false),
            (&["perf_event"], &[], false),
            (&["hugetlb"], &[], false),
            (&["hugetlb"], &["hugetlb"], true),
            (&["net_cls", "net_prio"], &["net_prio"], true),
        ];
        for (controllers, asked, expected) in rows {
            assert_eq!(is_needed(&hierarchy(controllers), asked), expected, "{controllers:?}");
        }
        let path = GroupPath::Relative("web".into());
        assert_eq!(below_mount(&hierarchy(&["memory"]), &path, false), Path::new("own/group/web"));
        assert_eq!(below_mount(&hierarchy(&[]), &path, true), Path::new("own/web"));
    }
}
