//! Why an image, a volume or a network stays, who has a port, and where the disk went.

use docker_types::size;
use oci::{ImageRef, Platform};

use super::{Answer, sockets};
use crate::Engine;
use crate::error::Result;
use crate::model::{Container, Image, Network, Volume};

/// As many of the largest are listed.
const LARGEST: usize = 10;

impl Engine {
    /// Names of the containers that use an image.
    pub(super) fn users_of(&self, image: &Image) -> Result<Vec<String>> {
        Ok(self.db()?.image_users(&image.id)?.into_iter().map(|(_, name)| name).collect())
    }

    pub(super) fn why_image(name: &str, image: &Image, users: &[String]) -> Answer {
        let mut answer = match users {
            [] => Answer::new(
                "image",
                name,
                "not in use",
                "no container was made from it, so that it can be removed",
            ),
            _ => Answer::new(
                "image",
                name,
                "in use",
                format!("containers were made from it: {}", users.join(", ")),
            ),
        };
        answer.id = image.id.to_string();
        answer.fact("size", human(image.size));
        let names: Vec<String> = image.tags.iter().map(|tag| tag.familiar().to_string()).collect();
        answer.fact("names", names.join(", "));
        let (own, machine) = (image.config.platform().normalize(), Platform::host().normalize());
        if own.architecture != machine.architecture {
            answer.fact("platform", format!("{own}; this machine is {machine} and cannot run it by itself"));
        }
        match users {
            [] => answer.next(format!("brig rmi {name}")),
            _ => answer.next(format!("brig rm {}", users.join(" "))),
        }
        answer
    }

    pub(super) fn why_volume(&self, volume: &Volume) -> Result<Answer> {
        let users: Vec<String> = self.names_of_ids(volume.used_by.iter().map(base::ContainerId::as_str));
        let mut answer = match users.is_empty() {
            true => Answer::new(
                "volume",
                &volume.name,
                "not in use",
                "no container mounts it, so that it can be removed",
            ),
            false => Answer::new(
                "volume",
                &volume.name,
                "in use",
                format!("containers mount it: {}", users.join(", ")),
            ),
        };
        answer.fact("size", human(self.volume_size(volume)));
        answer.fact("path", volume.mountpoint.to_string_lossy());
        if volume.anonymous {
            answer.fact("origin", "made without a name for a container");
        }
        match users.is_empty() {
            true => answer.next(format!("brig volume rm {}", volume.name)),
            false => answer.next(format!("brig rm -f {}", users.join(" "))),
        }
        Ok(answer)
    }

    pub(super) fn why_network(network: &Network) -> Answer {
        let members: Vec<String> = network.containers.iter().map(|(_, name, _)| name.clone()).collect();
        let mut answer = match (members.is_empty(), network.builtin) {
            (false, _) => Answer::new(
                "network",
                &network.name,
                "in use",
                format!("containers are on it: {}", members.join(", ")),
            ),
            (true, true) => Answer::new(
                "network",
                &network.name,
                "not in use",
                "no running container is on it; it is always there",
            ),
            (true, false) => Answer::new(
                "network",
                &network.name,
                "not in use",
                "no running container is on it, so that it can be removed",
            ),
        };
        answer.id.clone_from(&network.id);
        answer.fact("driver", network.driver.clone());
        for (_, name, endpoint) in &network.containers {
            let addresses: Vec<String> = endpoint
                .ip4
                .map(|ip| ip.to_string())
                .into_iter()
                .chain(endpoint.ip6.map(|ip| ip.to_string()))
                .collect();
            answer.fact("member", format!("{name} {}", addresses.join(" ")));
        }
        if !network.builtin {
            answer.next(match members.first() {
                Some(name) => format!("brig network disconnect {} {name}", network.name),
                None => format!("brig network rm {}", network.name),
            });
        }
        answer
    }

    /// Who has a port of this machine.
    pub(super) fn why_port(&self, port: u16, proto: &'static str) -> Result<Answer> {
        let name = format!("{port}/{proto}");
        if let Some((container, guest)) = self.publisher(port, proto)? {
            let because =
                format!("container {} publishes it: it leads to port {guest} inside", container.name);
            let mut answer = Answer::new("port", &name, "in use", because);
            answer.id = container.id.to_string();
            let inside = sockets::listeners(&container.state.pid.to_string(), proto);
            let inside: Vec<String> = inside
                .iter()
                .filter(|listener| listener.port == guest)
                .map(|listener| listener.ip.to_string())
                .collect();
            answer.fact(
                "listens inside",
                if inside.is_empty() { "nobody".to_owned() } else { inside.join(", ") },
            );
            answer.next(format!("brig why {}", container.name));
            answer.next(format!("brig stop {}", container.name));
            return Ok(answer);
        }
        let mut answer = match sockets::holder(port, proto) {
            Some(holder) => {
                let mut answer =
                    Answer::new("port", &name, "in use", format!("{holder} of this machine has it"));
                answer.next(format!("ss -lnp 'sport = :{port}'"));
                answer
            }
            None if sockets::listeners("self", proto).iter().any(|listener| listener.port == port) => {
                let because = "a process of this machine has it that you may not look into; ask as root";
                Answer::new("port", &name, "in use", because)
            }
            None => Answer::new("port", &name, "free", "no container publishes it and nobody listens on it"),
        };
        if answer.state == "free" {
            let wanted = self.containers()?;
            let wanted = wanted.iter().filter(|container| publishes(container, port, proto));
            let wanted: Vec<&str> = wanted.map(|container| container.name.as_str()).collect();
            if !wanted.is_empty() {
                answer.fact("would publish it", format!("{} (not running)", wanted.join(", ")));
                answer.next(format!("brig why {}", wanted[0]));
            }
        }
        Ok(answer)
    }

    /// Says who has a port, for a container that wants it.
    pub(super) fn port_holder(&self, port: u16, proto: &str, wanted_by: &str) -> Option<String> {
        match self.publisher(port, proto).ok().flatten() {
            Some((container, _)) if container.name != wanted_by => {
                Some(format!("container {}", container.name))
            }
            Some(_) => None,
            None => sockets::holder(port, proto),
        }
    }

    /// The running container that publishes a port, and the port inside.
    fn publisher(&self, port: u16, proto: &str) -> Result<Option<(Container, u16)>> {
        for (id, published) in self.db()?.all_ports()? {
            let Some(offset) =
                port.checked_sub(published.host_first).filter(|offset| *offset < published.count)
            else {
                continue;
            };
            if published.proto == proto {
                let container = self.container(id.as_str())?;
                return Ok(Some((container, published.guest_first.saturating_add(offset))));
            }
        }
        Ok(None)
    }

    /// Nothing goes by that name here.
    pub(super) fn why_missing(&self, name: &str) -> Result<Answer> {
        let reference = name.parse::<ImageRef>();
        let full = reference.as_ref().map_or_else(|_| name.to_owned(), ToString::to_string);
        let because = format!(
            "there is no container, volume or network of that name, and no image {full} in the store"
        );
        let mut answer = Answer::new("nothing", name, "missing", because);
        answer.fact("looked in", self.roots().data.to_string_lossy());
        let near = |other: &str| other.contains(name) || name.contains(other);
        let mut similar: Vec<String> =
            self.db()?.containers()?.into_iter().map(|row| row.name).filter(|other| near(other)).collect();
        if let Ok(reference) = &reference {
            let refs = self.db()?.refs()?.into_iter().map(|(known, _)| known);
            similar.extend(
                refs.filter(|known| known.repository == reference.repository)
                    .map(|known| known.familiar().to_string()),
            );
            answer.fact("a pull would ask", reference.domain.clone());
        }
        similar.truncate(LARGEST);
        answer.fact("similar", similar.join(", "));
        if reference.is_ok() {
            answer.next(format!("brig pull {name}"));
        }
        answer.next("brig ps -a");
        Ok(answer)
    }

    /// Where the disk went.
    pub(super) fn why_disk(&self) -> Result<Answer> {
        let usage = self.disk_usage()?;
        let containers: u64 = usage.containers.iter().map(|(_, bytes)| bytes).sum();
        let volumes: u64 = usage.volumes.iter().map(|(_, bytes)| bytes).sum();
        let all = usage.layers + containers + volumes;
        let idle = |container: &Container| !container.state.status.is_alive();
        let stopped: u64 = usage.containers.iter().filter(|(one, _)| idle(one)).map(|(_, bytes)| bytes).sum();
        let orphans = usage.volumes.iter().filter(|(volume, _)| volume.used_by.is_empty());
        let orphans: u64 = orphans.map(|(_, bytes)| bytes).sum();
        let because = format!(
            "images take {}, containers {}, volumes {}",
            human(usage.layers),
            human(containers),
            human(volumes)
        );
        let mut answer = Answer::new("disk", "disk", &format!("{} used", human(all)), because);
        let mut parts: Vec<(u64, String)> = Vec::new();
        parts.extend(usage.images.iter().map(|(image, bytes)| {
            let name = image
                .tags
                .first()
                .map_or_else(|| image.id.short().to_owned(), |tag| tag.familiar().to_string());
            (*bytes, format!("image {name}"))
        }));
        parts.extend(
            usage.containers.iter().map(|(one, bytes)| {
                (*bytes, format!("container {} ({})", one.name, one.state.status.as_str()))
            }),
        );
        parts.extend(usage.volumes.iter().map(|(volume, bytes)| {
            let used = if volume.used_by.is_empty() { " (not in use)" } else { "" };
            (*bytes, format!("volume {}{used}", volume.name))
        }));
        parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, what) in parts.into_iter().filter(|(bytes, _)| *bytes > 0).take(LARGEST) {
            answer.fact("takes", format!("{:>9}  {what}", human(bytes)));
        }
        if let Ok(stat) = rustix::fs::statvfs(&self.roots().data) {
            let free = human(stat.f_bavail.saturating_mul(stat.f_frsize));
            answer.fact(
                "free",
                format!(
                    "{free} and {} inodes on the file system of {}",
                    stat.f_favail,
                    self.roots().data.display()
                ),
            );
        }
        for (bytes, command) in [
            (usage.layers_reclaimable, "brig image prune -a"),
            (stopped, "brig container prune"),
            (orphans, "brig volume prune -a"),
        ] {
            if bytes > 0 {
                answer.next(format!("{command}   brings back {}", human(bytes)));
            }
        }
        answer.next("brig system df -v");
        Ok(answer)
    }

    fn names_of_ids<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
        ids.map(|id| self.row(id).map_or_else(|_| id.to_owned(), |row| row.name)).collect()
    }
}

fn publishes(container: &Container, port: u16, proto: &str) -> bool {
    let bindings = container.spec.host_config.port_bindings.iter();
    bindings
        .filter(|(guest, _)| guest.ends_with(proto) || proto == "tcp" && !guest.contains('/'))
        .any(|(_, list)| list.iter().flatten().any(|binding| binding.host_port == port.to_string()))
}

fn human(bytes: u64) -> String {
    size::human(i64::try_from(bytes).unwrap_or(i64::MAX))
}
