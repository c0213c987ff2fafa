//! Fetches an image's blobs to nowhere, four at a time, and says how long it took: the registry's side of a pull alone.
//!
//! `cargo run --profile fast -p registry --example fetch -- 127.0.0.1:5000/me/app:1`

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use oci::manifest::parse_manifest;
use oci::{BlobDescriptor, ImageRef, ImageSource as _, Platform};
use registry::{Client, Proxies, RegistryConfig, Resolved, StoredCredentials};

const AT_ONCE: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let reference: ImageRef = env::args().nth(1).ok_or("the reference of an image is wanted")?.parse()?;
    let variable = |name: &str| env::var(name).ok();
    let config = RegistryConfig { proxy: Proxies::from_env(variable), ..RegistryConfig::default() };
    let client = Client::new(config, StoredCredentials::from_env(variable))?;
    let started = Instant::now();
    let resolved =
        client.resolve(&reference, &Platform::host()).map_err(|error| base::error::render_chain(&error))?;
    let manifest = parse_manifest(&resolved.manifest().bytes, Some(&resolved.manifest().media_type))?;
    let found = started.elapsed();
    let blobs: Vec<_> =
        manifest.layers.into_iter().map(|layer| layer.blob).chain([manifest.config]).collect();
    let bytes = fetch_all(&resolved, &blobs);
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let seconds = started.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "{}: resolved in {found:?}; {} blobs, {mebibytes:.1} MiB in {seconds:.3} s, {:.0} MiB/s",
        resolved.repo_digest(),
        blobs.len(),
        mebibytes / seconds
    )?;
    Ok(())
}

fn fetch_all(resolved: &Resolved, blobs: &[BlobDescriptor]) -> u64 {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let copied = resolved.open_blob(blob, 0).and_then(|mut reader| {
                        let mut buffer = vec![0; 128 << 10];
                        let mut total = 0;
                        loop {
                            match reader.read(&mut buffer)? {
                                0 => return Ok(total),
                                got => total += got as u64,
                            }
                        }
                    });
                    match copied {
                        Ok(copied) => drop(bytes.fetch_add(copied, Ordering::Relaxed)),
                        Err(error) => drop(writeln!(io::stderr(), "{error}")),
                    }
                }
            });
        }
    });
    bytes.into_inner()
}
