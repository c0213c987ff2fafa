//! `brig-bench`: Brig beside the engines and runtimes that the machine has, and beside the floor.
//!
//! Everything runs in namespaces of the benchmark's own (mounts, network, processes), on a file system of its own: no
//! engine of the machine is touched, and nothing stays. All engines get the same images from the same registry on
//! loopback. A row measures them alternately, so that what else the machine does meets all of them; a cell is
//! minimum / median / maximum. It is a Rust program because a plain machine then needs nothing for it but the
//! toolchain, and because starting a process and reading a clock costs least from there.
//!
//! Not here: the floor program (floor.c), which `floor` compiles and runs.

mod arguments;
mod bundle;
mod engines;
mod floor;
mod measure;
mod memory;
mod report;
mod rows;
mod runtimes;
mod sandbox;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use arguments::Arguments;
use report::Report;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match Arguments::parse(&words) {
        Ok(Some(arguments)) if sandbox::is_inside() => run(&arguments),
        // Packages come from the network, which there is none of inside.
        Ok(Some(arguments)) => {
            rows::make_images(&arguments).and_then(|()| sandbox::enter(&words, &arguments.out))
        }
        Ok(None) => {
            print!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("brig-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything that was asked for and writes the table.
fn run(arguments: &Arguments) -> Result<()> {
    let place = sandbox::Place::prepare(arguments)?;
    let mut bench = rows::Bench::start(arguments, &place)?;
    let mut report = Report::new(&bench);
    for (name, row) in rows::ROWS.iter().filter(|(name, _)| arguments.wants(name)) {
        eprintln!("== {name}");
        // One row that fails, or one engine that breaks, does not take the others with it.
        match row(&mut bench) {
            Ok(found) => found.into_iter().for_each(|row| {
                eprint!("{}", report::line(&row));
                report.add(row);
            }),
            Err(error) => {
                eprintln!("   FAILED: {error:#}");
                report.fail(name, &format!("{error:#}"));
            }
        }
    }
    let text = report.render();
    write(&arguments.out, &text)?;
    println!("{text}");
    println!("written to {}", arguments.out.display());
    Ok(())
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
