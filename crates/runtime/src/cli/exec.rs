//! `exec`: one more process in a container.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use oci::runtime::{Capability, LinuxCapabilities, Process};

use super::{Failure, Globals, Outcome, foreground, help, needed, print, unknown};
use crate::error::{Doing, Error, Result};
use crate::lifecycle;
use crate::request::{ExecRequest, Stdio};

#[derive(Debug, Default)]
struct Args {
    id: Option<String>,
    command: Vec<String>,
    console_socket: Option<PathBuf>,
    cwd: Option<PathBuf>,
    env: Vec<String>,
    tty: bool,
    user: Option<String>,
    additional_gids: Vec<u32>,
    process: Option<PathBuf>,
    detach: bool,
    pid_file: Option<PathBuf>,
    process_label: Option<String>,
    apparmor: Option<String>,
    no_new_privs: bool,
    caps: Vec<String>,
    preserve_fds: u32,
    cgroup: Option<PathBuf>,
    ignore_paused: bool,
}

fn parse(parser: &mut lexopt::Parser) -> Result<std::result::Result<Args, ExitCode>, Failure> {
    let mut args = Args::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("console-socket") => args.console_socket = Some(parser.value()?.into()),
            Long("cwd") => args.cwd = Some(parser.value()?.into()),
            Short('e') | Long("env") => args.env.push(parser.value()?.string()?),
            Short('t') | Long("tty") => args.tty = true,
            Short('u') | Long("user") => args.user = Some(parser.value()?.string()?),
            Short('g') | Long("additional-gids") => args.additional_gids.push(parser.value()?.parse()?),
            Short('p') | Long("process") => args.process = Some(parser.value()?.into()),
            Short('d') | Long("detach") => args.detach = true,
            Long("pid-file") => args.pid_file = Some(parser.value()?.into()),
            Long("process-label") => args.process_label = Some(parser.value()?.string()?),
            Long("apparmor") => args.apparmor = Some(parser.value()?.string()?),
            Long("no-new-privs") => args.no_new_privs = true,
            Short('c') | Long("cap") => args.caps.push(parser.value()?.string()?),
            Long("preserve-fds") => args.preserve_fds = parser.value()?.parse()?,
            Long("cgroup") => args.cgroup = Some(parser.value()?.into()),
            Long("ignore-paused") => args.ignore_paused = true,
            Long("no-subreaper") => {}
            Short('h') | Long("help") => return print(&help::of("exec")).map(Err),
            Value(value) => {
                args.id = Some(value.string()?);
                // Everything after the name belongs to the command, options too.
                args.command =
                    parser.raw_args()?.map(ValueExt::string).collect::<std::result::Result<_, _>>()?;
                break;
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(Ok(args))
}

/// `exec`.
pub(super) fn exec(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let mut args = match parse(parser)? {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let id = needed(args.id.take())?;
    let process = process(&args, &id, globals)?;
    let terminal = process.terminal().unwrap_or(false);
    if terminal && args.detach && args.console_socket.is_none() {
        return Err(Failure::Usage(
            "a terminal needs --console-socket when the command does not stay".into(),
        ));
    }
    let watch = if args.detach { None } else { Some(foreground::Watch::begin()?) };
    let executed = crate::exec(ExecRequest {
        id: &id,
        state_root: &globals.root,
        process: &process,
        stdio: if terminal { Stdio::Terminal } else { Stdio::Inherit },
        console_socket: args.console_socket.as_deref(),
        console_size: None,
        pid_file: args.pid_file.as_deref(),
        preserve_fds: args.preserve_fds,
        child_of_parent: false,
        sub_cgroup: args.cgroup.as_deref(),
        ignore_paused: args.ignore_paused,
        seccomp_cache: Some(&globals.root.join(".seccomp")),
    })?;
    executed.warnings.iter().for_each(|warning| globals.log.warning(warning));
    match watch {
        Some(watch) => Ok(watch.serve(executed.pid, &executed.pidfd, executed.console)?),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Returns the process of `--process`, or the container's own with what the options change.
fn process(args: &Args, id: &str, globals: &Globals) -> Result<Process, Failure> {
    if let Some(path) = &args.process {
        let bytes = std::fs::read(path).doing(|| format!("read {path:?}"))?;
        let parsed =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.clone(), source });
        return Ok(parsed?);
    }
    if args.command.is_empty() {
        return Err(Failure::Usage("a command, or --process, is needed".into()));
    }
    let (dir, _) = lifecycle::recorded(&globals.root, id)?;
    let spec = dir.load_spec()?;
    let mut process = spec
        .process()
        .clone()
        .ok_or_else(|| Error::invalid("process", "nothing", "a process in the container's spec"))?;
    process.set_args(Some(args.command.clone())).set_terminal(Some(args.tty)).set_console_size(None);
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(args.env.iter().cloned());
    process.set_env(Some(env));
    if let Some(label) = &args.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &args.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    set_user(&mut process, args)?;
    add_caps(&mut process, &args.caps)?;
    Ok(process)
}

fn set_user(process: &mut Process, args: &Args) -> Result<()> {
    let mut user = process.user().clone();
    if let Some(text) = &args.user {
        let (uid, gid) = parse_user(text)?;
        user.set_uid(uid);
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    if !args.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&args.additional_gids);
        user.set_additional_gids(Some(groups));
    }
    process.set_user(user);
    Ok(())
}

/// Reads `uid[:gid]`. Numbers only: names are the engine's business, which reads the image.
fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    // The highest number means "none" to the kernel.
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
    let allowed = "uid[:gid] in numbers from 0 to 4294967294";
    let uid = number(uid).ok_or_else(|| Error::invalid("--user", text, allowed))?;
    let gid =
        gid.map(|gid| number(gid).ok_or_else(|| Error::invalid("--user", text, allowed))).transpose()?;
    Ok((uid, gid))
}

fn add_caps(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut caps = process.capabilities().clone().unwrap_or_default();
    for name in names {
        let json = serde_json::Value::from(name.as_str());
        let cap: Capability = serde_json::from_value(json)
            .map_err(|_| Error::invalid("--cap", name.as_str(), "a capability such as CAP_NET_ADMIN"))?;
        add_cap(&mut caps, cap);
    }
    process.set_capabilities(Some(caps));
    Ok(())
}

/// Adds to what the process may have; never to what a program that it executes inherits.
fn add_cap(caps: &mut LinuxCapabilities, cap: Capability) {
    let with = |set: &Option<oci::runtime::Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.insert(cap);
        Some(set)
    };
    let (bounding, effective, permitted) =
        (with(caps.bounding()), with(caps.effective()), with(caps.permitted()));
    caps.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        assert_eq!(parse_user("1000").unwrap(), (1000, None));
        assert_eq!(parse_user("1000:5").unwrap(), (1000, Some(5)));
        for text in ["root", "", "1:", ":1", "-1", "4294967295", "4294967296", "1:x"] {
            assert!(parse_user(text).is_err(), "{text}");
        }
    }

    #[test]
    fn added_capabilities_are_not_inheritable() {
        let mut caps = LinuxCapabilities::default();
        caps.set_inheritable(None).set_ambient(None);
        add_cap(&mut caps, Capability::NetAdmin);
        assert!(caps.inheritable().is_none() && caps.ambient().is_none());
        assert!(caps.permitted().as_ref().is_some_and(|set| set.contains(&Capability::NetAdmin)));
    }
}
