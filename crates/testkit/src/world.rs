//! A world of a test's own in which the built program runs.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::sandbox::Sandbox;
use crate::{Done, eventually, leftovers, needs, tiny};

/// The name of the image that [`World`] imports.
pub const TINY: &str = "tiny";

/// No command of a test takes longer on a machine that is merely busy.
const TIMEOUT_SECONDS: u32 = 120;

/// The user that stands for a plain one: number, and the range of subordinate numbers.
const PLAIN_UID: &str = "4242";
const PLAIN_SUB: &str = "plain:500000:65536\n";

/// The other end answers nothing, but there is a route.
const UPLINK: &str = "
    ip link add up0 type veth peer name up1
    ip addr add 192.0.2.2/24 dev up0
    ip link set up0 up
    ip link set up1 up
    ip route add default via 192.0.2.1
    mount -t tmpfs none /dev/net
    mknod -m 666 /dev/net/tun c 10 200";

/// A machine of a test's own: namespaces, a data root, a run root, and the image `tiny`.
///
/// Made by [`World::root`] or [`World::plain_user`]; dropping it removes all containers and then fails the test if anything is left.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    sandbox: Option<Sandbox>,
    plain: bool,
    brig: PathBuf,
    timeout: String,
    /// A control group that is delegated to the plain user.
    delegated: Option<PathBuf>,
}

impl World {
    /// Makes a world whose commands run as root; `None`, with SKIP said, when the test itself does not run as root.
    ///
    /// With `BRIG_TEST_USER=plain` in the environment it is one of a plain user with a way out, so that the same tests run
    /// as both. A test that only root can pass takes [`World::root_because`].
    ///
    /// # Panics
    /// When the world cannot be made.
    #[track_caller]
    pub fn root() -> Option<Self> {
        if plain_is_asked_for() {
            let mut world = needs::programs(&["pasta"]).then(Self::plain_user).flatten()?;
            world.give_uplink();
            // As a session of systemd's has it.
            world.delegate();
            return Some(world);
        }
        Self::of_root()
    }

    /// Makes a world whose commands run as root, whatever `BRIG_TEST_USER` says: `why` tells what a plain user lacks.
    ///
    /// # Panics
    /// When the world cannot be made.
    #[track_caller]
    pub fn root_because(why: &str) -> Option<Self> {
        if plain_is_asked_for() {
            eprintln!("SKIP for root only: {why}");
            return None;
        }
        Self::of_root()
    }

    #[track_caller]
    fn of_root() -> Option<Self> {
        let there = needs::root()
            && needs::programs(&["unshare", "nsenter", "ip", "setpriv"])
            && needs::file("/bin/busybox");
        there.then(|| Self::new(false).expect("make a world").with_tiny())
    }

    /// Makes a world whose commands run as a plain user with a range of subordinate users.
    ///
    /// # Panics
    /// When the world cannot be made.
    #[track_caller]
    pub fn plain_user() -> Option<Self> {
        let there = needs::root()
            && needs::programs(&["unshare", "nsenter", "ip", "setpriv", "newuidmap"])
            && needs::file("/bin/busybox");
        there.then(|| Self::new(true).expect("make a world").with_tiny())
    }

    fn new(plain: bool) -> io::Result<Self> {
        let brig = program();
        assert!(brig.exists(), "{} is not built: cargo build -p brig", brig.display());
        // The path is short, because a socket's path may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("b").rand_bytes(5).tempdir_in(env::temp_dir())?;
        let etc = folder.path().join("etc");
        for name in ["etc", "root", "run", "home"] {
            fs::create_dir(folder.path().join(name))?;
        }
        if plain {
            write_users(&etc)?;
            give(folder.path())?;
        }
        let sandbox = Some(Sandbox::start(&etc)?);
        Ok(Self { folder, sandbox, plain, brig, timeout: TIMEOUT_SECONDS.to_string(), delegated: None })
    }

    fn with_tiny(self) -> Self {
        let archive = self.path("tiny.tar");
        tiny::write_rootfs(&archive).expect("write the root file system of the tiny image");
        self.brig(["import", "--change", "CMD [\"/bin/sh\"]", &archive.to_string_lossy(), TINY]).ok();
        self
    }

    /// Gives the sandbox a way out, and the device that pasta needs, as other machines have it.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn give_uplink(&self) {
        self.sh_as_root(UPLINK).ok();
    }

    /// Makes the world's user the owner of a file that the test made.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn own(&self, path: &Path) {
        if self.plain {
            give_to_plain(path).expect("give a file to the plain user");
        }
    }

    /// Delegates a control group to the plain user, in which its commands run from now on; false, with SKIP said, where v2 is
    /// not mounted.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn delegate(&mut self) -> bool {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let Some(mount) = mounts.into_iter().find(|mount| mount.join("cgroup.controllers").exists()) else {
            eprintln!("SKIP cgroup v2 is wanted");
            return false;
        };
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let group = mount.join(format!("brig-test-{name}"));
        let session = group.join("session");
        fs::create_dir_all(&session).expect("make a control group");
        for folder in [&group, &session] {
            for path in [folder.clone(), folder.join("cgroup.procs"), folder.join("cgroup.subtree_control")] {
                give_to_plain(&path).expect("delegate a control group");
            }
        }
        self.delegated = Some(group);
        true
    }

    /// Whether the world's commands run as a plain user.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Has every command end after `seconds`.
    pub fn set_timeout(&mut self, seconds: u32) {
        self.timeout = seconds.to_string();
    }

    /// The first process of the world's namespaces, as a number of the machine.
    pub fn first_process(&self) -> u32 {
        self.sandbox.as_ref().map_or(0, |sandbox| sandbox.init)
    }

    /// Returns the path of `name` in the world's folder, which is there inside and outside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of the program under test.
    pub fn program(&self) -> &Path {
        &self.brig
    }

    /// Returns the data root.
    pub fn data_root(&self) -> PathBuf {
        self.path("root")
    }

    /// Returns the run root.
    pub fn run_root(&self) -> PathBuf {
        self.path("run")
    }

    /// Returns the command that runs `program` inside, as the world's user, with a clean environment.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut line = self.sandbox.as_ref().map(Sandbox::enter).unwrap_or_default();
        // Entering a mount namespace leaves the working directory behind.
        line.extend(["env".to_owned(), format!("--chdir={}", self.folder.path().display())]);
        if let Some(group) = &self.delegated {
            let join = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.join("session").display());
            line.extend(["sh".to_owned(), "-c".to_owned(), join, "sh".to_owned()]);
        }
        if self.plain {
            line.extend(
                ["setpriv", "--reuid", PLAIN_UID, "--regid", PLAIN_UID, "--clear-groups"].map(str::to_owned),
            );
        }
        line.extend(["timeout", "--foreground", "-k", "5", &self.timeout].map(str::to_owned));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(program.as_ref()).current_dir(self.folder.path()).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .env("HOME", self.path("home"))
            .env("BRIG_ROOT", self.data_root())
            .env("BRIG_RUN", self.run_root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns the command `brig ARGS`, not started yet.
    pub fn brig_command<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(&self.brig);
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        command
    }

    /// Runs `brig ARGS` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn brig<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Done {
        run(self.brig_command(args))
    }

    /// Runs `brig ARGS` to its end with `input` on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn brig_with_input<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Done {
        let mut command = self.brig_command(args);
        let line = render(&command);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("start brig");
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        let input = input.to_vec();
        // A command that ends without reading all of it closes the pipe; what it says then is what counts.
        let writer = thread::spawn(move || drop(pipe.write_all(&input)));
        let output = child.wait_with_output().expect("wait for brig");
        writer.join().expect("write the input");
        Done::new(line, &output)
    }

    /// Starts `brig ARGS` and does not wait; its standard input is a pipe, too.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Child {
        self.brig_command(args).stdin(Stdio::piped()).spawn().expect("start brig")
    }

    /// Runs a program of the machine inside to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Done {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        run(command)
    }

    /// Calls `visit` on the world's network, on a thread that stays there: sockets that it opens stay there too.
    ///
    /// # Panics
    /// When the network cannot be entered.
    pub fn on_network<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.sandbox.as_ref().map_or(0, |sandbox| sandbox.init));
        let netns = fs::File::open(path).expect("the world has a network");
        let enter = || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&netns), kind)
                .expect("enter the network");
            visit()
        };
        thread::scope(|scope| scope.spawn(enter).join().expect("visit the network"))
    }

    /// Runs a script inside as root, whoever the world's user is.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn sh_as_root(&self, script: &str) -> Done {
        let line = self.sandbox.as_ref().map(Sandbox::enter).unwrap_or_default();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(["timeout", &self.timeout, "sh", "-euc", script]).current_dir("/");
        run(command)
    }

    /// Runs `brig ARGS` on a terminal of its own (by the program `script`), with `input` typed into it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn on_terminal(&self, args: &str, input: &str) -> Done {
        let line = format!("script -qec '{} {args}' /dev/null", self.brig.display());
        let mut command = self.command("sh");
        let mut child = command.args(["-c", &line]).stdin(Stdio::piped()).spawn().expect("start script");
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        let typed = input.to_owned();
        let writer = thread::spawn(move || {
            // What is typed before the program has the terminal is read by the terminal itself: ^Q means go on there.
            thread::sleep(std::time::Duration::from_millis(1200));
            drop(pipe.write_all(typed.as_bytes()));
            // `script` takes the end of its input for the end of the session.
            thread::sleep(std::time::Duration::from_millis(1500));
        });
        let output = child.wait_with_output().expect("wait for script");
        writer.join().expect("type the input");
        Done::new(line, &output)
    }

    /// Returns `{{FORMAT}}` of `brig inspect OBJECT`.
    #[track_caller]
    pub fn inspect(&self, object: &str, format: &str) -> String {
        self.brig(["inspect", "--format", format, object]).ok()
    }

    /// Waits until the container's state is `state`.
    #[track_caller]
    pub fn wait_for_state(&self, container: &str, state: &str) {
        let reached =
            || self.brig(["inspect", "--format", "{{.State.Status}}", container]).stdout.trim() == state;
        eventually(&format!("{container} becomes {state}"), reached);
    }

    /// Lists the processes of this world whose program is brig, as numbers of the machine.
    pub fn brig_processes(&self) -> Vec<i32> {
        let Some(sandbox) = &self.sandbox else { return Vec::new() };
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let ours = namespace(&sandbox.init.to_string());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        pids.filter(|pid| pid.parse::<i32>().is_ok() && namespace(pid) == ours)
            .filter(|pid| self.is_brig(pid))
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// The monitor's program stands on a mount of its own, so that its path says nothing.
    fn is_brig(&self, pid: &str) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.brig)
            || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"brig\0monitor\0"))
    }

    /// Kills every process of this world whose program is brig, all at once.
    pub fn kill_brig_processes(&self) -> usize {
        let pids = self.brig_processes();
        for pid in pids.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
            // It may have ended in the meantime.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        pids.len()
    }

    /// Removes every container, then lists what is left.
    fn clear(&self) -> Vec<String> {
        let ids: Vec<String> =
            self.brig(["ps", "-aq", "--no-trunc"]).stdout.lines().map(str::to_owned).collect();
        if !ids.is_empty() {
            let removed = self.brig(["rm", "-f", "-v"].into_iter().chain(ids.iter().map(String::as_str)));
            if removed.code != 0 {
                return vec![format!("containers that cannot be removed: {}", removed.stderr)];
            }
        }
        let find = || leftovers::find(self.folder.path(), self.sandbox.as_ref(), &ids);
        // A monitor needs a moment to end after its last answer, the kernel to end a network namespace.
        for _ in 0..100 {
            if find().is_empty() {
                return Vec::new();
            }
            thread::sleep(std::time::Duration::from_millis(50));
        }
        find()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // With BRIG naming another engine the tests themselves are tested; its daemon and its folders stay.
        if env::var_os("BRIG_TEST_REFERENCE").is_some() {
            return;
        }
        let mut left = self.clear();
        if let Some(group) = self.delegated.take() {
            left.extend(leftovers::groups_in(&group));
        }
        if !left.is_empty() && !thread::panicking() {
            panic!("left behind:\n{}", left.join("\n"));
        }
    }
}

fn plain_is_asked_for() -> bool {
    env::var_os("BRIG_TEST_USER").is_some_and(|user| user == "plain")
}

#[track_caller]
fn run(mut command: Command) -> Done {
    let line = render(&command);
    let output = command.output().expect("start a command");
    Done::new(line, &output)
}

/// Renders the part of the command line that a reader wants to see.
fn render(command: &Command) -> String {
    let args: Vec<String> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let is_limit = |pair: &[String]| pair[0] != "-k" && pair[1].parse::<u32>().is_ok();
    let timeout = args.iter().position(|arg| arg == "timeout").unwrap_or(0);
    let start = args[timeout..].windows(2).position(is_limit).map_or(0, |at| timeout + at + 2);
    args[start..].join(" ")
}

/// Returns the path of the built program: `$BRIG`, or beside the test program.
fn program() -> PathBuf {
    env::var_os("BRIG").map(PathBuf::from).unwrap_or_else(|| {
        let mut path = env::current_exe().expect("a test program knows its path");
        path.pop();
        path.pop();
        path.join("brig")
    })
}

/// Writes the files that make the plain user known inside.
fn write_users(etc: &Path) -> io::Result<()> {
    let with = |file: &str, line: String| -> io::Result<()> {
        let old = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        fs::write(etc.join(file), old + &line)
    };
    with("passwd", format!("plain:x:{PLAIN_UID}:{PLAIN_UID}::/:/bin/sh\n"))?;
    with("group", format!("plain:x:{PLAIN_UID}:\n"))?;
    for file in ["subuid", "subgid"].into_iter().filter(|file| Path::new("/etc").join(file).exists()) {
        with(file, PLAIN_SUB.to_owned())?;
    }
    Ok(())
}

/// Makes the plain user the owner of the world's folders.
fn give(folder: &Path) -> io::Result<()> {
    give_to_plain(folder)?;
    ["root", "run", "home"].iter().try_for_each(|name| give_to_plain(&folder.join(name)))
}

fn give_to_plain(path: &Path) -> io::Result<()> {
    let uid = PLAIN_UID.parse::<u32>().ok();
    std::os::unix::fs::chown(path, uid, uid)
}
