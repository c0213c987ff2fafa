//! `brig secret inspect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::time;
use serde_json::json;

use super::{Entry, inspect};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["secret", "inspect"]],
    usage: "[OPTIONS] SECRET [SECRET...]",
    about: "Show all that is known of secrets, but not what they hold",
    refused: &["pretty"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Show what they hold, too
    #[arg(long)]
    showsecret: bool,
    #[arg(required = true, value_name = "SECRET")]
    names: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        inspect::all(ui, self.format.as_deref(), &self.names, |name| {
            let secret = engine.secret(name)?;
            let made = time::rfc3339(secret.created);
            let driver = json!({ "Name": "file", "Options": {} });
            let mut value = json!({
                "ID": secret.id,
                "CreatedAt": made,
                "UpdatedAt": made,
                "Spec": { "Name": secret.name, "Driver": driver, "Labels": secret.labels },
            });
            if self.showsecret {
                let content = engine.secret_content(&secret)?;
                value["SecretData"] = json!(String::from_utf8_lossy(&content));
            }
            Ok(value)
        })
    }
}
