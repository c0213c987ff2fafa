//! The monitor with a creator that only forks and executes, for tests and measurements; never installed.
//!
//! A bundle's `config.json` is `{"args": [...]}`. The role `cleaned FILE` is a clean-up command that appends its arguments to
//! `FILE` and prints what `FILE.say` holds. The role `attach RUN_DIR [tty] [proxy]` joins a container with the caller's terminal.

use std::ffi::{CString, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use base::ErrorKind;
use monitor::creator::{CreateJob, Creator, ExecJob, MadeInit, MadeProcess, Refusal};
use monitor::interact::{InteractOptions, Outcome, interact};
use monitor::{AttachOptions, Client, Launch};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use sys::process::{ExecVectors, Forked, clone_flags, clone3, dup_to, execve, exit_now};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        // A wrapper script sets it where the real creator is wanted.
        Some("monitor") if std::env::var_os("BRIG_TEST_RUNTIME").is_some() => monitor::monitor_main(args),
        Some("monitor") => monitor::monitor_main_with(args, &Plain),
        Some("cleaned") => cleaned(args),
        Some("attach") => attach(args),
        _ => ExitCode::from(2),
    }
}

fn cleaned(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let file = args.next().unwrap_or_default();
    let rest: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let done = std::fs::File::options().append(true).create(true).open(&file);
    let written = done.and_then(|mut out| writeln!(out, "cleaned {}", rest.join(" ")));
    let say = std::fs::read_to_string(Path::new(&file).with_extension("say")).unwrap_or_default();
    let _ = write!(std::io::stdout(), "{say}");
    ExitCode::from(u8::from(written.is_err()))
}

/// Attaches and says on standard error how it ended.
fn attach(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let run_dir = std::path::PathBuf::from(args.next().unwrap_or_default());
    let flags: Vec<_> = args.collect();
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let options =
        AttachOptions { stdin: true, stdout: true, stderr: true, lossless: true, ..AttachOptions::default() };
    let signal = |signal: i32| {
        let _ = Client::connect(&run_dir).and_then(|mut client| client.signal(signal));
    };
    let interacted =
        Client::connect(&run_dir).and_then(|client| client.attach(options)).and_then(|mut session| {
            eprintln!("attached");
            let options = InteractOptions {
                stdin: true,
                tty: has("tty"),
                detach_keys: monitor::interact::DEFAULT_DETACH_KEYS.to_vec(),
                sig_proxy: has("proxy"),
                signal: &signal,
            };
            interact(&mut session, &options)
        });
    match interacted {
        Ok(Outcome::Exited(record)) => ExitCode::from(record.exit_code as u8),
        Ok(Outcome::ExecExited(code)) => ExitCode::from(code as u8),
        Ok(Outcome::Detached) => {
            eprintln!("detached");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(125)
        }
    }
}

struct Plain;

#[derive(serde::Deserialize)]
struct Config {
    args: Vec<String>,
}

fn refusal(kind: ErrorKind, text: impl ToString) -> Refusal {
    Refusal { kind, text: text.to_string() }
}

impl Creator for Plain {
    fn create(&self, job: CreateJob<'_>) -> Result<MadeInit, Refusal> {
        let path = job.launch.bundle.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| refusal(ErrorKind::NotFound, error))?;
        let (go_read, go_write) = std::io::pipe().map_err(|error| refusal(ErrorKind::Internal, error))?;
        let (process, verdict) =
            make(&text, job.stdio, Some((go_read, go_write.try_clone().expect("a spare fd"))))?;
        let start = move || {
            let mut go_write = go_write;
            go_write.write_all(b"g").map_err(|error| refusal(ErrorKind::Internal, error))?;
            drop(go_write);
            read_verdict(verdict)
        };
        Ok(MadeInit { process, start: Box::new(start) })
    }

    fn exec(&self, job: ExecJob<'_>) -> Result<MadeProcess, Refusal> {
        let (process, verdict) = make(job.process, job.stdio, None)?;
        read_verdict(verdict)?;
        Ok(process)
    }

    fn oom_killed(&self, _launch: &Launch) -> bool {
        false
    }

    fn delete(&self, _launch: &Launch) {}
}

fn read_verdict(mut verdict: std::io::PipeReader) -> Result<(), Refusal> {
    let mut errno = String::new();
    verdict.read_to_string(&mut errno).map_err(|error| refusal(ErrorKind::Internal, error))?;
    match errno.as_str() {
        "" => Ok(()),
        "No such file or directory (os error 2)" => Err(refusal(ErrorKind::CommandNotFound, errno)),
        _ => Err(refusal(ErrorKind::CommandNotExecutable, errno)),
    }
}

type Gate = (std::io::PipeReader, std::io::PipeWriter);

fn make(
    json: &str,
    stdio: Option<[OwnedFd; 3]>,
    gate: Option<Gate>,
) -> Result<(MadeProcess, std::io::PipeReader), Refusal> {
    let internal = |error: std::io::Error| refusal(ErrorKind::Internal, error);
    let config: Config = serde_json::from_str(json).map_err(|error| refusal(ErrorKind::Invalid, error))?;
    let args: Vec<_> = config.args.iter().map(|arg| CString::new(arg.as_str()).expect("no NUL")).collect();
    let program = args.first().cloned().unwrap_or_default();
    let vectors = ExecVectors::new(args, vec![c"PATH=/usr/bin:/bin".to_owned()]);
    let (verdict, mut verdict_writer) = std::io::pipe().map_err(internal)?;
    let (console, stdio) = match stdio {
        Some(stdio) => (None, stdio),
        None => {
            let (master, slaves) = terminal().map_err(|error| internal(error.into()))?;
            (Some(master), slaves)
        }
    };
    match clone3(clone_flags::PARENT, None).map_err(|error| internal(error.into()))? {
        Forked::Child => {
            if let Some((mut reader, writer)) = gate {
                drop(writer);
                if reader.read_exact(&mut [0]).is_err() {
                    exit_now(99);
                }
            }
            let _ = rustix::process::setsid();
            if console.is_some() {
                let _ = rustix::process::ioctl_tiocsctty(&stdio[0]);
            }
            for (number, fd) in stdio.iter().enumerate() {
                let _ = dup_to(fd.as_fd(), number as i32);
            }
            let error = std::io::Error::from(execve(&program, &vectors));
            let _ = write!(verdict_writer, "{error}");
            exit_now(127)
        }
        Forked::Parent { pid, pidfd } => {
            Ok((MadeProcess { pid, pidfd, console, warnings: Vec::new() }, verdict))
        }
    }
}

fn terminal() -> rustix::io::Result<(OwnedFd, [OwnedFd; 3])> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = || ioctl_tiocgptpeer(&master, flags);
    let slaves = [slave()?, slave()?, slave()?];
    Ok((master, slaves))
}
