//! `--opt` of a volume: a file system or folder of the host that is mounted where the volume is. Pure but for a host name's look-up.
//!
//! It is mounted by each container in its own mount namespace, so that nothing of it stays on the host; a `tmpfs` is each
//! container's own.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};

use crate::error::{Error, Result};
use crate::model::Filesystem;

/// What each option needs beside it, in Docker's order.
///
/// Source: moby, `volume/local`, the options of the local driver.
const NEEDS: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("o", &["device", "type"]), ("type", &["device"])];

/// Reads the options of the driver `local`; none mean a plain folder.
pub(crate) fn parse(options: &BTreeMap<String, String>, rootless: bool) -> Result<Option<Filesystem>> {
    let refuse = |text: String| Err(Error::Invalid(text));
    if options.is_empty() {
        return Ok(None);
    }
    for name in options.keys() {
        match name.as_str() {
            "type" | "o" | "device" => {}
            "size" => {
                return Err(Error::Unsupported(
                    "quota size requested but no quota support: a volume of type tmpfs takes size=… in its option \"o\"".to_owned(),
                ));
            }
            other => return refuse(format!("invalid option: {other:?}")),
        }
    }
    for (name, needs) in NEEDS {
        let missing = needs.iter().find(|need| options.get(**need).is_none_or(String::is_empty));
        if let (true, Some(missing)) = (options.contains_key(name), missing) {
            return refuse(format!("missing required option: {missing:?}"));
        }
    }
    let get = |name: &str| options.get(name).cloned().unwrap_or_default();
    let words = get("o").split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let filesystem = Filesystem { kind: get("type"), device: get("device"), options: words };
    check(&filesystem, rootless)?;
    Ok(Some(filesystem))
}

fn check(filesystem: &Filesystem, rootless: bool) -> Result<()> {
    let Filesystem { kind, device, .. } = filesystem;
    if filesystem.is_bind() {
        return match device.starts_with('/') {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "invalid volume option device={device}: a bind wants an absolute path"
            ))),
        };
    }
    if !kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) || kind == "none" {
        return Err(Error::Invalid(format!(
            "invalid volume option type={kind}: the name of a file system is wanted, or none with o=bind"
        )));
    }
    if matches!(kind.as_str(), "proc" | "sysfs" | "cgroup" | "cgroup2" | "devpts" | "mqueue") {
        return Err(Error::Invalid(format!("invalid volume option type={kind}: it is the kernel's own")));
    }
    if rootless && kind != "tmpfs" {
        return Err(Error::Unsupported(format!(
            "volume type {kind:?} is for root: a plain user has tmpfs and binds (type=none, o=bind)"
        )));
    }
    Ok(())
}

/// Puts the address in where a network file system's server is named: the kernel looks up no names.
pub(crate) fn resolve(filesystem: &Filesystem) -> Result<Filesystem> {
    let mut resolved = filesystem.clone();
    if !filesystem.kind.starts_with("nfs") && filesystem.kind != "cifs" {
        return Ok(resolved);
    }
    for option in &mut resolved.options {
        let Some(host) = option.strip_prefix("addr=") else { continue };
        if host.parse::<IpAddr>().is_err() {
            let found = (host, 0).to_socket_addrs().ok().and_then(|mut list| list.next());
            let address = found.ok_or_else(|| {
                Error::Unavailable(format!(
                    "cannot find the server {host:?} of a volume of type {}",
                    filesystem.kind
                ))
            })?;
            *option = format!("addr={}", address.ip());
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)], rootless: bool) -> std::result::Result<Option<Filesystem>, String> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(&options, rootless).map_err(|error| error.to_string())
    }

    #[test]
    fn options_follow_docker() {
        assert_eq!(parsed(&[], false), Ok(None));
        let bind = parsed(&[("type", "none"), ("o", "bind,ro"), ("device", "/srv")], true).unwrap().unwrap();
        assert!(bind.is_bind() && bind.options.len() == 2);
        let tmpfs = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")];
        assert!(!parsed(&tmpfs, true).unwrap().unwrap().is_bind());
        for (pairs, rootless, words) in [
            (&[("what", "x")][..], false, "invalid option: \"what\""),
            (&[("type", "tmpfs")], false, "missing required option: \"device\""),
            (&[("device", "/x")], false, "missing required option: \"type\""),
            (&[("o", "bind")], false, "missing required option: \"device\""),
            (&[("type", "none"), ("o", "bind"), ("device", "srv")], false, "absolute path"),
            (&[("type", "none"), ("device", "/srv")], false, "type=none"),
            (&[("type", "proc"), ("device", "proc")], false, "kernel's own"),
            (&[("type", "a b"), ("device", "x")], false, "name of a file system"),
            (&[("size", "1G")], false, "no quota support"),
            (&[("type", "ext4"), ("device", "/dev/sda")], true, "for root"),
        ] {
            let said = parsed(pairs, rootless).unwrap_err();
            assert!(said.contains(words), "{pairs:?}: {said}");
        }
    }
}
