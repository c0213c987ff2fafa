//! `brig port`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::port::{Port, join_host_port};

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
        let mut ports = containers::ports(&container);
        ports.retain(|port| port.public_port != 0);
        ports.sort_by_key(|port| (port.private_port, port.protocol.clone()));
        let Some(wanted) = &self.port else {
            for port in ports {
                let outside = join_host_port(&port.ip, &port.public_port.to_string());
                ui.line(&format!("{}/{} -> {outside}", port.private_port, port.protocol))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
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
