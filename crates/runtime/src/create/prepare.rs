//! Everything that can be decided or opened before the container's process exists.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci::runtime::{LinuxNamespaceType, Process, Spec};
use sys::process::clone_flags;

use super::namespaces::Namespaces;
use crate::cgroup::{self, Join};
use crate::error::{Doing, Error, Result};
use crate::init::finish::Program;
use crate::init::{RootSource, Setup};
use crate::plan::options::PropagationWord;
use crate::plan::{self, BindSource, Facts, Plan};
use crate::request::{CgroupDriver, CreateRequest, Rootfs, Stdio};
use crate::state::{Record, StateDir, VERSION};
use crate::{binds, program, start, validate};

/// A request that was found to be sound, with what follows from it.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) spec: &'a Spec,
    process: &'a Process,
    bundle: PathBuf,
    /// Where the root file system is on the host; empty when it was given as a mount.
    pub(super) root_path: PathBuf,
    pub(super) namespaces: Namespaces,
    plan: Plan,
    program: Program,
}

impl<'a> Prepared<'a> {
    /// Checks the request and decides what will be done. Makes nothing.
    pub(super) fn new(request: &mut CreateRequest<'a>) -> Result<Self> {
        let spec = request.spec;
        validate::spec(spec)?;
        let process = spec.process().as_ref().ok_or_else(|| Error::invalid("process", "", "a process"))?;
        let bundle =
            std::path::absolute(request.bundle).doing(|| format!("find the bundle {:?}", request.bundle))?;
        let namespaces = Namespaces::of(spec, std::mem::take(&mut request.join))?;
        check_stdio(process, &request.stdio, request.console_socket)?;
        refuse_absent(spec)?;
        let facts = Facts {
            // Root of a user namespace may make no devices either: the host's are bound.
            user_namespace: namespaces.has_user || !cgroup::devices::in_initial_user_namespace(),
            terminal: matches!(request.stdio, Stdio::Terminal),
            bundle: bundle.clone(),
        };
        let plan = plan::build(spec, &facts)?;
        let root_path = root_path(spec, &bundle, &request.rootfs)?;
        let program = prepare_program(request, process)?;
        Ok(Self { spec, process, bundle, root_path, namespaces, plan, program })
    }

    /// Returns what is recorded of the container before its process exists.
    pub(super) fn record(&self, id: &str) -> Record {
        record(self.spec, id, &self.bundle, &self.root_path)
    }

    /// Returns whether a user namespace is made, so that its maps must be written.
    pub(super) fn new_user(&self) -> bool {
        self.namespaces.flags & clone_flags::NEWUSER != 0
    }

    /// Returns the sources that the init may ask the runtime to open.
    pub(super) fn sources(&self) -> Vec<BindSource> {
        self.plan.binds.clone()
    }

    /// Lays out what the init needs; the namespaces that must be entered before the clone stay behind.
    pub(super) fn into_setup(
        self,
        request: CreateRequest<'a>,
        dir: &StateDir,
        record: &Record,
        cgroup: Option<Join>,
    ) -> Result<(Setup<'a>, Namespaces)> {
        let Self { spec, process, root_path, mut namespaces, plan, program, .. } = self;
        let privileged = namespaces.caller_may_mount();
        let asks = |bind: &BindSource| privileged && asks(bind, namespaces.has_user);
        let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
        let setup = Setup {
            spec,
            asked_binds: plan.binds.iter().map(asks).collect(),
            plan,
            root: root_source(request.rootfs, &root_path, privileged)?,
            root_path,
            no_pivot: request.no_pivot,
            new_user: namespaces.flags & clone_flags::NEWUSER != 0,
            late_group: request.cgroup == CgroupDriver::Systemd,
            new_mount: namespaces.new_mount,
            shares_mounts: !namespaces.new_mount,
            new_network: namespaces.flags & clone_flags::NEWNET != 0,
            late_namespaces: namespaces.late,
            new_time: namespaces.new_time,
            time_offsets: offsets.map(validate::time_offset_lines).transpose()?.unwrap_or_default(),
            cgroup,
            cgroup_layout: None,
            window: request.console_size.or_else(|| console_size(process)),
            stdio: request.stdio,
            keyring: keyring_name(request.no_new_keyring, request.id),
            hook_state: start::hook_state(record, "creating"),
            start_socket: start::make_socket(dir)?,
            program,
            view: None,
            joined_user: namespaces.first.iter().any(|(kind, _)| *kind == LinuxNamespaceType::User),
            join: std::mem::take(&mut namespaces.join),
        };
        Ok((setup, namespaces))
    }
}

fn prepare_program(request: &CreateRequest<'_>, process: &Process) -> Result<Program> {
    let linux = request.spec.linux().as_ref();
    let seccomp = linux.and_then(|linux| linux.seccomp().as_ref());
    let mut program = program::prepare(process, seccomp, request.seccomp_cache)?;
    program.preserve_fds = request.preserve_fds;
    program.reaper = request.reaper.is_some();
    program.personality =
        linux.and_then(|linux| linux.personality().as_ref()).map(program::personality).transpose()?;
    program.memory_policy =
        linux.and_then(|linux| linux.memory_policy().as_ref()).map(program::memory_policy).transpose()?;
    Ok(program)
}

fn check_stdio(process: &oci::runtime::Process, stdio: &Stdio, socket: Option<&Path>) -> Result<()> {
    let wanted = process.terminal().unwrap_or(false);
    match (wanted, matches!(stdio, Stdio::Terminal)) {
        (true, false) => {
            Err(Error::invalid("process.terminal", "true", "the caller has given other streams"))
        }
        (false, true) => {
            Err(Error::invalid("process.terminal", "false", "the caller has asked for a terminal"))
        }
        (false, false) if socket.is_some() => {
            Err(Error::invalid("console socket", "a path", "only with process.terminal"))
        }
        _ => Ok(()),
    }
}

/// What the specification has and this machine or this program has not.
fn refuse_absent(spec: &Spec) -> Result<()> {
    let rdt = spec.linux().as_ref().and_then(|linux| linux.intel_rdt().as_ref());
    if rdt.is_some() && !Path::new("/sys/fs/resctrl/schemata").exists() {
        return Err(Error::unsupported("linux.intelRdt", "no resource control file system is mounted"));
    }
    if rdt.is_some() {
        return Err(Error::unsupported(
            "linux.intelRdt",
            "this program does not write resource control groups",
        ));
    }
    Ok(())
}

fn root_path(spec: &Spec, bundle: &Path, rootfs: &Rootfs) -> Result<PathBuf> {
    if matches!(rootfs, Rootfs::Mounted(_)) {
        return Ok(PathBuf::new());
    }
    let root =
        spec.root().as_ref().ok_or_else(|| Error::invalid("root", "", "a root file system is needed"))?;
    let path = bundle.join(root.path());
    let real = std::fs::canonicalize(&path).doing(|| format!("find the root file system {path:?}"))?;
    if !real.is_dir() {
        return Err(Error::invalid("root.path", path.to_string_lossy(), "a folder"));
    }
    if real == Path::new("/") {
        return Err(Error::invalid("root.path", path.to_string_lossy(), "not the host's own root"));
    }
    Ok(real)
}

fn record(spec: &Spec, id: &str, bundle: &Path, rootfs: &Path) -> Record {
    let hooks = spec.hooks().as_ref();
    let list = |list: Option<&Vec<oci::runtime::Hook>>| list.cloned().unwrap_or_default();
    Record {
        version: VERSION,
        oci_version: spec.version().clone(),
        id: id.to_owned(),
        pid: 0,
        start_time: 0,
        bundle: bundle.to_owned(),
        rootfs: rootfs.to_owned(),
        created: crate::clock::now(),
        owner: rustix::process::getuid().as_raw().to_string(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        cgroup: cgroup::CgroupPaths::default(),
        poststart: list(hooks.and_then(|hooks| hooks.poststart().as_ref())),
        poststop: list(hooks.and_then(|hooks| hooks.poststop().as_ref())),
        resctrl: None,
        covered_mount: None,
    }
}

/// Whether a bind must be opened outside: in a user namespace the path may be closed to the init, or the mount may not
/// be mapped; and a mount that is to share with the host's must be cloned where that still is.
fn asks(bind: &BindSource, user_namespace: bool) -> bool {
    let tied =
        matches!(bind.options.propagation, Some((PropagationWord::Shared | PropagationWord::Slave, _)));
    user_namespace || bind.idmap.is_some() || tied
}

fn root_source(rootfs: Rootfs, path: &Path, clone: bool) -> Result<RootSource> {
    match rootfs {
        Rootfs::Mounted(tree) => Ok(RootSource::Tree(tree)),
        Rootfs::FromSpec if clone => binds::clone_tree(rustix::fs::CWD, path, true)
            .map(RootSource::Tree)
            .doing(|| format!("bind the root file system {path:?}")),
        Rootfs::FromSpec => Ok(RootSource::Path(path.to_owned())),
    }
}

pub(crate) fn console_size(process: &oci::runtime::Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let cut = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    Some((cut(size.width()), cut(size.height())))
}

fn keyring_name(none: bool, id: &str) -> Option<CString> {
    if none { None } else { CString::new(format!("_ses.{id}")).ok() }
}
