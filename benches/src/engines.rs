//! The engines: how each is started, and what its command line wants in front.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::arguments::Arguments;
use crate::measure::{Line, wait_until};
use crate::sandbox::Place;

/// What kind of command line an engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Brig,
    Docker,
    Podman,
}

/// One engine with its own data, started where it needs that.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The program, and the options that stand before every command.
    argv: Vec<String>,
    env: Vec<(String, String)>,
    daemon: Option<Child>,
    /// What a reader of the table must know of it.
    pub(crate) note: &'static str,
}

impl Engine {
    /// Returns the command line of `words` (a command in Docker's syntax) for this engine.
    pub(crate) fn line(&self, words: &[&str]) -> Line {
        let mut argv = self.argv.clone();
        let (command, rest) = words.split_first().map_or(("", words), |(command, rest)| (*command, rest));
        argv.push(command.to_owned());
        argv.extend(self.extra(command).iter().map(|word| (*word).to_owned()));
        argv.extend(rest.iter().map(|word| (*word).to_owned()));
        Line { argv, env: self.env.clone() }
    }

    /// What this engine needs so that its `command` does the same as the others'.
    fn extra(&self, command: &str) -> &'static [&'static str] {
        match (self.kind, command) {
            // Podman raises limits, which needs a capability that a machine may lack, and the limit on
            // processes, whose controller a hybrid tree does not have.
            (Kind::Podman, "run" | "create") => {
                &["--ulimit", "host", "--pids-limit", "0", "--cgroup-parent", "/brig-bench"]
            }
            (Kind::Podman, "pull") => &["--tls-verify=false"],
            // Without it Podman waits ten seconds for a SIGTERM that nobody hears.
            (Kind::Podman, "rm") => &["-t", "0"],
            _ => &[],
        }
    }

    /// Runs a command for its effect.
    pub(crate) fn run(&self, words: &[&str]) -> Result<()> {
        self.line(words).run()
    }

    /// Runs a command whose failure does not matter.
    pub(crate) fn try_run(&self, words: &[&str]) {
        // For tidying up: the thing may not be there.
        let _ = self.line(words).run();
    }

    /// Gives Podman another runtime where its own cannot run `image`: Debian 12's crun wants to raise a limit.
    pub(crate) fn settle(&mut self, image: &str) {
        let works = self.kind != Kind::Podman
            || self.run(&["run", "--rm", "--network", "none", image, "true"]).is_ok();
        if !works && find("runc").is_some() {
            self.argv.extend(["--runtime", "runc"].map(str::to_owned));
            self.note = " with runc (its own runtime cannot run here)";
        }
    }

    /// Removes all containers.
    pub(crate) fn clear(&self) {
        let ids = self.line(&["ps", "-aq"]).output().unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            self.try_run(&[&["rm", "-f"], ids.as_slice()].concat());
        }
    }

    /// The number of the daemon's process.
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.clear();
        if let Some(daemon) = &mut self.daemon {
            // The namespace ends with the benchmark, and everything in it.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Starts Brig and every engine that the machine has or the arguments name.
pub(crate) fn start_all(arguments: &Arguments, place: &Place) -> Result<Vec<Engine>> {
    let wanted = |name: &str| !arguments.without.iter().any(|without| without == name);
    let mut engines = vec![brig(&arguments.brig, place)?];
    if wanted("docker") && find("dockerd").is_some() {
        engines.push(docker("docker", None, place)?);
    }
    for (name, folder) in &arguments.docker {
        engines.push(docker(name, Some(folder), place)?);
    }
    if let Some(path) = find("podman").filter(|_| wanted("podman")) {
        engines.push(podman("podman", &path, place)?);
    }
    for (name, path) in &arguments.podman {
        engines.push(podman(name, path, place)?);
    }
    for engine in &engines {
        let up = || engine.line(&["version"]).run().is_ok();
        wait_until(&engine.name, Duration::from_secs(60), up)?;
    }
    Ok(engines)
}

fn brig(path: &Path, place: &Place) -> Result<Engine> {
    let env = vec![
        ("BRIG_ROOT".to_owned(), text(&place.data.join("brig"))),
        ("BRIG_RUN".to_owned(), text(&place.run.join("brig"))),
    ];
    Ok(Engine {
        name: "brig".to_owned(),
        kind: Kind::Brig,
        argv: vec![text(path)],
        env,
        daemon: None,
        note: "",
    })
}

fn docker(name: &str, folder: Option<&PathBuf>, place: &Place) -> Result<Engine> {
    let program = |program: &str| folder.map_or(program.to_owned(), |folder| text(&folder.join(program)));
    let (data, run) = (text(&place.folder(name)?), text(&place.run));
    let socket = format!("unix://{run}/{name}.sock");
    let mut line = Line::of(&[
        &program("dockerd"),
        "--data-root",
        &data,
        "--exec-root",
        &format!("{run}/{name}.exec"),
        "--pidfile",
        &format!("{run}/{name}.pid"),
        "--host",
        &socket,
        "--cgroup-parent",
        "/brig-bench",
        "--storage-driver",
        "overlay2",
    ]);
    if let Some(folder) = folder {
        // Its own containerd and runc before the machine's.
        let path = std::env::var("PATH").unwrap_or_default();
        line.env.push(("PATH".to_owned(), format!("{}:{path}", folder.display())));
    }
    let daemon = line.daemon(&format!("{run}/{name}.log"))?;
    let env = vec![("DOCKER_HOST".to_owned(), socket)];
    // Debian's client has the daemon's age; another one in the path may be newer and is then slower or faster.
    let client = if folder.is_none() && Path::new("/usr/bin/docker").exists() {
        "/usr/bin/docker".to_owned()
    } else {
        program("docker")
    };
    Ok(Engine {
        name: name.to_owned(),
        kind: Kind::Docker,
        argv: vec![client],
        env,
        daemon: Some(daemon),
        note: "",
    })
}

fn podman(name: &str, path: &Path, place: &Place) -> Result<Engine> {
    let (data, run) = (text(&place.folder(name)?), text(&place.run.join(format!("{name}.run"))));
    let words =
        ["--root", &data, "--runroot", &run, "--cgroup-manager", "cgroupfs", "--events-backend", "file"];
    let argv = std::iter::once(text(path)).chain(words.map(str::to_owned)).collect();
    Ok(Engine { name: name.to_owned(), kind: Kind::Podman, argv, env: Vec::new(), daemon: None, note: "" })
}

/// Finds a program in the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Starts a registry on loopback and puts the images into it.
pub(crate) fn registry(place: &Place, images: &[&str]) -> Result<Child> {
    let run = text(&place.run);
    let store = text(&place.folder("registry")?);
    let config = format!("{run}/registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {store}}}}}\nhttp: {{addr: \"{REGISTRY}\"}}\n"
    );
    std::fs::write(&config, text).context("cannot write the registry's configuration")?;
    let child = Line::of(&["docker-registry", "serve", &config]).daemon(&format!("{run}/registry.log"))?;
    let up = || std::net::TcpStream::connect(REGISTRY).is_ok();
    wait_until("the registry", Duration::from_secs(20), up)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/images.sh");
    let script = script.to_string_lossy().into_owned();
    crate::sandbox::sh(&format!("{script} push {REGISTRY} {}", images.join(" ")))
        .context("cannot fill the registry")?;
    Ok(child)
}

/// Where the registry listens, inside the sandbox's own network namespace.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// Returns the name of an image as all engines pull it.
pub(crate) fn image(name: &str) -> String {
    format!("{REGISTRY}/brig/{name}:1")
}
