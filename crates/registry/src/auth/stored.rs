//! The user's stored credentials, read when a registry first asks for one.

use super::{Credential, CredentialError, CredentialSource, DockerConfig};

/// The variables that credential helpers may need; they get no others.
const HELPER_VARIABLES: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "DOCKER_CONFIG",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
];

/// The `config.json` of the user, not yet read.
#[derive(Clone)]
pub struct StoredCredentials {
    path: Option<std::path::PathBuf>,
    helper_environment: Vec<(String, String)>,
}

/// Shows no values of variables.
impl std::fmt::Debug for StoredCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredCredentials").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StoredCredentials {
    /// Finds the file as [`DockerConfig::path_from_env`] does, and notes the variables that helpers may need.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let helper_environment =
            HELPER_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect();
        Self { path: DockerConfig::path_from_env(variable), helper_environment }
    }

    /// Reads the file; `None` when the environment names no place for one.
    pub fn load(&self) -> Result<Option<DockerConfig>, CredentialError> {
        let Some(path) = &self.path else { return Ok(None) };
        let config = DockerConfig::load(path)?;
        Ok(Some(config.with_helper_environment(self.helper_environment.clone())))
    }
}

impl CredentialSource for StoredCredentials {
    fn credential(&self, domain: &str) -> Result<Credential, CredentialError> {
        self.load()?.map_or(Ok(Credential::Anonymous), |config| config.credential(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_before_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let stored = StoredCredentials::from_env(|name| (name == "DOCKER_CONFIG").then(|| path.clone()));
        let login = Credential::Basic { username: "u".to_owned(), password: "p".to_owned() };
        stored.load().unwrap().unwrap().login("a.b", &login).unwrap();
        assert_eq!(stored.credential("a.b").unwrap(), login);
        assert_eq!(StoredCredentials::from_env(|_| None).credential("a.b").unwrap(), Credential::Anonymous);
    }
}
