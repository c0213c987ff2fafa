//! The floor program: compiles floor.c and runs it.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::measure::Line;
use crate::sandbox::{Place, sh};

/// The compiled program with its folders.
#[derive(Debug)]
pub(crate) struct Floor {
    program: String,
    rootfs: String,
    work: String,
    cgroup: String,
}

impl Floor {
    /// Compiles the program and unpacks the root file system `tar` for it.
    pub(crate) fn prepare(place: &Place, tar: &str) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor.c");
        let program = place.run.join("floor").display().to_string();
        let folder = |name: &str| Ok::<_, anyhow::Error>(place.folder(name)?.display().to_string());
        let (rootfs, work) = (folder("floor-root")?, folder("floor-work")?);
        sh(&format!("musl-gcc -O2 -static -o {program} {}", source.display()))
            .context("cannot compile the floor program")?;
        sh(&format!("tar -C {rootfs} -xf {tar}"))?;
        let cgroup = place.cgroup.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
        Ok(Self { program, rootfs, work, cgroup })
    }

    /// Returns the milliseconds of one run on `network`: none, host or bridge.
    pub(crate) fn run(&self, network: &str) -> Result<f64> {
        let text = Line::of(&[&self.program, network, &self.rootfs, &self.work, &self.cgroup]).output()?;
        text.trim().parse().with_context(|| format!("the floor program says {text:?}"))
    }
}
