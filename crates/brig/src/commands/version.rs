//! `brig version`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::Engine;
use serde_json::{Value, json};

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::format;

pub(crate) const ENTRY: Entry =
    Entry { paths: &[&["version"]], about: "Show the version", ..Entry::of::<Args>() };

/// The newest version of Docker's Engine API that the types follow.
const API_VERSION: &str = "1.55";

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, _context: &Context) -> Result<ExitCode> {
        let value = value();
        match format::single(self.format.as_deref(), &value)? {
            Some(text) => ui.print(&text)?,
            None => ui.print(&plain(&value))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The line of `brig --version`.
pub(crate) fn short() -> String {
    format!("Brig version {}", Engine::version().version)
}

/// The answer as JSON. There is no server apart from the program: both sides are the same.
fn value() -> Value {
    let version = Engine::version();
    let (os, arch) = version.platform.split_once('/').unwrap_or((version.platform.as_str(), ""));
    let side = json!({
        "Platform": { "Name": "Brig" },
        "Version": version.version,
        "ApiVersion": API_VERSION,
        "APIVersion": API_VERSION,
        "Os": os,
        "Arch": arch,
        "KernelVersion": version.kernel,
        "RuntimeSpec": version.runtime_spec,
    });
    json!({ "Client": side, "Server": side })
}

fn plain(value: &Value) -> String {
    let field = |name: &str| value["Client"][name].as_str().unwrap_or_default().to_owned();
    let mut text = String::from("Brig\n");
    let rows = [
        ("Version", field("Version")),
        ("OS/Arch", format!("{}/{}", field("Os"), field("Arch"))),
        ("Kernel", field("KernelVersion")),
        ("OCI runtime spec", field("RuntimeSpec")),
        ("Engine API types", field("ApiVersion")),
    ];
    for (name, value) in rows {
        let _ = writeln!(text, " {:<18} {value}", format!("{name}:"));
    }
    text
}
