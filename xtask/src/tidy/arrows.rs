//! The direction of dependencies: arrows point down only.
//!
//! ```text
//! doors        brig   docker-api   compose   system   cri   kube-*   dashboard
//! use-cases    engine
//! mechanisms   build   monitor   network   vm   image   registry        (do not know each other)
//! isolation    runtime
//! kernel       sys
//! words        base   oci   docker-types   kube-types   dockerfile   compose-model   (may know each other)
//! ```
//!
//! Beside them: `testkit` stands on words and `sys` and may be a dev-dependency of anything; `tests` and `benches`
//! drive the built program and know nothing of ours but `testkit` and words; `xtask` knows nothing of ours.

use anyhow::{Context as _, Result};

use super::{Finding, Source};

/// Where a crate stands. The order is the order of the layers, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Words,
    Kernel,
    Isolation,
    Mechanism,
    UseCases,
    Door,
    /// Beside the others: the helpers that tests share.
    Testkit,
    /// Beside the others: whole-program tests, benchmarks.
    Outside,
    /// Beside the others: the fault harness, which watches the built program from outside.
    Faults,
    /// Beside the others: chores.
    Chores,
}

/// The words that may be used by anything.
const WORDS: &[&str] = &["base", "oci", "docker-types", "kube-types", "dockerfile", "compose-model"];

/// The roles that the program takes by itself before anything else happens, past the engine: both are fresh
/// processes without an engine.
const ROLES: &[&str] = &["runtime", "monitor"];

/// Returns the layer of the crate `name`; `None` when it is not one of ours.
fn layer(name: &str) -> Option<Layer> {
    Some(match name {
        _ if WORDS.contains(&name) => Layer::Words,
        "sys" => Layer::Kernel,
        "runtime" => Layer::Isolation,
        "build" | "monitor" | "network" | "vm" | "image" | "registry" => Layer::Mechanism,
        "engine" => Layer::UseCases,
        "brig" | "docker-api" | "compose" | "system" | "cri" | "dashboard" => Layer::Door,
        "testkit" => Layer::Testkit,
        "faults" => Layer::Faults,
        "tests" | "benches" => Layer::Outside,
        "xtask" => Layer::Chores,
        _ if name.starts_with("kube-") => Layer::Door,
        _ => return None,
    })
}

/// Whether the crate `from` may depend on our crate `to`.
fn allowed(from: &str, to: &str, dev: bool) -> bool {
    let (Some(above), Some(below)) = (layer(from), layer(to)) else {
        return false;
    };
    match above {
        _ if below == Layer::Testkit => dev || matches!(above, Layer::Outside | Layer::Faults),
        Layer::Words => below == Layer::Words,
        Layer::Kernel | Layer::Isolation | Layer::Mechanism | Layer::UseCases => below < above,
        Layer::Door => match below {
            Layer::Words | Layer::UseCases => true,
            Layer::Door => from == "brig",
            _ => from == "brig" && ROLES.contains(&to),
        },
        Layer::Testkit | Layer::Faults => below <= Layer::Kernel,
        Layer::Outside => below == Layer::Words,
        Layer::Chores => false,
    }
}

/// Checks one crate's manifest.
pub(super) fn check(manifest: &Source) -> Result<Vec<Finding>> {
    let document: toml::Table =
        manifest.text.parse().with_context(|| format!("cannot parse {}", manifest.path))?;
    let name = document["package"].get("name").and_then(toml::Value::as_str).unwrap_or_default();
    let finding = |what: String| Finding { place: manifest.path.clone(), what };
    if layer(name).is_none() {
        return Ok(vec![finding(format!(
            "the crate {name:?} has no layer: give it one in xtask/src/tidy/arrows.rs"
        ))]);
    }
    let mut findings = Vec::new();
    for (section, dev) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let Some(table) = document.get(section).and_then(toml::Value::as_table) else { continue };
        // A crate's tests may ask for a feature of the crate itself.
        let others = table.keys().filter(|to| !(dev && *to == name));
        for to in others.filter(|to| layer(to).is_some() && !allowed(name, to, dev)) {
            findings.push(finding(format!("{name} may not depend on {to}: arrows point down only")));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let manifest = Source { path: "crates/x/Cargo.toml".to_owned(), text: text.to_owned() };
        check(&manifest).unwrap().into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        let fine = [
            ("oci", "base"),
            ("sys", "oci"),
            ("runtime", "sys"),
            ("monitor", "runtime"),
            ("image", "sys"),
            ("engine", "image"),
            ("brig", "engine"),
            ("brig", "monitor"),
            ("brig", "docker-api"),
            ("kube-node", "engine"),
            ("kube-node", "kube-types"),
            ("testkit", "oci"),
            ("tests", "testkit"),
        ];
        for (from, to) in fine {
            assert!(allowed(from, to, false), "{from} -> {to}");
        }
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        let wrong = [
            ("base", "sys"),
            ("sys", "runtime"),
            ("runtime", "image"),
            ("image", "registry"),
            ("network", "monitor"),
            ("image", "engine"),
            ("engine", "brig"),
            ("brig", "image"),
            ("docker-api", "runtime"),
            ("docker-api", "cri"),
            ("image", "testkit"),
            ("testkit", "engine"),
            ("tests", "engine"),
            ("xtask", "base"),
        ];
        for (from, to) in wrong {
            assert!(!allowed(from, to, false), "{from} -> {to}");
        }
    }

    #[test]
    fn the_test_helpers_are_for_tests() {
        assert!(allowed("image", "testkit", true));
        assert!(
            findings("[package]\nname = \"image\"\n[dependencies]\nserde = \"1\"\nsys.workspace = true")
                .is_empty()
        );
        assert_eq!(
            findings("[package]\nname = \"image\"\n[dependencies]\nregistry.workspace = true"),
            ["image may not depend on registry: arrows point down only"]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert!(findings("[package]\nname = \"misc\"")[0].contains("has no layer"));
    }
}
