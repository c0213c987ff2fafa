//! Every crate takes the lints and the dependency versions of the workspace.

use anyhow::{Context as _, Result};

use super::{Finding, Source};

/// Checks one crate's manifest.
pub(super) fn check(manifest: &Source) -> Result<Vec<Finding>> {
    let document: toml::Table =
        manifest.text.parse().with_context(|| format!("cannot parse {}", manifest.path))?;
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding { place: manifest.path.clone(), what });
    if !takes_lints(manifest, &document) {
        find("the lints of the workspace are wanted: [lints] workspace = true".to_owned());
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(table) = document.get(section).and_then(toml::Value::as_table) else { continue };
        for (name, value) in table {
            let itself = value.get("path").and_then(toml::Value::as_str) == Some(".");
            if !itself && value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                find(format!(
                    "{name}: name the version in the table of the workspace, and here `{name}.workspace = true`"
                ));
            }
        }
    }
    Ok(findings)
}

/// `sys` is the one crate that replaces the table: it may hold `unsafe`, denied at its root, allowed per file.
fn takes_lints(manifest: &Source, document: &toml::Table) -> bool {
    let Some(lints) = document.get("lints") else { return false };
    if manifest.path == "crates/sys/Cargo.toml" {
        let unsafe_code = lints.get("rust").and_then(|rust| rust.get("unsafe_code"));
        return unsafe_code.and_then(toml::Value::as_str) == Some("deny");
    }
    lints.get("workspace").and_then(toml::Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Source { path: path.to_owned(), text: text.to_owned() }).unwrap().len()
    }

    #[test]
    fn lints_and_versions_come_from_the_workspace() {
        let fine = "[dependencies]\nserde.workspace = true\nrustix = { workspace = true, features = [\"fs\"] }\n[lints]\nworkspace = true";
        assert_eq!(count("crates/x/Cargo.toml", fine), 0);
        assert_eq!(
            count("crates/x/Cargo.toml", "[dependencies]\nserde = \"1\"\n[lints]\nworkspace = true"),
            1
        );
        assert_eq!(count("crates/x/Cargo.toml", "[package]\nname = \"x\""), 1);
    }

    #[test]
    fn only_sys_has_lints_of_its_own() {
        let own = "[lints.rust]\nunsafe_code = \"deny\"";
        assert_eq!(count("crates/sys/Cargo.toml", own), 0);
        assert_eq!(count("crates/image/Cargo.toml", own), 1);
    }
}
