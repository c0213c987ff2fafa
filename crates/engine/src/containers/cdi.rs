//! `--device vendor.com/class=name` and `--gpus`: devices that a vendor describes in documents of the Container Device
//! Interface, read from the folders that `brig.toml` names.
//!
//! The folders and their files are the machine's, and what they say runs as root: a file that others may write is refused.
//! Nothing of an image or a container chooses a document, a device or a hook.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use docker_types::container::{DeviceRequest, HostConfig};
use oci::cdi::{DeviceName, DeviceNode, Document, Edits};
use serde_json::Value;

use crate::error::{Error, Result};

/// The largest document that is read, in bytes.
const FILE_MAX: u64 = 4 << 20;
/// The most documents of one folder.
const FILES_MAX: usize = 512;
/// How many known devices an error names.
const SHOWN: usize = 12;

/// What the folders hold.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Documents with their files, and the rank of their folder: a later folder wins.
    documents: Vec<(PathBuf, usize, Document)>,
    /// Files that cannot be used, with the reason.
    refused: Vec<String>,
}

impl Registry {
    /// Reads all documents of `folders`; missing folders hold none.
    pub(crate) fn load(folders: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for (rank, folder) in folders.iter().enumerate() {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| path.extension().is_some_and(|end| end == "json" || end == "yaml"));
            paths.sort();
            for path in paths.into_iter().take(FILES_MAX) {
                match read(&path) {
                    Ok(document) => registry.documents.push((path, rank, document)),
                    Err(why) => registry.refused.push(format!("{}: {why}", path.display())),
                }
            }
        }
        registry
    }

    /// Returns the names of all devices, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.documents.iter().flat_map(|(_, _, document)| {
            document.devices.iter().map(move |device| format!("{}={}", document.kind, device.name))
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the document that describes `name`, by its place, and the device in it.
    fn find(&self, name: &DeviceName) -> Result<(usize, &Edits)> {
        let mut found: Vec<(usize, usize, &Edits)> = Vec::new();
        for (at, (_, rank, document)) in self.documents.iter().enumerate() {
            if document.kind == name.kind {
                let devices = document.devices.iter().filter(|device| device.name == name.name);
                found.extend(devices.map(|device| (at, *rank, &device.container_edits)));
            }
        }
        let best = found.iter().map(|(_, rank, _)| *rank).max();
        found.retain(|(_, rank, _)| Some(*rank) == best);
        match found[..] {
            [(at, _, edits)] => Ok((at, edits)),
            [] => Err(self.unknown(name)),
            [(one, ..), (other, ..), ..] => Err(Error::Conflict(format!(
                "CDI device injection failed: conflicting device {name}: both {} and {} describe it",
                self.documents[one].0.display(),
                self.documents[other].0.display()
            ))),
        }
    }

    fn unknown(&self, name: &DeviceName) -> Error {
        let known = self.names();
        let mut text = format!("CDI device injection failed: unresolvable CDI devices {name}");
        match known.len() {
            0 => text.push_str("; no CDI device is described on this machine"),
            count => {
                text.push_str(&format!("; known are {}", known[..count.min(SHOWN)].join(", ")));
                if count > SHOWN {
                    text.push_str(&format!(" and {} more", count - SHOWN));
                }
            }
        }
        for refused in &self.refused {
            text.push_str(&format!("; cannot use {refused}"));
        }
        Error::Invalid(text)
    }

    /// Returns what the devices add: what a document adds for all of its devices once, before its first device.
    fn edits(&self, names: &[DeviceName]) -> Result<Vec<Edits>> {
        let mut all = Vec::new();
        let mut seen = Vec::new();
        for name in names {
            let (at, edits) = self.find(name)?;
            if !seen.contains(&at) {
                seen.push(at);
                all.push(self.documents[at].2.container_edits.clone());
            }
            all.push(edits.clone());
        }
        for edits in &mut all {
            edits.device_nodes.iter_mut().try_for_each(fill_in)?;
        }
        Ok(all)
    }
}

/// Reads and checks one document.
fn read(path: &Path) -> Result<Document, String> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    if meta.mode() & 0o002 != 0 {
        return Err("everybody may write it".to_owned());
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("it is larger than {FILE_MAX} bytes"));
    }
    let document: Document = if path.extension().is_some_and(|end| end == "json") {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    } else {
        // Modes are written as 0644 there.
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        serde_saphyr::from_str_with_options(&text, options).map_err(|error| one_line(&error.to_string()))?
    };
    document.check().map_err(|error| error.to_string())?;
    Ok(document)
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Takes what a node does not say from the host's node.
fn fill_in(node: &mut DeviceNode) -> Result<()> {
    let given = node.kind.as_deref().unwrap_or("");
    if given == "p" || (!given.is_empty() && node.major.is_some_and(|major| major != 0)) {
        node.minor = node.minor.or(Some(0));
        return Ok(());
    }
    let fail = |why: &str| {
        Error::Invalid(format!(
            "CDI device injection failed: cannot use the device node {:?}: {why}",
            node.source()
        ))
    };
    let meta = fs::metadata(node.source()).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => fail("no such file or directory"),
        _ => fail(&error.to_string()),
    })?;
    let kind = match (meta.file_type().is_char_device(), meta.file_type().is_block_device()) {
        (true, _) => "c",
        (_, true) => "b",
        _ if meta.file_type().is_fifo() => "p",
        _ => return Err(fail("it is not a device")),
    };
    if !given.is_empty() && given != kind && !(given == "u" && kind == "c") {
        return Err(fail(&format!("its type is {kind}, not {given}")));
    }
    node.kind = Some(kind.to_owned());
    node.major = Some(rustix::fs::major(meta.rdev()));
    node.minor = Some(rustix::fs::minor(meta.rdev()));
    Ok(())
}

/// Returns the names of the devices that a container asks for, in order, each once.
fn asked(host: &HostConfig) -> Result<Vec<DeviceName>> {
    let mut names = Vec::new();
    for request in host.resources.device_requests.iter().flatten() {
        for text in names_of(request)? {
            let name: DeviceName =
                text.parse().map_err(|error: oci::cdi::InvalidCdi| Error::Invalid(error.to_string()))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// The names that one request stands for: CDI's own, or those of a vendor's graphics processors.
fn names_of(request: &DeviceRequest) -> Result<Vec<String>> {
    let ids = request.device_ids.clone().unwrap_or_default();
    if request.driver == "cdi" {
        return Ok(ids);
    }
    let capabilities = request.capabilities.clone().unwrap_or_default();
    let kind = match request.driver.as_str() {
        "" | "nvidia" => "nvidia.com/gpu",
        "amd" => "amd.com/gpu",
        _ => "",
    };
    let wanted: Vec<&String> = capabilities.iter().flatten().collect();
    if kind.is_empty() || !wanted.iter().any(|name| *name == "gpu") {
        return Err(Error::Invalid(format!(
            "could not select device driver {:?} with capabilities: {capabilities:?}",
            request.driver
        )));
    }
    if let Some(name) = wanted.iter().find(|name| !GPU_CAPABILITIES.contains(&name.as_str())) {
        return Err(Error::Invalid(format!("unsupported capability of a GPU: {name:?}")));
    }
    if let Some(name) = request.options.as_ref().and_then(|options| options.keys().next()) {
        return Err(Error::Unsupported(format!("the option {name:?} of --gpus is not supported with CDI")));
    }
    Ok(match (ids.is_empty(), request.count) {
        (false, 0) => {
            ids.iter().map(|id| if id.contains('=') { id.clone() } else { format!("{kind}={id}") }).collect()
        }
        (false, _) => {
            return Err(Error::Invalid("cannot set both Count and DeviceIDs on device request".to_owned()));
        }
        (true, ..0) => vec![format!("{kind}=all")],
        (true, count) => (0..count).map(|index| format!("{kind}={index}")).collect(),
    })
}

/// What a GPU can be asked to do. A CDI document describes all that the driver can.
const GPU_CAPABILITIES: [&str; 9] =
    ["gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"];

/// Returns what the devices of a container add to it; nothing, without looking anywhere, when it asks for none.
pub(crate) fn edits(host: &HostConfig, folders: &[PathBuf]) -> Result<Vec<Edits>> {
    let names = asked(host)?;
    if names.is_empty() { Ok(Vec::new()) } else { Registry::load(folders).edits(&names) }
}

/// Puts what the devices add into a container's document. Where nodes cannot be made, those with another name on the host
/// are bound.
pub(crate) fn apply(document: &mut Value, mut edits: Vec<Edits>, bind_nodes: bool) {
    for edits in &mut edits {
        if bind_nodes {
            let moved = edits.device_nodes.extract_if(.., |node| node.source() != node.path);
            edits.mounts.extend(moved.map(|node| oci::cdi::Mount {
                host_path: node.source().to_owned(),
                container_path: node.path.clone(),
                kind: None,
                options: ["bind", "rprivate", "nosuid", "noexec"].map(str::to_owned).to_vec(),
            }));
        }
        oci::cdi::apply(document, edits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    fn folders(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        }
        let list = ["etc", "run"].map(|name| dir.path().join(name)).to_vec();
        (dir, list)
    }

    fn host(ids: &[&str]) -> HostConfig {
        let ids = Some(ids.iter().map(|id| (*id).to_owned()).collect());
        let request = DeviceRequest { driver: "cdi".into(), device_ids: ids, ..DeviceRequest::default() };
        let mut host = HostConfig::default();
        host.resources.device_requests = Some(vec![request]);
        host
    }

    const YAML: &str = "cdiVersion: 0.6.0\nkind: vendor.com/class\ncontainerEdits:\n  env: [ALL=1]\ndevices:\n\
        - name: one\n  containerEdits:\n    env: [ONE=1]\n    deviceNodes:\n    - {path: /dev/mine, hostPath: /dev/zero, fileMode: 0640}\n\
        - name: two\n  containerEdits:\n    env: [TWO=1]\n";

    #[test]
    fn a_document_counts_once_and_nodes_are_filled_in() {
        let (_dir, folders) = folders(&[("etc/v.yaml", YAML), ("etc/ignored.txt", "x")]);
        let edits = edits(&host(&["vendor.com/class=one", "vendor.com/class=two"]), &folders).unwrap();
        let env: Vec<&str> = edits.iter().flat_map(|edits| edits.env.iter().map(String::as_str)).collect();
        assert_eq!(env, ["ALL=1", "ONE=1", "TWO=1"]);
        let node = &edits[1].device_nodes[0];
        assert_eq!(
            (node.kind.as_deref(), node.major, node.minor, node.file_mode),
            (Some("c"), Some(1), Some(5), Some(0o640))
        );
    }

    #[test]
    fn later_folders_win_and_equals_conflict() {
        let json = |value: &str| {
            format!(
                r#"{{"cdiVersion":"0.8.0","kind":"vendor.com/class","devices":[{{"name":"one","containerEdits":{{"env":["V={value}"]}}}}]}}"#
            )
        };
        let (_dir, list) = folders(&[("etc/v.json", &json("etc")), ("run/v.json", &json("run"))]);
        assert_eq!(edits(&host(&["vendor.com/class=one"]), &list).unwrap()[1].env, ["V=run"]);
        let (_dir, list) = folders(&[("etc/a.json", &json("a")), ("etc/b.json", &json("b"))]);
        let error = edits(&host(&["vendor.com/class=one"]), &list).unwrap_err().to_string();
        assert!(
            error.contains("conflicting device vendor.com/class=one") && error.contains("b.json"),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let (dir, list) = folders(&[("etc/v.yaml", YAML), ("etc/broken.yaml", "cdiVersion: [")]);
        fs::write(dir.path().join("etc/open.json"), "{}").unwrap();
        fs::set_permissions(dir.path().join("etc/open.json"), PermissionsExt::from_mode(0o666)).unwrap();
        let error = edits(&host(&["vendor.com/class=three"]), &list).unwrap_err().to_string();
        for part in [
            "unresolvable CDI devices vendor.com/class=three",
            "known are vendor.com/class=one",
            "broken.yaml",
            "everybody may write it",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let none = edits(&host(&["vendor.com/class=three"]), &[]).unwrap_err().to_string();
        assert!(none.contains("no CDI device is described"), "{none}");
    }

    #[test]
    fn graphics_processors_have_names() {
        let names = |driver: &str, count: i64, ids: Option<Vec<String>>| {
            let capabilities = Some(vec![vec!["gpu".to_owned()]]);
            let options = Some(BTreeMap::new());
            names_of(&DeviceRequest { driver: driver.into(), count, device_ids: ids, capabilities, options })
        };
        assert_eq!(names("", -1, None).unwrap(), ["nvidia.com/gpu=all"]);
        assert_eq!(names("nvidia", 2, None).unwrap(), ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
        assert_eq!(names("", 0, Some(vec!["GPU-1".into()])).unwrap(), ["nvidia.com/gpu=GPU-1"]);
        assert!(names("other", 1, None).unwrap_err().to_string().contains("could not select device driver"));
    }
}
