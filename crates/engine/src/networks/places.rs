//! On which networks a container is to be: what its request says, brought into order. Pure but for finding the names.

use docker_types::container::{ContainerSpec, EndpointConfig};

use super::{BRIDGE, Mode};
use crate::Engine;
use crate::error::{Error, Result};
use crate::model::Endpoint;

/// The entry of a container that was taken off its last network.
pub(super) const NOWHERE: &str = "none";

/// The networks that a container is to be on, in the order of their links, with what is wished there.
pub(crate) fn places(spec: &ContainerSpec) -> Vec<(String, EndpointConfig)> {
    let mode = primary(spec);
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return Vec::new();
    }
    let wishes = &spec.networking_config.endpoints_config;
    if wishes.is_empty() {
        return vec![(mode.to_owned(), EndpointConfig::default())];
    }
    let mut list: Vec<_> = wishes.iter().map(|(name, wish)| (name.clone(), wish.clone())).collect();
    list.retain(|(name, _)| name != NOWHERE);
    list.sort_by(|(a, x), (b, y)| (x.position, a).cmp(&(y.position, b)));
    list
}

/// The network of a request's mode.
pub(super) fn primary(spec: &ContainerSpec) -> &str {
    match spec.host_config.network_mode.as_str() {
        "" | "default" => BRIDGE,
        mode => mode,
    }
}

/// The place behind all that a container has.
pub(super) fn place_after(spec: &ContainerSpec) -> i64 {
    let last = spec.networking_config.endpoints_config.values().map(|wish| wish.position).max();
    last.unwrap_or(0).saturating_add(1)
}

/// The endpoint by which packets of a family leave: of those with a gateway the one of the highest priority, then the
/// first by name, as Docker chooses it.
pub(crate) fn way_out(endpoints: &[Endpoint], four: bool) -> Option<&Endpoint> {
    let leads = |endpoint: &&Endpoint| {
        !endpoint.internal && if four { endpoint.gateway4.is_some() } else { endpoint.gateway6.is_some() }
    };
    endpoints.iter().filter(leads).min_by_key(|endpoint| (-endpoint.priority, &endpoint.network))
}

/// The endpoint that published ports lead to: on a bridge that leads outside.
pub(crate) fn published_on(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    let leads = |endpoint: &&Endpoint| {
        !endpoint.internal
            && endpoint.driver.is_empty()
            && (endpoint.gateway4.is_some() || endpoint.gateway6.is_some())
    };
    endpoints.iter().filter(leads).min_by_key(|endpoint| (-endpoint.priority, &endpoint.network))
}

impl Engine {
    /// Checks the networks of a request, and brings them into the form that is recorded: by their names, each with a place.
    pub(crate) fn settle_places(&self, spec: &mut ContainerSpec) -> Result<()> {
        let mode = Mode::parse(&spec.host_config.network_mode)?;
        let wishes = &mut spec.networking_config.endpoints_config;
        for name in ["", "default"] {
            if let Some(wish) = wishes.remove(name) {
                wishes.entry(BRIDGE.to_owned()).or_insert(wish);
            }
        }
        let primary = primary(spec).to_owned();
        let wishes = &spec.networking_config.endpoints_config;
        if mode == Mode::Pasta {
            return check_own(wishes.iter().map(|(name, wish)| (name.as_str(), wish)));
        }
        if mode != Mode::Networks {
            let other = wishes.keys().find(|name| **name != primary);
            return match other {
                Some(_) => Err(Error::Invalid(
                    "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                        .to_owned(),
                )),
                None => Ok(()),
            };
        }
        if primary == BRIDGE && wishes.keys().all(|name| name == BRIDGE) {
            return wishes.get(BRIDGE).map_or(Ok(()), check_default);
        }
        let mut list: Vec<_> =
            std::mem::take(&mut spec.networking_config.endpoints_config).into_iter().collect();
        if !list.iter().any(|(name, _)| *name == primary) {
            let wish = EndpointConfig { position: i64::MIN, ..EndpointConfig::default() };
            list.push((primary.clone(), wish));
        }
        list.sort_by(|(a, x), (b, y)| (x.position, *a != primary, a).cmp(&(y.position, *b != primary, b)));
        for (position, (asked, mut wish)) in list.into_iter().enumerate() {
            let name = self.place_name(&asked)?;
            if name == BRIDGE {
                check_default(&wish)?;
            }
            wish.position = position as i64;
            if asked == primary {
                spec.host_config.network_mode.clone_from(&name);
            }
            let before = spec.networking_config.endpoints_config.insert(name.clone(), wish);
            if before.is_some() {
                return Err(Error::Invalid(format!("network {name:?} is specified multiple times")));
            }
        }
        Ok(())
    }

    /// Checks what is wished on one network that people make, or the default bridge.
    pub(super) fn checked(&self, name: &str, wish: EndpointConfig) -> Result<EndpointConfig> {
        if name == BRIDGE {
            check_default(&wish)?;
        }
        let net = self.nets([name])?.remove(0);
        super::addresses::check(&net, &wish)?;
        Ok(wish)
    }

    /// The name of the network that `text` means, one that a container can be on beside others.
    pub(super) fn place_name(&self, text: &str) -> Result<String> {
        let network = self.network_meant(text)?;
        match network.driver.as_str() {
            "host" | "null" => Err(Error::Invalid(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                    .to_owned(),
            )),
            _ => Ok(network.name),
        }
    }
}

/// The default bridge has no names, as in Docker.
/// Refuses what a plain user's default network, one of each container's own, cannot have.
fn check_own<'a>(mut wishes: impl Iterator<Item = (&'a str, &'a EndpointConfig)>) -> Result<()> {
    wishes.try_for_each(|(name, wish)| {
        if name != BRIDGE {
            return Err(Error::Unsupported(format!(
                "cannot use network {name} beside {BRIDGE}: that is a network of each container's own for a plain user"
            )));
        }
        check_default(wish)?;
        let ipam = wish.ipam_config.clone().unwrap_or_default();
        let asked = [
            ("--ip", !ipam.ipv4_address.is_empty()),
            ("--ip6", !ipam.ipv6_address.is_empty()),
            ("--mac-address", !wish.mac_address.is_empty()),
        ];
        match asked.iter().find(|(_, asked)| *asked) {
            Some((option, _)) => Err(Error::Unsupported(format!(
                "cannot use {option}: on a plain user's default network a container has the host's addresses; make a network with `brig network create`"
            ))),
            None => Ok(()),
        }
    })
}

fn check_default(wish: &EndpointConfig) -> Result<()> {
    match wish.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
        true => Err(Error::Invalid(
            "network-scoped alias is supported only for containers in user defined networks".to_owned(),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(network: &str, priority: i64, gateway: bool) -> Endpoint {
        Endpoint {
            network: network.to_owned(),
            priority,
            gateway4: gateway.then(|| [10, 0, 0, 1].into()),
            ..Endpoint::default()
        }
    }

    #[test]
    fn the_way_out_is_the_highest_priority_then_the_first_name() {
        let name = |endpoints: &[Endpoint]| way_out(endpoints, true).map(|endpoint| endpoint.network.clone());
        assert_eq!(name(&[endpoint("b", 0, true), endpoint("a", 0, true)]).as_deref(), Some("a"));
        assert_eq!(name(&[endpoint("b", 1, true), endpoint("a", 0, true)]).as_deref(), Some("b"));
        assert_eq!(name(&[endpoint("b", 0, true), endpoint("a", -1, true)]).as_deref(), Some("b"));
        assert_eq!(name(&[endpoint("b", 9, false), endpoint("a", 0, true)]).as_deref(), Some("a"));
        assert_eq!(name(&[endpoint("b", 9, false)]), None);
        let inner = Endpoint { internal: true, ..endpoint("a", 5, true) };
        assert_eq!(name(&[inner, endpoint("b", 0, true)]).as_deref(), Some("b"));
    }

    #[test]
    fn places_follow_the_request() {
        let mut spec = ContainerSpec::default();
        let names = |spec: &ContainerSpec| places(spec).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&spec), ["bridge"]);
        spec.host_config.network_mode = "lan".to_owned();
        assert_eq!(names(&spec), ["lan"]);
        for (name, position) in [("lan", 1), ("a", 2), ("z", 0)] {
            let wish = EndpointConfig { position, ..EndpointConfig::default() };
            spec.networking_config.endpoints_config.insert(name.to_owned(), wish);
        }
        assert_eq!(names(&spec), ["z", "lan", "a"]);
        spec.networking_config.endpoints_config.clear();
        spec.networking_config.endpoints_config.insert(NOWHERE.to_owned(), EndpointConfig::default());
        assert!(names(&spec).is_empty());
        spec.host_config.network_mode = "host".to_owned();
        assert!(names(&spec).is_empty());
    }
}
