//! `exec`: another process inside a running container.

use std::path::Path;

use docker_types::container::HostConfig;
use monitor::{ExecLaunch, Session};
use serde_json::json;
use sys::beneath::Root;

use super::create::random_bytes;
use super::spec::{Security, capabilities};
use super::{merge, user};
use crate::Engine;
use crate::error::{Doing, Error, Result};
use crate::events::of_container;
use crate::model::Status;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value` on top of the container's.
    pub env: Vec<String>,
    /// `user[:group]`; empty means the container's.
    pub user: String,
    /// Working directory; empty means the container's.
    pub workdir: String,
    /// With a terminal of its own.
    pub tty: bool,
    /// With the caller's input.
    pub stdin: bool,
    /// With the caller's output.
    pub output: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// Without any client.
    pub detach: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
}

/// A process that was started.
#[derive(Debug)]
pub struct ExecStarted {
    /// Identity of the session.
    pub id: String,
    /// Its streams; none when detached.
    pub session: Option<Session>,
}

impl Engine {
    /// Runs a process inside a running container.
    pub fn exec(&self, name: &str, exec: &ExecSpec) -> Result<ExecStarted> {
        if exec.argv.first().is_none_or(String::is_empty) {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        let row = self.row(name)?;
        let state = self.state_of(&row);
        match state.status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::Conflict(format!(
                    "Container {name} is paused, unpause the container before exec"
                )));
            }
            Status::Restarting => {
                return Err(Error::Conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    row.id
                )));
            }
            _ => return Err(Error::Conflict(format!("container {} is not running", row.id))),
        }
        let root_path = format!("/proc/{}/root", state.pid);
        let root = Root::open(Path::new(&root_path)).map_err(|error| Error::System {
            action: format!("open the root of container {}", row.name),
            source: error.into(),
        })?;
        let host = &row.spec.host_config;
        let who = if exec.user.is_empty() { &row.spec.config.user } else { &exec.user };
        let groups = host.group_add.clone().unwrap_or_default();
        let identity = user::Accounts::load(&root)
            .and_then(|accounts| user::resolve(who, &groups, &accounts))
            .map_err(|error| Error::Account(base::error::render_chain(&error)))?;
        let with_privileges = HostConfig { privileged: exec.privileged || host.privileged, ..host.clone() };
        let caps = capabilities(&with_privileges)?;
        let held: &[String] = if identity.uid == 0 { &caps } else { &[] };
        let mut env = merge::environment(&row.spec.config.env, &self.secret_variables(&row)?);
        env = merge::environment(&env, &exec.env);
        let mut default = |name: &str, value: &str| {
            if !env.iter().any(|line| line.split('=').next() == Some(name)) {
                env.push(format!("{name}={value}"));
            }
        };
        default(
            "HOSTNAME",
            if row.spec.config.hostname.is_empty() { row.id.short() } else { &row.spec.config.hostname },
        );
        default("HOME", &identity.home);
        if exec.tty {
            default("TERM", "xterm");
        }
        let workdir = [&exec.workdir, &row.spec.config.working_dir].into_iter().find(|dir| !dir.is_empty());
        let mut process = json!({
            "terminal": exec.tty,
            "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
            "args": exec.argv,
            "env": env,
            "cwd": workdir.map_or("/", String::as_str),
            "capabilities": { "bounding": caps, "effective": held, "permitted": held },
            "noNewPrivileges": Security::of(host)?.no_new_privileges,
        });
        if let Some((rows, columns)) = exec.console_size {
            process["consoleSize"] = json!({ "height": rows, "width": columns });
        }
        let id = base::ContainerId::from_random(random_bytes()?).to_string();
        crate::timings::mark("process planned");
        let launch = ExecLaunch {
            id: id.clone(),
            process: process.to_string(),
            terminal: exec.tty,
            stdin: exec.stdin,
            stdout: exec.output && !exec.detach,
            stderr: exec.output && !exec.detach && !exec.tty,
            detach: exec.detach,
        };
        let client = self.client(&row)?;
        let line = exec.argv.join(" ");
        let event = |verb: &str| of_container(&row.id, format!("{verb}: {line}")).with("execID", &id);
        self.record(&[event("exec_create"), event("exec_start")]);
        let session = client
            .exec(&launch)
            .doing(|| format!("cannot run {:?} in container {}", exec.argv[0], row.name))?;
        crate::timings::mark("process started");
        Ok(ExecStarted { id, session })
    }
}
