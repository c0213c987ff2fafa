//! `cargo xtask tidy`: the rules of this repository that no other tool knows.
//!
//! Each rule is a pure function from text to findings; this file reads the tree and prints them.

mod arrows;
mod lock;
mod manifests;
mod sources;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Something that breaks a rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, relative to the repository; with `:line` where one line is meant.
    pub(crate) place: String,
    /// What is wrong and what is wanted.
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A file of the repository: its path from the root, and its text.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Checks the tree below `root`; prints each finding and returns whether there was none.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let sources = read_all(root, "rs")?;
    let manifests = read_all(root, "toml")?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(sources::check(source));
    }
    for manifest in manifests.iter().filter(|file| is_member(&file.path)) {
        findings.extend(manifests::check(manifest)?);
        findings.extend(arrows::check(manifest)?);
    }
    findings.extend(lock::check(&lock));
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", sources.len() + manifests.len(), findings.len());
    Ok(findings.is_empty())
}

/// Whether `path` is the manifest of a crate (and not the workspace's own, nor another `.toml` file).
fn is_member(path: &str) -> bool {
    path.ends_with("/Cargo.toml")
}

/// Reads every file below `root` whose name ends in `.extension`; build output and hidden folders are left out.
fn read_all(root: &Path, extension: &str) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                folders.push(entry.path());
            } else if kind.is_file() && name.ends_with(&format!(".{extension}")) {
                found.push(read(root, entry.path())?);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn read(root: &Path, path: PathBuf) -> Result<Source> {
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
    Ok(Source { path, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_read_without_build_output() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in
            [("a/src/lib.rs", "//! a"), ("target/x.rs", "x"), (".work/y.rs", "y"), ("a/z.txt", "z")]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = read_all(root.path(), "rs").unwrap();
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/src/lib.rs"]);
    }

    #[test]
    fn only_members_are_manifests() {
        assert!(is_member("crates/sys/Cargo.toml"));
        assert!(!is_member("Cargo.toml"));
        assert!(!is_member("deny.toml"));
    }
}
