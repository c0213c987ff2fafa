//! `create`, `run` and `start`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use oci::runtime::Spec;

use super::{Failure, Globals, Outcome, foreground, help, needed, one_id, only_id, print, unknown};
use crate::error::{Doing, Error, Result};
use crate::request::{CreateRequest, Created, ReaperInit, Rootfs, Stdio};

/// What `create` and `run` are asked for.
#[derive(Debug, Default)]
struct Args {
    id: Option<String>,
    bundle: PathBuf,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    preserve_fds: u32,
    no_pivot: bool,
    no_new_keyring: bool,
    no_subreaper: bool,
    detach: bool,
    keep: bool,
    init: bool,
}

fn parse(parser: &mut lexopt::Parser, runs: bool) -> Result<std::result::Result<Args, ExitCode>, Failure> {
    let mut args = Args { bundle: ".".into(), preserve_fds: listen_fds(), ..Args::default() };
    while let Some(arg) = parser.next()? {
        match arg {
            Short('b') | Long("bundle") => args.bundle = parser.value()?.into(),
            Long("console-socket") => args.console_socket = Some(parser.value()?.into()),
            Long("pid-file") => args.pid_file = Some(parser.value()?.into()),
            Long("preserve-fds") => args.preserve_fds += parser.value()?.parse::<u32>()?,
            Long("no-pivot") => args.no_pivot = true,
            Long("no-new-keyring") => args.no_new_keyring = true,
            Long("init") => args.init = true,
            Short('d') | Long("detach") if runs => args.detach = true,
            Long("keep") if runs => args.keep = true,
            Long("no-subreaper") if runs => args.no_subreaper = true,
            Short('h') | Long("help") => {
                return print(&help::of(if runs { "run" } else { "create" })).map(Err);
            }
            Value(value) => one_id(&mut args.id, value)?,
            other => return Err(unknown(other)),
        }
    }
    Ok(Ok(args))
}

/// Descriptors that systemd handed over are for the program, as with runc.
fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Reads `config.json` of a bundle.
pub(super) fn load_spec(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).doing(|| format!("read {path:?}"))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path, source })
}

fn make(args: &Args, id: &str, globals: &Globals, spec: &Spec) -> Result<Created> {
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    globals.log.debug(|| plan_text(args, spec));
    let created = crate::create(CreateRequest {
        id,
        bundle: &args.bundle,
        spec,
        state_root: &globals.root,
        rootfs: Rootfs::FromSpec,
        stdio: if terminal { Stdio::Terminal } else { Stdio::Inherit },
        console_socket: args.console_socket.as_deref(),
        console_size: None,
        pid_file: args.pid_file.as_deref(),
        preserve_fds: args.preserve_fds,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        cgroup: globals.cgroup,
        join: Vec::new(),
        child_of_parent: false,
        reaper: args.init.then_some(ReaperInit),
        seccomp_cache: Some(&globals.root.join(".seccomp")),
    })?;
    created.warnings.iter().for_each(|warning| globals.log.warning(warning));
    Ok(created)
}

/// Renders the plan for `--debug`.
fn plan_text(args: &Args, spec: &Spec) -> String {
    let facts = crate::plan::Facts { bundle: args.bundle.clone(), ..crate::plan::Facts::default() };
    match crate::plan::build(spec, &facts) {
        Ok(plan) => format!("plan: {plan:#?}"),
        Err(error) => format!("no plan: {error}"),
    }
}

/// A terminal's other end must go somewhere when nobody stays to serve it.
fn check_console(spec: &Spec, args: &Args, stays: bool) -> Result<(), Failure> {
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if terminal && !stays && args.console_socket.is_none() {
        return Err(Failure::Usage(
            "process.terminal needs --console-socket when the command does not stay".into(),
        ));
    }
    Ok(())
}

/// `create`: makes a container and leaves it waiting.
pub(super) fn create(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let mut args = match parse(parser, false)? {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let id = needed(args.id.take())?;
    let spec = load_spec(&args.bundle)?;
    check_console(&spec, &args, false)?;
    make(&args, &id, globals, &spec)?;
    Ok(ExitCode::SUCCESS)
}

/// `start`: lets a created container run.
pub(super) fn start(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    match only_id(parser, "start")? {
        Ok(id) => crate::start(&globals.root, &id).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Err(code) => Ok(code),
    }
}

/// `run`: makes, starts, waits, removes.
pub(super) fn run(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let mut args = match parse(parser, true)? {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let id = needed(args.id.take())?;
    let spec = load_spec(&args.bundle)?;
    check_console(&spec, &args, !args.detach)?;
    if !args.detach && !args.no_subreaper {
        // Orphans of the container come to us rather than to the host's init.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .doing(|| "become a subreaper".into())?;
    }
    // Before the init exists, so that no signal is lost between it and the wait.
    let watch = if args.detach { None } else { Some(foreground::Watch::begin()?) };
    let created = make(&args, &id, globals, &spec)?;
    let served = start_and_serve(created, watch);
    if args.detach && served.is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.keep || served.is_err() {
        let failed = crate::delete(&globals.root, &id, true)?;
        failed.iter().for_each(|text| globals.log.warning(text));
    }
    served.map_err(Into::into)
}

fn start_and_serve(mut created: Created, watch: Option<foreground::Watch>) -> Result<ExitCode> {
    let console = created.console.take();
    let (pid, pidfd) = (created.pid, rustix::io::fcntl_dupfd_cloexec(&created.pidfd, 3));
    let pidfd = pidfd.doing(|| "keep the init's descriptor".into())?;
    created.start()?;
    match watch {
        Some(watch) => watch.serve(pid, &pidfd, console),
        None => Ok(ExitCode::SUCCESS),
    }
}
