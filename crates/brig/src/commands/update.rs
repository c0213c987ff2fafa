//! `brig update`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::container::Resources;
use docker_types::{limits, policy, size};
use engine::containers::Changes;

use super::Entry;
use super::each::each_printing;
use crate::cli::{Context, Run};
use crate::settings::flags::{go_int, go_uint16, memory_swap};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["update"], &["container", "update"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change limits and the restart policy of containers, running or not",
    refused: &["kernel-memory"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Weight for block I/O, between 10 and 1000
    #[arg(long, value_name = "uint16", value_parser = go_uint16)]
    blkio_weight: Option<u16>,
    /// Length of the CPU period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    cpu_period: Option<i64>,
    /// CPU time in each period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    cpu_quota: Option<i64>,
    /// Length of the real-time CPU period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    cpu_rt_period: Option<i64>,
    /// Real-time CPU time in each period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    cpu_rt_runtime: Option<i64>,
    /// Weight for CPU time (1024 is the normal one)
    #[arg(short, long, value_name = "int", value_parser = go_int)]
    cpu_shares: Option<i64>,
    /// How many CPUs' worth of time
    #[arg(long, value_name = "decimal", value_parser = limits::parse_cpus)]
    cpus: Option<i64>,
    /// CPUs to run on (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to allocate from (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Limit of memory
    #[arg(short, long, value_name = "bytes", value_parser = size::parse_binary)]
    memory: Option<i64>,
    /// Memory to get back to when the machine runs short
    #[arg(long, value_name = "bytes", value_parser = size::parse_binary)]
    memory_reservation: Option<i64>,
    /// Limit of memory and swap together (-1 for unlimited swap)
    #[arg(long, value_name = "bytes", value_parser = memory_swap)]
    memory_swap: Option<i64>,
    /// Limit of processes (-1 for unlimited)
    #[arg(long, value_name = "int", value_parser = go_int)]
    pids_limit: Option<i64>,
    /// What to do after the end (no|on-failure[:times]|always|unless-stopped)
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let changes = self.changes()?;
        if changes.restart.is_none() && changes.resources == Resources::default() {
            bail!("you must provide one or more flags when using this command");
        }
        let engine = context.engine()?;
        each_printing(ui, &self.containers, |name| {
            engine.update(name, &changes)?.iter().for_each(|warning| ui.warn(warning));
            Ok(Some(name.to_owned()))
        })
    }
}

impl Args {
    fn changes(&self) -> Result<Changes> {
        let number = |value: Option<i64>| value.unwrap_or(0);
        Ok(Changes {
            resources: Resources {
                blkio_weight: self.blkio_weight.unwrap_or(0),
                cpu_period: number(self.cpu_period),
                cpu_quota: number(self.cpu_quota),
                cpu_realtime_period: number(self.cpu_rt_period),
                cpu_realtime_runtime: number(self.cpu_rt_runtime),
                cpu_shares: number(self.cpu_shares),
                nano_cpus: number(self.cpus),
                cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
                cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
                memory: number(self.memory),
                memory_reservation: number(self.memory_reservation),
                memory_swap: number(self.memory_swap),
                pids_limit: self.pids_limit,
                ..Resources::default()
            },
            restart: self.restart.as_deref().map(policy::parse_restart).transpose()?,
        })
    }
}
