//! `brig network connect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::host::{self, NetworkFlag};

use super::Entry;
use crate::cli::{Context, Run};
use crate::settings::wish;
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "connect"]],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Put a container on a network, also while it runs",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Further name on the network
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    alias: Vec<String>,
    /// Option of the attachment (com.docker.network.endpoint.ifname=lan0)
    #[arg(long, value_name = "strings", value_parser = host::driver_opt)]
    driver_opt: Vec<(String, String)>,
    /// Which network is the way out: the highest of the container's
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// IPv4 address on the network
    #[arg(long, value_name = "string")]
    ip: Option<String>,
    /// IPv6 address on the network
    #[arg(long, value_name = "string")]
    ip6: Option<String>,
    /// Give another container a further name inside (name:alias)
    #[arg(long, value_name = "list")]
    link: Vec<String>,
    /// Further address of the network's link (169.254.… or fe80:…)
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    link_local_ip: Vec<String>,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let wish = wish(&NetworkFlag {
            target: self.network.clone(),
            aliases: self.alias,
            ipv4: self.ip,
            ipv6: self.ip6,
            mac: None,
            driver_opts: self.driver_opt,
            link_local: self.link_local_ip,
            gw_priority: self.gw_priority.unwrap_or(0),
            links: self.link,
        })?;
        context.engine()?.connect_network(&self.network, &self.container, wish)?;
        Ok(ExitCode::SUCCESS)
    }
}
