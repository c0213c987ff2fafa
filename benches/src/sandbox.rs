//! The namespaces and the file system in which everything is measured.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::arguments::{Arguments, Data};

/// Set in the environment of the program that was started inside.
const INSIDE: &str = "BRIG_BENCH_INSIDE";

/// Whether this process was started by [`enter`].
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Replaces this process by one in new mount, network, process and host-name namespaces.
///
/// The working directory is another one inside, so that `out` is named as it is from here.
pub(crate) fn enter(words: &[String], out: &Path) -> Result<()> {
    let out = std::path::absolute(out).context("cannot tell the working directory")?;
    let own = env::current_exe().context("cannot find my own path")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]);
    command
        .args(["--propagation", "private"])
        .arg(own)
        .args(words)
        .arg("--out")
        .arg(out)
        .env(INSIDE, "1")
        .current_dir("/");
    Err(command.exec()).context("cannot start unshare (it is part of util-linux; root is wanted)")
}

/// The folders of a run.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the engines keep their data; the file system that was asked for.
    pub(crate) data: PathBuf,
    /// What kind of place that is, for people.
    pub(crate) kind: String,
    /// Sockets, the bundle, the floor program: always in memory.
    pub(crate) run: PathBuf,
    /// The cgroup v2 folder for the floor program.
    pub(crate) cgroup: Option<PathBuf>,
}

impl Place {
    /// Makes the folders; must run inside.
    pub(crate) fn prepare(arguments: &Arguments) -> Result<Self> {
        // Sockets, locks and pid files of all engines are private, whatever path they insist on.
        mount(&["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])?;
        sh("ip link set lo up")?;
        let cgroup = prepare_cgroups(arguments.unified)?;
        let run = PathBuf::from("/run/bench");
        fs::create_dir_all(&run).context("cannot make /run/bench")?;
        let (data, kind) = prepare_data(&arguments.data, &run)?;
        Ok(Self { data, kind, run, cgroup })
    }

    /// Makes and returns the folder `name` below the data folder.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.data.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Cgroups and a folder on a disk outlive the namespaces. What an engine still holds stays, and is not ours to report.
        let _ = sh("find /sys/fs/cgroup -depth -type d -path '*/brig-bench*' -exec rmdir {} + 2> /dev/null");
        if !self.data.starts_with(&self.run) {
            let _ = sh(&format!("rm -rf --one-file-system {}", self.data.display()));
        }
    }
}

fn prepare_cgroups(unified: bool) -> Result<Option<PathBuf>> {
    if unified && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        mount(&["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])?;
    }
    let found = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter();
    Ok(found.map(PathBuf::from).find(|path| path.join("cgroup.controllers").exists()))
}

fn prepare_data(data: &Data, run: &Path) -> Result<(PathBuf, String)> {
    let memory = run.join("memory");
    match data {
        Data::Folder(folder) => {
            Ok((folder.join(format!("brig-bench.{}", std::process::id())), format!("{}", folder.display())))
        }
        Data::Tmpfs => Ok((memory, "tmpfs".to_owned())),
        Data::Loop => {
            let (image, point) = (run.join("data.img"), run.join("data"));
            fs::create_dir_all(&point).context("cannot make the mount point")?;
            sh(&format!(
                "mount -o remount,size=80% /run && truncate -s 12G {0} && mkfs.ext4 -q -F {0}",
                image.display()
            ))?;
            let path = |path: &Path| path.to_string_lossy().into_owned();
            mount(&["-o", "loop", &path(&image), &path(&point)])?;
            Ok((point, "ext4 on a loop device in memory".to_owned()))
        }
    }
}

fn mount(args: &[&str]) -> Result<()> {
    sh(&format!("mount {}", args.join(" "))).map(drop)
}

/// Runs a line of shell to its end; its output is for the error.
pub(crate) fn sh(line: &str) -> Result<String> {
    let output =
        Command::new("sh").args(["-ec", line]).current_dir("/").output().context("cannot start sh")?;
    if !output.status.success() {
        bail!("{line}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
