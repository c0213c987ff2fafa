//! `brig login`.

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::{self, Ui};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["login"]],
    usage: "[OPTIONS] [SERVER]",
    about: "Log in to a registry",
    ..Entry::of::<Args>()
};

/// The registry that is meant when none is named.
pub(crate) const DEFAULT_SERVER: &str = "docker.io";
/// The longest password that is read, in bytes.
const PASSWORD_MAX: u64 = 64 << 10;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Password or token
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Read the password from the standard input
    #[arg(long)]
    password_stdin: bool,
    /// User name
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let server = server(self.server.as_deref());
        if self.password.is_some() {
            ui.warn("Using --password via the CLI is insecure. Use --password-stdin.");
            if self.password_stdin {
                bail!("conflicting options: cannot specify both --password and --password-stdin");
            }
        }
        if self.password_stdin && self.username.as_deref().unwrap_or_default().is_empty() {
            bail!("the --password-stdin option requires --username to be set");
        }
        let engine = context.engine()?;
        let user = match self.username.filter(|user| !user.is_empty()) {
            Some(user) => user,
            None => ask_user(engine.stored_user(&server)?)?,
        };
        let password = match self.password {
            Some(password) => password,
            None if self.password_stdin => read_password()?,
            None => ask_password()?,
        };
        if password.is_empty() {
            bail!("password is empty");
        }
        let done = engine.login(&server, &user, &password)?;
        match &done.keeper {
            Some(helper) => ui.debug(&format!("the password is kept by the credential helper {helper}")),
            None => ui.warn(&format!(
                "Your credentials are stored unencrypted in '{}'. Configure a credential helper to remove this warning.",
                done.path.display()
            )),
        }
        if !done.checked {
            ui.warn(&format!("{server} did not ask for a password; whether it is right is not known"));
        }
        ui.line("Login Succeeded")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reduces what the user calls a registry to its host.
pub(crate) fn server(given: Option<&str>) -> String {
    let text = given.unwrap_or_default();
    let host = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or_default();
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" => DEFAULT_SERVER.to_owned(),
        host => host.to_owned(),
    }
}

fn ask_user(known: Option<String>) -> Result<String> {
    if !ui::stdin_is_terminal() {
        bail!(
            "cannot perform an interactive login from a non TTY device; give --username and --password-stdin"
        );
    }
    match &known {
        Some(user) => print_prompt(&format!("Username ({user}): "))?,
        None => print_prompt("Username: ")?,
    }
    let mut line = String::new();
    io::stdin().lock().take(PASSWORD_MAX).read_line(&mut line).context("cannot read the user name")?;
    match (line.trim(), known) {
        ("", Some(user)) => Ok(user),
        ("", None) => bail!("username is empty"),
        (user, _) => Ok(user.to_owned()),
    }
}

fn print_prompt(text: &str) -> Result<()> {
    let mut out = io::stderr();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to the terminal")
}

fn read_password() -> Result<String> {
    let mut password = String::new();
    io::stdin()
        .lock()
        .take(PASSWORD_MAX)
        .read_to_string(&mut password)
        .context("cannot read the password")?;
    Ok(password.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask_password() -> Result<String> {
    if !ui::stdin_is_terminal() {
        bail!(
            "cannot perform an interactive login from a non TTY device; give --username and --password-stdin"
        );
    }
    print_prompt("Password: ")?;
    let _silence = Silence::begin()?;
    let mut line = String::new();
    io::stdin().lock().take(PASSWORD_MAX).read_line(&mut line).context("cannot read the password")?;
    ui::note("");
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal does not show what is typed until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)
            .context("cannot change the terminal's settings")?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_reduced_to_hosts() {
        for (given, host) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("ghcr.io"), "ghcr.io"),
            (Some("https://localhost:5000/v2/"), "localhost:5000"),
        ] {
            assert_eq!(server(given), host);
        }
    }
}
