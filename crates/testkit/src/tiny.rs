//! The smallest image: busybox under every name it answers to, users, and nothing else.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use tar::{Builder, EntryType, Header};

/// The static busybox of the machine (Debian package busybox-static).
const BUSYBOX: &str = "/bin/busybox";

const FOLDERS: &[(&str, u32)] = &[
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("tmp", 0o1777),
];

const FILES: &[(&str, &str)] = &[
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:a user:/home:/bin/sh\n"),
    ("etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
];

/// Writes the root file system as a tar archive to `path`.
pub fn write_rootfs(path: &Path) -> io::Result<()> {
    let mut archive = Builder::new(fs::File::create(path)?);
    for (name, mode) in FOLDERS {
        let mut header = header(EntryType::Directory, *mode, 0);
        archive.append_data(&mut header, name, io::empty())?;
    }
    let busybox = fs::read(BUSYBOX)?;
    append_file(&mut archive, "bin/busybox", 0o755, &busybox)?;
    for applet in applets()?.lines().filter(|applet| *applet != "busybox") {
        let mut header = header(EntryType::Link, 0o755, 0);
        archive.append_link(&mut header, format!("bin/{applet}"), "bin/busybox")?;
    }
    for (name, text) in FILES {
        append_file(&mut archive, name, 0o644, text.as_bytes())?;
    }
    archive.finish()
}

fn applets() -> io::Result<String> {
    let output = Command::new(BUSYBOX).arg("--list").current_dir("/").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn append_file(archive: &mut Builder<fs::File>, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
    archive.append_data(&mut header, name, bytes)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}
