//! `brig port`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::port::{Port, PortRange, join_host_port};
use engine::model;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::containers;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["port"], &["container", "port"]],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List the published ports of a container",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "PORT")]
    port: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let container = context.engine()?.container(&self.container)?;
        let Some(wanted) = &self.port else {
            let mut ports = container.ports.clone();
            ports.sort_by_key(|port| (port.guest_first, port.proto.clone()));
            for line in ports.iter().flat_map(lines) {
                ui.line(&line)?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let mut ports = containers::ports(&container);
        ports.retain(|port| port.public_port != 0);
        let wanted: Port = wanted.parse()?;
        ports.retain(|port| port.private_port == wanted.number && port.protocol == wanted.protocol.as_str());
        if ports.is_empty() {
            bail!("no public port '{wanted}' published for {}", self.container);
        }
        for port in ports {
            ui.line(&join_host_port(&port.ip, &port.public_port.to_string()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A range longer than this is one line: nobody reads the single ones.
const LONG_RANGE: u16 = 16;

/// Returns the lines of one published port or range.
fn lines(port: &model::Port) -> Vec<String> {
    let addresses = containers::addresses(port);
    let line = |first: u16, count: u16| {
        let range = |first: u16| PortRange { first, last: first.saturating_add(count - 1) };
        let nth = first - port.guest_first;
        let (inside, outside) = (range(first), range(port.host_first.saturating_add(nth)).to_string());
        let line = move |ip: &String| format!("{inside}/{} -> {}", port.proto, join_host_port(ip, &outside));
        addresses.iter().map(line).collect::<Vec<_>>()
    };
    if port.count > LONG_RANGE {
        return line(port.guest_first, port.count);
    }
    (0..port.count).flat_map(|nth| line(port.guest_first.saturating_add(nth), 1)).collect()
}
