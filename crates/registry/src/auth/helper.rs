//! Credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere.
//!
//! The protocol: the verb is the argument, `get` and `erase` read the registry from standard input, `store` reads JSON; `get`
//! answers JSON. The helper runs with the environment that the caller gave and nothing else.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::docker_config::from_helper_pair;
use super::{Credential, CredentialError};
use crate::error::clean;

/// More is no credential.
const LONGEST_ANSWER: u64 = 1 << 20;

/// One credential helper.
#[derive(Debug, Clone)]
pub(super) struct Helper {
    program: String,
    environment: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Helper {
    pub(super) fn new(name: &str, environment: &[(String, String)]) -> Self {
        Self { program: format!("docker-credential-{name}"), environment: environment.to_vec() }
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// Returns what the helper has for `key`; nothing found is [`Credential::Anonymous`].
    pub(super) fn get(&self, key: &str) -> Result<Credential, CredentialError> {
        let (success, output) = self.run("get", key, key)?;
        let text = String::from_utf8_lossy(&output);
        if !success && is_not_found(&text) {
            return Ok(Credential::Anonymous);
        }
        if !success {
            return Err(self.error("get", key, clean(&text)));
        }
        // The text of a parser's error could show the secret.
        let answer: Answer = serde_json::from_slice(&output)
            .map_err(|_| self.error("get", key, "its answer is malformed".to_owned()))?;
        if answer.secret.is_empty() {
            return Ok(Credential::Anonymous);
        }
        Ok(from_helper_pair(answer.username, answer.secret))
    }

    pub(super) fn store(&self, key: &str, username: &str, secret: &str) -> Result<(), CredentialError> {
        let input = json!({"ServerURL": key, "Username": username, "Secret": secret}).to_string();
        self.run_checked("store", key, &input)
    }

    pub(super) fn erase(&self, key: &str) -> Result<(), CredentialError> {
        self.run_checked("erase", key, key)
    }

    fn run_checked(&self, action: &'static str, key: &str, input: &str) -> Result<(), CredentialError> {
        let (success, output) = self.run(action, key, input)?;
        if success { Ok(()) } else { Err(self.error(action, key, clean(&String::from_utf8_lossy(&output)))) }
    }

    /// Runs the helper; returns whether it succeeded, and its output.
    fn run(&self, action: &'static str, key: &str, input: &str) -> Result<(bool, Vec<u8>), CredentialError> {
        // A name with a slash would run a program outside the search path.
        if !self.program.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(self.error(action, key, "its name is malformed".to_owned()));
        }
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => self.error(
                action,
                key,
                "it is not installed; install it or remove it from config.json".to_owned(),
            ),
            _ => self.error(action, key, error.to_string()),
        };
        let mut child = self.spawn(action).map_err(failed)?;
        let exchanged = exchange(&mut child, input);
        let status = child.wait().map_err(failed)?;
        let output = exchanged.map_err(failed)?;
        Ok((status.success(), output))
    }

    fn spawn(&self, action: &str) -> std::io::Result<Child> {
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        Command::new(self.search())
            .arg(action)
            .env_clear()
            .envs(variables)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Finds the program in the given `PATH`; without one the name is left to the system's search.
    fn search(&self) -> std::path::PathBuf {
        let path = self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
        let mut found =
            path.into_iter().flat_map(std::env::split_paths).map(|folder| folder.join(&self.program));
        found.find(|file| file.is_absolute() && file.is_file()).unwrap_or_else(|| self.program.clone().into())
    }

    fn error(&self, action: &'static str, key: &str, reason: String) -> CredentialError {
        let reason = if reason.is_empty() { "it failed and said nothing".to_owned() } else { reason };
        CredentialError::Helper { program: self.program.clone(), action, domain: key.to_owned(), reason }
    }
}

fn exchange(child: &mut Child, input: &str) -> std::io::Result<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that fails at once does not read; its answer says why.
        match stdin.write_all(input.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER).read_to_end(&mut output)?;
    }
    Ok(output)
}

/// The words of Docker's helper library for "nothing stored".
fn is_not_found(text: &str) -> bool {
    text.contains("credentials not found in native keychain") || text.contains("no credentials server URL")
}
