//! Fetches OCI layouts into a store, several times, and says how long it took and how much memory.
//!
//! `cargo run --profile fast -p image --example pull_bench -- STORE RUNS LAYOUT...`: the store is emptied before each run.

use std::path::Path;
use std::time::Instant;

use image::{FetchOptions, LoadOptions, NoProgress, Store};
use oci::Platform;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, runs, layouts @ ..] = args.as_slice() else {
        return Err("usage: STORE RUNS LAYOUT...".into());
    };
    let root = Path::new(root);
    for _ in 0..runs.parse::<u32>()? {
        if root.exists() {
            std::fs::remove_dir_all(root)?;
        }
        let started = Instant::now();
        let store = Store::open(root)?;
        let lease = store.lease()?;
        let platforms = Platform::host().candidates(true);
        let fetch = FetchOptions::default();
        let options = LoadOptions { platforms: &platforms, fetch: &fetch };
        for layout in layouts {
            let before = Instant::now();
            for loaded in store.load_layout(&lease, Path::new(layout), &options, &NoProgress)? {
                let image = loaded.image;
                println!(
                    "{layout}: {} layers, {} bytes, {:?}",
                    image.layers.len(),
                    image.size(),
                    before.elapsed()
                );
                let before = Instant::now();
                let snapshot = store.prepare_snapshot(image.id.short(), &image.diff_ids())?;
                let mount = snapshot.mount(&image::MountOptions { volatile: true, ..Default::default() })?;
                println!("  snapshot and mount {:?}", before.elapsed());
                drop(mount);
            }
        }
        println!("all: {:?}", started.elapsed());
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    for line in status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("RssAnon")) {
        println!("{line}");
    }
    Ok(())
}
