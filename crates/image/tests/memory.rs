//! 100 MB of memory is enough for any input: archives that want more are read in a process of its own, whose peak is looked at.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use image::tar::{Kind, Member, Writer};
use image::{FetchOptions, ImportOptions, LoadOptions, NoProgress, Store};
use oci::Platform;
use oci::config::ContainerDefaults;

/// Names the archive for the process that reads it.
const CHILD: &str = "IMAGE_MEMORY_TEST_ARCHIVE";
/// The most that it may need, in KiB.
const LIMIT_KIB: u64 = 100_000;

/// Runs only as the process that reads.
#[test]
fn child_reads_an_archive() {
    let Some(archive) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = Store::open(&archive.with_extension("store")).unwrap();
    let lease = store.lease().unwrap();
    let mut fetch = FetchOptions::default();
    fetch.unpack.ratio_free = 64 << 20;
    fetch.unpack.ratio = 20;
    let open = || BufReader::new(std::fs::File::open(&archive).unwrap());
    let options = ImportOptions {
        config: ContainerDefaults::default(),
        message: String::new(),
        platform: Platform::host(),
        created: String::new(),
    };
    let result = match archive.file_stem().is_some_and(|name| name.to_string_lossy().starts_with("load")) {
        true => {
            let platforms = Platform::host().candidates(true);
            let options = LoadOptions { platforms: &platforms, fetch: &fetch };
            store.load(&lease, &mut open(), &options, &NoProgress).map(drop)
        }
        false => store.import(&lease, &mut open(), &options, &fetch).map(drop),
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB");
    let said = result.err().map_or("nothing".to_owned(), |error| base::error::render_chain(&error));
    println!("\npeak {peak} {said}");
}

fn gzip(path: &Path, fill: impl FnOnce(&mut dyn Write)) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    fill(&mut encoder);
    encoder.finish().unwrap();
}

fn tar(path: &Path, fill: impl FnOnce(&mut Writer<&mut dyn Write>)) {
    gzip(path, |out| {
        let mut writer = Writer::new(out);
        fill(&mut writer);
        writer.finish().unwrap();
    });
}

/// Archives with what must be said of each.
fn archives(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| dir.join(name);
    tar(&path("zeros.tar"), |tar| {
        tar.append(&Member::file(b"zeros", 128 << 20), &mut std::io::repeat(0)).unwrap();
    });
    tar(&path("implicit.tar"), |tar| {
        for number in 0..100_000 {
            let name = format!("{number}/{}/x", "name/".repeat(240));
            tar.header(&Member::file(name.as_bytes(), 0)).unwrap();
        }
    });
    tar(&path("links.tar"), |tar| {
        for number in 0..100_000 {
            let (name, target) = (format!("l{number}"), "missing/".repeat(20));
            let link =
                Member { kind: Kind::HardLink, link: target.as_bytes(), ..Member::file(name.as_bytes(), 0) };
            tar.header(&link).unwrap();
        }
    });
    tar(&path("attributes.tar"), |tar| {
        let xattrs = [(
            b"trusted.overlay.x".to_vec(),
            (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        )];
        for number in 0..40 {
            let name = format!("f{number}");
            tar.header(&Member { xattrs: &xattrs, ..Member::file(name.as_bytes(), 0) }).unwrap();
        }
    });
    let mut encoder = zstd::Encoder::new(std::fs::File::create(path("window.tar")).unwrap(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 16 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap();
    tar(&path("load-history.tar"), |tar| {
        let config =
            format!(r#"{{"rootfs":{{"type":"layers"}},"history":[{}{{}}]}}"#, "{},".repeat(1_300_000));
        tar.append(&Member::file(b"c.json", config.len() as u64), &mut config.as_bytes()).unwrap();
        let table = r#"[{"Config":"c.json","Layers":[]}]"#;
        tar.append(&Member::file(b"manifest.json", table.len() as u64), &mut table.as_bytes()).unwrap();
    });
    tar(&path("load-members.tar"), |tar| {
        for number in 0..110_000 {
            let link = Member { kind: Kind::Symlink, link: &[b'x'; 90], ..Member::file(b"", 0) };
            tar.header(&Member { path: format!("{number}").as_bytes(), ..link }).unwrap();
        }
    });
    vec![
        (path("zeros.tar"), "more than the limit"),
        (path("implicit.tar"), "limit of 8388608"),
        (path("links.tar"), "limit of 8388608"),
        (path("attributes.tar"), "nothing"),
        (path("window.tar"), "too much memory"),
        (path("load-history.tar"), "limit of 100000"),
        (path("load-members.tar"), "limit of 100000"),
    ]
}

#[test]
fn root_a_hundred_megabytes_are_enough() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP root_a_hundred_megabytes_are_enough: needs root");
        return;
    }
    let dir = std::env::temp_dir().join(format!("image-memory-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (archive, wanted) in archives(&dir) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_reads_an_archive", "--nocapture"])
            .env(CHILD, &archive)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let line =
            text.lines().find_map(|line| line.strip_prefix("peak ")).unwrap_or_else(|| panic!("{text}"));
        let (peak, said) = line.split_once(' ').unwrap();
        println!("{}: {line}", archive.display());
        assert!(said.contains(wanted), "{}: {said}", archive.display());
        assert!(peak.parse::<u64>().unwrap() < LIMIT_KIB, "{}: {peak} KiB", archive.display());
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
