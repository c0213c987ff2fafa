//! The two roots: the data root, which lasts, and the run root, which may vanish at any reboot.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext, Result};

/// Version of the layout of the data root. A newer program migrates an older root; an older program refuses a newer one.
const FORMAT: u32 = 1;

/// Where one engine keeps its things. Two pairs of roots on one machine never meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// What lasts: `/var/lib/brig`.
    pub data: PathBuf,
    /// What belongs to running processes: `/run/brig`.
    pub run: PathBuf,
    /// The configuration file, which may be missing.
    pub config: PathBuf,
}

impl Roots {
    /// Finds the roots: what was given, else `BRIG_ROOT`, `BRIG_RUN` and `BRIG_CONFIG`, else root's places
    /// or, for anybody else, the places below `XDG_DATA_HOME`, `XDG_RUNTIME_DIR` and `XDG_CONFIG_HOME`.
    ///
    /// `env` reads the environment.
    pub fn find(
        data: Option<PathBuf>,
        run: Option<PathBuf>,
        config: Option<PathBuf>,
        uid: u32,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let var = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || var("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let personal =
            |variable: &str, fallback: &str| var(variable).unwrap_or_else(|| home().join(fallback));
        let data = data.or_else(|| var("BRIG_ROOT")).unwrap_or_else(|| match uid {
            0 => "/var/lib/brig".into(),
            _ => personal("XDG_DATA_HOME", ".local/share").join("brig"),
        });
        let run = run.or_else(|| var("BRIG_RUN")).unwrap_or_else(|| match uid {
            0 => "/run/brig".into(),
            _ => var("XDG_RUNTIME_DIR").unwrap_or_else(|| without_session(uid)).join("brig"),
        });
        let config = config.or_else(|| var("BRIG_CONFIG")).unwrap_or_else(|| match uid {
            0 => "/etc/brig/brig.toml".into(),
            _ => personal("XDG_CONFIG_HOME", ".config").join("brig/brig.toml"),
        });
        Self { data: absolute(data), run: absolute(run), config: absolute(config) }
    }

    /// Says whether these are root's standard roots, whose names on the machine (bridge, firewall table) carry no suffix.
    pub fn is_default(&self) -> bool {
        self.data == Path::new("/var/lib/brig")
    }

    /// Folder of a container's lasting files.
    pub fn container(&self, id: &str) -> PathBuf {
        self.data.join("containers").join(id)
    }

    /// Folder of a container's running files.
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// Folder of the record of events.
    pub fn events(&self) -> PathBuf {
        self.data.join("events")
    }

    /// Makes both roots and their folders, and checks the format number.
    pub(crate) fn ensure(&self) -> Result<()> {
        if self.run.join("runtime").is_dir() && self.format()? == Some(FORMAT) {
            return [&self.data, &self.run].into_iter().try_for_each(|root| check_mode(root));
        }
        for folder in [&self.data, &self.run] {
            make_folder(folder)?;
            check_mode(folder)?;
        }
        for folder in [self.data.join("containers"), self.data.join("volumes")] {
            make_folder(&folder)?;
        }
        for folder in ["containers", "runtime", "seccomp"] {
            make_folder(&self.run.join(folder))?;
        }
        if self.format()?.is_none() {
            let file = self.data.join("version");
            let draft = self.data.join(format!("version.{}", std::process::id()));
            fs::write(&draft, format!("{FORMAT}\n")).at("write", &draft)?;
            fs::rename(&draft, &file).at("write", &file)?;
        }
        Ok(())
    }

    fn format(&self) -> Result<Option<u32>> {
        let file = self.data.join("version");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).at("read", &file),
        };
        match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => Ok(Some(found)),
            _ => Err(Error::Format { path: file, found: text.trim().to_owned(), known: FORMAT }),
        }
    }
}

/// The place for running things of a user whose session has none (`su`, `cron`): the one that a login would have, else one in /tmp.
fn without_session(uid: u32) -> PathBuf {
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let is_theirs = fs::symlink_metadata(&usual).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid);
    if is_theirs { usual } else { format!("/tmp/brig-{uid}").into() }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Makes a folder that only its owner may list; others may pass through (container users reach their volumes so).
fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o711).create(path).at("make the folder", path)?;
    Ok(())
}

/// Refuses a root that others may write, and one of our own name that others may list.
fn check_mode(path: &Path) -> Result<()> {
    let mode = fs::metadata(path).at("look at", path)?.permissions().mode() & 0o7777;
    let forbidden = if path.ends_with("brig") { 0o066 } else { 0o022 };
    if mode & forbidden != 0 { Err(Error::OpenRoot { path: path.to_owned(), mode }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_follow_flags_environment_and_user() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/me".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1000".into()),
            _ => None,
        };
        let root = Roots::find(None, None, None, 0, env);
        assert_eq!(
            (root.data.as_path(), root.run.as_path()),
            (Path::new("/var/lib/brig"), Path::new("/run/brig"))
        );
        let me = Roots::find(None, None, None, 1000, env);
        assert_eq!(me.data, Path::new("/home/me/.local/share/brig"));
        assert_eq!(me.run, Path::new("/run/user/1000/brig"));
        let given = Roots::find(Some("/x".into()), Some("/y".into()), None, 1000, env);
        assert_eq!((given.data.as_path(), given.run.as_path()), (Path::new("/x"), Path::new("/y")));
    }
}
