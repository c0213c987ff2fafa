//! The grammar of `--mount`: comma-separated keys and values.

use base::{ErrorKind, Kinded};

use crate::container::{BindOptions, DriverConfig, ImageOptions, Mount, TmpfsOptions, VolumeOptions};
use crate::csv::{self, CsvError};
use crate::size;

/// Why a text is no mount. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// It is no line of comma-separated values.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A key that wants a value has none.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A key is unknown.
    #[error("unexpected key '{key}' in '{field}'")]
    UnknownKey {
        /// The key.
        key: String,
        /// The whole field.
        field: String,
    },
    /// A value is not what its key wants.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// `bind-recursive` has another value.
    #[error(
        "invalid value for bind-recursive: {0} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
    )]
    Recursive(String),
    /// `bind-recursive=readonly` without `readonly`.
    #[error("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")]
    RecursiveReadOnly,
    /// `bind-recursive=readonly` with another propagation than rprivate.
    #[error(
        "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
    )]
    RecursivePropagation,
    /// The type is empty.
    #[error("type is required")]
    NoType,
    /// The target is missing.
    #[error("target is required")]
    NoTarget,
    /// Options of another type of mount are given.
    #[error("cannot mix '{group}-*' options with mount type '{kind}'")]
    Mixed {
        /// Which options.
        group: &'static str,
        /// The mount's type.
        kind: String,
    },
}

impl Kinded for MountError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses one `--mount` argument. Whether the mount makes sense is for [`crate::validate`].
pub fn parse(text: &str) -> Result<Mount, MountError> {
    let mut mount = Mount { kind: "volume".to_owned(), ..Mount::default() };
    for field in csv::split(text)? {
        apply_field(&mut mount, &field)?;
    }
    check(&mount)?;
    Ok(mount)
}

fn apply_field(mount: &mut Mount, field: &str) -> Result<(), MountError> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
        None => (field.to_ascii_lowercase(), None),
    };
    let bool_value = |value: Option<&str>| {
        parse_bool(value.unwrap_or("true")).ok_or_else(|| MountError::Value {
            key: key.clone(),
            value: value.unwrap_or_default().to_owned(),
        })
    };
    match key.as_str() {
        "readonly" | "ro" => mount.read_only = bool_value(value)?,
        "volume-nocopy" => volume(mount).no_copy = bool_value(value)?,
        "bind-nonrecursive" => bind(mount).non_recursive = bool_value(value)?,
        _ => {
            let value = value.ok_or_else(|| MountError::NoValue(field.to_owned()))?;
            apply_value(mount, &key, value, field)?;
        }
    }
    Ok(())
}

fn apply_value(mount: &mut Mount, key: &str, value: &str, field: &str) -> Result<(), MountError> {
    let bad = || MountError::Value { key: key.to_owned(), value: value.to_owned() };
    match key {
        "type" => mount.kind = value.to_ascii_lowercase(),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "consistency" => mount.consistency = value.to_ascii_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_ascii_lowercase(),
        "bind-recursive" => apply_recursive(mount, value)?,
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-label" => insert(&mut volume(mount).labels, value),
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => insert(&mut driver(mount).options, value),
        "image-subpath" => {
            value.clone_into(&mut mount.image_options.get_or_insert_with(ImageOptions::default).subpath);
        }
        "tmpfs-size" => tmpfs(mount).size_bytes = size::parse_binary(value).map_err(|_| bad())?,
        "tmpfs-mode" => tmpfs(mount).mode = u32::from_str_radix(value, 8).map_err(|_| bad())?,
        _ => return Err(MountError::UnknownKey { key: key.to_owned(), field: field.to_owned() }),
    }
    Ok(())
}

fn apply_recursive(mount: &mut Mount, value: &str) -> Result<(), MountError> {
    match value {
        "enabled" => {}
        "disabled" => bind(mount).non_recursive = true,
        "writable" => bind(mount).read_only_non_recursive = true,
        "readonly" => bind(mount).read_only_force_recursive = true,
        _ => return Err(MountError::Recursive(value.to_owned())),
    }
    Ok(())
}

fn check(mount: &Mount) -> Result<(), MountError> {
    if mount.kind.is_empty() {
        return Err(MountError::NoType);
    }
    if mount.target.is_empty() {
        return Err(MountError::NoTarget);
    }
    let groups = [
        ("bind", mount.bind_options.is_some()),
        ("volume", mount.volume_options.is_some()),
        ("image", mount.image_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
    ];
    for (group, given) in groups {
        if given && group != mount.kind {
            return Err(MountError::Mixed { group, kind: mount.kind.clone() });
        }
    }
    match &mount.bind_options {
        Some(bind) if bind.read_only_force_recursive && !mount.read_only => {
            Err(MountError::RecursiveReadOnly)
        }
        Some(bind) if bind.read_only_force_recursive && bind.propagation != "rprivate" => {
            Err(MountError::RecursivePropagation)
        }
        _ => Ok(()),
    }
}

/// Parses a boolean as Go does: `1 t T TRUE true True` and their opposites.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn bind(mount: &mut Mount) -> &mut BindOptions {
    mount.bind_options.get_or_insert_with(BindOptions::default)
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_with(VolumeOptions::default)
}

fn driver(mount: &mut Mount) -> &mut DriverConfig {
    volume(mount).driver_config.get_or_insert_with(DriverConfig::default)
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default)
}

fn insert(map: &mut std::collections::BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(key.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let mount = parse("type=bind,\"src=/a,b\",dst=/c,ro").unwrap();
        assert_eq!(
            (mount.kind.as_str(), mount.source.as_str(), mount.target.as_str()),
            ("bind", "/a,b", "/c")
        );
        assert!(mount.read_only);
        assert_eq!(parse("dst=/x").unwrap().kind, "volume");
        assert!(!parse("TYPE=bind,SRC=/a,DST=/b,RO=false").unwrap().read_only);
        let tmpfs = parse("type=tmpfs,dst=/t,tmpfs-size=10m,tmpfs-mode=1777").unwrap().tmpfs_options.unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (10 << 20, 0o1777));
        let volume =
            parse("dst=/b,volume-nocopy,volume-label=a=b,volume-driver=d,volume-opt=o=x,volume-subpath=s")
                .unwrap()
                .volume_options
                .unwrap();
        assert!(volume.no_copy && volume.labels["a"] == "b" && volume.subpath == "s");
        assert_eq!(volume.driver_config.unwrap().options["o"], "x");
        assert!(
            parse("type=bind,src=/a,dst=/b,bind-recursive=readonly,ro,bind-propagation=rprivate").is_ok()
        );
    }

    #[test]
    fn mounts_are_refused_in_dockers_words() {
        for (text, message) in [
            ("", "EOF"),
            ("type=bind", "target is required"),
            ("type=", "type is required"),
            ("src", "invalid field 'src' must be a key=value pair"),
            ("type=bind,src=/a,dst=/b,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
            ("type=bind, src=/a,dst=/b", "unexpected key ' src' in ' src=/a'"),
            ("type=bind,src=/a,dst=/b,readonly=maybe", "invalid value for readonly: maybe"),
            ("type=tmpfs,dst=/t,tmpfs-mode=abc", "invalid value for tmpfs-mode: abc"),
            ("type=tmpfs,dst=/t,tmpfs-size=abc", "invalid value for tmpfs-size: abc"),
            (
                "type=bind,src=/a,dst=/b,volume-nocopy=true",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("type=volume,dst=/b,tmpfs-size=1", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
            ),
            (
                "type=bind,\"src=/a",
                "parse error on line 1, column 18: extraneous or missing \" in quoted-field",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
