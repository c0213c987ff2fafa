//! `start`: from a recorded container to a running one.
//!
//! ```text
//! snapshot mounted ─ namespace, address, ports ─ files, config.json ─ monitor spawned ─┬─ container created ─┬─ recorded ─ started
//!                                                                                      └─ network on the wire ┘
//! ```
//! Every step that makes something outside this process is undone when a later one fails; the row then says why.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;

use base::{ContainerId, ErrorKind, Kinded};
use jiff::Timestamp;
use monitor::{AttachOptions, CgroupManager, HealthCheck, Launch, LaunchFds, Session, StdinMode};
use runtime::view;
use sys::beneath::Root;

use super::spec::{self, Resolved};
use super::truth::Truth;
use super::user::{Accounts, Identity};
use super::userns::UserNamespace;
use super::{EXIT_FILE, cdi, copyup, devices, user};
use crate::Engine;
use crate::config::{CgroupSetting, ProcSetting};
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::events;
use crate::model::{MountPoint, Status};
use crate::networks::{Mode, Prepared};
use crate::rootless;
use crate::volumes::options;

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// Which.
    pub id: ContainerId,
    /// Its streams, when they were asked for. When [`Started::owns_cleanup`], the session goes to [`Engine::finish`]
    /// after its end.
    pub session: Option<Session>,
    /// What was asked for and is not had, in whole sentences.
    pub warnings: Vec<String>,
    /// Whether the caller promised the clean-up.
    pub owns_cleanup: bool,
}

impl Engine {
    /// Starts a container, with a session on its streams when `attach` asks for one. Starting a running one does nothing.
    pub fn start(&self, name: &str, attach: Option<AttachOptions>) -> Result<Started> {
        let found = self.row(name)?;
        let id = found.id;
        if found.status == Status::Created {
            // A create that was killed may have recorded the container and made no folder.
            self.make_folder(&id)?;
        }
        let _lock = self.lock(&id)?;
        let row = self.row(id.as_str())?;
        if row.status == Status::Running {
            if let Truth::Alive(_) = self.truth(&id) {
                if self.state_of(&row).status == Status::Paused {
                    return Err(Error::Conflict(
                        "cannot start a paused container, try unpause instead".to_owned(),
                    ));
                }
                return Ok(Started { id, session: None, warnings: Vec::new(), owns_cleanup: false });
            }
            self.settle(&row)?;
        }
        if row.status == Status::Restarting {
            self.cancel_restart(&row);
        }
        if row.status == Status::Removing {
            return Err(Error::Conflict(format!("container {} is being removed", row.name)));
        }
        self.clear_remains(&row)?;
        if row.restart_count != 0 {
            self.db()?.forget_restarts(&id)?;
        }
        self.start_locked(&row, attach)
    }

    /// Starts a container whose lock the caller holds and which does not run.
    pub(super) fn start_locked(&self, row: &ContainerRow, attach: Option<AttachOptions>) -> Result<Started> {
        let restarts = !matches!(row.spec.host_config.restart_policy.name.as_str(), "" | "no");
        let attach = attach.map(|options| AttachOptions { claim_cleanup: !restarts, ..options });
        let result = self.try_start(row, attach);
        if let Err(error) = &result {
            let text = base::error::render_chain(error);
            let code = match error.kind() {
                ErrorKind::CommandNotFound => 127,
                ErrorKind::CommandNotExecutable => 126,
                _ => 128,
            };
            // Undo goes on after an error; the first error is the one that is told.
            let _ = runtime::delete(&self.roots().run.join("runtime"), row.id.as_str(), true);
            let _ = self.teardown_network(row);
            let _ = self.db()?.set_start_failed(&row.id, code, &text);
            let _ = fs::remove_dir_all(self.roots().container_run(row.id.as_str()));
        }
        result
    }

    fn try_start(&self, row: &ContainerRow, attach: Option<AttachOptions>) -> Result<Started> {
        let folder = self.container_path(&row.id);
        let mode = Mode::parse(&row.spec.host_config.network_mode)?;
        let users = self.user_namespace(row)?;
        let rootfs = self.mount_rootfs(row, users.as_ref())?;
        crate::timings::mark("snapshot");
        let root = Root::from_fd(rootfs.try_clone().at("duplicate the root file system of", &folder)?);
        let identity = self.identity(row, &root, users.as_ref())?;
        row.volumes().try_for_each(|name| self.make_volume_folders(name))?;
        let mut mounts: Vec<MountPoint> =
            row.mounts.iter().cloned().map(|point| self.with_source(point)).collect();
        for filesystem in mounts.iter_mut().filter_map(|point| point.filesystem.as_mut()) {
            *filesystem = options::resolve(filesystem)?;
        }
        self.fill_volumes(row, &mounts, root, users.as_ref())?;
        // Held until the container is created: the sources of subpaths are named by these descriptors.
        let _subpaths = self.open_subpaths(&mut mounts)?;
        crate::timings::mark("user, volumes");
        let prepared = self.prepare_network(row, &mode, users.as_ref())?;
        crate::timings::mark("address");
        let (mut warnings, health) =
            self.write_bundle(row, &mode, &identity, &mounts, &prepared, users.as_ref())?;
        crate::timings::mark("bundle");
        match fs::remove_file(folder.join(EXIT_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", &folder.join(EXIT_FILE));
            }
            _ => {}
        }
        let netns = prepared
            .netns
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose()
            .at("duplicate the network of", &folder)?;
        let guard = prepared.depends_on_firewall().then(|| self.firewall_guard());
        let launch = Launch { health, guard, ..self.launch(row)? };
        let userns = users.map(|users| users.namespace);
        let keep = prepared.keep().at("duplicate the network of", &folder)?;
        let fds = LaunchFds { rootfs: Some(rootfs), netns, userns, keep };
        let doing = || format!("cannot start container {}", row.name);
        let mut pending = monitor::spawn(&launch, fds).doing(doing)?;
        crate::timings::mark("monitor spawned");
        // While the monitor makes the container.
        let wired =
            prepared.netns.as_ref().map_or(Ok(()), |netns| self.setup_network(&row.id, &prepared, netns));
        if let Err(error) = wired {
            pending.abort();
            return Err(error);
        }
        if mode == Mode::Networks {
            warnings.extend(self.firewall_warnings(&prepared.ports));
            crate::timings::mark("other firewalls");
        }
        let created = pending.wait_created().doing(doing)?;
        self.clear_secrets(row)?;
        crate::timings::mark("created");
        warnings.extend(created.warnings);
        self.db()?.set_running(&row.id, Timestamp::now())?;
        let owns_cleanup = attach.is_some_and(|options| options.claim_cleanup);
        let session = attach.map(|options| pending.attach(options)).transpose().doing(doing)?;
        self.record_preparation(row, session.is_some());
        let starting = || match self.foreign_platform(row) {
            Some((image, machine)) => {
                format!("{} (its image is for {image}, this machine is {machine})", doing())
            }
            None => doing(),
        };
        pending.start().doing(starting).inspect_err(|_| self.record(&self.release_events(row)))?;
        crate::timings::mark("started");
        Ok(Started { id: row.id.clone(), session, warnings, owns_cleanup })
    }

    /// Records what was done before a start; the start itself the monitor records.
    fn record_preparation(&self, row: &ContainerRow, attached: bool) {
        let mut list = Vec::new();
        if attached {
            list.push(events::of_container(&row.id, "attach"));
        }
        list.extend(self.volume_events(row, "mount"));
        list.extend(self.network_events(row, "connect"));
        self.record(&list);
    }

    /// The events of what a run had and has not any more.
    pub(super) fn release_events(&self, row: &ContainerRow) -> Vec<events::Event> {
        let mut list = self.network_events(row, "disconnect");
        list.extend(self.volume_events(row, "unmount"));
        list
    }

    pub(super) fn mount_rootfs(&self, row: &ContainerRow, users: Option<&UserNamespace>) -> Result<OwnedFd> {
        let doing = || format!("cannot prepare the root file system of container {}", row.name);
        let store = self.store()?;
        let snapshot = match store.snapshot(row.id.as_str()) {
            Ok(snapshot) => snapshot,
            Err(_) => store.prepare_snapshot(row.id.as_str(), &row.layers).doing(doing)?,
        };
        let volatile = row.spec.host_config.auto_remove;
        let idmap = users.map(UserNamespace::idmap).transpose()?.flatten();
        snapshot.mount(&image::MountOptions { volatile, idmap, ..Default::default() }).doing(doing)
    }

    /// Fills fresh volumes from the image. What is seen through a map has the wrong owners for that: another look is taken.
    fn fill_volumes(
        &self,
        row: &ContainerRow,
        mounts: &[MountPoint],
        root: Root,
        users: Option<&UserNamespace>,
    ) -> Result<()> {
        if !users.is_some_and(UserNamespace::shifts) || row.volumes().next().is_none() {
            return copyup::fill_volumes(self, mounts, &root);
        }
        let doing = || format!("cannot read the root file system of container {}", row.name);
        let snapshot = self.store()?.snapshot(row.id.as_str()).doing(doing)?;
        let plain =
            snapshot.mount(&image::MountOptions { readonly: true, ..Default::default() }).doing(doing)?;
        copyup::fill_volumes(self, mounts, &Root::from_fd(plain))
    }

    /// Who the process of a container is, by the accounts of its root file system.
    pub(super) fn identity(
        &self,
        row: &ContainerRow,
        root: &Root,
        users: Option<&UserNamespace>,
    ) -> Result<Identity> {
        let add = row.spec.host_config.group_add.clone().unwrap_or_default();
        let identity = user::resolve(&row.spec.config.user, &add, &Accounts::load(root)?)?;
        match users {
            Some(users) => users.check(identity.uid, &identity.groups)?,
            None => rootless::check_ids(identity.uid, &identity.groups)?,
        }
        Ok(identity)
    }

    /// Writes `hosts`, `hostname`, `resolv.conf` and `config.json` into the container's folder. Returns warnings, and how
    /// its health is checked.
    fn write_bundle(
        &self,
        row: &ContainerRow,
        mode: &Mode,
        identity: &Identity,
        mounts: &[MountPoint],
        prepared: &Prepared,
        users: Option<&UserNamespace>,
    ) -> Result<(Vec<String>, Option<HealthCheck>)> {
        let folder = self.container_path(&row.id);
        let host = &row.spec.host_config;
        let mut warnings = prepared.warnings.clone();
        let hostname = self.hostname(row, mode)?;
        let mut joined = Vec::new();
        let mut join = |kind: &'static str, mode: &str, file: &str| -> Result<()> {
            if let Some(name) = mode.strip_prefix("container:") {
                joined.push((kind, format!("/proc/{}/ns/{file}", self.living_pid(name)?)));
            }
            Ok(())
        };
        join("pid", &host.pid_mode, "pid")?;
        join("ipc", &host.ipc_mode, "ipc")?;
        join("network", &host.network_mode, "net")?;
        if let Some(name) = host.ipc_mode.strip_prefix("container:") {
            let other = self.row(name)?;
            if !matches!(other.spec.host_config.ipc_mode.as_str(), "shareable" | "host") {
                return Err(Error::Conflict(format!(
                    "cannot join IPC namespace of container {name}: non-shareable IPC (hint: use --ipc shareable for the donor container)"
                )));
            }
        }
        let shm = match host.ipc_mode.strip_prefix("container:") {
            Some(name) => Some(format!("/proc/{}/root/dev/shm", self.living_pid(name)?)),
            None => (host.ipc_mode == "host").then(|| "/dev/shm".to_owned()),
        };
        let files_folder = match mode {
            Mode::Container(name) => self.container_path(&self.row(name)?.id),
            _ => {
                let (resolv, warning) = self.resolv_conf(&row.spec, mode, &prepared.endpoints)?;
                warnings.extend(warning);
                let write = |name: &str, text: &str| {
                    fs::write(folder.join(name), text).at("write", &folder.join(name))
                };
                write("resolv.conf", &resolv)?;
                write("hostname", &network::files::hostname(&hostname))?;
                write("hosts", &self.hosts(&row.spec, &hostname, &prepared.endpoints)?)?;
                folder.clone()
            }
        };
        let files =
            [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")]
                .map(|(name, target)| (files_folder.join(name).to_string_lossy().into_owned(), target));
        let mut document = spec::render(&Resolved {
            id: row.id.as_str(),
            argv: &row.argv,
            spec: &row.spec,
            user: identity,
            hostname: &hostname,
            mounts,
            files: &files,
            joined: &joined,
            shm: shm.as_deref(),
            masked_paths: &runtime::defaults::masked_paths(),
            devices: &devices::list(host)?,
            device_rules: &devices::rules(host)?,
            block: &devices::block_limits(host)?,
            seccomp: self.seccomp(host)?,
            unified: self.cgroups_are_unified(),
            highest_gid: users.map_or_else(|| rootless::standing().highest_gid, UserNamespace::highest_gid),
            maps: users.map(UserNamespace::maps),
            shifted: users.is_some_and(UserNamespace::shifts),
            rootless: rootless::is_rootless(),
        })?;
        if self.config().runtime.proc == ProcSetting::Truthful
            && !host.annotations.contains_key(view::ANNOTATION)
        {
            document["annotations"][view::ANNOTATION] = view::TRUTHFUL.into();
        }
        let edits = cdi::edits(host, &self.config().devices.cdi_dirs)?;
        cdi::apply(&mut document, edits, rootless::is_rootless() || users.is_some());
        // How the health is checked is kept; secrets are not.
        let health = self.health_check(row, &document["process"]);
        if !host.secrets.is_empty() {
            self.give_secrets(row, &mut document, users)?;
        }
        let path = folder.join("config.json");
        fs::write(&path, document.to_string()).at("write", &path)?;
        Ok((warnings, health))
    }

    /// Adds a container's secrets to its configuration; they are taken out by [`Engine::clear_secrets`].
    fn give_secrets(
        &self,
        row: &ContainerRow,
        document: &mut serde_json::Value,
        users: Option<&UserNamespace>,
    ) -> Result<()> {
        let shift = |uid, gid| match users.filter(|users| users.shifts()) {
            Some(users) => users.outside(uid, gid),
            None => (uid, gid),
        };
        let mounts = self.lay_out_secrets(row, shift)?;
        let variables = self.secret_variables(row)?;
        if let Some(list) = document["mounts"].as_array_mut() {
            list.extend(mounts);
        }
        if let Some(list) = document["process"]["env"].as_array_mut() {
            list.extend(variables.into_iter().map(serde_json::Value::from));
        }
        Ok(())
    }

    fn hostname(&self, row: &ContainerRow, mode: &Mode) -> Result<String> {
        if !row.spec.config.hostname.is_empty() {
            return Ok(row.spec.config.hostname.clone());
        }
        if *mode == Mode::Host || row.spec.host_config.uts_mode == "host" {
            return Ok(rustix::system::uname().nodename().to_string_lossy().into_owned());
        }
        if let Mode::Container(name) = mode {
            let other = self.row(name)?;
            let given = &other.spec.config.hostname;
            return Ok(if given.is_empty() { other.id.short().to_owned() } else { given.clone() });
        }
        Ok(row.id.short().to_owned())
    }

    /// The init of a container that must run, for joining its namespaces.
    fn living_pid(&self, name: &str) -> Result<i32> {
        let row = self.row(name)?;
        match self.state_of(&row) {
            state if state.status.is_alive() => Ok(state.pid),
            _ => Err(Error::Conflict(format!(
                "cannot join the namespaces of container {}: it is not running",
                row.name
            ))),
        }
    }

    fn launch(&self, row: &ContainerRow) -> Result<Launch> {
        let config = &row.spec.config;
        let host = &row.spec.host_config;
        let folder = self.container_path(&row.id);
        Ok(Launch {
            version: monitor::launch::VERSION,
            id: row.id.clone(),
            bundle: folder.clone(),
            run_dir: self.roots().container_run(row.id.as_str()),
            state_root: self.roots().run.join("runtime"),
            terminal: config.tty,
            console_size: (host.console_size != [0, 0])
                .then_some((host.console_size[1], host.console_size[0])),
            stdin: match (config.open_stdin, config.stdin_once) {
                (false, _) => StdinMode::Null,
                (true, false) => StdinMode::Open,
                (true, true) => StdinMode::Once,
            },
            log: self.log_spec(row)?,
            exit_file: folder.join(EXIT_FILE),
            durable: !host.auto_remove,
            cleanup: self.own_command(["container", "cleanup", row.id.as_str()].map(OsString::from)),
            guard: None,
            init: host.init.unwrap_or(false),
            cgroup: match self.cgroups() {
                CgroupSetting::Cgroupfs => CgroupManager::Cgroupfs,
                CgroupSetting::Systemd => CgroupManager::Systemd,
                CgroupSetting::Disabled => CgroupManager::Disabled,
            },
            seccomp_cache: Some(self.roots().run.join("seccomp")),
            events: Some(self.roots().events()),
            health: None,
            program: None,
        })
    }

    /// A command of this program, with the roots of this engine.
    pub(crate) fn own_command<const N: usize>(&self, command: [OsString; N]) -> Vec<OsString> {
        let roots = self.roots();
        let mut words: Vec<OsString> = Vec::new();
        for (flag, path) in [("--root", &roots.data), ("--run-root", &roots.run), ("--config", &roots.config)]
        {
            words.push(flag.into());
            words.push(path.into());
        }
        words.extend(command);
        words
    }
}
