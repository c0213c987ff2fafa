//! Making a container, seen from outside: everything that can be checked or opened before its process exists, the one clone,
//! and the conversation with the init until it waits to be started. Whatever fails is undone in reverse.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::CapabilitySet;
use sys::process::{clone_flags, pidfd_kill};

use crate::binds;
use crate::cgroup::{self, Layout, Manager, OnMissing};
use crate::channel::{Channel, FromInit, ToInit};
use crate::error::{Doing, Error, Result, part};
use crate::hooks::{self, HookState};
use crate::init::{self, RootSource, Setup};
use crate::plan::options::PropagationWord;
use crate::plan::{self, BindSource, Facts};
use crate::procfs::Procfs;
use crate::request::{CgroupDriver, CreateRequest, Created, Rootfs, Stdio};
use crate::spawn::{self, Way};
use crate::state::{Record, StateDir, VERSION, start_time};
use crate::{console, idmap, limits, program, start, validate};

/// How long a group may stay busy after its processes were killed.
const GROUP_PATIENCE: Duration = Duration::from_secs(5);

/// What a half-made container has; [`Undo::run`] takes it away again.
#[derive(Debug, Default)]
struct Undo {
    dir: Option<StateDir>,
    group: Option<Manager>,
    process: Option<(i32, OwnedFd)>,
    /// A root that is attached where others see it, and the mount that was there before.
    covered: Option<(PathBuf, u64)>,
}

impl Undo {
    /// Undoes everything, in reverse. Goes on after an error: the first reason is what the caller needs to know.
    fn run(&mut self) {
        if let Some((_, pidfd)) = self.process.take() {
            kill_and_reap(pidfd.as_fd());
        }
        if let Some((path, before)) = self.covered.take() {
            detach_root(&path, before);
        }
        if let Some(group) = self.group.take() {
            let _ = group.kill_all();
            let _ = group.delete(GROUP_PATIENCE);
        }
        if let Some(dir) = self.dir.take() {
            let _ = dir.remove();
        }
    }
}

/// Kills a process and waits until it is gone, whoever its parent is.
pub(crate) fn kill_and_reap(pidfd: std::os::fd::BorrowedFd<'_>) {
    // Gone already is what is wanted.
    let _ = pidfd_kill(pidfd, 9);
    if waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).is_err() {
        let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
        let wanted = rustix::event::PollFd::from_borrowed_fd(pidfd, rustix::event::PollFlags::IN);
        let _ = rustix::event::poll(&mut [wanted], Some(&limit));
    }
}

/// Returns the mount that a path is on, by the kernel's number.
fn mount_id(path: &Path) -> Option<u64> {
    let flags = rustix::fs::StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(rustix::fs::CWD, path, rustix::fs::AtFlags::NO_AUTOMOUNT, flags).ok()?;
    Some(stat.stx_mnt_id)
}

/// Detaches the root of a container that shared the caller's mount namespace, with everything mounted below it; nothing
/// when the mount `before` is the one that is seen at `path`.
pub(crate) fn detach_root(path: &Path, before: u64) {
    if mount_id(path).is_some_and(|now| now != before) {
        // Another container may have covered it since; what cannot be detached is seen in the mount table.
        let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Makes the container that `request` asks for.
pub(crate) fn create(request: CreateRequest<'_>) -> Result<Created> {
    let mut undo = Undo::default();
    let result = create_or_fail(request, &mut undo);
    match result {
        Ok(created) => {
            if let Some(dir) = &undo.dir {
                dir.unlock();
            }
            Ok(created)
        }
        Err(error) => {
            undo.run();
            Err(error)
        }
    }
}

fn create_or_fail(request: CreateRequest<'_>, undo: &mut Undo) -> Result<Created> {
    let spec = request.spec;
    validate::spec(spec)?;
    let process = spec.process().as_ref().ok_or_else(|| Error::invalid("process", "", "a process"))?;
    let bundle =
        std::path::absolute(request.bundle).doing(|| format!("find the bundle {:?}", request.bundle))?;
    let mut namespaces = Namespaces::of(spec, request.join)?;
    check_stdio(process, &request.stdio, request.console_socket)?;
    refuse_absent(spec)?;
    let facts = Facts {
        // Root of a user namespace may make no devices either: the host's are bound.
        user_namespace: namespaces.has_user || !cgroup::devices::in_initial_user_namespace(),
        terminal: matches!(request.stdio, Stdio::Terminal),
        bundle: bundle.clone(),
    };
    let plan = plan::build(spec, &facts)?;
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let mut program = program::prepare(process, seccomp, request.seccomp_cache)?;
    program.preserve_fds = request.preserve_fds;
    program.reaper = request.reaper.is_some();
    let linux = spec.linux().as_ref();
    program.personality =
        linux.and_then(|l| l.personality().as_ref()).map(program::personality).transpose()?;
    program.memory_policy =
        linux.and_then(|l| l.memory_policy().as_ref()).map(program::memory_policy).transpose()?;

    let dir = &*undo.dir.insert(StateDir::create(request.state_root, request.id)?);
    dir.lock()?;
    let root_path = root_path(spec, &bundle, &request.rootfs)?;
    let mut record = record(spec, request.id, &bundle, &root_path);
    record.covered_mount = if namespaces.new_mount { None } else { mount_id(&root_path) };
    undo.covered = record.covered_mount.map(|id| (root_path.clone(), id));
    let mut warnings = Vec::new();
    let late_group = request.cgroup == CgroupDriver::Systemd;
    if !late_group {
        undo.group = make_group(spec, request.id, request.cgroup, None, &mut warnings)?;
        record.cgroup = undo.group.as_ref().map(|group| group.paths().clone()).unwrap_or_default();
    }
    // From here on a killed create can be cleaned up by what is recorded.
    dir.save(&record)?;
    dir.save_spec(spec)?;

    let privileged = namespaces.caller_may_mount();
    let sources = plan.binds.clone();
    let asked_binds = sources.iter().map(|bind| privileged && asks(bind, namespaces.has_user)).collect();
    let root = root_source(request.rootfs, &root_path, privileged)?;
    let (channel, init_channel) = Channel::pair().doing(|| "make a socket pair".into())?;
    let born_in_group = undo.group.as_ref().and_then(Manager::procs_fd);
    let join = match &undo.group {
        Some(group) => Some(
            group
                .join(born_in_group.is_some())
                .map_err(|error| part("open the cgroup for the init", error))?,
        ),
        None => None,
    };
    let setup = Setup {
        spec,
        plan,
        asked_binds,
        root,
        root_path,
        no_pivot: request.no_pivot,
        new_user: namespaces.flags & clone_flags::NEWUSER != 0,
        late_group,
        new_mount: namespaces.new_mount,
        shares_mounts: !namespaces.new_mount,
        new_network: namespaces.flags & clone_flags::NEWNET != 0,
        late_namespaces: namespaces.late,
        new_time: namespaces.new_time,
        time_offsets: linux
            .and_then(|linux| linux.time_offsets().as_ref())
            .map(validate::time_offset_lines)
            .transpose()?
            .unwrap_or_default(),
        cgroup: join,
        cgroup_layout: None,
        window: request.console_size.or_else(|| console_size(process)),
        stdio: request.stdio,
        keyring: keyring_name(request.no_new_keyring, request.id),
        hook_state: start::hook_state(&record, "creating"),
        start_socket: start::make_socket(dir)?,
        program,
        joined_user: namespaces.first.iter().any(|(kind, _)| *kind == LinuxNamespaceType::User),
        join: std::mem::take(&mut namespaces.join),
    };
    let ends = (init_channel, channel.as_fd().as_raw_fd());
    let (pid, pidfd) = spawn(setup, ends, &namespaces, request.child_of_parent, born_in_group)?;
    let kept = rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).doing(|| "keep the init's descriptor".into())?;
    undo.process = Some((pid, kept));

    if late_group {
        undo.group = make_group(spec, request.id, request.cgroup, Some(pid), &mut warnings)?;
        record.cgroup = undo.group.as_ref().map(|group| group.paths().clone()).unwrap_or_default();
        dir.save(&record)?;
        channel.tell(ToInit::Go).doing(|| "let the init go on".into())?;
    }
    if namespaces.flags & clone_flags::NEWUSER != 0 {
        let maps = |maps: &Option<Vec<LinuxIdMapping>>| maps.clone().unwrap_or_default();
        let users = linux.map(|linux| maps(linux.uid_mappings())).unwrap_or_default();
        let groups = linux.map(|linux| maps(linux.gid_mappings())).unwrap_or_default();
        idmap::write_maps(pid, &users, &groups)?;
        channel.tell(ToInit::Go).doing(|| "let the init go on".into())?;
    }
    warnings.extend(limits::raise(pid, process.rlimits().as_deref().unwrap_or_default()));
    warnings.extend(oom_score(pid, process.oom_score_adj())?);
    crate::netdev::move_links(spec, pid)?;
    let console = converse(
        &channel,
        spec,
        &record,
        pid,
        pidfd.as_fd(),
        &sources,
        request.console_socket,
        &mut warnings,
    )?;

    record.pid = pid;
    record.start_time = start_time(pid).ok_or_else(|| died(pidfd.as_fd()))?;
    dir.save(&record)?;
    if let Some(path) = request.pid_file {
        write_pid_file(path, pid)?;
    }
    channel.tell(ToInit::Recorded).doing(|| "let the init wait for its start".into())?;
    let state_root = request.state_root.to_owned();
    Ok(Created { pid, pidfd, console, warnings, id: request.id.to_owned(), state_root })
}

/// What becomes of each kind of namespace.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// New ones that clone3 makes.
    flags: u64,
    new_mount: bool,
    /// New ones that the init makes itself.
    late: u64,
    new_time: bool,
    has_user: bool,
    /// Strangers are in the process namespace: the init must be hidden before it exists.
    hide_early: bool,
    /// Those that the init enters.
    join: Vec<(LinuxNamespaceType, OwnedFd)>,
    /// Those that are entered before the clone, in this order: that of the users, that of the processes.
    first: Vec<(LinuxNamespaceType, OwnedFd)>,
}

impl Namespaces {
    fn of(spec: &Spec, given: Vec<(LinuxNamespaceType, OwnedFd)>) -> Result<Self> {
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let mut namespaces = Self {
            flags: 0,
            new_mount: false,
            late: 0,
            new_time: false,
            has_user: false,
            hide_early: true,
            join: given,
            first: Vec::new(),
        };
        for namespace in list.into_iter().flatten() {
            let kind = namespace.typ();
            let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
            if namespaces.join.iter().any(|(joined, _)| *joined == kind) {
                continue;
            }
            match path {
                Some(path) => namespaces.join.push((kind, open_namespace(kind, path)?)),
                None => namespaces.make(kind),
            }
        }
        namespaces.has_user = namespaces.flags & clone_flags::NEWUSER != 0
            || namespaces.join.iter().any(|(kind, _)| *kind == LinuxNamespaceType::User);
        if namespaces.join.iter().any(|(kind, _)| *kind == LinuxNamespaceType::Mount) {
            namespaces.new_mount = false;
        }
        // The files of message queues belong to who makes their namespace: the root of the user namespace, which
        // the process is only once its maps are written.
        if namespaces.has_user && namespaces.flags & clone_flags::NEWIPC != 0 {
            namespaces.flags &= !clone_flags::NEWIPC;
            namespaces.late |= clone_flags::NEWIPC;
        }
        refuse_host_sysctls(spec, &namespaces.join)?;
        for wanted in [LinuxNamespaceType::User, LinuxNamespaceType::Pid] {
            let at = namespaces.join.iter().position(|(kind, _)| *kind == wanted);
            namespaces.first.extend(at.map(|at| namespaces.join.remove(at)));
        }
        Ok(namespaces)
    }

    fn make(&mut self, kind: LinuxNamespaceType) {
        match kind {
            LinuxNamespaceType::Mount => {
                self.flags |= clone_flags::NEWNS;
                self.new_mount = true;
            }
            LinuxNamespaceType::Cgroup => self.late |= clone_flags::NEWCGROUP,
            LinuxNamespaceType::Time => self.new_time = true,
            LinuxNamespaceType::Uts => self.flags |= clone_flags::NEWUTS,
            LinuxNamespaceType::Ipc => self.flags |= clone_flags::NEWIPC,
            LinuxNamespaceType::User => self.flags |= clone_flags::NEWUSER,
            LinuxNamespaceType::Network => self.flags |= clone_flags::NEWNET,
            LinuxNamespaceType::Pid => {
                self.flags |= clone_flags::NEWPID;
                self.hide_early = false;
            }
        }
    }

    /// Whether the caller itself may open detached mounts.
    fn caller_may_mount(&self) -> bool {
        rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
    }
}

fn open_namespace(kind: LinuxNamespaceType, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .doing(|| format!("open the {kind} namespace {path:?}"))?;
    /// `linux/magic.h`.
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    let magic = rustix::fs::fstatfs(&file).doing(|| format!("look at {path:?}"))?.f_type as i64;
    if magic != NSFS_MAGIC {
        return Err(Error::invalid("linux.namespaces.path", path.to_string_lossy(), "a namespace"));
    }
    Ok(file)
}

/// A joined namespace that is the caller's own is the host's: its parameters are not the container's to set.
fn refuse_host_sysctls(spec: &Spec, join: &[(LinuxNamespaceType, OwnedFd)]) -> Result<()> {
    let sysctls = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (kind, namespace) in join {
        let prefix = match kind {
            LinuxNamespaceType::Network => "net",
            LinuxNamespaceType::Ipc => "ipc",
            LinuxNamespaceType::Uts => "uts",
            _ => continue,
        };
        let own = rustix::fs::open(
            format!("/proc/self/ns/{prefix}"),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let is_own = own
            .and_then(|own| {
                rustix::fs::open(binds::fd_path(&own), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            })
            .is_ok_and(|own| binds::same_file(own, namespace));
        let names = sysctls.into_iter().flat_map(|sysctls| sysctls.keys());
        let touched = names.into_iter().find(|name| {
            let is_net = validate::sysctl_path(name).starts_with("net/");
            is_net == (prefix == "net")
        });
        if let (true, Some(name)) = (is_own, touched) {
            return Err(Error::invalid("linux.sysctl", name, format!("the {kind} namespace is the host's")));
        }
    }
    Ok(())
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

/// Makes the control group and sets its limits. A caller without rights goes on without one, unless limits are asked for.
///
/// systemd makes a group around a process: there `pid` is the init, which waits for it.
fn make_group(
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
            let _ = group.delete(GROUP_PATIENCE);
            Err(part("limit the container", error))
        }
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

/// Clones the init. It must not be looked at by strangers in a joined process namespace, not even for a moment, so
/// the attribute is set before the clone; where maps must be written first by a caller without rights, after.
fn spawn(
    setup: Setup<'_>,
    (channel, other_end): (Channel, RawFd),
    namespaces: &Namespaces,
    child_of_parent: bool,
    group: Option<std::os::fd::BorrowedFd<'_>>,
) -> Result<(i32, OwnedFd)> {
    if namespaces.hide_early || rustix::process::geteuid().is_root() {
        init::not_dumpable()?;
    }
    let enter = || {
        for (kind, namespace) in &namespaces.first {
            init::namespaces::enter(*kind, namespace.as_fd())?;
        }
        Ok(())
    };
    let has = |wanted| namespaces.first.iter().any(|(kind, _)| *kind == wanted);
    let way = Way::choose(has(LinuxNamespaceType::User), has(LinuxNamespaceType::Pid), child_of_parent);
    let parent = if child_of_parent { clone_flags::PARENT } else { 0 };
    spawn::spawn(way, enter, namespaces.flags | parent, group, || {
        // With a copy of it in the init, the init would not notice that we are gone.
        sys::process::close_copy(other_end);
        init::run(setup, channel)
    })
}

/// Sets the preference of the out-of-memory killer; lowering it needs rights that a rootless caller has not.
pub(crate) fn oom_score(pid: i32, score: Option<i32>) -> Result<Option<String>> {
    let Some(score) = score else { return Ok(None) };
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    match proc.write(&format!("{pid}/oom_score_adj"), score.to_string().as_bytes()) {
        Ok(()) => Ok(None),
        Err(error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            Ok(Some(format!("cannot set oom_score_adj to {score}: {error}")))
        }
        Err(error) => Err(error).doing(|| format!("set oom_score_adj to {score}")),
    }
}

/// Talks with the init until it waits to be started.
fn converse(
    channel: &Channel,
    spec: &Spec,
    record: &Record,
    pid: i32,
    pidfd: std::os::fd::BorrowedFd<'_>,
    sources: &[BindSource],
    socket: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Option<OwnedFd>> {
    let mut console = None;
    loop {
        match channel.listen().doing(|| "hear from the init".into())? {
            Some(FromInit::Ready) => return Ok(console),
            Some(FromInit::Warning(text)) => warnings.push(text),
            Some(FromInit::Console(master)) => match socket {
                Some(path) => console::send(path, &master)?,
                None => console = Some(master),
            },
            Some(FromInit::Listener(listener)) => {
                let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
                let profile = profile.ok_or_else(|| died(pidfd))?;
                start::deliver_listener(profile, &Record { pid, ..record.clone() }, pid, listener)?;
            }
            Some(FromInit::WantBind(index)) => {
                let source = sources.get(index).ok_or_else(|| died(pidfd))?;
                channel.give_bind(&binds::open(source)?).doing(|| "hand a bind mount over".into())?;
            }
            Some(FromInit::RunHooks) => {
                host_hooks(spec, &HookState { pid, ..start::hook_state(record, "creating") })?;
                channel.tell(ToInit::HooksDone).doing(|| "let the init go on".into())?;
            }
            Some(FromInit::Failed(kind, text)) => return Err(Error::Inside { kind, text }),
            Some(FromInit::Child(..)) | None => return Err(died(pidfd)),
        }
    }
}

fn host_hooks(spec: &Spec, state: &HookState) -> Result<()> {
    let Some(all) = spec.hooks() else { return Ok(()) };
    #[allow(deprecated, reason = "engines still use prestart hooks")]
    let prestart = all.prestart().iter().flatten();
    // The words of the time when these were the only ones: runtime-spec 1.0.
    hooks::run_all(prestart, &HookState { status: "created", ..state.clone() }, "prestart")?;
    hooks::run_all(all.create_runtime().iter().flatten(), state, "createRuntime")
}

/// The init ended without a word: killed, most likely for want of memory.
fn died(pidfd: std::os::fd::BorrowedFd<'_>) -> Error {
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok().flatten();
    let how = match status.and_then(|status| status.terminating_signal()) {
        Some(signal) => format!("it was killed by signal {signal} (is the memory limit too low?)"),
        None => "it is gone".to_owned(),
    };
    Error::Inside {
        kind: base::ErrorKind::Internal,
        text: format!("the container's init ended before it was ready: {how}"),
    }
}

/// Writes the process number, by rename: a reader never sees half of it.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let what = || format!("write the pid file {path:?}");
    let name =
        path.file_name().ok_or_else(|| Error::invalid("pid file", path.to_string_lossy(), "a file"))?;
    let next = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    std::fs::write(&next, pid.to_string()).doing(what)?;
    std::fs::rename(&next, path).doing(what)
}
