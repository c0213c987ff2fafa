//! `network connect` and `network disconnect`, also while the container runs.
//!
//! ```text
//! connect:     row (pending) ── link ── routes ── ports ── hosts ── row and request
//! disconnect:  row (pending) and request ── link ── routes ── ports ── hosts ── row gone
//! ```
//! A pending row that nobody is at work on was left by a killed command: what there is of the attachment is taken away, as a
//! disconnect does it. The request in the container's row says by then what the person may count on.

use std::fs;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use docker_types::container::{ContainerSpec, EndpointConfig};
use rustix::fs::{FlockOperation, flock};

use super::net::{Link, Net, host_ifname};
use super::places::{NOWHERE, place_after, places, primary, published_on, way_out};
use super::{Mode, attach, ports, usernet};
use crate::Engine;
use crate::containers::Truth;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::model::{Endpoint, Status};
use crate::rootless;

/// A container writes its own `hosts`, too: what is longer than that is not read.
const HOSTS_LIMIT: u64 = 1 << 20;

impl Engine {
    /// Puts a container on a network, now if it runs, and at each start from now on.
    pub fn connect_network(&self, network: &str, container: &str, mut wish: EndpointConfig) -> Result<()> {
        if usernet::is_elsewhere() {
            let namespace = self.user_network()?;
            return self
                .in_user_network(&namespace, |engine| engine.connect_network(network, container, wish));
        }
        let name = self.connectable(network)?;
        let _lock = self.lock(&self.row(container)?.id)?;
        let row = self.row(container)?;
        check_mode(&row.spec)?;
        self.finish_pending_of(&row)?;
        wish.position = place_after(&row.spec);
        let wish = self.checked(&name, wish)?;
        let mut spec = row.spec.clone();
        set_place(&mut spec, &name, Some(wish.clone()));
        let Some(netns) = self.living_netns(&row)? else {
            self.db()?.change_endpoint(&row.id, &name, false, &spec)?;
            return Ok(());
        };
        let before = self.db()?.endpoints(&row.id)?;
        if before.iter().any(|endpoint| endpoint.network == name) {
            return Err(Error::Denied(format!(
                "endpoint with name {} already exists in network {name}",
                row.name
            )));
        }
        let net = self.nets([name.as_str()])?.remove(0);
        let links: Vec<&str> = before.iter().map(Endpoint::link_name).collect();
        let endpoint = self
            .acquire_addresses(&row, std::slice::from_ref(&net), &[&wish], &links, true)?
            .pop()
            .ok_or_else(|| Error::NotFound { what: "network", name: name.clone() })?;
        let joined = self
            .join(&row, &net, &endpoint, &before, &netns)
            .and_then(|()| self.own_networks_changed(&row.id, &row.spec, netns.as_fd()))
            .and_then(|()| self.members_changed([name.as_str()]))
            .and_then(|()| self.db()?.change_endpoint(&row.id, &name, false, &spec));
        if let Err(error) = joined {
            // The first error is the one to tell; what cannot be undone now is found through the pending row.
            let _ = self.leave(&row, &endpoint, &netns);
            return Err(error);
        }
        self.record(&[self.network_event("connect", &name).with("container", &row.id)]);
        Ok(())
    }

    /// Takes a container off a network, now if it runs, and at each start from now on. With `force` it is no error that
    /// the container is gone.
    pub fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()> {
        if usernet::is_elsewhere() {
            let namespace = self.user_network()?;
            return self
                .in_user_network(&namespace, |engine| engine.disconnect_network(network, container, force));
        }
        let name = self.connectable(network)?;
        let lock = self.row(container).and_then(|row| self.lock(&row.id));
        let _lock = match lock {
            Err(Error::NotFound { .. }) if force => return Ok(()),
            lock => lock?,
        };
        let row = self.row(container)?;
        check_mode(&row.spec)?;
        self.finish_pending_of(&row)?;
        if !places(&row.spec).iter().any(|(place, _)| *place == name) {
            return Err(Error::Denied(format!(
                "container {} is not connected to network {name}",
                row.id.short()
            )));
        }
        let mut spec = row.spec.clone();
        set_place(&mut spec, &name, None);
        self.db()?.change_endpoint(&row.id, &name, true, &spec)?;
        let Some(netns) = self.living_netns(&row)? else { return Ok(()) };
        let endpoints = self.db()?.endpoints(&row.id)?;
        if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.network == name) {
            self.leave(&row, endpoint, &netns)?;
        }
        self.record(&[self.network_event("disconnect", &name).with("container", &row.id)]);
        Ok(())
    }

    /// Finishes what killed commands began with containers that run, unless somebody is at work on them.
    pub(crate) fn finish_pending(&self) -> Result<()> {
        let mut first = Ok(());
        for (id, _) in self.db()?.pending_endpoints()? {
            let path = self.container_path(&id).join("lock");
            let Ok(file) = File::options().create(true).truncate(false).write(true).open(path) else {
                continue;
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            match self.row(id.as_str()) {
                Ok(row) => first = first.and(self.finish_pending_of(&row)),
                Err(Error::NotFound { .. }) => {}
                Err(error) => first = first.and(Err(error)),
            }
        }
        first
    }

    /// The same for one container, whose lock the caller holds. What of one that does not run goes with its other addresses.
    fn finish_pending_of(&self, row: &ContainerRow) -> Result<()> {
        let pending: Vec<Endpoint> =
            self.db()?.endpoints(&row.id)?.into_iter().filter(|endpoint| endpoint.pending).collect();
        if pending.is_empty() {
            return Ok(());
        }
        if usernet::is_elsewhere() {
            return self.in_user_network_if_there(|engine| engine.finish_pending_of(row));
        }
        let Some(netns) = self.living_netns(row)? else { return Ok(()) };
        pending.iter().try_for_each(|endpoint| self.leave(row, endpoint, &netns))
    }

    /// Puts a container that runs on the wire of one more network.
    fn join(
        &self,
        row: &ContainerRow,
        net: &Net,
        endpoint: &Endpoint,
        before: &[Endpoint],
        netns: &OwnedFd,
    ) -> Result<()> {
        net.ensure()?;
        self.ensure_firewall(std::slice::from_ref(net))?;
        attach(netns.as_fd(), &net.attachment(endpoint, host_ifname(&row.id, endpoint))?, net)?;
        let mut after = before.to_vec();
        after.push(endpoint.clone());
        set_way_out(netns, &after)?;
        self.move_ports(row, before, &after)?;
        self.edit_hosts(row, |text| {
            let names = self.names_in_hosts(row);
            let linked = self.linked(std::slice::from_ref(endpoint))?;
            Ok(network::files::with_hosts(&text, &names, &own_addresses(endpoint), &linked))
        })
    }

    /// Takes a container that runs off a network: whatever is there of that is removed; goes on after an error.
    fn leave(&self, row: &ContainerRow, endpoint: &Endpoint, netns: &OwnedFd) -> Result<()> {
        let doing = || format!("cannot take container {} off network {}", row.name, endpoint.network);
        let link = match self.nets([endpoint.network.as_str()]).map(|mut nets| nets.remove(0)) {
            Ok(Net { link: Link::Macvlan(..) | Link::Ipvlan(..), .. }) => {
                network::detach_inside(netns.as_fd(), endpoint.link_name()).doing(doing)
            }
            _ => network::detach(&host_ifname(&row.id, endpoint)).doing(doing),
        };
        let all = self.db()?.endpoints(&row.id)?;
        let after: Vec<Endpoint> =
            all.iter().filter(|one| one.network != endpoint.network).cloned().collect();
        let routes = set_way_out(netns, &after);
        let ports = self.move_ports(row, &all, &after);
        let hosts = self.edit_hosts(row, |text| {
            let kept = extra_addresses(&row.spec);
            let of_network = |ip: IpAddr| is_on(endpoint, ip) && !kept.contains(&ip);
            Ok(network::files::without_hosts(&text, of_network))
        });
        link.and(routes).and(ports).and(hosts)?;
        self.db()?.release_endpoint(&row.id, &endpoint.network)?;
        self.own_networks_changed(&row.id, &row.spec, netns.as_fd())?;
        self.members_changed([endpoint.network.as_str()])
    }

    /// Leads the published ports of a container that runs to where they belong after a change of its networks.
    fn move_ports(&self, row: &ContainerRow, before: &[Endpoint], after: &[Endpoint]) -> Result<()> {
        if rootless::is_rootless() {
            // They are pasta's, whatever networks there are.
            return Ok(());
        }
        let (old, new) = (published_on(before), published_on(after));
        if old.map(|endpoint| &endpoint.network) == new.map(|endpoint| &endpoint.network) {
            return Ok(());
        }
        let mut list = self.db()?.ports(&row.id)?;
        if let Some(old) = old.filter(|_| !list.is_empty()) {
            self.firewall()?
                .withdraw(row.id.as_str(), &ports::withdrawn(&list, old))
                .doing(|| "cannot take the published ports back".to_owned())?;
        }
        match new {
            Some(_) if list.is_empty() => list = self.acquire_host_ports(row)?,
            Some(_) => {}
            None => self.db()?.release_ports(&row.id)?,
        }
        self.publish_ports(&row.id, &list, after)
    }

    /// The namespace of a container that runs.
    fn living_netns(&self, row: &ContainerRow) -> Result<Option<OwnedFd>> {
        if row.status != Status::Running {
            return Ok(None);
        }
        let Truth::Alive(state) = self.truth(&row.id) else { return Ok(None) };
        let path = format!("/proc/{}/ns/net", state.pid);
        let netns = File::open(&path);
        // The number is given to another process only after the end of this one: alive still, so it was this one's.
        match self.truth(&row.id) {
            Truth::Alive(again) if again.pid == state.pid => {
                Ok(Some(netns.at("open", path.as_ref())?.into()))
            }
            _ => Ok(None),
        }
    }

    /// Changes a container's `hosts` in place: the file itself is mounted inside.
    fn edit_hosts(&self, row: &ContainerRow, edit: impl FnOnce(String) -> Result<String>) -> Result<()> {
        use std::io::Read as _;
        let path = self.container_path(&row.id).join("hosts");
        let mut bytes = Vec::new();
        let file = File::open(&path).at("open", &path)?;
        file.take(HOSTS_LIMIT + 1).read_to_end(&mut bytes).at("read", &path)?;
        if bytes.len() as u64 > HOSTS_LIMIT {
            return Err(Error::Corrupt { path, why: format!("it has more than {HOSTS_LIMIT} bytes") });
        }
        let text = edit(String::from_utf8_lossy(&bytes).into_owned())?;
        fs::write(&path, text).at("write", &path)
    }

    /// The names that a container has for its own addresses.
    fn names_in_hosts(&self, row: &ContainerRow) -> String {
        let config = &row.spec.config;
        let name = if config.hostname.is_empty() { row.id.short() } else { &config.hostname };
        match config.domainname.as_str() {
            "" => name.to_owned(),
            domain => format!("{name}.{domain} {name}"),
        }
    }

    /// The name of a network that containers can be put on and taken off.
    fn connectable(&self, network: &str) -> Result<String> {
        let network = self.network_meant(network)?;
        match network.driver.as_str() {
            "host" => Err(Error::Denied(
                "container cannot be disconnected from host network or connected to host network".to_owned(),
            )),
            "null" => Err(Error::Denied(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                    .to_owned(),
            )),
            _ => Ok(network.name),
        }
    }
}

/// Refuses the modes that are nothing to be put on or taken off.
fn check_mode(spec: &ContainerSpec) -> Result<()> {
    let text = match Mode::parse(&spec.host_config.network_mode)? {
        Mode::Networks => return Ok(()),
        Mode::Host => "container cannot be disconnected from host network or connected to host network",
        Mode::None => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        _ => {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        }
    };
    Err(Error::Denied(text.to_owned()))
}

/// Writes into a request that the container is on a network, or is not.
fn set_place(spec: &mut ContainerSpec, name: &str, wish: Option<EndpointConfig>) {
    let primary = primary(spec).to_owned();
    let wishes = &mut spec.networking_config.endpoints_config;
    if wishes.is_empty() {
        wishes.insert(primary, EndpointConfig::default());
    }
    wishes.remove(NOWHERE);
    match wish {
        Some(wish) => {
            wishes.insert(name.to_owned(), wish);
        }
        None => {
            wishes.remove(name);
        }
    }
    if wishes.is_empty() {
        wishes.insert(NOWHERE.to_owned(), EndpointConfig::default());
    }
}

/// Makes the default routes those of the best endpoints.
fn set_way_out(netns: &OwnedFd, endpoints: &[Endpoint]) -> Result<()> {
    let four = way_out(endpoints, true).and_then(|way| Some((way.link_name(), IpAddr::V4(way.gateway4?))));
    let six = way_out(endpoints, false).and_then(|way| Some((way.link_name(), IpAddr::V6(way.gateway6?))));
    let routes: Vec<_> = four.into_iter().chain(six).collect();
    // A plain user's networks lead nowhere: the way out is pasta's.
    if routes.is_empty() || rootless::is_rootless() {
        return Ok(());
    }
    network::set_default_routes(netns.as_fd(), &routes)
        .doing(|| "cannot set the container's default route".to_owned())
}

fn own_addresses(endpoint: &Endpoint) -> Vec<IpAddr> {
    endpoint.ip4.map(IpAddr::V4).into_iter().chain(endpoint.ip6.map(IpAddr::V6)).collect()
}

/// Tells whether an address is one of the endpoint's network.
fn is_on(endpoint: &Endpoint, ip: IpAddr) -> bool {
    let of = |own: Option<IpAddr>, length: u8| {
        own.is_some_and(|own| {
            network::ipam::networks_overlap((own, length), (ip, if ip.is_ipv4() { 32 } else { 128 }))
        })
    };
    of(endpoint.ip4.map(IpAddr::V4), endpoint.prefix4) || of(endpoint.ip6.map(IpAddr::V6), endpoint.prefix6)
}

/// The addresses that a request itself puts into `hosts`.
fn extra_addresses(spec: &ContainerSpec) -> Vec<IpAddr> {
    let list = spec.host_config.extra_hosts.iter().flatten();
    list.filter_map(|text| text.split_once([':', '='])?.1.trim_matches(['[', ']']).parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_added_and_taken_away() {
        let mut spec = ContainerSpec::default();
        let names = |spec: &ContainerSpec| places(spec).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let wish = EndpointConfig { position: place_after(&spec), ..EndpointConfig::default() };
        set_place(&mut spec, "lan", Some(wish));
        assert_eq!(names(&spec), ["bridge", "lan"]);
        set_place(&mut spec, "bridge", None);
        assert_eq!(names(&spec), ["lan"]);
        set_place(&mut spec, "lan", None);
        assert!(names(&spec).is_empty());
        let wish = EndpointConfig { position: place_after(&spec), ..EndpointConfig::default() };
        set_place(&mut spec, "a", Some(wish));
        assert_eq!(names(&spec), ["a"]);
    }

    #[test]
    fn lines_of_a_network_are_told_from_others() {
        let endpoint = Endpoint {
            ip4: Some([10, 1, 2, 3].into()),
            prefix4: 24,
            ip6: Some("fd00::3".parse().unwrap()),
            prefix6: 64,
            ..Endpoint::default()
        };
        for (ip, expected) in
            [("10.1.2.9", true), ("10.1.3.9", false), ("fd00::7", true), ("fd01::7", false), ("::1", false)]
        {
            assert_eq!(is_on(&endpoint, ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
