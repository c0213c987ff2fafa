//! The process that becomes the container: from the clone to the exec of the user's program.
//!
//! It runs in the image of the runtime, with one thread, not dumpable: nobody inside can look at it. It takes the
//! plan that was made before the clone and applies it in order; it decides nothing.

mod cgroups;
mod copy_up;
mod cover;
pub(crate) mod finish;
mod mounts;
pub(crate) mod namespaces;
mod nodes;
mod reaper;
mod rootfs;
mod terminal;
mod view;

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use base::{ErrorKind, Kinded};
use oci::runtime::{Hook, LinuxNamespaceType, Spec};

use crate::cgroup::Join;
use crate::channel::{Channel, FromInit, ToInit};
use crate::error::{Doing, Error, Result, part};
use crate::hooks::{self, HookState};
use crate::plan::{MountKind, Plan, SetupOp};
use crate::request::Stdio;

pub(crate) use terminal::{Terminal, open_host as open_terminal};

/// Where the root file system comes from, as the init finds it.
#[derive(Debug)]
pub(crate) enum RootSource {
    /// A detached tree.
    Tree(OwnedFd),
    /// A path that the init clones in its own mount namespace: the caller may not.
    Path(PathBuf),
}

/// Everything that the init needs, prepared before the clone.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) plan: Plan,
    /// Which of `plan.binds` the runtime opens when it is asked; the init opens the others.
    pub(crate) asked_binds: Vec<bool>,
    pub(crate) root: RootSource,
    /// The path of the root on the host, where hooks look for it.
    pub(crate) root_path: PathBuf,
    pub(crate) no_pivot: bool,
    pub(crate) join: Vec<(LinuxNamespaceType, OwnedFd)>,
    pub(crate) new_user: bool,
    /// It was entered before the clone.
    pub(crate) joined_user: bool,
    /// The group is made around the init, which waits for it.
    pub(crate) late_group: bool,
    pub(crate) new_mount: bool,
    /// The mount namespace is another's, or the host's: the root is only changed, and what is mounted stays for others to
    /// see until the container is deleted.
    pub(crate) shares_mounts: bool,
    pub(crate) new_network: bool,
    /// Namespaces that the init makes itself, as `CLONE_NEW*`.
    pub(crate) late_namespaces: u64,
    pub(crate) new_time: bool,
    pub(crate) time_offsets: String,
    pub(crate) cgroup: Option<Join>,
    pub(crate) cgroup_layout: Option<crate::cgroup::Layout>,
    pub(crate) stdio: Stdio,
    pub(crate) window: Option<(u16, u16)>,
    pub(crate) keyring: Option<CString>,
    pub(crate) hook_state: HookState,
    pub(crate) start_socket: OwnedFd,
    pub(crate) program: finish::Program,
    /// The mount of the container's view of `/proc`.
    pub(crate) view: Option<OwnedFd>,
}

/// Runs the init; never returns.
pub(crate) fn run(setup: Setup<'_>, channel: Channel) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| steps(setup, &channel)));
    let (kind, text) = match outcome {
        Ok(Ok(never)) => match never {},
        Ok(Err(error)) => (error.kind(), base::error::render_chain(&error)),
        Err(_) => (ErrorKind::Internal, "the init process panicked".to_owned()),
    };
    // The parent may be gone; there is nobody else to tell.
    let _ = channel.report(&FromInit::Failed(kind, text));
    sys::process::exit_now(1)
}

fn steps(mut setup: Setup<'_>, channel: &Channel) -> Result<std::convert::Infallible> {
    join_and_split(&mut setup, channel)?;
    let console = build_root(&mut setup, channel)?;
    names_and_parameters(&setup)?;
    let warnings = finish::stdio(&setup.stdio, console, setup.program.uid)?;
    for warning in warnings {
        channel.report(&FromInit::Warning(warning)).doing(tell)?;
    }
    finish::foresee(&setup.program, wants_start_hooks(setup.spec))?;
    finish::install_notifying(&mut setup.program, channel)?;
    channel.report(&FromInit::Ready).doing(tell)?;
    expect(channel, ToInit::Recorded)?;
    let Setup { spec, hook_state, start_socket, program, root, join, stdio, .. } = setup;
    // What still leads to the host is closed before anything of the container decides about a path.
    drop((root, join, stdio));
    // Also the copies of what the runtime had open when it made us: a created container may wait for days.
    if !crate::unguard::off("close") {
        let kept = [channel.as_fd(), start_socket.as_fd()];
        sys::process::close_from_except(3 + program.preserve_fds, &kept)
            .doing(|| "close descriptors".into())?;
    }
    let starter = wait_for_start(&start_socket)?;
    drop(start_socket);
    let hooks = spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
    let env = spec.process().as_ref().and_then(|process| process.env().as_deref()).unwrap_or_default();
    let hooked = hooks::run_inside(hooks.into_iter().flatten(), &hook_state, "startContainer", env);
    let (starter, error) = match hooked {
        Ok(()) => finish::exec(program, starter),
        Err(error) => (Some(starter), error),
    };
    let text = base::error::render_chain(&error);
    // The starter may be gone; the exit status still says that it failed.
    let _ = starter.map(|starter| starter.report(&FromInit::Failed(error.kind(), text)));
    let code = match error.kind() {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ => 1,
    };
    sys::process::exit_now(code)
}

/// Enters every namespace, the group and the session that the container lives in.
fn join_and_split(setup: &mut Setup<'_>, channel: &Channel) -> Result<()> {
    if setup.late_group {
        expect(channel, ToInit::Go)?;
    }
    // The group first: its files were opened by the caller, whose rights they carry; and a cgroup namespace starts at
    // the group in which it is made.
    if let Some(join) = setup.cgroup.take() {
        join.join_current().doing(|| "join the container's cgroup".into())?;
    }
    if setup.plan.ops.iter().any(|op| matches!(op, SetupOp::Mount(op) if op.kind == MountKind::Cgroup)) {
        let layout = crate::cgroup::Layout::detect();
        setup.cgroup_layout = Some(layout.map_err(|error| part("read the control groups", error))?);
    }
    namespaces::join(&setup.join)?;
    if setup.new_user {
        expect(channel, ToInit::Go)?;
        crate::idmap::become_root().doing(|| "become root of the user namespace".into())?;
        not_dumpable()?;
    } else if setup.joined_user {
        crate::idmap::become_root().doing(|| "become root of the user namespace".into())?;
    }
    let mapped = setup.new_user || setup.joined_user;
    if setup.new_time && mapped && rustix::process::getpid().is_init() {
        // The file of the offsets belongs to the machine's root while we hide; nobody else is in this process namespace yet.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .doing(|| "open the own files in /proc".into())?;
    }
    namespaces::split(setup.late_namespaces, setup.new_time, &setup.time_offsets)?;
    not_dumpable()?;
    if setup.new_network {
        crate::netdev::loopback_up()?;
    }
    rustix::process::setsid().doing(|| "start a session".into())?;
    if let Some(name) = &setup.keyring {
        finish::keyring(name)?;
    }
    Ok(())
}

/// Builds the root file system and makes it the root. Returns the terminal of the process, if it has one.
fn build_root(setup: &mut Setup<'_>, channel: &Channel) -> Result<Option<OwnedFd>> {
    if setup.new_mount {
        rootfs::stop_propagation(setup.plan.root_propagation)?;
    } else if setup.root_path.as_os_str().is_empty() {
        let why = "it would have to be attached where others see it";
        return Err(Error::unsupported("a mounted root without a mount namespace of its own", why));
    }
    let placed = setup.shares_mounts || wants_host_hooks(setup.spec) || wants_container_hooks(setup.spec);
    let propagation = setup.plan.root_propagation.filter(|_| setup.new_mount);
    let root = rootfs::attach(&setup.root, propagation, placed.then_some(setup.root_path.as_path()))?;
    let terminal = mounts::apply(setup, &root, channel)?;
    if let Some(tree) = setup.view.take() {
        view::attach(&root, tree)?;
    }
    let slave = send_console(terminal, channel)?;
    hooks_around(setup, channel)?;
    // Not before the hooks: they may still put files into the root.
    if is_readonly(setup.spec) {
        cover::readonly_root(&root)?;
    }
    if setup.shares_mounts {
        rootfs::change_root_only(&root)?;
        return Ok(slave);
    }
    rootfs::enter(root, setup.no_pivot, placed)?;
    if let Some((word, below)) = setup.plan.root_propagation {
        rootfs::propagate_root(word, below)?;
    }
    Ok(slave)
}

fn is_readonly(spec: &Spec) -> bool {
    spec.root().as_ref().and_then(oci::runtime::Root::readonly).unwrap_or(false)
}

fn send_console(terminal: Option<terminal::Terminal>, channel: &Channel) -> Result<Option<OwnedFd>> {
    let Some(terminal) = terminal else { return Ok(None) };
    channel.report(&FromInit::Console(terminal.master)).doing(tell)?;
    Ok(Some(terminal.slave))
}

/// Has the hooks of the host run by the parent, then runs those of the container's namespaces.
fn hooks_around(setup: &Setup<'_>, channel: &Channel) -> Result<()> {
    if wants_host_hooks(setup.spec) {
        channel.report(&FromInit::RunHooks).doing(tell)?;
        expect(channel, ToInit::HooksDone)?;
    }
    let hooks = setup.spec.hooks().as_ref().and_then(|hooks| hooks.create_container().as_ref());
    hooks::run_all(hooks.into_iter().flatten(), &setup.hook_state, "createContainer")
}

fn any(list: Option<&Vec<Hook>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// Returns whether the spec has hooks that run outside before the root is changed.
pub(crate) fn wants_host_hooks(spec: &Spec) -> bool {
    #[allow(deprecated, reason = "engines still use prestart hooks")]
    spec.hooks()
        .as_ref()
        .is_some_and(|hooks| any(hooks.prestart().as_ref()) || any(hooks.create_runtime().as_ref()))
}

fn wants_container_hooks(spec: &Spec) -> bool {
    spec.hooks().as_ref().is_some_and(|hooks| any(hooks.create_container().as_ref()))
}

fn wants_start_hooks(spec: &Spec) -> bool {
    spec.hooks().as_ref().is_some_and(|hooks| any(hooks.start_container().as_ref()))
}

fn names_and_parameters(setup: &Setup<'_>) -> Result<()> {
    if let Some(name) = setup.spec.hostname().as_deref().filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes()).doing(|| format!("set the host name to {name:?}"))?;
    }
    if let Some(name) = setup.spec.domainname().as_deref().filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes())
            .doing(|| format!("set the domain name to {name:?}"))?;
    }
    let sysctls = setup.spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    let Some(sysctls) = sysctls.filter(|sysctls| !sysctls.is_empty()) else { return Ok(()) };
    let proc = crate::procfs::Procfs::open().doing(|| "open a procfs".into())?;
    for (name, value) in sysctls {
        let path = format!("sys/{}", crate::validate::sysctl_path(name));
        proc.write(&path, value.as_bytes())
            .doing(|| format!("set the kernel parameter {name} to {value:?}"))?;
    }
    Ok(())
}

/// Waits until somebody connects to the start socket and says `Start`. Who connects and goes away only wanted to
/// know whether we wait.
fn wait_for_start(socket: &OwnedFd) -> Result<Channel> {
    loop {
        let accepted = rustix::net::accept_with(socket, rustix::net::SocketFlags::CLOEXEC);
        let connection = match accepted {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
            result => Channel::from_fd(result.doing(|| "wait to be started".into())?),
        };
        if let Ok(Some(ToInit::Start)) = connection.hear() {
            return Ok(connection);
        }
    }
}

fn expect(channel: &Channel, wanted: ToInit) -> Result<()> {
    match channel.hear().doing(|| "hear from the runtime".into())? {
        Some(message) if message == wanted => Ok(()),
        _ => Err(gone()),
    }
}

fn gone() -> Error {
    Error::Inside {
        kind: ErrorKind::Internal,
        text: "the runtime went away while it made the container".into(),
    }
}

fn tell() -> String {
    "report to the runtime".into()
}

/// Keeps everybody who may trace us only as our user from looking at our memory, descriptors and program.
pub(crate) fn not_dumpable() -> Result<()> {
    if crate::unguard::off("dumpable") {
        return Ok(());
    }
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing(|| "hide the process from tracing".into())
}
