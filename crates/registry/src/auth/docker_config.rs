//! Docker's `config.json`: what `brig login` writes and other programs share.
//!
//! Fields that we do not know are kept as they are. Passwords lie there in base64 unless a credential helper is
//! configured (`credsStore`, `credHelpers`); the file is written by rename and only its owner can read it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::helper::Helper;
use super::{Credential, CredentialError, CredentialSource};

/// The key under which everybody keeps the credential of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name that stands for an identity token in credential helpers.
const TOKEN_USER: &str = "<token>";
/// More is no configuration.
const LONGEST: u64 = 4 << 20;

/// A loaded `config.json`.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    document: Map<String, Value>,
    helper_environment: Vec<(String, String)>,
}

impl DockerConfig {
    /// Returns where the file is: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
    pub fn path_from_env(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let folder = variable("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || {
            variable("HOME").filter(|value| !value.is_empty()).map(|home| Path::new(&home).join(".docker"))
        };
        folder.or_else(home).map(|folder| folder.join("config.json"))
    }

    /// Loads `path`; a file that does not exist is an empty configuration.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, CredentialError> {
        let path = path.into();
        let document = match read_limited(&path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| CredentialError::Malformed {
                path: path.clone(),
                reason: position_of(&error),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(source) => return Err(CredentialError::File { action: "read", path, source }),
        };
        Ok(Self { path, document, helper_environment: Vec::new() })
    }

    /// Gives credential helpers these variables and no others.
    #[must_use]
    pub fn with_helper_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.helper_environment = variables.into_iter().collect();
        self
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the registries that have a credential in the file itself or are bound to a helper, sorted.
    pub fn domains(&self) -> Vec<String> {
        let keys =
            ["auths", "credHelpers"].into_iter().filter_map(|name| self.document.get(name)?.as_object());
        let mut domains: Vec<_> = keys.flat_map(Map::keys).map(|key| domain_of(key)).collect();
        domains.sort();
        domains.dedup();
        domains
    }

    /// Says how the credential of `domain` is kept: by a helper (its program) or in the file.
    pub fn keeper(&self, domain: &str) -> Option<String> {
        self.helper(domain).map(|helper| helper.program().to_owned())
    }

    /// Stores `credential` for `domain` and writes the file, or hands it to the configured helper.
    pub fn login(&mut self, domain: &str, credential: &Credential) -> Result<(), CredentialError> {
        let entry = match self.helper(domain) {
            Some(helper) => {
                let (user, secret) = helper_pair(credential);
                helper.store(key_of(domain), user, secret)?;
                Map::new()
            }
            None => entry_of(credential),
        };
        let auths = self.auths_mut()?;
        aliases(domain).iter().for_each(|key| drop(auths.remove(key)));
        auths.insert(key_of(domain).to_owned(), Value::Object(entry));
        self.save()
    }

    /// Forgets the credential of `domain`; returns whether there was one.
    pub fn logout(&mut self, domain: &str) -> Result<bool, CredentialError> {
        let mut found = false;
        if let Some(helper) = self.helper(domain) {
            found = helper.get(key_of(domain))? != Credential::Anonymous;
            if found {
                helper.erase(key_of(domain))?;
            }
        }
        let auths = self.auths_mut()?;
        let mut removed = false;
        for key in aliases(domain) {
            removed |= auths.remove(&key).is_some();
        }
        if removed {
            self.save()?;
        }
        Ok(found || removed)
    }

    /// Writes the file by rename, readable by its owner only; a symbolic link is written through.
    pub fn save(&self) -> Result<(), CredentialError> {
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        write_atomically(&target, &self.document).map_err(|source| CredentialError::File {
            action: "write",
            path: target,
            source,
        })
    }

    fn helper(&self, domain: &str) -> Option<Helper> {
        let by_domain = self.document.get("credHelpers").and_then(Value::as_object);
        let own =
            by_domain.and_then(|helpers| aliases(domain).iter().find_map(|key| helpers.get(key)?.as_str()));
        let name = own.or_else(|| self.document.get("credsStore").and_then(Value::as_str))?;
        (!name.is_empty()).then(|| Helper::new(name, &self.helper_environment))
    }

    fn auths_mut(&mut self) -> Result<&mut Map<String, Value>, CredentialError> {
        let auths = self.document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        auths.as_object_mut().ok_or_else(|| CredentialError::Malformed {
            path: self.path.clone(),
            reason: "auths is no object".to_owned(),
        })
    }

    fn stored(&self, domain: &str) -> Result<Credential, CredentialError> {
        let auths = self.document.get("auths").and_then(Value::as_object);
        let entry =
            auths.and_then(|auths| aliases(domain).iter().find_map(|key| auths.get(key)?.as_object()));
        entry.map_or(Ok(Credential::Anonymous), |entry| {
            parse_entry(entry).map_err(|reason| CredentialError::Malformed {
                path: self.path.clone(),
                reason: format!("auths.{domain:?}: {reason}"),
            })
        })
    }
}

impl CredentialSource for DockerConfig {
    fn credential(&self, domain: &str) -> Result<Credential, CredentialError> {
        if let Some(helper) = self.helper(domain) {
            let found = helper.get(key_of(domain))?;
            if found != Credential::Anonymous {
                return Ok(found);
            }
        }
        self.stored(domain)
    }
}

/// Returns the key that we write for `domain`.
fn key_of(domain: &str) -> &str {
    if domain == oci::reference::DEFAULT_DOMAIN { HUB_KEY } else { domain }
}

/// Returns the keys under which programs have kept the credential of `domain`, ours first.
fn aliases(domain: &str) -> Vec<String> {
    let hosts: &[&str] = match domain {
        "docker.io" => &["docker.io", "index.docker.io", "registry-1.docker.io"],
        _ => &[domain],
    };
    let forms = |host: &&str| {
        [
            (*host).to_owned(),
            format!("https://{host}"),
            format!("https://{host}/"),
            format!("https://{host}/v1/"),
            format!("https://{host}/v2/"),
            format!("http://{host}"),
            format!("http://{host}/"),
        ]
    };
    std::iter::once(key_of(domain).to_owned()).chain(hosts.iter().flat_map(forms)).collect()
}

fn domain_of(key: &str) -> String {
    let host =
        key.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or(key);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host.to_owned(),
    }
}

fn parse_entry(entry: &Map<String, Value>) -> Result<Credential, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("registrytoken") {
        return Ok(Credential::RegistryToken(token.to_owned()));
    }
    if let Some(token) = text("identitytoken") {
        return Ok(Credential::IdentityToken(token.to_owned()));
    }
    if let Some(auth) = text("auth") {
        let bytes = STANDARD.decode(auth).map_err(|_| "auth is not base64")?;
        let pair = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8")?;
        let (username, password) = pair.trim_end_matches('\0').split_once(':').ok_or("auth has no colon")?;
        return Ok(Credential::Basic { username: username.to_owned(), password: password.to_owned() });
    }
    match (text("username"), text("password")) {
        (Some(username), Some(password)) => {
            Ok(Credential::Basic { username: username.to_owned(), password: password.to_owned() })
        }
        _ => Ok(Credential::Anonymous),
    }
}

fn entry_of(credential: &Credential) -> Map<String, Value> {
    let (name, value) = match credential {
        Credential::Anonymous => return Map::new(),
        Credential::Basic { username, password } => {
            ("auth", STANDARD.encode(format!("{username}:{password}")))
        }
        Credential::IdentityToken(token) => ("identitytoken", token.clone()),
        Credential::RegistryToken(token) => ("registrytoken", token.clone()),
    };
    Map::from_iter([(name.to_owned(), Value::String(value))])
}

fn helper_pair(credential: &Credential) -> (&str, &str) {
    match credential {
        Credential::Anonymous => ("", ""),
        Credential::Basic { username, password } => (username, password),
        Credential::IdentityToken(token) | Credential::RegistryToken(token) => (TOKEN_USER, token),
    }
}

/// Makes a credential of what a helper returned.
pub(super) fn from_helper_pair(username: String, secret: String) -> Credential {
    if username == TOKEN_USER {
        Credential::IdentityToken(secret)
    } else {
        Credential::Basic { username, password: secret }
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if read as u64 > LONGEST { Err(io::Error::other("longer than 4 MiB")) } else { Ok(bytes) }
}

/// Names the place of a syntax error, never the text there: it may be a secret.
fn position_of(error: &serde_json::Error) -> String {
    format!("not a JSON object (line {}, column {})", error.line(), error.column())
}

fn write_atomically(target: &Path, document: &Map<String, Value>) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    // A fresh temporary file is 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    file.persist(target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        let config = DockerConfig::load(&path).unwrap();
        (folder, config)
    }

    /// Writes a helper that keeps one credential in a file beside it.
    fn with_helper(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let (folder, config) = config(text);
        let program = folder.path().join("docker-credential-test");
        let script = "#!/bin/sh\ncd \"${0%/*}\"; env > environment\ncase $1 in\nstore) cat > kept;;\nerase) rm kept;;\n\
            get) cat > asked; [ -f kept ] && exec cat kept; echo credentials not found in native keychain; exit 1;;\nesac\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        (folder, config.with_helper_environment([("PATH".to_owned(), path)]))
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let (_folder, config) = config(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
                "https://a.b/v2/": {"identitytoken": "it", "auth": "dXNlcjo="},
                "c.d:5000": {"registrytoken": "rt"},
                "e.f": {},
                "g.h": {"username": "u", "password": "p"},
                "i.j": {"auth": "!"}
            }}"#,
        );
        for (domain, expected) in [
            ("docker.io", basic("user", "pa:ss")),
            ("a.b", Credential::IdentityToken("it".to_owned())),
            ("c.d:5000", Credential::RegistryToken("rt".to_owned())),
            ("c.d", Credential::Anonymous),
            ("e.f", Credential::Anonymous),
            ("g.h", basic("u", "p")),
            ("evil.a.b", Credential::Anonymous),
        ] {
            assert_eq!(config.credential(domain).unwrap(), expected, "{domain}");
        }
        let error = config.credential("i.j").unwrap_err().to_string();
        assert!(error.contains("i.j") && error.contains("base64"), "{error}");
    }

    #[test]
    fn a_login_keeps_what_others_wrote() {
        let (folder, mut config) = config(
            r#"{"psFormat": "x", "auths": {"a.b": {"auth": "dTpw"}, "docker.io": {"auth": "b2xkOm9sZA=="}}}"#,
        );
        config.login("docker.io", &basic("user", "secret")).unwrap();
        let text = fs::read_to_string(config.path()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["psFormat"], "x");
        assert_eq!(document["auths"]["a.b"]["auth"], "dTpw");
        assert_eq!(document["auths"][HUB_KEY]["auth"], STANDARD.encode("user:secret"));
        assert!(document["auths"].get("docker.io").is_none(), "the old entry would win elsewhere");
        assert_eq!(fs::metadata(config.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(config.domains(), ["a.b", "docker.io"]);
        assert!(config.logout("docker.io").unwrap() && !config.logout("docker.io").unwrap());
        assert_eq!(DockerConfig::load(config.path()).unwrap().domains(), ["a.b"]);
    }

    #[test]
    fn a_new_folder_is_private_and_a_link_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.json");
        DockerConfig::load(&path).unwrap().login("a.b", &basic("u", "p")).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        DockerConfig::load(&link).unwrap().login("c.d", &basic("u", "p")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(DockerConfig::load(&path).unwrap().domains(), ["a.b", "c.d"]);
    }

    #[test]
    fn a_malformed_file_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for text in ["[]", "{\"auths\": \"secret\"", "secret"] {
            fs::write(&path, text).unwrap();
            let error = DockerConfig::load(&path).unwrap_err().to_string();
            assert!(error.contains("config.json") && !error.contains("secret"), "{error}");
        }
        fs::write(&path, "{\"auths\": []}").unwrap();
        DockerConfig::load(&path).unwrap().login("a.b", &basic("u", "p")).unwrap_err();
        fs::write(&path, " ").unwrap();
        assert!(DockerConfig::load(&path).unwrap().domains().is_empty());
    }

    #[test]
    fn a_helper_keeps_the_secret() {
        let (folder, mut config) = with_helper(r#"{"credHelpers": {"a.b": "test"}}"#);
        assert_eq!(config.keeper("a.b").as_deref(), Some("docker-credential-test"));
        assert_eq!(config.keeper("c.d"), None);
        assert_eq!(config.credential("a.b").unwrap(), Credential::Anonymous);
        config.login("a.b", &basic("user", "secret")).unwrap();
        assert_eq!(config.credential("a.b").unwrap(), basic("user", "secret"));
        assert!(!fs::read_to_string(config.path()).unwrap().contains(&STANDARD.encode("user:secret")));
        let environment = fs::read_to_string(folder.path().join("environment")).unwrap();
        let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.iter().all(|name| ["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
        assert!(config.logout("a.b").unwrap());
        assert!(!folder.path().join("kept").exists());
    }

    #[test]
    fn the_store_has_all_and_tokens_keep_their_kind() {
        let (folder, mut config) = with_helper(r#"{"credsStore": "test"}"#);
        config.login("docker.io", &Credential::IdentityToken("it".to_owned())).unwrap();
        let kept: Value =
            serde_json::from_str(&fs::read_to_string(folder.path().join("kept")).unwrap()).unwrap();
        assert_eq!((&kept["ServerURL"], &kept["Username"]), (&HUB_KEY.into(), &TOKEN_USER.into()));
        assert_eq!(config.credential("docker.io").unwrap(), Credential::IdentityToken("it".to_owned()));
        assert_eq!(fs::read_to_string(folder.path().join("asked")).unwrap(), HUB_KEY);
    }

    #[test]
    fn a_helper_that_fails_is_named() {
        for (name, says) in [("none-such", "not installed"), ("../test", "malformed"), ("a/b", "malformed")] {
            let (_folder, config) = with_helper(&format!(r#"{{"credsStore": "{name}"}}"#));
            let error = config.credential("a.b").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(says) && error.contains("a.b"), "{error}");
        }
        let (folder, config) = with_helper(r#"{"credsStore": "test"}"#);
        fs::write(folder.path().join("kept"), "no secret of mine").unwrap();
        let error = config.credential("a.b").unwrap_err().to_string();
        assert!(error.contains("malformed") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn the_environment_says_where_the_file_is() {
        let from = |pairs: &'static [(&str, &str)]| {
            DockerConfig::path_from_env(|name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(from(&[("DOCKER_CONFIG", "/x"), ("HOME", "/h")]), Some("/x/config.json".into()));
        assert_eq!(from(&[("DOCKER_CONFIG", ""), ("HOME", "/h")]), Some("/h/.docker/config.json".into()));
        assert_eq!(from(&[]), None);
    }
}
