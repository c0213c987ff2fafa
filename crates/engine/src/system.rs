//! `info`, `version`, `system df`, `system prune`: what this engine is and what it takes.

mod limits;

use std::path::PathBuf;

pub use self::limits::Limits;
use crate::Engine;
use crate::containers::Pruned;
use crate::error::{Doing, Result};
use crate::model::{Container, Image, Status, Volume};

/// What `info` tells.
#[derive(Debug, Clone)]
pub struct Info {
    /// Containers that run.
    pub running: u64,
    /// Containers that are paused.
    pub paused: u64,
    /// All others.
    pub stopped: u64,
    /// Images.
    pub images: u64,
    /// Where writable snapshots are.
    pub storage_driver: &'static str,
    /// Facts about it: name and value.
    pub storage_status: Vec<(String, String)>,
    /// `cgroupfs`, `systemd` or `disabled`.
    pub cgroup_driver: String,
    /// `1`, `1 (hybrid)` or `2`.
    pub cgroup_version: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the operating system.
    pub operating_system: String,
    /// Machine architecture, `x86_64`.
    pub architecture: String,
    /// Processors.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// The data root.
    pub data_root: PathBuf,
    /// The run root.
    pub run_root: PathBuf,
    /// Security features that are on.
    pub security: Vec<String>,
    /// Which limits this machine can set.
    pub limits: Limits,
    /// Whether the kernel forwards IPv4 packets.
    pub ipv4_forwarding: bool,
    /// Log drivers.
    pub log_drivers: Vec<String>,
    /// What the owner of the machine should know, in whole sentences.
    pub warnings: Vec<String>,
}

/// What `version` tells.
#[derive(Debug, Clone)]
pub struct Version {
    /// Brig's version.
    pub version: &'static str,
    /// Version of the OCI runtime specification.
    pub runtime_spec: &'static str,
    /// Operating system and architecture, `linux/amd64`.
    pub platform: String,
    /// Kernel release.
    pub kernel: String,
}

/// What `system df` tells; bytes on disk.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Images, with what removing each alone would bring back.
    pub images: Vec<(Image, u64)>,
    /// All unpacked layers, each counted once, and the blobs they came in.
    pub layers: u64,
    /// Of these, what only unused images need.
    pub layers_reclaimable: u64,
    /// Containers with what each wrote.
    pub containers: Vec<(Container, u64)>,
    /// Volumes with their sizes.
    pub volumes: Vec<(Volume, u64)>,
}

/// What a `system prune` is to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneOptions {
    /// All unused images, not only nameless ones.
    pub all: bool,
    /// Anonymous volumes too.
    pub volumes: bool,
}

/// What a `system prune` removed.
#[derive(Debug, Clone, Default)]
pub struct SystemPruned {
    /// Containers.
    pub containers: Pruned,
    /// Volumes.
    pub volumes: Pruned,
    /// Images.
    pub images: Vec<crate::images::RemovedImage>,
    /// Bytes in all.
    pub bytes: u64,
}

impl Engine {
    /// Returns the version; opens nothing.
    pub fn version() -> Version {
        let host = oci::Platform::host();
        Version {
            version: env!("CARGO_PKG_VERSION"),
            runtime_spec: "1.3.0",
            platform: format!("{}/{}", host.os, host.architecture),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }

    /// Returns what this engine is.
    pub fn info(&self) -> Result<Info> {
        let containers = self.db()?.containers()?;
        let count = |wanted: &dyn Fn(Status) -> bool| {
            containers.iter().filter(|row| wanted(self.state_of(row).status)).count() as u64
        };
        let uname = rustix::system::uname();
        let driver = match self.cgroups() {
            crate::config::CgroupSetting::Cgroupfs => "cgroupfs",
            crate::config::CgroupSetting::Systemd => "systemd",
            crate::config::CgroupSetting::Disabled => "disabled",
        };
        let running = count(&|status| status == Status::Running);
        let paused = count(&|status| status == Status::Paused);
        Ok(Info {
            running,
            paused,
            stopped: containers.len() as u64 - running - paused,
            images: self.db()?.images()?.len() as u64,
            storage_driver: "overlay",
            storage_status: vec![("Backing Filesystem".to_owned(), filesystem(&self.roots().data))],
            cgroup_driver: driver.to_owned(),
            cgroup_version: self.cgroup_version().to_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            operating_system: os_name(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: rustix::system::sysinfo().totalram as u64 * u64::from(rustix::system::sysinfo().mem_unit),
            name: uname.nodename().to_string_lossy().into_owned(),
            data_root: self.roots().data.clone(),
            run_root: self.roots().run.clone(),
            security: security(),
            limits: self.limits(),
            ipv4_forwarding: std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
                .is_ok_and(|text| text.trim() == "1"),
            log_drivers: ["journald", "json-file", "local", "none", "syslog"].map(str::to_owned).to_vec(),
            warnings: self.firewall_warnings(&[]),
        })
    }

    fn cgroup_version(&self) -> &'static str {
        match (self.cgroups_are_unified(), std::path::Path::new("/sys/fs/cgroup/unified").exists()) {
            (true, _) => "2",
            (false, true) => "1 (hybrid)",
            (false, false) => "1",
        }
    }

    /// Returns what everything takes on disk.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let usage = self.store()?.usage().doing(|| "cannot measure the store".to_owned())?;
        let images = self.images()?;
        let rows = self.db()?.images()?;
        let mut users: std::collections::BTreeMap<oci::Digest, u64> = Default::default();
        for layer in rows.iter().flat_map(|row| row.diff_ids()) {
            *users.entry(layer).or_default() += 1;
        }
        let in_use: std::collections::BTreeSet<oci::Digest> =
            self.db()?.containers()?.into_iter().flat_map(|row| row.layers).collect();
        let size = |layer: &oci::Digest| usage.layers.get(layer).copied().unwrap_or(0);
        let own = |image: &Image| -> u64 {
            let layers = image.config.rootfs.diff_ids.iter();
            layers.filter(|layer| users.get(*layer) == Some(&1)).map(size).sum()
        };
        let layers = usage.layers.values().sum::<u64>() + usage.blobs.values().sum::<u64>();
        let documents = images.iter().filter(|image| image.containers > 0);
        let mut needed: std::collections::BTreeSet<oci::Digest> =
            documents.flat_map(|image| [image.id.clone(), image.manifest.clone()]).collect();
        needed.extend(in_use.iter().filter_map(|layer| usage.origins.get(layer).cloned()));
        let kept_layers: u64 = in_use.iter().map(size).sum();
        let kept_blobs: u64 = needed.iter().filter_map(|blob| usage.blobs.get(blob)).sum();
        let containers = self.containers()?.into_iter().map(|container| {
            let bytes = usage.snapshots.get(container.id.as_str()).copied().unwrap_or(0);
            let folder = crate::volumes::folder_size(&container.folder);
            (container, bytes + folder)
        });
        let containers = containers.collect();
        let volumes = self.volumes()?.into_iter().map(|volume| {
            let bytes = self.volume_size(&volume);
            (volume, bytes)
        });
        let volumes = volumes.collect();
        let images = images.into_iter().map(|image| {
            let bytes = own(&image);
            (image, bytes)
        });
        Ok(DiskUsage {
            images: images.collect(),
            layers,
            layers_reclaimable: layers.saturating_sub(kept_layers + kept_blobs),
            containers,
            volumes,
        })
    }

    /// Removes stopped containers, unused images and what crashes left; with `volumes` anonymous volumes too.
    pub fn prune_system(
        &self,
        options: PruneOptions,
        wanted: &dyn Fn(&std::collections::BTreeMap<String, String>) -> bool,
    ) -> Result<SystemPruned> {
        self.repair()?;
        let containers = self.prune_containers(&|container| wanted(&container.spec.config.labels))?;
        let volumes = match options.volumes {
            true => self.prune_volumes(false, &|volume| wanted(&volume.labels))?,
            false => Pruned::default(),
        };
        let (images, pruned) =
            self.prune_images(options.all, &|image| wanted(&image.config.config.labels))?;
        self.sweep_folders()?;
        self.sweep_volumes()?;
        if options.volumes {
            self.sweep_logs()?;
        }
        let bytes = containers.bytes + volumes.bytes + pruned.bytes;
        Ok(SystemPruned { containers, volumes, images, bytes })
    }
}

fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn security() -> Vec<String> {
    let mut list = vec!["name=seccomp,profile=builtin".to_owned()];
    let exists = |path: &str| std::path::Path::new(path).exists();
    if exists("/sys/kernel/security/apparmor") {
        list.push("name=apparmor".to_owned());
    }
    if exists("/sys/fs/selinux/enforce") {
        list.push("name=selinux".to_owned());
    }
    if crate::rootless::is_rootless() {
        list.push("name=rootless".to_owned());
    }
    list
}

/// Name of the file system that holds `path`, by its magic number (statfs(2)).
fn filesystem(path: &std::path::Path) -> String {
    let Ok(stat) = rustix::fs::statfs(path) else { return "unknown".to_owned() };
    match stat.f_type as u64 & 0xffff_ffff {
        0xef53 => "extfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        other => format!("{other:#x}"),
    }
}
