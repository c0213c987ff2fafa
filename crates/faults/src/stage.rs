//! A world with what the scenes need: images as files, a registry, and the listing of what is there between two scenes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testkit::{Done, World};

use crate::audit::Listing;
use crate::scene;

/// Seconds after which a command counts as hanging.
const PATIENCE: u32 = 30;
/// How often, and after what pauses, the world is looked at until it is as it was.
pub(crate) const LOOKS: u32 = 60;
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A world between two scenes.
#[derive(Debug)]
pub struct Stage {
    /// The machine.
    pub world: World,
    /// What is there when no scene plays.
    pub empty: Listing,
    registry: Child,
    host: String,
}

impl Stage {
    /// Makes a world, `None` where the machine lacks what one needs. `harness` is this crate's program, which is the registry.
    pub fn new(harness: &Path) -> Result<Option<Self>> {
        let Some(mut world) = World::root() else { return Ok(None) };
        world.set_timeout(PATIENCE);
        let script = "mkdir -p other/bin && cp /bin/busybox other/bin/ && ln -s busybox other/bin/sh && ln -s busybox other/bin/echo
            echo x > other/file && tar -C other -cf other.tar . && rm -r other";
        world.sh(script).exits(0);
        let (registry, host) = start_registry(&world, harness)?;
        let mut stage = Self { world, empty: Listing::default(), registry, host };
        let saved = stage.world.path("saved.tar").to_string_lossy().into_owned();
        stage.must("import --change 'CMD sh' @other.tar saved")?;
        stage.must(&format!("save -o {saved} saved"))?;
        stage.must("rmi saved")?;
        // What the first of its kind makes stays: the bridge, the firewall table, compiled filters.
        stage.must("run --rm -p 8080:80 -v /a tiny true")?;
        for line in ["network create first", "run --rm --network first tiny true", "network rm first"] {
            stage.must(line)?;
        }
        stage.settle_empty()?;
        Ok(Some(stage))
    }

    /// Takes what there is now for what is there between two scenes.
    pub fn settle_empty(&mut self) -> Result<()> {
        let mut before = Listing::take(&self.world, []);
        for _ in 0..LOOKS {
            std::thread::sleep(PAUSE);
            let now = Listing::take(&self.world, []);
            if now == before {
                self.empty = now;
                return Ok(());
            }
            before = now;
        }
        bail!("the world does not come to rest")
    }

    /// Returns the command that a line means.
    pub fn command(&self, line: &str) -> Command {
        self.world.brig_command(self.words(line))
    }

    /// Runs a line.
    pub fn run(&self, line: &str) -> Done {
        self.world.brig(self.words(line))
    }

    /// Runs a line that must succeed.
    pub fn must(&self, line: &str) -> Result<Done> {
        let done = self.run(line);
        ensure!(done.code == 0, "{line}: exit status {}: {}", done.code, done.stderr.trim());
        Ok(done)
    }

    /// Waits until the world is as it is between two scenes; returns the differences that stay.
    pub fn differences(&self, ids: &[String]) -> Vec<String> {
        let look = || Listing::take(&self.world, ids.iter().map(String::as_str)).differences(&self.empty);
        let mut left = look();
        for _ in 0..LOOKS {
            if left.is_empty() {
                break;
            }
            std::thread::sleep(PAUSE);
            left = look();
        }
        left
    }

    fn words(&self, line: &str) -> Vec<String> {
        let file = |word: String| match word.strip_prefix('@') {
            Some("registry/demo:1") => format!("{}/demo:1", self.host),
            Some(name) => self.world.path(name).to_string_lossy().into_owned(),
            None => word,
        };
        scene::words(line).into_iter().map(file).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have ended with the world already.
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

/// Starts the harness as a registry on the loopback of the world; returns it and its host and port.
fn start_registry(world: &World, harness: &Path) -> Result<(Child, String)> {
    use std::io::{BufRead as _, BufReader};
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "nsenter", "-t", &world.first_process().to_string(), "--net", "--"]);
    command.arg(harness).arg("--serve").arg(world.path("other.tar")).current_dir("/");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the registry")?;
    let output = child.stdout.take().context("the registry has no output")?;
    let mut host = String::new();
    BufReader::new(output).read_line(&mut host)?;
    ensure!(!host.trim().is_empty(), "the registry does not start");
    Ok((child, host.trim().to_owned()))
}

/// Serves an image `demo:1` whose layer is the archive `path`, until it is killed.
pub fn serve(path: &str) -> Result<()> {
    let registry = testkit::registry::FakeRegistry::start();
    registry.put_image("demo", "1", &[fs::read(path)?]);
    println!("{}", registry.host());
    loop {
        std::thread::park();
    }
}
