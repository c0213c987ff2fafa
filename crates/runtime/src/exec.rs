//! Running one more process inside a container: one clone, born in the container's group and process namespace, which
//! enters the other namespaces by the init's descriptor and becomes the program.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use base::{ErrorKind, Kinded};
use oci::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces};
use sys::process::{clone_flags, exit_now};

use crate::cgroup::Join;
use crate::channel::{Channel, FromInit};
use crate::create::{kill_and_reap, oom_score, write_pid_file};
use crate::error::{Doing, Error, Result, part};
use crate::init::finish::{self, Program};
use crate::init::{self, Terminal, open_terminal};
use crate::procfs::Procfs;
use crate::request::{ExecRequest, Executed, Stdio};
use crate::spawn::{self, Way};
use crate::state::{Record, Status, is_alive};
use crate::{console, create, idmap, lifecycle, limits, program, start, validate};

/// What the process needs, prepared before the clone.
struct Joiner<'a> {
    init: OwnedFd,
    kinds: ThreadNameSpaceType,
    enters_user: bool,
    /// The root of a container that has no mount namespace of its own.
    root: Option<OwnedFd>,
    cgroup: Option<Join>,
    stdio: &'a Stdio,
    window: Option<(u16, u16)>,
    program: Program,
}

/// Runs the process that `request` asks for.
pub(crate) fn exec(request: ExecRequest<'_>) -> Result<Executed> {
    validate::process(request.process, "process")?;
    let (dir, record) = lifecycle::recorded(request.state_root, request.id)?;
    let status = dir.status(&record);
    let allowed = matches!(status, Status::Created | Status::Running)
        || (status == Status::Paused && request.ignore_paused);
    if !allowed {
        let (id, status) = (request.id.to_owned(), status.to_string());
        return Err(Error::Status { id, action: "run a process in", status });
    }
    if request.process.terminal().unwrap_or(false) != matches!(request.stdio, Stdio::Terminal) {
        return Err(Error::invalid(
            "process.terminal",
            "",
            "a terminal where the streams are one, and only there",
        ));
    }
    let spec = dir.load_spec()?;
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let mut program = program::prepare(request.process, profile, request.seccomp_cache)?;
    program.preserve_fds = request.preserve_fds;
    let linux = spec.linux().as_ref();
    program.personality =
        linux.and_then(|l| l.personality().as_ref()).map(program::personality).transpose()?;
    let affinity = request.process.exec_cpu_affinity().as_ref();
    let set =
        |text: &Option<String>| text.as_deref().map(|text| program::cpu_set("process.execCPUAffinity", text));
    let initial = affinity.and_then(|affinity| set(affinity.initial())).transpose()?;
    program.affinity = affinity.and_then(|affinity| set(affinity.cpu_affinity_final())).transpose()?;

    let init = open_init(&record)?;
    let (kinds, enters_user) = differing(&record)?;
    let group = if record.cgroup.is_empty() { None } else { Some(sub_group(&record, request.sub_cgroup)?) };
    let born_in = group.as_ref().and_then(crate::cgroup::Manager::procs_fd);
    let cgroup = group
        .as_ref()
        .map(|group| {
            group.join(born_in.is_some()).map_err(|error| part("open the container's cgroup", error))
        })
        .transpose()?;
    let root = record.covered_mount.map(|_| open_root(&record)).transpose()?;
    let (channel, inner) = Channel::pair().doing(|| "make a socket pair".into())?;
    let joiner = Joiner {
        init,
        kinds,
        enters_user,
        root,
        cgroup,
        stdio: &request.stdio,
        window: request.console_size.or_else(|| create::console_size(request.process)),
        program,
    };
    let before = initial.map(|set| (rustix::thread::sched_getaffinity(None), set));
    if let Some((_, set)) = &before {
        rustix::thread::sched_setaffinity(None, set).doing(|| "set the first CPU affinity".into())?;
    }
    let ends = (inner, channel.as_fd().as_raw_fd());
    let spawned = spawn(joiner, ends, request.child_of_parent, born_in);
    if let Some((Ok(old), _)) = before {
        rustix::thread::sched_setaffinity(None, &old).doing(|| "restore the CPU affinity".into())?;
    }
    let (pid, pidfd) = spawned?;
    let finished = converse(&channel, &spec, &record, pid, &request);
    match finished {
        Ok((console, warnings)) => Ok(Executed { pid, pidfd, console, warnings }),
        Err(error) => {
            kill_and_reap(pidfd.as_fd());
            Err(error)
        }
    }
}

fn open_init(record: &Record) -> Result<OwnedFd> {
    let what = || format!("open the init of container {:?}", record.id);
    let pid = Pid::from_raw(record.pid).ok_or(rustix::io::Errno::SRCH).doing(what)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing(what)?;
    if !is_alive(record.pid, record.start_time) {
        return Err(rustix::io::Errno::SRCH).doing(what);
    }
    Ok(pidfd)
}

fn open_root(record: &Record) -> Result<OwnedFd> {
    let what = || format!("open the root of container {:?}", record.id);
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    let folder = proc.file(&record.pid.to_string(), OFlags::PATH | OFlags::DIRECTORY).doing(what)?;
    // A link of procfs that is meant to be followed.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&folder, "root", flags, Mode::empty()).doing(what)
}

fn sub_group(record: &Record, sub: Option<&std::path::Path>) -> Result<crate::cgroup::Manager> {
    let Some(sub) = sub else { return lifecycle::group(record) };
    let normal = |part: std::path::Component<'_>| {
        matches!(part, std::path::Component::Normal(_) | std::path::Component::RootDir)
    };
    if !sub.components().all(normal) {
        return Err(Error::invalid("cgroup", sub.to_string_lossy(), "a path below the container's group"));
    }
    let sub = sub.strip_prefix("/").unwrap_or(sub);
    let mut paths = record.cgroup.clone();
    paths.v1.values_mut().chain(paths.unified.iter_mut()).for_each(|path| path.push(sub));
    let missing = paths.v1.values().chain(paths.unified.iter()).find(|path| !path.is_dir());
    if let Some(path) = missing {
        return Err(Error::invalid("cgroup", path.to_string_lossy(), "a group that exists"));
    }
    crate::cgroup::Manager::attach(&paths).map_err(|error| part("open the group", error))
}

const KINDS: [(&str, LinuxNamespaceType, ThreadNameSpaceType); 8] = [
    ("user", LinuxNamespaceType::User, ThreadNameSpaceType::USER),
    ("mnt", LinuxNamespaceType::Mount, ThreadNameSpaceType::MOUNT),
    ("pid", LinuxNamespaceType::Pid, ThreadNameSpaceType::PROCESS_ID),
    ("net", LinuxNamespaceType::Network, ThreadNameSpaceType::NETWORK),
    ("ipc", LinuxNamespaceType::Ipc, ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", LinuxNamespaceType::Uts, ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", LinuxNamespaceType::Cgroup, ThreadNameSpaceType::CONTROL_GROUP),
    ("time", LinuxNamespaceType::Time, ThreadNameSpaceType::TIME),
];

/// Returns the namespaces that the init has and we have not. Our own cannot be entered again (a user namespace refuses).
fn differing(record: &Record) -> Result<(ThreadNameSpaceType, bool)> {
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    let own = proc.own().doing(|| "find the own process in /proc".into())?;
    let mut kinds = ThreadNameSpaceType::empty();
    for (name, kind, flag) in KINDS {
        let theirs = match proc.namespace(&format!("{}/ns/{name}", record.pid)) {
            Ok(theirs) => theirs,
            // A kernel without this kind.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error).doing(|| format!("open the container's {kind} namespace")),
        };
        let ours =
            proc.namespace(&format!("{own}/ns/{name}")).doing(|| format!("open the own {kind} namespace"))?;
        if !crate::binds::same_file(&theirs, &ours) {
            kinds |= flag;
        }
    }
    Ok((kinds, kinds.contains(ThreadNameSpaceType::USER)))
}

/// Clones the process. A caller without rights over the container's process namespace gets them in its user namespace.
fn spawn(
    mut joiner: Joiner<'_>,
    (channel, other_end): (Channel, RawFd),
    child_of_parent: bool,
    group: Option<BorrowedFd<'_>>,
) -> Result<(i32, OwnedFd)> {
    // Everybody inside sees the new process at once: it must be hidden before it exists (CVE-2016-9962).
    init::not_dumpable()?;
    let caps = rustix::thread::capabilities(None).doing(|| "read the capabilities".into())?.effective;
    let user_first = joiner.enters_user && !caps.contains(CapabilitySet::SYS_ADMIN);
    let mut first = joiner.kinds & ThreadNameSpaceType::PROCESS_ID;
    let way = Way::choose(user_first, !first.is_empty(), child_of_parent);
    if user_first {
        first |= ThreadNameSpaceType::USER;
    }
    joiner.kinds -= first;
    let init =
        rustix::io::fcntl_dupfd_cloexec(&joiner.init, 3).doing(|| "keep the init's descriptor".into())?;
    let enter = || {
        if first.is_empty() {
            return Ok(());
        }
        move_into_thread_name_spaces(init.as_fd(), first)
            .doing(|| "join the container's pid namespace".into())
    };
    let parent = if child_of_parent { clone_flags::PARENT } else { 0 };
    spawn::spawn(way, enter, parent, group, || {
        // With a copy of it in the process, it would not notice that we are gone.
        sys::process::close_copy(other_end);
        run(joiner, channel)
    })
}

fn run(joiner: Joiner<'_>, channel: Channel) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| join(joiner, &channel)));
    let (channel, kind, text) = match outcome {
        Ok(Ok(program)) => {
            let (channel, error) = finish::exec(program, channel);
            (channel, error.kind(), base::error::render_chain(&error))
        }
        Ok(Err(error)) => (Some(channel), error.kind(), base::error::render_chain(&error)),
        Err(_) => (Some(channel), ErrorKind::Internal, "the process panicked before its exec".to_owned()),
    };
    // The parent may be gone; there is nobody else to tell.
    let _ = channel.map(|channel| channel.report(&FromInit::Failed(kind, text)));
    exit_now(match kind {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ => 1,
    })
}

/// Enters the container; returns what is to be executed there.
fn join(joiner: Joiner<'_>, channel: &Channel) -> Result<Program> {
    let Joiner { init, kinds, enters_user, root, cgroup, stdio, window, program } = joiner;
    if let Some(join) = cgroup {
        join.join_current().doing(|| "join the container's cgroup".into())?;
    }
    if !kinds.is_empty() {
        move_into_thread_name_spaces(init.as_fd(), kinds)
            .doing(|| "join the container's namespaces".into())?;
    }
    drop(init);
    if let Some(root) = root {
        rustix::process::fchdir(&root).doing(|| "enter the container's root".into())?;
        rustix::process::chroot(".").doing(|| "change the root".into())?;
    }
    if enters_user {
        idmap::become_root().doing(|| "become root of the user namespace".into())?;
        init::not_dumpable()?;
    }
    rustix::process::setsid().doing(|| "start a session".into())?;
    let slave = match stdio {
        Stdio::Terminal => {
            let Terminal { master, slave } = open_terminal(window)?;
            rustix::fs::fchown(&slave, Some(rustix::process::Uid::from_raw(program.uid)), None)
                .doing(|| "give the terminal to the user".into())?;
            channel.report(&FromInit::Console(master)).doing(|| "hand the terminal over".into())?;
            Some(slave)
        }
        _ => None,
    };
    for warning in finish::stdio(stdio, slave, program.uid)? {
        channel.report(&FromInit::Warning(warning)).doing(|| "report to the runtime".into())?;
    }
    channel.report(&FromInit::Ready).doing(|| "report to the runtime".into())?;
    if channel.hear().doing(|| "hear from the runtime".into())?.is_none() {
        let text = "the runtime went away before the process ran".into();
        return Err(Error::Inside { kind: ErrorKind::Internal, text });
    }
    Ok(program)
}

/// Serves the process until its program runs.
fn converse(
    channel: &Channel,
    spec: &Spec,
    record: &Record,
    pid: i32,
    request: &ExecRequest<'_>,
) -> Result<(Option<OwnedFd>, Vec<String>)> {
    let mut warnings = limits::raise(pid, request.process.rlimits().as_deref().unwrap_or_default());
    warnings.extend(oom_score(pid, request.process.oom_score_adj())?);
    let mut console = None;
    while let Some(message) = channel.listen().doing(|| "hear from the process".into())? {
        match message {
            FromInit::Console(master) => match request.console_socket {
                Some(path) => console::send(path, &master)?,
                None => console = Some(master),
            },
            FromInit::Warning(text) => warnings.push(text),
            FromInit::Failed(kind, text) => return Err(Error::Inside { kind, text }),
            FromInit::Listener(listener) => {
                let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
                if let Some(profile) = profile {
                    start::deliver_listener(profile, record, pid, listener)?;
                }
            }
            FromInit::Ready => {
                if let Some(path) = request.pid_file {
                    write_pid_file(path, pid)?;
                }
                channel.tell(crate::channel::ToInit::Start).doing(|| "let the process go on".into())?;
            }
            FromInit::RunHooks | FromInit::WantBind(_) | FromInit::Child(..) => {}
        }
    }
    Ok((console, warnings))
}
