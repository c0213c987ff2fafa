//! Runs one command under ptrace, counts the points of each of its processes, and makes one of them fail.
//!
//! The order of calls is the same in each run only within one process, so a point is named by the process's role and a
//! number within it. Processes that are not the program (`nsenter`, the container's own) are let run freely.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use sys::process::{ExecVectors, Forked, clone3, dup_to, execve, exit_now, kill};
use sys::trace::{self, Stop, Syscall, Until};

use crate::calls;

const SIGKILL: i32 = 9;

/// What happens at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The process that is about to make the call is killed.
    Kill,
    /// Every process of the program is killed.
    KillAll,
    /// The call is not made and answers this error.
    Error(Errno),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::KillAll => f.write_str("kill-all"),
            Self::Error(error) => write!(f, "error-{}", error.raw_os_error()),
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "kill" => Self::Kill,
            "kill-all" => Self::KillAll,
            other => match other.strip_prefix("error-").and_then(|number| number.parse().ok()) {
                Some(number) => Self::Error(Errno::from_raw_os_error(number)),
                None => bail!("{other:?} is no mode: kill, kill-all or error-NUMBER"),
            },
        })
    }
}

/// One place where a command can be made to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The process: `command`, `monitor`, `creator`, `init`, `cleanup`, …
    pub role: String,
    /// The number of the call within it, from 1.
    pub number: usize,
    /// The call and what it works on.
    pub call: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.role, self.number, self.call)
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Traced {
    /// Exit status of the command; 137 when it was killed.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it printed there.
    pub stderr: String,
    /// Every point that was met, in the order of time.
    pub points: Vec<Point>,
    /// The one that was made to fail.
    pub hit: Option<Point>,
}

/// The fault of one run: role and number of the point, and what happens there.
#[derive(Debug, Clone)]
pub struct Fault<'a> {
    /// The role.
    pub role: &'a str,
    /// The number within the role.
    pub number: usize,
    /// What happens.
    pub mode: Mode,
}

/// How a command is run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The program whose processes are looked at.
    pub program: &'a Path,
    /// Where the files are that take the output.
    pub scratch: &'a Path,
    /// Processes of the program that run already: monitors.
    pub running: &'a [i32],
    /// Whether to go on until every process of the program has ended.
    pub follow: bool,
    /// What is to happen.
    pub fault: Option<&'a Fault<'a>>,
}

/// Runs `command` to its end. Processes that remain run on untraced.
pub fn run(command: &Command, run: &Run<'_>) -> Result<Traced> {
    let &Run { program, scratch, fault, .. } = run;
    let (stdout, stderr) = (scratch.join("stdout"), scratch.join("stderr"));
    let root = start(command, &File::create(&stdout)?, &File::create(&stderr)?)?;
    let mut tracer = Tracer {
        program,
        fault: fault.cloned(),
        tracees: HashMap::new(),
        early: Vec::new(),
        numbers: BTreeMap::new(),
        names: BTreeMap::new(),
        traced: Traced::default(),
    };
    tracer.tracees.insert(root, Tracee::foreign());
    for pid in run.running {
        // One that has just ended is none.
        if trace::seize(*pid).and_then(|()| trace::interrupt(*pid)).is_ok() {
            let role = tracer.name("monitor");
            tracer.tracees.insert(*pid, Tracee { role, ours: true, answer: None });
        }
    }
    tracer.until_end(root, run.follow)?;
    tracer.release()?;
    let read = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    tracer.traced.stdout = read(&stdout)?;
    tracer.traced.stderr = read(&stderr)?;
    Ok(tracer.traced)
}

/// Starts a command that is traced from its first instruction on.
fn start(command: &Command, stdout: &File, stderr: &File) -> Result<i32> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join(command.get_program()))
        .find(|path| path.is_file())
        .with_context(|| format!("{} is not in the path", command.get_program().display()))?;
    let text = |text: &OsStr| CString::new(text.as_bytes()).context("an argument holds a zero byte");
    let mut args = vec![text(command.get_program())?];
    for arg in command.get_args() {
        args.push(text(arg)?);
    }
    let mut env = Vec::new();
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        let mut line = name.to_owned();
        line.push("=");
        line.push(value);
        env.push(text(&line)?);
    }
    let vectors = ExecVectors::new(args, env);
    let program = text(program.as_os_str())?;
    let null = File::open("/dev/null")?;
    let (reader, writer) = rustix::pipe::pipe()?;
    let Forked::Parent { pid, .. } = clone3(0, None)? else {
        become_command(&program, &vectors, reader.as_fd(), [null.as_fd(), stdout.as_fd(), stderr.as_fd()]);
    };
    trace::seize(pid).context("cannot trace the command")?;
    rustix::io::write(&writer, b"x")?;
    Ok(pid)
}

/// The child's side: waits until it is traced, then becomes the command.
fn become_command(
    program: &CString,
    vectors: &ExecVectors,
    go: BorrowedFd<'_>,
    streams: [BorrowedFd<'_>; 3],
) -> ! {
    let mut byte = [0; 1];
    let ready = rustix::io::read(go, &mut byte).is_ok();
    // Descriptors of this process are not the command's business.
    let placed = (0..).zip(streams).all(|(number, stream)| dup_to(stream, number).is_ok());
    if ready && placed && sys::process::close_from_except(3, &[]).is_ok() {
        let _ = execve(program, vectors);
    }
    exit_now(127)
}

#[derive(Debug)]
struct Tracee {
    role: String,
    /// Whether it runs the program: only then are its calls looked at.
    ours: bool,
    /// The error that the call it is in is to answer.
    answer: Option<Errno>,
}

impl Tracee {
    fn foreign() -> Self {
        Self { role: String::new(), ours: false, answer: None }
    }
}

struct Tracer<'a> {
    program: &'a Path,
    fault: Option<Fault<'a>>,
    tracees: HashMap<i32, Tracee>,
    /// New processes whose first stop came before their parent's word of them.
    early: Vec<i32>,
    /// How many points each role has met.
    numbers: BTreeMap<String, usize>,
    /// How many processes each role has had.
    names: BTreeMap<String, usize>,
    traced: Traced,
}

impl Tracer<'_> {
    /// Lets everything run until the process `root` has ended, whose exit status is kept, or until all have with `follow`.
    fn until_end(&mut self, root: i32, follow: bool) -> Result<()> {
        let mut ended = false;
        while !ended || follow && self.tracees.values().any(|tracee| tracee.ours) {
            let Some((pid, stop)) = trace::wait()? else {
                if ended {
                    return Ok(());
                }
                bail!("the command vanished")
            };
            match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    self.tracees.remove(&pid);
                    if pid == root {
                        ended = true;
                        self.traced.code = if let Stop::Exited(code) = stop { code } else { 128 + SIGKILL };
                    }
                }
                // One that was killed meanwhile is not there any more; its end is told next.
                stop => ignore_gone(self.stopped(pid, stop))?,
            }
        }
        Ok(())
    }

    fn stopped(&mut self, pid: i32, stop: Stop) -> Result<()> {
        if !self.tracees.contains_key(&pid) {
            self.early.push(pid);
            return Ok(());
        }
        let signal = match stop {
            Stop::Forked(child) => {
                self.add_child(pid, child)?;
                0
            }
            Stop::Executed => {
                if !self.executed(pid) {
                    self.tracees.remove(&pid);
                    return Ok(trace::detach(pid, 0)?);
                }
                0
            }
            Stop::Syscall => {
                self.at_call(pid)?;
                0
            }
            Stop::Group => return Ok(trace::listen(pid)?),
            Stop::Signal(signal) => signal,
            Stop::Paused | Stop::Exited(_) | Stop::Killed(_) => 0,
        };
        self.go_on(pid, signal)
    }

    fn go_on(&self, pid: i32, signal: i32) -> Result<()> {
        let ours = self.tracees.get(&pid).is_some_and(|tracee| tracee.ours);
        Ok(trace::go_on(pid, if ours { Until::Syscall } else { Until::Event }, signal)?)
    }

    fn add_child(&mut self, parent: i32, child: i32) -> Result<()> {
        let Some(parent) = self.tracees.get(&parent) else { return Ok(()) };
        let (ours, role) = (parent.ours, parent.role.clone());
        let role = if !ours {
            String::new()
        } else if is_thread(child) {
            format!("{}-thread", role.trim_end_matches("-thread"))
        } else {
            self.name(match role.split('#').next().unwrap_or_default() {
                "monitor" => "creator",
                "creator" => "init",
                "helper" => "launcher",
                _ => "helper",
            })
        };
        self.tracees.insert(child, Tracee { role, ours, answer: None });
        if let Some(at) = self.early.iter().position(|early| *early == child) {
            self.early.swap_remove(at);
            self.go_on(child, 0)?;
        }
        Ok(())
    }

    /// Gives a process of a role its name: the second has a number.
    fn name(&mut self, role: &str) -> String {
        let count = self.names.entry(role.to_owned()).or_default();
        *count += 1;
        if *count == 1 { role.to_owned() } else { format!("{role}#{count}") }
    }

    /// Looks at what a process has become; false when it is none of ours any more.
    fn executed(&mut self, pid: i32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let ours = exe == self.program || words.first() == Some(&b"brig".as_slice());
        let was = self.tracees.get(&pid).is_some_and(|tracee| tracee.ours);
        if !ours {
            return !was;
        }
        let role = match words.get(1) {
            Some(word) if *word == b"monitor" => "monitor",
            Some(word) if *word == b"runtime" => "runtime",
            _ if words.windows(2).any(|pair| pair == [b"container".as_slice(), b"cleanup"]) => "cleanup",
            _ => "command",
        };
        let role = self.name(role);
        self.tracees.insert(pid, Tracee { role, ours: true, answer: None });
        true
    }

    fn at_call(&mut self, pid: i32) -> Result<()> {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return Ok(()) };
        let (number, arguments) = match trace::syscall(pid)? {
            Syscall::Entry(number, arguments) => (number, arguments),
            Syscall::Exit => {
                if let Some(error) = tracee.answer.take() {
                    trace::answer(pid, error)?;
                }
                return Ok(());
            }
            Syscall::None => return Ok(()),
        };
        let Some(call) = calls::describe(pid, number, &arguments) else { return Ok(()) };
        let count = self.numbers.entry(tracee.role.clone()).or_default();
        *count += 1;
        let point = Point { role: tracee.role.clone(), number: *count, call };
        let fault =
            self.fault.as_ref().filter(|fault| fault.role == point.role && fault.number == point.number);
        let mode = fault.map(|fault| fault.mode);
        if mode.is_some() {
            self.traced.hit = Some(point.clone());
        }
        self.traced.points.push(point);
        match mode {
            Some(Mode::Kill) => kill(pid, SIGKILL)?,
            Some(Mode::KillAll) => self.kill_all(),
            Some(Mode::Error(error)) => {
                trace::skip(pid)?;
                tracee.answer = Some(error);
            }
            None => {}
        }
        Ok(())
    }

    fn kill_all(&self) {
        for (pid, _) in self.tracees.iter().filter(|(_, tracee)| tracee.ours) {
            // One that has ended needs no killing.
            let _ = kill(*pid, SIGKILL);
        }
    }

    /// Ends the tracing of all processes that are left.
    fn release(&mut self) -> Result<()> {
        for pid in std::mem::take(&mut self.early) {
            self.tracees.entry(pid).or_insert_with(Tracee::foreign);
            ignore_gone(trace::detach(pid, 0).map_err(Into::into))?;
            self.tracees.remove(&pid);
        }
        // One whose end came before the word of its birth is not there.
        self.tracees.retain(|pid, _| trace::interrupt(*pid) != Err(Errno::SRCH));
        while !self.tracees.is_empty() {
            let Some((pid, stop)) = trace::wait()? else { break };
            match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    self.tracees.remove(&pid);
                    continue;
                }
                Stop::Forked(child) => {
                    self.tracees.entry(child).or_insert_with(Tracee::foreign);
                }
                _ => {}
            }
            let signal = if let Stop::Signal(signal) = stop { signal } else { 0 };
            ignore_gone(trace::detach(pid, signal).map_err(Into::into))?;
            self.tracees.remove(&pid);
        }
        Ok(())
    }
}

/// A process that was killed while it was stopped cannot be asked anything more.
fn ignore_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::SRCH) => Ok(()),
        other => other,
    }
}

fn is_thread(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.is_some_and(|group| group.trim() != pid.to_string())
}
