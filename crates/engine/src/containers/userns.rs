//! `--userns`: a user namespace of the container's own, and what its numbers mean outside.
//!
//! ```text
//!                root                                      a plain user (who is root of a namespace already)
//! private, auto  numbers of the machine that nobody else   private: the same numbers, but no rights over other
//!                has; image and volumes are seen through   containers; auto is refused: only the machine's root may
//!                idmapped mounts, nothing is copied        show an image's files under other numbers
//! keep-id        the same numbers                          the caller's number outside is the caller's inside: it changes
//!                                                          places with root, so files on binds belong to the right person
//! ```
//! The exchange costs nothing, however large the image is; what of the image belongs to root is shown as the caller's.

use std::os::fd::{AsFd, OwnedFd};

use docker_types::container::HostConfig;
use docker_types::policy::{self, Userns};

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::rootless::{self, Standing, make};

/// Where the machine's numbers for containers begin, and how many there are: what systemd's table of users leaves free.
///
/// Source: systemd, docs/UIDS-GIDS.md, "1879048192…2147483647 unused".
const POOL: (u32, u32) = (1_879_048_192, 268_435_456);
/// As many numbers as a container gets when nobody says.
const SIZE: u32 = 65_536;
/// All numbers of the machine.
const WHOLE: u32 = u32::MAX;

/// First number inside, first number outside, count.
type Map = Vec<[u32; 3]>;

/// The numbers of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Maps {
    users: Map,
    groups: Map,
    /// Whether number n inside is not n outside, for all: then files are shown through the map.
    shifted: bool,
}

/// The user namespace of one start.
#[derive(Debug)]
pub(crate) struct UserNamespace {
    pub(crate) namespace: OwnedFd,
    /// A network namespace that belongs to it.
    netns: OwnedFd,
    maps: Maps,
}

impl UserNamespace {
    /// Whether files are shown through its map.
    pub(crate) fn shifts(&self) -> bool {
        self.maps.shifted
    }

    /// The user and group maps.
    pub(crate) fn maps(&self) -> (&[[u32; 3]], &[[u32; 3]]) {
        (&self.maps.users, &self.maps.groups)
    }

    /// Returns its network namespace, ready to be used.
    pub(crate) fn netns(&self) -> Result<OwnedFd> {
        let doing = || "cannot make a network namespace".to_owned();
        network::prepare_foreign_netns(self.netns.as_fd()).doing(doing)?;
        self.netns.try_clone().map_err(|source| Error::System { action: doing(), source })
    }

    /// The namespace, for an idmapped mount.
    pub(crate) fn idmap(&self) -> Result<Option<image::IdMap>> {
        let copy = || self.namespace.try_clone();
        let copied = self.shifts().then(copy).transpose();
        let copied =
            copied.map_err(|source| Error::System { action: "keep a user namespace".to_owned(), source })?;
        let outside = |map: &Map| map.first().map_or(0, |[_, outside, _]| *outside);
        let root = (outside(&self.maps.users), outside(&self.maps.groups));
        Ok(copied.map(|user_namespace| image::IdMap { user_namespace, root }))
    }

    /// The numbers outside of a user and a group inside; those that it does not have stay as they are.
    pub(crate) fn outside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let find = |map: &Map, id: u32| {
            let line = map.iter().find(|[first, _, count]| id >= *first && id - first < *count);
            line.map_or(id, |[first, outside, _]| outside + (id - first))
        };
        (find(&self.maps.users, uid), find(&self.maps.groups, gid))
    }

    /// The highest group inside.
    pub(crate) fn highest_gid(&self) -> u32 {
        highest(&self.maps.groups)
    }

    /// Refuses users and groups that it does not have.
    pub(crate) fn check(&self, uid: u32, groups: &[u32]) -> Result<()> {
        let has =
            |map: &Map, id: u32| map.iter().any(|[first, _, count]| id >= *first && id - first < *count);
        let missing = match groups.iter().find(|id| !has(&self.maps.groups, **id)) {
            _ if !has(&self.maps.users, uid) => Some(("user", uid)),
            found => found.map(|id| ("group", *id)),
        };
        match missing {
            Some((what, id)) => Err(Error::Invalid(format!(
                "cannot run as {what} {id}: the container's user namespace has numbers up to {}; see --userns",
                highest(if what == "user" { &self.maps.users } else { &self.maps.groups })
            ))),
            None => Ok(()),
        }
    }
}

fn highest(map: &Map) -> u32 {
    map.iter().map(|[first, _, count]| first.saturating_add(count - 1)).max().unwrap_or(0)
}

/// Checks `--userns` with what it meets, and says who the process is when nobody does: with `keep-id` the caller.
pub(super) fn default_user(host: &HostConfig, standing: Standing) -> Result<Option<String>> {
    let mode = parse(host)?;
    if mode == Userns::Host {
        return Ok(None);
    }
    refuse(mode, standing)?;
    if host.privileged {
        return Err(Error::Invalid(format!(
            "privileged mode is incompatible with user namespaces: leave out --userns {}",
            host.userns_mode
        )));
    }
    for (option, mode) in
        [("--network", &host.network_mode), ("--pid", &host.pid_mode), ("--ipc", &host.ipc_mode)]
    {
        if mode == "host" || mode.starts_with("container:") {
            return Err(Error::Invalid(format!(
                "cannot use {option} {mode} with --userns {}: its owner is another user namespace",
                host.userns_mode
            )));
        }
    }
    Ok(match mode {
        Userns::KeepId { uid, gid } => {
            let (own_uid, own_gid) = standing.own;
            Some(format!("{}:{}", uid.unwrap_or(own_uid), gid.unwrap_or(own_gid)))
        }
        _ => None,
    })
}

fn parse(host: &HostConfig) -> Result<Userns> {
    policy::userns_mode(&host.userns_mode).map_err(|error| Error::Invalid(error.to_string()))
}

fn refuse(mode: Userns, standing: Standing) -> Result<()> {
    let why = match (mode, standing.rootless) {
        (Userns::NoMap, false) => "it leaves the calling user out, who is root here",
        (Userns::NoMap, true) => {
            "an image's files belong to your own user, and only root may show them under other numbers; --userns private keeps the container from the others"
        }
        (Userns::Auto { .. }, true) => {
            "only root may show an image's files under other numbers; --userns private keeps the container from the others"
        }
        (Userns::Auto { size: Some(0) }, _) => "a size of 0 leaves no user",
        _ => return Ok(()),
    };
    let name = if mode == Userns::NoMap { "nomap" } else { "auto" };
    Err(Error::Unsupported(format!("cannot use --userns {name}: {why}")))
}

/// The maps of a mode. `block` is the container's own stretch of the machine's numbers, where it has one.
fn plan(mode: Userns, standing: Standing, block: Option<(u32, u32)>) -> Maps {
    let same = |highest: u32| vec![[0, 0, highest.saturating_add(1)]];
    match (mode, block) {
        (_, Some((first, count))) => {
            let map = vec![[0, first, count]];
            Maps { users: map.clone(), groups: map, shifted: true }
        }
        (Userns::KeepId { uid, gid }, None) if standing.rootless => Maps {
            users: exchanged(uid.unwrap_or(standing.own.0), standing.highest_uid),
            groups: exchanged(gid.unwrap_or(standing.own.1), standing.highest_gid),
            shifted: false,
        },
        _ if standing.rootless => {
            Maps { users: same(standing.highest_uid), groups: same(standing.highest_gid), shifted: false }
        }
        _ => Maps { users: vec![[0, 0, WHOLE]], groups: vec![[0, 0, WHOLE]], shifted: false },
    }
}

/// All numbers up to `highest`, with 0 outside as `id` inside; who is pushed out of that place becomes root inside.
fn exchanged(id: u32, highest: u32) -> Map {
    let last = if id <= highest { id } else { highest };
    let rest = last.saturating_add(1);
    let all = match (id, last) {
        (0, _) => vec![[0, 0, highest.saturating_add(1)]],
        // There is no other number than the caller's.
        (_, 0) => vec![[id, 0, 1]],
        _ => vec![[0, last, 1], [1, 1, last - 1], [id, 0, 1], [rest, rest, highest.saturating_sub(last)]],
    };
    all.into_iter().filter(|[_, _, count]| *count > 0).collect()
}

impl Engine {
    /// Makes the user namespace that a container asks for, if it does.
    pub(super) fn user_namespace(&self, row: &ContainerRow) -> Result<Option<UserNamespace>> {
        let host = &row.spec.host_config;
        if matches!(host.userns_mode.as_str(), "" | "host") {
            return Ok(None);
        }
        let (mode, standing) = (parse(host)?, rootless::standing());
        refuse(mode, standing)?;
        let size = match mode {
            Userns::Auto { size } => Some(size.unwrap_or(SIZE)),
            Userns::Private if !standing.rootless => Some(SIZE),
            _ => None,
        };
        let block = size.map(|size| self.id_block(row, size)).transpose()?;
        let maps = plan(mode, standing, block);
        let (namespace, netns) = make::below(&maps.users, &maps.groups)?;
        crate::timings::mark("user namespace of the container");
        Ok(Some(UserNamespace { namespace, netns, maps }))
    }

    fn id_block(&self, row: &ContainerRow, size: u32) -> Result<(u32, u32)> {
        let first = self.db()?.acquire_ids(&row.id, POOL.0, POOL.1, size)?;
        first.map(|first| (first, size)).ok_or_else(|| {
            Error::Unavailable(format!(
                "no {size} users are left for container {}: remove a container with --userns auto or private, or ask for a smaller auto:size",
                row.name
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Standing =
        Standing { rootless: true, highest_uid: 65_536, highest_gid: 65_536, own: (1000, 1000) };
    const ROOT: Standing =
        Standing { rootless: false, highest_uid: u32::MAX - 1, highest_gid: u32::MAX - 1, own: (0, 0) };

    #[test]
    fn the_caller_changes_places_with_root() {
        assert_eq!(exchanged(1000, 65_536), [[0, 1000, 1], [1, 1, 999], [1000, 0, 1], [1001, 1001, 64_536]]);
        assert_eq!(exchanged(1, 10), [[0, 1, 1], [1, 0, 1], [2, 2, 9]]);
        assert_eq!(exchanged(10, 10), [[0, 10, 1], [1, 1, 9], [10, 0, 1]]);
        assert_eq!(exchanged(5000, 10), [[0, 10, 1], [1, 1, 9], [5000, 0, 1]]);
        assert_eq!(exchanged(0, 10), [[0, 0, 11]]);
        assert_eq!(exchanged(1000, 0), [[1000, 0, 1]]);
    }

    #[test]
    fn every_mode_has_its_maps() {
        let keep = Userns::KeepId { uid: Some(7), gid: None };
        assert_eq!(plan(keep, PLAIN, None).users[2], [7, 0, 1]);
        assert_eq!(plan(keep, PLAIN, None).groups[2], [1000, 0, 1]);
        assert_eq!(plan(Userns::Private, PLAIN, None).users, [[0, 0, 65_537]]);
        let shifted = plan(Userns::Auto { size: None }, ROOT, Some((POOL.0, 10)));
        assert_eq!((shifted.users, shifted.shifted), (vec![[0, POOL.0, 10]], true));
        assert_eq!(plan(keep, ROOT, None).users, [[0, 0, u32::MAX]]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (mode, standing, good) in [
            ("nomap", ROOT, false),
            ("nomap", PLAIN, false),
            ("auto", ROOT, true),
            ("auto", PLAIN, false),
            ("auto:size=0", ROOT, false),
            ("private", PLAIN, true),
            ("keep-id", PLAIN, true),
            ("host", PLAIN, true),
        ] {
            let host = HostConfig { userns_mode: mode.to_owned(), ..HostConfig::default() };
            assert_eq!(default_user(&host, standing).is_ok(), good, "{mode} {standing:?}");
        }
        let host = HostConfig {
            userns_mode: "keep-id".to_owned(),
            network_mode: "host".to_owned(),
            ..HostConfig::default()
        };
        assert!(default_user(&host, PLAIN).is_err());
    }
}
