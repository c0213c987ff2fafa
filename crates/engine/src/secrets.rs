//! Secrets: short texts that containers get as files or variables, and nobody else gets to see.
//!
//! What a secret holds is in `secrets/<id>` below the data root, for its owner only. A start puts it into a folder of the run root, from
//! where the runtime copies it into a tmpfs of the container's own; then the folder is deleted. No configuration, record,
//! layer or answer ever holds one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use docker_types::ContainerSpec;
use docker_types::secret::{FOLDER, SecretUse};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Engine;
use crate::containers::random_bytes;
use crate::db::ContainerRow;
use crate::error::{Error, IoContext, Result};
use crate::model::Secret;

/// Bytes of the largest secret, as in Podman.
const LARGEST: usize = 512_000;
/// Letters of the longest name.
const LONGEST_NAME: usize = 253;
/// Name of the folder with a starting container's secrets, in its run folder.
const RUN_FOLDER: &str = "secrets";

impl Engine {
    /// Keeps what `content` delivers as a secret; returns its id.
    pub fn create_secret(
        &self,
        name: &str,
        content: &mut dyn Read,
        labels: BTreeMap<String, String>,
        replace: bool,
    ) -> Result<String> {
        check_name(name)?;
        let mut bytes = Vec::new();
        content
            .take(LARGEST as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::System { action: format!("read secret {name}"), source })?;
        if bytes.is_empty() || bytes.len() > LARGEST {
            return Err(Error::Invalid(format!(
                "secret data must be larger than 0 and less than {LARGEST} bytes"
            )));
        }
        if let Some(old) = self.db()?.secret(name)?.filter(|old| old.name == name) {
            // One that was killed half-way holds nothing and is in nobody's way.
            if !replace && self.secret_path(&old.id).exists() {
                return Err(Error::Conflict(format!("{name}: secret name in use")));
            }
            self.remove_secret(&old.id)?;
        }
        let id: String = random_bytes()?[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = Secret { id, name: name.to_owned(), labels, created: Timestamp::now() };
        if !self.db()?.put_secret(&secret)? {
            return Err(Error::Conflict(format!("{name}: secret name in use")));
        }
        if let Err(error) = self.write_secret(&secret.id, &bytes) {
            self.db()?.remove_secret(&secret.id)?;
            return Err(error);
        }
        Ok(secret.id)
    }

    fn write_secret(&self, id: &str, bytes: &[u8]) -> Result<()> {
        let path = self.secret_path(id);
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("make the folder", &folder)?;
        let draft = folder.join(format!("{id}.new"));
        write_private(&draft, bytes, 0o600)?;
        fs::rename(&draft, &path).at("write", &path)
    }

    /// Returns all secrets, by name.
    pub fn secrets(&self) -> Result<Vec<Secret>> {
        self.db()?.secrets()
    }

    /// Returns the secret of that name, id or beginning of an id.
    pub fn secret(&self, name: &str) -> Result<Secret> {
        self.db()?.secret(name)?.ok_or_else(|| missing(name))
    }

    /// Returns what a secret holds.
    pub fn secret_content(&self, secret: &Secret) -> Result<Vec<u8>> {
        let path = self.secret_path(&secret.id);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Unavailable(format!(
                "secret {} was not stored whole: remove it and create it again",
                secret.name
            ))),
            read => read.at("read", &path),
        }
    }

    /// Removes a secret that no container uses.
    pub fn remove_secret(&self, name: &str) -> Result<()> {
        let secret = self.secret(name)?;
        let users: Vec<String> = self
            .db()?
            .containers()?
            .into_iter()
            .filter(|row| row.spec.host_config.secrets.iter().any(|used| used.source == secret.id))
            .map(|row| row.name)
            .collect();
        if !users.is_empty() {
            return Err(Error::Conflict(format!(
                "cannot remove secret {}: it is used by container {}",
                secret.name,
                users.join(", ")
            )));
        }
        let path = self.secret_path(&secret.id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", &path);
            }
            _ => {}
        }
        self.db()?.remove_secret(&secret.id)
    }

    fn secret_path(&self, id: &str) -> PathBuf {
        self.roots().data.join("secrets").join(id)
    }

    /// Puts ids and targets into the secrets that a request names; refuses those that are not there, and two of one target.
    pub(crate) fn settle_secrets(&self, spec: &mut ContainerSpec) -> Result<()> {
        let mut taken: Vec<(bool, String)> = Vec::new();
        for used in &mut spec.host_config.secrets {
            let secret = self.secret(&used.source)?;
            self.secret_content(&secret)?;
            used.source = secret.id;
            if used.target.is_empty() {
                used.target = secret.name;
            }
            let target = (used.env, if used.env { used.target.clone() } else { path_inside(used) });
            if taken.contains(&target) {
                return Err(Error::Invalid(format!("two secrets have the same target {:?}", target.1)));
            }
            taken.push(target);
        }
        Ok(())
    }

    /// Writes the files of a container's secrets, for the mounts that come back. `shift` gives the number outside of a number inside.
    pub(crate) fn lay_out_secrets(
        &self,
        row: &ContainerRow,
        shift: impl Fn(u32, u32) -> (u32, u32),
    ) -> Result<Vec<Value>> {
        let files: Vec<&SecretUse> = row.spec.host_config.secrets.iter().filter(|used| !used.env).collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.roots().container_run(row.id.as_str()).join(RUN_FOLDER);
        crate::containers::remove_folder(&folder)?;
        // The copy in the container has the folder's mode.
        let (inside, outside) = (folder.join("files"), folder.join("paths"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("make the folder", &folder)?;
        for part in [&inside, &outside] {
            fs::DirBuilder::new().create(part).at("make the folder", part)?;
            fs::set_permissions(part, fs::Permissions::from_mode(0o755)).at("protect", part)?;
            let root = shift(0, 0);
            chown(part, Some(root.0), Some(root.1)).at("give", part)?;
        }
        let bind = |source: &PathBuf, target: &str| json!({ "destination": target, "type": "bind", "source": source, "options": ["bind", "ro", "rprivate", "nosuid", "nodev", "noexec"] });
        let tmpfs = ["tmpcopyup", "nosuid", "nodev", "noexec", "ro", "mode=755", "size=16m"];
        // The tmpfs is filled from the folder that is bound beneath it.
        let mut mounts = vec![
            bind(&inside, FOLDER),
            json!({ "destination": FOLDER, "type": "tmpfs", "source": "tmpfs", "options": tmpfs }),
        ];
        for (at, used) in files.into_iter().enumerate() {
            let content = self.secret_content(&self.secret(&used.source)?)?;
            let path = match used.target.starts_with('/') {
                true => outside.join(at.to_string()),
                false => inside.join(&used.target),
            };
            write_private(&path, &content, 0o600)?;
            let (uid, gid) = shift(used.uid, used.gid);
            chown(&path, Some(uid), Some(gid)).at("give", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(used.mode)).at("protect", &path)?;
            if used.target.starts_with('/') {
                mounts.push(bind(&path, &used.target));
            }
        }
        Ok(mounts)
    }

    /// Deletes the files of [`Engine::lay_out_secrets`] once the container has them, and takes the variables out of its
    /// configuration.
    pub(crate) fn clear_secrets(&self, row: &ContainerRow) -> Result<()> {
        let secrets = &row.spec.host_config.secrets;
        if secrets.is_empty() {
            return Ok(());
        }
        let folder = self.roots().container_run(row.id.as_str()).join(RUN_FOLDER);
        // The folder that the tmpfs is mounted on stays: without it the kernel would take the mount away.
        let inside = folder.join("files");
        for entry in fs::read_dir(&inside).into_iter().flatten() {
            let path = entry.at("list", &inside)?.path();
            fs::remove_file(&path).at("remove", &path)?;
        }
        crate::containers::remove_folder(&folder.join("paths"))?;
        let names: Vec<&str> =
            secrets.iter().filter(|used| used.env).map(|used| used.target.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let config = self.roots().container(row.id.as_str()).join("config.json");
        let copy = self.roots().run.join("runtime").join(row.id.as_str()).join("spec.json");
        [config, copy].iter().filter(|path| path.exists()).try_for_each(|path| take_out(path, &names))
    }

    /// Returns the variables that are secrets.
    pub(crate) fn secret_variables(&self, row: &ContainerRow) -> Result<Vec<String>> {
        let variables = row.spec.host_config.secrets.iter().filter(|used| used.env);
        variables
            .map(|used| {
                let content = self.secret_content(&self.secret(&used.source)?)?;
                let text = String::from_utf8(content).ok().filter(|text| !text.contains('\0'));
                let text = text.ok_or_else(|| {
                    Error::Invalid(format!("secret {} cannot be a variable: it is no text", used.target))
                })?;
                Ok(format!("{}={text}", used.target))
            })
            .collect()
    }
}

/// Takes variables out of an OCI configuration.
fn take_out(path: &Path, names: &[&str]) -> Result<()> {
    let corrupt = |error: serde_json::Error| Error::Corrupt { path: path.to_owned(), why: error.to_string() };
    let mut document: Value = serde_json::from_slice(&fs::read(path).at("read", path)?).map_err(corrupt)?;
    if let Some(list) = document["process"]["env"].as_array_mut() {
        list.retain(|line| {
            let name = line.as_str().and_then(|line| line.split('=').next());
            !name.is_some_and(|name| names.contains(&name))
        });
    }
    let draft = path.with_extension("new");
    fs::write(&draft, document.to_string()).at("write", &draft)?;
    fs::rename(&draft, path).at("write", path)
}

/// Where a secret's file is inside.
fn path_inside(used: &SecretUse) -> String {
    match used.target.starts_with('/') {
        true => used.target.clone(),
        false => format!("{FOLDER}/{}", used.target),
    }
}

fn write_private(path: &PathBuf, bytes: &[u8], mode: u32) -> Result<()> {
    let file = fs::File::options().create_new(true).write(true).mode(mode).open(path);
    file.at("make", path)?.write_all(bytes).at("write", path)
}

fn missing(name: &str) -> Error {
    Error::NotFound { what: "secret", name: name.to_owned() }
}

fn check_name(name: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && name.len() <= LONGEST_NAME && name.bytes().all(good) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "secret name {name:?} is invalid: 1 to {LONGEST_NAME} of [a-zA-Z0-9_.-] are wanted, a letter or digit first"
    )))
}
