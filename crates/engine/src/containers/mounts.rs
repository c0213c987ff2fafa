//! What a request mounts, decided from its text: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's volumes
//! become one list of [`MountPoint`]s, one per path inside. Pure functions; volumes are made by the caller.

use std::collections::BTreeMap;

use docker_types::bind::{self, Source};
use docker_types::container::{ContainerSpec, Mount};

use crate::error::{Error, Result};
use crate::model::{MountKind, MountPoint};

/// Names and values.
type Words = BTreeMap<String, String>;

/// The mounts of a request, by the path inside, and the options of volumes that have to be made.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    pub(crate) points: Vec<MountPoint>,
    /// Labels and driver options of volumes named in `--mount`.
    pub(crate) volume_options: BTreeMap<String, (Words, Words)>,
    /// Host folders that `-v` makes where they are missing.
    pub(crate) make_sources: Vec<String>,
}

/// Plans the mounts. `inherited` are those of `--volumes-from`, `new_name` makes names of anonymous volumes.
///
/// What stands later wins in the order: image's volumes, `--volumes-from`, binds and mounts.
pub(crate) fn plan(
    spec: &ContainerSpec,
    inherited: Vec<MountPoint>,
    mut new_name: impl FnMut() -> String,
) -> Result<MountPlan> {
    let mut plan = MountPlan::default();
    let mut explicit: Vec<MountPoint> = Vec::new();
    for text in &spec.host_config.binds {
        explicit.push(from_bind(text, &mut plan, &mut new_name)?);
    }
    for mount in &spec.host_config.mounts {
        explicit.push(from_mount(mount, &mut plan, &mut new_name)?);
    }
    for (target, options) in &spec.host_config.tmpfs {
        explicit.push(from_tmpfs(target, options)?);
    }
    for (at, point) in explicit.iter().enumerate() {
        if explicit[..at].iter().any(|other| other.target == point.target) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", point.target)));
        }
    }
    let taken = |points: &[MountPoint], target: &str| points.iter().any(|point| point.target == target);
    for point in inherited {
        if !taken(&explicit, &point.target) {
            explicit.push(MountPoint { anonymous: false, fill: false, ..point });
        }
    }
    for path in spec.config.volumes.iter().flat_map(|set| set.keys()) {
        let target = clean_target(path)?;
        if !taken(&explicit, &target) {
            explicit.push(anonymous_volume(target, new_name()));
        }
    }
    explicit.sort_by(|a, b| depth(&a.target).cmp(&depth(&b.target)).then_with(|| a.target.cmp(&b.target)));
    plan.points = explicit;
    Ok(plan)
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

/// Normalises a path inside: absolute, no `.`, no `..` beyond the root, not the root itself.
fn clean_target(path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::Invalid(format!("invalid mount path: {path:?} mount path must be absolute")));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return Err(Error::Invalid("invalid specification: destination can't be '/'".to_owned()));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn anonymous_volume(target: String, name: String) -> MountPoint {
    MountPoint {
        kind: MountKind::Volume,
        volume: Some(name),
        source: String::new(),
        target,
        mode: String::new(),
        writable: true,
        propagation: String::new(),
        anonymous: true,
        options: Vec::new(),
        fill: true,
        subpath: String::new(),
        filesystem: None,
    }
}

fn from_bind(text: &str, plan: &mut MountPlan, new_name: &mut impl FnMut() -> String) -> Result<MountPoint> {
    let bind = bind::parse(text).map_err(|error| Error::Invalid(error.to_string()))?;
    let target = clean_target(&bind.target)?;
    let mut point = match bind.source {
        Source::Anonymous => anonymous_volume(target, new_name()),
        Source::Volume(name) => MountPoint { anonymous: false, ..anonymous_volume(target, name) },
        Source::Path(path) => {
            plan.make_sources.push(path.clone());
            bind_point(path, target)
        }
    };
    point.writable = !bind.options.read_only;
    point.fill &= !bind.options.no_copy;
    if !bind.options.propagation.is_empty() {
        point.propagation = bind.options.propagation;
    }
    point.mode = bind.mode;
    Ok(point)
}

fn bind_point(source: String, target: String) -> MountPoint {
    MountPoint {
        kind: MountKind::Bind,
        volume: None,
        source,
        propagation: "rprivate".to_owned(),
        anonymous: false,
        fill: false,
        ..anonymous_volume(target, String::new())
    }
}

fn from_mount(
    mount: &Mount,
    plan: &mut MountPlan,
    new_name: &mut impl FnMut() -> String,
) -> Result<MountPoint> {
    let target = clean_target(&mount.target)?;
    let mut point = match mount.kind.as_str() {
        "bind" => {
            let mut point = bind_point(mount.source.clone(), target);
            if let Some(options) = &mount.bind_options {
                if options.create_mountpoint {
                    plan.make_sources.push(mount.source.clone());
                }
                if !options.propagation.is_empty() {
                    point.propagation.clone_from(&options.propagation);
                }
                if options.non_recursive {
                    point.options.push("bind".to_owned());
                }
                if mount.read_only && options.read_only_non_recursive {
                    point.options.push("ro-top".to_owned());
                }
                if mount.read_only && options.read_only_force_recursive {
                    point.options.push("ro-force".to_owned());
                }
            }
            point
        }
        "volume" => {
            let anonymous = mount.source.is_empty();
            let name = if anonymous { new_name() } else { mount.source.clone() };
            let mut point = MountPoint { anonymous, ..anonymous_volume(target, name.clone()) };
            if let Some(options) = &mount.volume_options {
                point.fill = !options.no_copy;
                point.subpath.clone_from(&options.subpath);
                let driver = options.driver_config.clone().unwrap_or_default();
                if !matches!(driver.name.as_str(), "" | "local") {
                    return Err(Error::Unsupported(format!(
                        "volume driver {:?} is not supported: only \"local\" is",
                        driver.name
                    )));
                }
                plan.volume_options.insert(name, (options.labels.clone(), driver.options));
            }
            point
        }
        "tmpfs" => {
            let mut options = Vec::new();
            if let Some(tmpfs) = &mount.tmpfs_options {
                if tmpfs.size_bytes > 0 {
                    options.push(format!("size={}", tmpfs.size_bytes));
                }
                if tmpfs.mode != 0 {
                    options.push(format!("mode={:o}", tmpfs.mode));
                }
                options.extend(tmpfs.options.iter().map(|pair| pair.join("=")));
            }
            from_tmpfs(&mount.target, &options.join(","))?
        }
        other => {
            return Err(Error::Unsupported(format!(
                "mount type {other:?} is not supported: bind, volume and tmpfs are"
            )));
        }
    };
    point.writable = !mount.read_only;
    Ok(point)
}

fn from_tmpfs(target: &str, options: &str) -> Result<MountPoint> {
    let given: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    let mut list: Vec<String> = ["noexec", "nosuid", "nodev"]
        .iter()
        .filter(|flag| !given.contains(&flag.trim_start_matches("no")))
        .map(|flag| (*flag).to_owned())
        .collect();
    list.extend(
        given
            .iter()
            .filter(|option| !list.iter().any(|have| have == *option))
            .map(|o| (*o).to_owned())
            .collect::<Vec<_>>(),
    );
    Ok(MountPoint {
        kind: MountKind::Tmpfs,
        volume: None,
        mode: options.to_owned(),
        writable: !given.contains(&"ro"),
        anonymous: false,
        fill: false,
        options: list,
        ..anonymous_volume(clean_target(target)?, String::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(binds: &[&str], image_volumes: &[&str]) -> Result<Vec<(String, MountKind, bool, bool)>> {
        let mut spec = ContainerSpec::default();
        spec.host_config.binds = binds.iter().map(|b| (*b).to_owned()).collect();
        spec.config.volumes =
            Some(image_volumes.iter().map(|v| ((*v).to_owned(), Default::default())).collect());
        let plan = plan(&spec, Vec::new(), || "anon".to_owned())?;
        Ok(plan.points.into_iter().map(|p| (p.target, p.kind, p.writable, p.anonymous)).collect())
    }

    #[test]
    fn binds_volumes_and_image_volumes_are_told_apart() {
        use MountKind::{Bind, Volume};
        let got = planned(&["/src:/a/b:ro", "data:/a", "/anon"], &["/img", "/a"]).unwrap();
        let want = [
            ("/a", Volume, true, false),
            ("/anon", Volume, true, true),
            ("/img", Volume, true, true),
            ("/a/b", Bind, false, false),
        ];
        assert_eq!(got, want.map(|(t, k, w, a)| (t.to_owned(), k, w, a)));
    }

    #[test]
    fn paths_that_leave_or_collide_are_refused() {
        assert!(planned(&["data:/"], &[]).is_err());
        assert!(planned(&["data:/a", "other:/a/../a"], &[]).is_err());
        assert_eq!(planned(&[], &["/../../etc"]).unwrap()[0].0, "/etc");
        assert!(planned(&[], &["relative"]).is_err());
    }
}
