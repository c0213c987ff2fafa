//! Namespaces of a test's own: mounts, network and process numbers. What happens in them cannot reach the machine, and
//! ends with them.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The first process of the namespaces; when it ends, the kernel ends all others.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// `unshare`, the parent of the first process.
    outer: Child,
    /// The number of the first process, as seen from outside.
    pub(crate) init: u32,
}

/// Sets the world up and then waits for ever. A first process that ignores SIGCHLD has its orphans reaped by the kernel.
/// The folder `$1` may hold files that take the place of the machine's in /etc.
const SETUP: &str = "
    ip link set lo up
    for file in \"$1\"/*; do
        [ -e \"$file\" ] && mount --bind \"$file\" \"/etc/${file##*/}\"
    done
    echo ready
    exec env --ignore-signal=CHLD sleep infinity";

impl Sandbox {
    /// Makes the namespaces; the files of the folder `etc` take the place of the machine's.
    pub(crate) fn start(etc: &Path) -> io::Result<Self> {
        // Killed with the test program, too: otherwise an interrupted run leaves its namespaces.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]);
        command.args(["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["--propagation", "private", "sh", "-eu", "-c", SETUP, "sh"]).arg(etc);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir("/");
        let mut outer = command.spawn()?;
        let mut ready = [0; 5];
        if let Some(output) = outer.stdout.as_mut() {
            output.read_exact(&mut ready)?;
        }
        let init = first_child(outer.id())?;
        Ok(Self { outer, init })
    }

    /// Returns the command line by which a program starts inside, without the program.
    pub(crate) fn enter(&self) -> Vec<String> {
        let pid = self.init.to_string();
        ["nsenter", "-t", &pid, "--mount", "--net", "--pid", "--uts", "--"].map(str::to_owned).to_vec()
    }

    /// Returns the folder `/proc` of the inside.
    pub(crate) fn proc(&self) -> String {
        format!("/proc/{}/root/proc", self.init)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // `--kill-child`: the first process dies with its parent, and all others with it.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

fn first_child(pid: u32) -> io::Result<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let first = children.split(' ').next().unwrap_or_default();
    first.parse().map_err(|_| io::Error::other(format!("unshare has no child: {children:?}")))
}
