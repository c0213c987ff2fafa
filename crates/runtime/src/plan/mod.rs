//! From a spec to the list of operations that build the container's view of the file system. Pure: the list can be
//! printed (`--debug`), compared and tested without root; [`crate::init`] applies it in a flat loop.

pub mod devices;
pub mod options;

use std::path::{Path, PathBuf};

use oci::runtime::{LinuxDeviceType, LinuxIdMapping, LinuxNamespaceType, Mount, Spec};
use sys::mount::attr;

use crate::error::{Error, Result};
use options::{MountOptions, PropagationWord};

/// What the machine and the request say beside the spec.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The container has a user namespace of its own: device nodes cannot be made, only bound.
    pub user_namespace: bool,
    /// The process has a terminal.
    pub terminal: bool,
    /// The bundle, absolute.
    pub bundle: PathBuf,
}

/// One step of building the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupOp {
    /// Mounts a file system, or binds something, on `destination`.
    Mount(MountOp),
    /// Makes a device node.
    MakeNode(Node),
    /// Binds the host's device file of the same kind where nodes cannot be made.
    BindNode {
        /// Where it appears.
        path: PathBuf,
        /// Which entry of [`Plan::binds`].
        bind: usize,
    },
    /// Makes a symbolic link, unless something is there.
    Link {
        /// The link.
        path: PathBuf,
        /// What it holds.
        target: PathBuf,
    },
    /// Makes a folder where it is missing: the working directory.
    EnsureFolder(PathBuf),
    /// Opens the terminal in the container's devpts and binds it on `/dev/console`.
    Console,
    /// Covers a path: a folder by an empty read-only one, anything else by the null device.
    Mask(PathBuf),
    /// Makes the tree at a path read-only.
    ReadonlyPath(PathBuf),
    /// Makes the root read-only.
    ReadonlyRoot,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOp {
    /// Its place in `mounts`, for messages.
    pub index: usize,
    /// Where, inside.
    pub destination: PathBuf,
    /// What.
    pub kind: MountKind,
    /// How.
    pub options: MountOptions,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A new instance of a file system.
    Filesystem {
        /// The type, as the kernel calls it.
        fstype: String,
        /// The source, which most types ignore.
        source: String,
    },
    /// Something of the host: an entry of [`Plan::binds`].
    Bind(usize),
    /// The control groups, whichever version there is.
    Cgroup,
    /// A change of what is mounted there.
    Remount,
}

/// Something of the host that is bound into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindSource {
    /// The path on the host.
    pub path: PathBuf,
    /// Its options; everything but the place is applied when it is opened.
    pub options: MountOptions,
    /// The maps of an idmapped mount: users and groups.
    pub idmap: Option<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>)>,
    /// What it is for, for messages.
    pub what: String,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub path: PathBuf,
    /// Character, block or FIFO.
    pub typ: LinuxDeviceType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Everything that happens to the file system, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What of the host is opened, before the container's process exists where the caller may.
    pub binds: Vec<BindSource>,
    /// The operations.
    pub ops: Vec<SetupOp>,
    /// Propagation of the container's root, `None` for private.
    pub root_propagation: Option<(PropagationWord, bool)>,
}

/// Makes the plan. Fails on what the specification or the kernel's interface does not allow.
pub fn build(spec: &Spec, facts: &Facts) -> Result<Plan> {
    let mut plan = Plan { root_propagation: root_propagation(spec)?, ..Plan::default() };
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let op = plan_mount(spec, facts, index, mount, &mut plan.binds)?;
        plan.ops.push(SetupOp::Mount(op));
    }
    if makes_devices(spec) {
        devices::plan(spec, facts, &mut plan)?;
    }
    if let Some(process) = spec.process().as_ref().filter(|process| process.cwd() != Path::new("/")) {
        plan.ops.push(SetupOp::EnsureFolder(process.cwd().clone()));
    }
    if facts.terminal {
        plan.ops.push(SetupOp::Console);
    }
    let Some(linux) = spec.linux() else { return Ok(plan) };
    let paths = |list: &Option<Vec<String>>| list.iter().flatten().map(PathBuf::from).collect::<Vec<_>>();
    plan.ops.extend(paths(linux.readonly_paths()).into_iter().map(SetupOp::ReadonlyPath));
    plan.ops.extend(paths(linux.masked_paths()).into_iter().map(SetupOp::Mask));
    if spec.root().as_ref().and_then(oci::runtime::Root::readonly).unwrap_or(false) {
        plan.ops.push(SetupOp::ReadonlyRoot);
    }
    Ok(plan)
}

fn root_propagation(spec: &Spec) -> Result<Option<(PropagationWord, bool)>> {
    let Some(word) = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()) else {
        return Ok(None);
    };
    if word.is_empty() {
        return Ok(None);
    }
    let parsed = options::parse([word]).ok().and_then(|options| options.propagation);
    let allowed = "shared, slave, private or unbindable, with or without a leading r";
    parsed.map(Some).ok_or_else(|| Error::invalid("linux.rootfsPropagation", word, allowed))
}

/// Devices are made unless `/dev` itself is bound from the host.
fn makes_devices(spec: &Spec) -> bool {
    !spec.mounts().iter().flatten().any(|mount| {
        let is_dev = mount.destination().components().eq(Path::new("/dev").components());
        is_dev && is_bind(mount)
    })
}

fn is_bind(mount: &Mount) -> bool {
    let words = mount.options().iter().flatten();
    mount.typ().as_deref() == Some("bind") || words.into_iter().any(|word| word == "bind" || word == "rbind")
}

fn plan_mount(
    spec: &Spec,
    facts: &Facts,
    index: usize,
    mount: &Mount,
    binds: &mut Vec<BindSource>,
) -> Result<MountOp> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = destination(mount.destination(), &field("destination"))?;
    let words = mount.options().iter().flatten().map(String::as_str);
    let mut options = options::parse(words).map_err(|word| {
        Error::invalid(field("options"), word, "the kernel's mount interface has no such option")
    })?;
    let kind = if options.remount {
        MountKind::Remount
    } else if is_bind(mount) {
        let source = mount.source().clone().unwrap_or_default();
        if source.as_os_str().is_empty() {
            return Err(Error::invalid(field("source"), "", "a bind mount needs a path of the host"));
        }
        if !options.data.is_empty() && mount.typ().as_deref() == Some("bind") {
            return Err(Error::invalid(
                field("options"),
                options.data.join(","),
                "unknown option for a bind mount",
            ));
        }
        if options.copy_up {
            return Err(Error::invalid(field("options"), "tmpcopyup", "only a tmpfs can copy up"));
        }
        options.bind.get_or_insert(false);
        let idmap = idmap(spec, mount, &options, &field("uidMappings"))?;
        binds.push(BindSource {
            path: facts.bundle.join(source),
            options: options.clone(),
            idmap,
            what: format!("mount on {destination:?}"),
        });
        MountKind::Bind(binds.len() - 1)
    } else {
        plan_filesystem(spec, mount, &mut options, &field)?
    };
    Ok(MountOp { index, destination, kind, options })
}

fn plan_filesystem(
    spec: &Spec,
    mount: &Mount,
    options: &mut MountOptions,
    field: &dyn Fn(&str) -> String,
) -> Result<MountKind> {
    let fstype = match mount.typ().as_deref() {
        Some(fstype) if !fstype.is_empty() && fstype != "none" => fstype.to_owned(),
        _ => {
            return Err(Error::invalid(field("type"), "", "a file system type, or the option bind or rbind"));
        }
    };
    if has_maps(mount) || options.idmap.is_some() {
        return Err(Error::invalid(field("uidMappings"), fstype, "only bind mounts can be idmapped"));
    }
    if options.copy_up && fstype != "tmpfs" {
        return Err(Error::invalid(field("options"), "tmpcopyup", "only a tmpfs can copy up"));
    }
    if fstype == "cgroup" || fstype == "cgroup2" {
        return Ok(MountKind::Cgroup);
    }
    // Pseudo file systems share a superblock; their own read-only flag would reach others.
    let pseudo =
        matches!(fstype.as_str(), "proc" | "sysfs" | "mqueue" | "devpts" | "tmpfs" | "securityfs" | "bpf");
    if options.set & attr::RDONLY != 0 && !pseudo {
        options.superblock.push("ro");
    }
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref()).unwrap_or("");
    if !label.is_empty() && matches!(fstype.as_str(), "tmpfs" | "devpts" | "mqueue") {
        options.data.push(format!("context={label}"));
    }
    let source = mount.source().as_ref().map(|source| source.to_string_lossy().into_owned());
    let source = source.filter(|source| !source.is_empty()).unwrap_or_else(|| fstype.clone());
    Ok(MountKind::Filesystem { fstype, source })
}

fn has_maps(mount: &Mount) -> bool {
    mount.uid_mappings().as_ref().is_some_and(|maps| !maps.is_empty())
        || mount.gid_mappings().as_ref().is_some_and(|maps| !maps.is_empty())
}

/// Returns the maps of an idmapped bind: its own, or with the bare option those of the container.
fn idmap(
    spec: &Spec,
    mount: &Mount,
    options: &MountOptions,
    field: &str,
) -> Result<Option<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>)>> {
    let own =
        (mount.uid_mappings().clone().unwrap_or_default(), mount.gid_mappings().clone().unwrap_or_default());
    match (own.0.is_empty(), own.1.is_empty()) {
        (false, false) => Ok(Some(own)),
        (true, true) if options.idmap.is_none() => Ok(None),
        (true, true) => {
            let linux = spec.linux().as_ref();
            let users = linux.and_then(|linux| linux.uid_mappings().clone()).unwrap_or_default();
            let groups = linux.and_then(|linux| linux.gid_mappings().clone()).unwrap_or_default();
            if users.is_empty() || groups.is_empty() {
                return Err(Error::invalid(
                    field,
                    "",
                    "an idmapped mount needs maps, its own or the container's",
                ));
            }
            Ok(Some((users, groups)))
        }
        _ => Err(Error::invalid(field, "", "user and group maps go together")),
    }
}

/// Returns a destination as an absolute path without `..`.
fn destination(path: &Path, field: &str) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid(field, "", "an absolute path inside the container"));
    }
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    if clean == Path::new("/") {
        return Err(Error::invalid(field, path.to_string_lossy(), "a place below the root"));
    }
    check_proc(clean, path, field)
}

/// What may be mounted below `/proc`: files that other programs emulate there (lxcfs), nothing that we rely on.
pub const PROC_ALLOWED: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

fn check_proc(clean: PathBuf, given: &Path, field: &str) -> Result<PathBuf> {
    let below_proc = clean.starts_with("/proc") && clean != Path::new("/proc");
    if below_proc && !PROC_ALLOWED.iter().any(|allowed| clean == Path::new(allowed)) {
        return Err(Error::invalid(field, given.to_string_lossy(), "nothing may be mounted inside /proc"));
    }
    Ok(clean)
}

/// Returns whether the spec lists a namespace of this kind, new or joined.
pub fn lists_namespace(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.into_iter().flatten().any(|namespace| namespace.typ() == kind)
}

#[cfg(test)]
mod tests;
