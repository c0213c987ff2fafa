//! The OCI runtimes on one bundle.

use std::path::Path;

use crate::arguments::Arguments;
use crate::engines::find;
use crate::measure::Line;

/// A runtime and the options that stand before its verb.
#[derive(Debug, Clone)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    argv: Vec<String>,
}

impl Runtime {
    fn new(name: &str, path: &Path, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned());
        Self {
            name: name.to_owned(),
            argv: std::iter::once(path.display().to_string()).chain(words).collect(),
        }
    }

    /// Returns the command line that runs `bundle` as the container `id`, with its state below `run`.
    pub(crate) fn line(&self, bundle: &str, run: &Path, id: &str) -> Line {
        let root = run.join(format!("{}.root", self.argv.len())).display().to_string();
        let words: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        Line::of(&[words.as_slice(), &["--root", &root, "run", "--bundle", bundle, id]].concat())
    }
}

/// Lists the runtimes of the machine and of the arguments, Brig's own first.
///
/// A crun that cannot limit anything here (Debian 12's wants to raise a limit for that) takes part without cgroups.
pub(crate) fn all(arguments: &Arguments, bundle: &str, run: &Path) -> Vec<Runtime> {
    let of_machine =
        ["runc", "crun", "youki"].into_iter().filter_map(|name| Some((name.to_owned(), find(name)?)));
    let wanted = of_machine
        .chain(arguments.runtime.iter().cloned())
        .filter(|(name, _)| !arguments.without.contains(name));
    let others = wanted.map(|(name, path)| {
        let plain = Runtime::new(&name, &path, &[]);
        let bare = Runtime::new(&format!("{name}, no cgroup"), &path, &["--cgroup-manager", "disabled"]);
        let works = |runtime: &Runtime, id: &str| runtime.line(bundle, run, id).run().is_ok();
        if name.starts_with("crun") && !works(&plain, "probe-plain") && works(&bare, "probe-bare") {
            bare
        } else {
            plain
        }
    });
    std::iter::once(Runtime::new("brig", &arguments.brig, &["runtime"])).chain(others).collect()
}
