//! Making a container, seen from outside: everything that can be checked or opened before its process exists, the one clone,
//! and the conversation with the init until it waits to be started. Whatever fails is undone in reverse.

mod group;
mod namespaces;
mod prepare;
mod talk;
mod undo;

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use oci::runtime::LinuxNamespaceType;
use sys::process::clone_flags;

use crate::binds::{self, Bind};
use crate::cgroup::{Join, Manager};
use crate::channel::{Channel, ToInit};
use crate::error::{Doing, Result, part};
use crate::init::{self, Setup};
use crate::plan::BindSource;
use crate::request::{CgroupDriver, CreateRequest, Created};
use crate::spawn::{self, Way};
use crate::state::{Record, StateDir, start_time};
use crate::view;
use namespaces::Namespaces;
use prepare::Prepared;
use talk::Talk;
use undo::{Undo, mount_id};

pub(crate) use prepare::console_size;
pub(crate) use talk::{oom_score, write_pid_file};
pub(crate) use undo::{detach_root, kill_and_reap};

/// Makes the container that `request` asks for.
pub(crate) fn create(request: CreateRequest<'_>) -> Result<Created> {
    let mut undo = Undo::default();
    let result = create_or_fail(request, &mut undo);
    match (&result, &undo.dir) {
        (Ok(_), Some(dir)) => dir.unlock(),
        (Ok(_), None) => {}
        (Err(_), _) => undo.run(),
    }
    result
}

fn create_or_fail(mut request: CreateRequest<'_>, undo: &mut Undo) -> Result<Created> {
    let prepared = Prepared::new(&mut request)?;
    let (id, state_root, driver) = (request.id.to_owned(), request.state_root.to_owned(), request.cgroup);
    let (pid_file, console_socket, child_of_parent) =
        (request.pid_file, request.console_socket, request.child_of_parent);
    let (spec, new_user, sources) = (prepared.spec, prepared.new_user(), prepared.sources());
    let mut warnings = Vec::new();

    let mut record = reserve(&prepared, &request, undo, &mut warnings)?;
    let (channel, init_channel) = Channel::pair().doing(|| "make a socket pair".into())?;
    let dir = undo.dir.as_ref().ok_or_else(|| crate::Error::NotFound { id: id.clone() })?;
    let born_in_group = undo.group.as_ref().and_then(Manager::procs_fd);
    let join = undo.group.as_ref().map(|group| join_of(group, born_in_group.is_some())).transpose()?;
    let (mut setup, namespaces) = prepared.into_setup(request, dir, &record, join)?;
    let mut opened = open_ahead(&setup, &namespaces, &sources, child_of_parent)?;
    let mut ours = vec![channel.as_fd().as_raw_fd()];
    let view = view::make(spec)?.map(|(view, tree)| {
        setup.view = Some(tree);
        ours.push(view.number());
        view
    });
    let (pid, pidfd) = spawn(setup, (init_channel, &ours), &namespaces, child_of_parent, born_in_group)?;
    let kept = rustix::io::fcntl_dupfd_cloexec(&pidfd, 3).doing(|| "keep the init's descriptor".into())?;
    undo.process = Some((pid, kept));

    if driver == CgroupDriver::Systemd {
        undo.group = group::make(spec, &id, driver, Some(pid), &mut warnings)?;
        record.cgroup = undo.group.as_ref().map(|group| group.paths().clone()).unwrap_or_default();
        dir.save(&record)?;
        channel.tell(ToInit::Go).doing(|| "let the init go on".into())?;
    }
    if let Some(view) = view {
        view.serve(pid, &record.cgroup)?;
    }
    let talk = Talk {
        channel: &channel,
        spec,
        record: &record,
        pid,
        pidfd: pidfd.as_fd(),
        sources: &sources,
        console_socket,
    };
    talk.help(new_user, &mut warnings)?;
    let console = talk.serve(&mut opened, &mut warnings)?;
    let start_time = start_time(pid).ok_or_else(|| talk.died())?;
    dir.save(&Record { pid, start_time, ..record })?;
    if let Some(path) = pid_file {
        write_pid_file(path, pid)?;
    }
    channel.tell(ToInit::Recorded).doing(|| "let the init wait for its start".into())?;
    Ok(Created { pid, pidfd, console, warnings, id, state_root })
}

/// Opens what the init will ask for, where we enter its user namespace for good: from there the host's mounts cannot
/// be cloned any more.
fn open_ahead(
    setup: &Setup<'_>,
    namespaces: &Namespaces,
    sources: &[BindSource],
    child_of_parent: bool,
) -> Result<Vec<Option<Bind>>> {
    let enters = namespaces.first.iter().any(|(kind, _)| *kind == LinuxNamespaceType::User);
    if !enters || !child_of_parent {
        return Ok(Vec::new());
    }
    let asked = sources.iter().zip(&setup.asked_binds);
    asked.map(|(source, asked)| asked.then(|| binds::open(source)).transpose()).collect()
}

/// Takes the name, makes the group, and records both: from then on a killed create can be cleaned up.
fn reserve(
    prepared: &Prepared<'_>,
    request: &CreateRequest<'_>,
    undo: &mut Undo,
    warnings: &mut Vec<String>,
) -> Result<Record> {
    let dir = &*undo.dir.insert(StateDir::create(request.state_root, request.id)?);
    dir.lock()?;
    let mut record = prepared.record(request.id);
    if !prepared.namespaces.new_mount {
        record.covered_mount = mount_id(&prepared.root_path);
        undo.covered = record.covered_mount.map(|id| (prepared.root_path.clone(), id));
    }
    // systemd makes a group around a process, which does not exist yet.
    if request.cgroup != CgroupDriver::Systemd {
        undo.group = group::make(prepared.spec, request.id, request.cgroup, None, warnings)?;
        record.cgroup = undo.group.as_ref().map(|group| group.paths().clone()).unwrap_or_default();
    }
    dir.save(&record)?;
    dir.save_spec(prepared.spec)?;
    Ok(record)
}

fn join_of(group: &Manager, born_in_it: bool) -> Result<Join> {
    group.join(born_in_it).map_err(|error| part("open the cgroup for the init", error))
}

/// Clones the init. It must not be looked at by strangers in a joined process namespace, not even for a moment, so
/// the attribute is set before the clone; where maps must be written first by a caller without rights, after.
fn spawn(
    setup: Setup<'_>,
    (channel, ours): (Channel, &[RawFd]),
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
        // With copies of these in the init, it would not notice that who holds the others is gone.
        ours.iter().for_each(|number| sys::process::close_copy(*number));
        init::run(setup, channel)
    })
}
