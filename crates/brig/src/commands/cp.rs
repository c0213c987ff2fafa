//! `brig cp`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::size;
use engine::archive::{CpOptions, CpReport};

use super::{Entry, output};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "cp"], &["cp"]],
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tbrig cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files and folders between a container and the host",
    details: "With - as the source, a tar archive (plain, gzip or zstd) is read from the standard input and taken out\ninto a folder of the container; with - as the destination, a tar archive is written to the standard output.\nWithout -a copies in the container belong to root, copies on the host to the caller.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Keep owners, set-id bits and devices
    #[arg(short, long)]
    archive: bool,
    /// Follow a link that the source's path ends in
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "SRC_PATH", allow_hyphen_values = true)]
    source: String,
    #[arg(required = true, value_name = "DEST_PATH", allow_hyphen_values = true)]
    target: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Stream,
    Host(&'a str),
    Container(&'a str, &'a str),
}

/// Tells a container's path from a path of the host, as Docker does: one that begins with `/` or `.` is the host's.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        _ if text == "-" => End::Stream,
        Some((container, path)) if !text.starts_with(['/', '.']) && !container.is_empty() => {
            End::Container(container, path)
        }
        _ => End::Host(text),
    }
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if self.source.is_empty() {
            bail!("source can not be empty");
        }
        if self.target.is_empty() {
            bail!("destination can not be empty");
        }
        let options = CpOptions { archive: self.archive, follow: self.follow_link };
        let (report, to) = match (end(&self.source), end(&self.target)) {
            (End::Container(container, path), End::Stream) => {
                let archive = context.engine()?.archive_get(container, path, self.follow_link)?;
                output::to_stdout(|out| Ok(archive.write(out).map(drop)?))?;
                return Ok(ExitCode::SUCCESS);
            }
            (End::Container(container, path), End::Host(target)) => {
                (context.engine()?.copy_out(container, path, Path::new(target), options)?, target.to_owned())
            }
            (End::Stream, End::Container(container, path)) => {
                let owner = Default::default();
                let engine = context.engine()?;
                let stat = engine.archive_get(container, path, true).map(|archive| archive.stat);
                if stat.is_ok_and(|stat| stat.mode & 0o170_000 != 0o040_000) {
                    bail!("destination \"{container}:{path}\" must be a directory");
                }
                let bytes = engine.archive_put(container, path, &mut io::stdin(), true, owner)?;
                (CpReport { bytes, warnings: Vec::new() }, format!("{container}:{path}"))
            }
            (End::Host(source), End::Container(container, path)) => (
                context.engine()?.copy_in(Path::new(source), container, path, options)?,
                format!("{container}:{path}"),
            ),
            (End::Container(..), End::Container(..)) => bail!("copying between containers is not supported"),
            (End::Host(_) | End::Stream, _) => bail!("must specify at least one container source"),
        };
        report.warnings.iter().for_each(|warning| ui.warn(warning));
        if !self.quiet {
            let bytes = size::human(i64::try_from(report.bytes).unwrap_or(i64::MAX));
            crate::ui::note(&format!("Successfully copied {bytes} to {to}"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        for (text, wanted) in [
            ("-", End::Stream),
            ("box:/etc", End::Container("box", "/etc")),
            ("box:", End::Container("box", "")),
            ("./a:b", End::Host("./a:b")),
            ("/a:b", End::Host("/a:b")),
            (":x", End::Host(":x")),
            ("plain", End::Host("plain")),
        ] {
            assert_eq!(end(text), wanted, "{text}");
        }
    }
}
