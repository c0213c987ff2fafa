//! The command line of the benchmark.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

pub(crate) const HELP: &str = "\
usage: brig-bench [OPTION]...        as root; `make bench BENCH_ARGS='...'` passes options

  --brig PATH          the program (default $BRIG)
  --rows NAME[,NAME]   only these: run runtime exec stop many memory pull ps logs (a name may be several rows)
  --runs N             measurements of a short row (default 12)
  --few N              measurements of a row that takes seconds (default 3)
  --many N             containers in the rows of a hundred (default 100)
  --data WHERE         loop: ext4 on a loop device in memory (default); tmpfs; or a folder on a disk
  --cgroup VIEW        unified: cgroup v2 alone (default; Debian 12's crun refuses a hybrid tree); machine: as it is
  --without NAME       leave an engine or runtime out (may be repeated)
  --docker NAME=DIR    another Docker whose programs lie in DIR (may be repeated)
  --podman NAME=PATH   another Podman
  --runtime NAME=PATH  another OCI runtime
  --out FILE           where the table goes (default benches/results.md)
";

/// Where the engines keep their data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// An ext4 file system in a file on a tmpfs.
    Loop,
    /// A tmpfs.
    Tmpfs,
    /// A folder that is there.
    Folder(PathBuf),
}

/// The parsed command line.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) brig: PathBuf,
    pub(crate) rows: Vec<String>,
    pub(crate) runs: usize,
    pub(crate) few: usize,
    pub(crate) many: usize,
    pub(crate) data: Data,
    pub(crate) unified: bool,
    pub(crate) without: Vec<String>,
    pub(crate) docker: Vec<(String, PathBuf)>,
    pub(crate) podman: Vec<(String, PathBuf)>,
    pub(crate) runtime: Vec<(String, PathBuf)>,
    pub(crate) out: PathBuf,
}

impl Arguments {
    /// Parses `words`; `None` when help is asked for.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>> {
        let mut arguments = Self {
            brig: std::env::var_os("BRIG").map(PathBuf::from).unwrap_or_default(),
            rows: Vec::new(),
            runs: 12,
            few: 3,
            many: 100,
            data: Data::Loop,
            unified: true,
            without: Vec::new(),
            docker: Vec::new(),
            podman: Vec::new(),
            runtime: Vec::new(),
            out: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results.md"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let value = words.next().with_context(|| format!("{word}: a value is wanted"))?;
            arguments.set(word, value)?;
        }
        if !arguments.brig.is_file() {
            bail!("--brig {:?}: there is no such program", arguments.brig);
        }
        Ok(Some(arguments))
    }

    fn set(&mut self, word: &str, value: &str) -> Result<()> {
        let number = || value.parse().with_context(|| format!("{word} {value:?}: a number is wanted"));
        match word {
            "--brig" => self.brig = PathBuf::from(value),
            "--rows" => self.rows = value.split(',').map(str::to_owned).collect(),
            "--runs" => self.runs = number()?,
            "--few" => self.few = number()?,
            "--many" => self.many = number()?,
            "--data" => self.data = data(value),
            "--cgroup" => self.unified = value == "unified",
            "--without" => self.without.push(value.to_owned()),
            "--docker" => self.docker.push(pair(value)?),
            "--podman" => self.podman.push(pair(value)?),
            "--runtime" => self.runtime.push(pair(value)?),
            "--out" => self.out = PathBuf::from(value),
            _ => bail!("there is no option {word:?}\n{HELP}"),
        }
        Ok(())
    }

    /// Whether the row `name` is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|row| row == name)
    }
}

fn data(value: &str) -> Data {
    match value {
        "loop" => Data::Loop,
        "tmpfs" => Data::Tmpfs,
        folder => Data::Folder(PathBuf::from(folder)),
    }
}

fn pair(value: &str) -> Result<(String, PathBuf)> {
    let (name, path) = value.split_once('=').with_context(|| format!("{value:?}: NAME=PATH is wanted"))?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read() {
        let line = "--brig /bin/sh --rows run,exec --runs 3 --data tmpfs --runtime crun2=/x/crun";
        let arguments = Arguments::parse(&words(line)).unwrap().unwrap();
        assert!(arguments.wants("exec") && !arguments.wants("pull"));
        assert_eq!((arguments.runs, arguments.data.clone()), (3, Data::Tmpfs));
        assert_eq!(arguments.runtime, [("crun2".to_owned(), PathBuf::from("/x/crun"))]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--brig /no/such",
            "--brig /bin/sh --runs many",
            "--brig /bin/sh --wrong 1",
            "--brig /bin/sh --runs",
        ] {
            assert!(Arguments::parse(&words(line)).is_err(), "{line}");
        }
    }
}
