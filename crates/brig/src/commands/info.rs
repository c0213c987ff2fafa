//! `brig info`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use docker_types::inspect::system::{Plugins, SystemInfo};
use docker_types::{size, time};
use engine::Engine;
use engine::system::Info;
use jiff::Timestamp;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::format;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["system", "info"], &["info"]],
    about: "Show what this machine and its containers are like",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let info = context.engine()?.info()?;
        let value = serde_json::to_value(shape(&info)).context("cannot render the answer as JSON")?;
        match format::single(self.format.as_deref(), &value)? {
            Some(text) => ui.print(&text)?,
            None => {
                ui.print(&plain(&info))?;
                ui.flush()?;
                info.warnings.iter().for_each(|warning| ui.warn(warning));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn shape(info: &Info) -> SystemInfo {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    SystemInfo {
        containers: info.running + info.paused + info.stopped,
        containers_running: info.running,
        containers_paused: info.paused,
        containers_stopped: info.stopped,
        images: info.images,
        driver: info.storage_driver.to_owned(),
        driver_status: info.storage_status.clone(),
        plugins: Plugins {
            volume: text(&["local"]),
            network: text(&["bridge", "host", "null"]),
            log: info.log_drivers.clone(),
        },
        memory_limit: info.limits.memory,
        swap_limit: info.limits.swap,
        cpu_cfs_period: info.limits.cpu_quota,
        cpu_cfs_quota: info.limits.cpu_quota,
        cpu_shares: info.limits.cpu_shares,
        cpu_set: info.limits.cpuset,
        pids_limit: info.limits.pids,
        ipv4_forwarding: info.ipv4_forwarding,
        system_time: time::rfc3339(Timestamp::now()),
        logging_driver: "json-file".to_owned(),
        cgroup_driver: info.cgroup_driver.clone(),
        cgroup_version: info.cgroup_version.clone(),
        kernel_version: info.kernel.clone(),
        operating_system: info.operating_system.clone(),
        os_type: "linux".to_owned(),
        architecture: info.architecture.clone(),
        ncpu: info.cpus as u64,
        mem_total: info.memory,
        docker_root_dir: info.data_root.to_string_lossy().into_owned(),
        name: info.name.clone(),
        server_version: Engine::version().version.to_owned(),
        default_runtime: "brig".to_owned(),
        security_options: info.security.clone(),
        warnings: info.warnings.clone(),
        ..SystemInfo::default()
    }
}

fn plain(info: &Info) -> String {
    let mut text = String::new();
    let mut row = |indent: usize, name: &str, value: &str| {
        let _ = writeln!(text, "{:indent$}{name}: {value}", "");
    };
    row(0, "Brig Version", Engine::version().version);
    row(0, "Containers", &(info.running + info.paused + info.stopped).to_string());
    row(1, "Running", &info.running.to_string());
    row(1, "Paused", &info.paused.to_string());
    row(1, "Stopped", &info.stopped.to_string());
    row(0, "Images", &info.images.to_string());
    row(0, "Storage Driver", info.storage_driver);
    info.storage_status.iter().for_each(|(name, value)| row(1, name, value));
    row(0, "Log Drivers", &info.log_drivers.join(" "));
    row(0, "Cgroup Driver", &info.cgroup_driver);
    row(0, "Cgroup Version", &info.cgroup_version);
    row(0, "Security Options", &info.security.join(" "));
    row(0, "Kernel Version", &info.kernel);
    row(0, "Operating System", &info.operating_system);
    row(0, "Architecture", &info.architecture);
    row(0, "CPUs", &info.cpus.to_string());
    row(0, "Total Memory", &size::human_binary(i64::try_from(info.memory).unwrap_or(i64::MAX)));
    row(0, "Name", &info.name);
    row(0, "Root Dir", &info.data_root.to_string_lossy());
    row(0, "Run Dir", &info.run_root.to_string_lossy());
    text
}
