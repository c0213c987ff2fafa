//! What the tests of this crate share: a bundle with a static busybox, and the runtime as a program of its own.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A bundle and a state root of its own; everything in it is removed at the end.
pub(crate) struct World {
    dir: tempfile::TempDir,
    ids: std::cell::RefCell<Vec<String>>,
    pub(crate) program: PathBuf,
}

/// Says loudly why a test does nothing.
pub(crate) fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP {why}");
}

/// Returns a world, or says why there can be none.
pub(crate) fn world() -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        skip("needs root");
        return None;
    }
    if !Path::new("/bin/busybox").exists() {
        skip("needs a static /bin/busybox (package busybox-static)");
        return None;
    }
    Some(World::new())
}

impl World {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("brig-runtime-").tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let exe = std::env::current_exe().unwrap();
        let built = exe.parent().unwrap().parent().unwrap().join("examples/brig-runtime");
        assert!(
            built.exists(),
            "cargo builds the example with all tests, or by cargo build -p runtime --examples"
        );
        let world = Self { dir, ids: Vec::new().into(), program: built };
        let bin = world.rootfs().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for folder in ["proc", "sys", "dev", "tmp", "etc"] {
            std::fs::create_dir_all(world.rootfs().join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in [
            "sh", "true", "cat", "ls", "sleep", "id", "env", "touch", "readlink", "grep", "mount", "stat",
            "mv", "ln",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
        }
        world
    }

    /// Gives the world a copy of the runtime that may be destroyed. Another program copies it: a child that another test
    /// forks meanwhile must not hold it open for writing.
    pub(crate) fn with_own_program(&mut self) {
        let own = self.dir.path().join("brig-runtime");
        assert!(Command::new("cp").arg(&self.program).arg(&own).status().unwrap().success());
        self.program = own;
    }

    /// Puts the libraries of the runtime into the image, so that it could run there.
    pub(crate) fn with_libraries(&self) {
        let listed = Command::new("ldd").arg(&self.program).output().unwrap();
        for word in
            String::from_utf8_lossy(&listed.stdout).split_whitespace().filter(|word| word.starts_with('/'))
        {
            let inside = self.rootfs().join(&word[1..]);
            std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
            std::fs::copy(word, inside).unwrap();
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Returns a spec that runs `script`.
    pub(crate) fn spec(&self, script: &str) -> Value {
        json!({
            "ociVersion": "1.2.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", script], "cwd": "/",
                "env": ["PATH=/bin"], "capabilities": {
                    "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"],
                    "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"],
                    "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE"]}},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                               {"type": "cgroup"}],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq"]}
        })
    }

    /// Writes `config.json`.
    pub(crate) fn write(&self, spec: &Value) {
        std::fs::write(self.bundle().join("config.json"), serde_json::to_vec(spec).unwrap()).unwrap();
    }

    /// Returns a command of the runtime.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.path().join("state")).args(args).current_dir(self.bundle());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of the runtime.
    pub(crate) fn brig(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// Runs a spec in the foreground.
    pub(crate) fn run(&self, spec: &Value) -> Done {
        self.write(spec);
        let id = self.id();
        self.brig(&["run", &id])
    }

    /// Runs a spec in the foreground with the guards `off` switched off; a hang is ended after ten seconds.
    pub(crate) fn run_without(&self, spec: &Value, off: &str) -> Done {
        self.write(spec);
        let id = self.id();
        let runtime = self.command(&["run", &id]);
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "10"]).arg(runtime.get_program()).args(runtime.get_args());
        command.current_dir(self.bundle()).stdin(Stdio::null()).env("BRIG_UNGUARD", off);
        // Files: what hangs would hold a pipe open.
        let status = command.stdout(self.file("out")).stderr(self.file("err")).status().unwrap();
        let _ = self.command(&["delete", "-f", &id]).stderr(Stdio::null()).status();
        let text = |name: &str| std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        Done { code: status.code().unwrap_or(-1), out: text("out"), err: text("err") }
    }

    /// Starts a spec that stays, and returns its name.
    pub(crate) fn start(&self, spec: &Value) -> String {
        self.write(spec);
        let id = self.id();
        // Its own streams: a container that holds our pipe would keep us waiting.
        let mut command = self.command(&["run", "-d", &id]);
        let done = command.stdout(Stdio::null()).stderr(self.file("stderr")).status().unwrap();
        let said = std::fs::read_to_string(self.path().join("stderr")).unwrap_or_default();
        assert!(done.success(), "{said}");
        id
    }

    fn file(&self, name: &str) -> std::fs::File {
        std::fs::File::create(self.path().join(name)).unwrap()
    }

    /// Returns a name that no other test uses.
    pub(crate) fn id(&self) -> String {
        let number = self.ids.borrow().len();
        let tail = self.path().file_name().unwrap().to_string_lossy().into_owned();
        let id = format!("{tail}-{number}");
        self.ids.borrow_mut().push(id.clone());
        id
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for id in self.ids.borrow().iter() {
            let _ = self.command(&["delete", "-f", id]).stderr(Stdio::null()).status();
        }
    }
}

/// Shows that it is the guards `switches` that keep a harm out. `harm` tries with the guards named in its argument switched
/// off, and says whether harm was done.
#[track_caller]
pub(crate) fn proves(switches: &str, mut harm: impl FnMut(&str) -> bool) {
    assert!(!harm(""), "harm was done with all guards on");
    assert!(harm(switches), "no harm is done without {switches:?}: the test proves nothing");
}

/// How often a race is tried: `BRIG_TEST_RACES`, or a few times.
pub(crate) fn races() -> usize {
    std::env::var("BRIG_TEST_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Adds capabilities to a spec.
pub(crate) fn add_caps(spec: &mut Value, caps: &[&str]) {
    for set in ["bounding", "permitted", "effective"] {
        let list = spec["process"]["capabilities"][set].as_array_mut().unwrap();
        list.extend(caps.iter().map(|cap| json!(cap)));
    }
}

/// Gives a spec a user namespace of its own, and its users the root file system.
pub(crate) fn with_user_namespace(spec: &mut Value, world: &World) {
    const FIRST: u32 = 200_000;
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": FIRST, "size": 65536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    for folder in ["", "tmp", "etc", "dev", "proc", "sys"] {
        std::os::unix::fs::chown(world.rootfs().join(folder), Some(FIRST), Some(FIRST)).unwrap();
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Returns whether it had to be killed.
    pub(crate) fn hung(&self) -> bool {
        matches!(self.code, -1 | 137)
    }

    /// Asserts that it succeeded and returns what it printed.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts that it failed and said `text`.
    #[track_caller]
    pub(crate) fn bad(self, text: &str) {
        assert!(self.code != 0 && self.err.contains(text), "{self:?}");
    }
}

/// Waits until `done` says so; at most ten seconds.
#[track_caller]
pub(crate) fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
