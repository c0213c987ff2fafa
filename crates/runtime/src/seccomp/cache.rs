//! Keeps compiled filters in a folder, so that a start does not compile.
//!
//! An entry is named by the SHA-256 of everything that the program depends on: profile, architecture, version of the compiler. Its content
//! ends with the SHA-256 of what stands before it and of its name: a torn or exchanged file is seen and made again. A
//! filter decides what a container may do, so nobody else may write here: folder and entry must belong to us and be
//! writable by nobody else.
//!
//! ```text
//!   "BRIGSCMP" | flags u32 | count u32 | count × (code u16, jt u8, jf u8, k u32) | sha256     little-endian
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use oci::runtime::LinuxSeccomp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::{Arch, Error, Instruction, Program, compile};

/// Raised with every change of the compiler or its tables that changes what comes out of it.
const COMPILER_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"BRIGSCMP";
const HEADER: usize = 16;
const CHECKSUM: usize = 32;
const INSTRUCTION: usize = 8;
const LARGEST: usize = HEADER + sys::seccomp::MAX_INSTRUCTIONS * INSTRUCTION + CHECKSUM;

/// Returns the program for `profile`, from the folder `dir` or compiled and stored there.
pub(super) fn load_or_compile(profile: &LinuxSeccomp, host: Arch, dir: &Path) -> Result<Program, Error> {
    let key = key(profile, host);
    let name = hexadecimal(&key);
    let folder = open_folder(dir)?;
    if let Some(program) = load(folder.as_fd(), &name, &key) {
        return Ok(program);
    }
    let program = compile(profile, host)?;
    // A full or read-only disk costs the next start a compilation, nothing else.
    let _ = store(folder.as_fd(), &name, &encode(&program, &key));
    Ok(program)
}

/// Returns the hash of everything that the program depends on.
fn key(profile: &LinuxSeccomp, host: Arch) -> [u8; 32] {
    let mut text = Vec::with_capacity(16 * 1024);
    let number = |text: &mut Vec<u8>, value: u64| text.extend_from_slice(&value.to_le_bytes());
    number(&mut text, u64::from(COMPILER_VERSION));
    number(&mut text, host as u64);
    number(&mut text, profile.default_action() as u64);
    number(&mut text, optional(profile.default_errno_ret()));
    number(&mut text, u64::from(profile.listener_path().as_ref().is_some_and(|p| !p.as_os_str().is_empty())));
    number(&mut text, u64::from(profile.listener_metadata().as_ref().is_some_and(|m| !m.is_empty())));
    let arches = profile.architectures().as_deref().unwrap_or_default();
    number(&mut text, arches.len() as u64);
    arches.iter().for_each(|arch| number(&mut text, *arch as u64));
    let flags = profile.flags().as_deref().unwrap_or_default();
    number(&mut text, flags.len() as u64);
    flags.iter().for_each(|flag| number(&mut text, *flag as u64));
    for syscall in profile.syscalls().iter().flatten() {
        number(&mut text, syscall.names().len() as u64);
        for name in syscall.names() {
            number(&mut text, name.len() as u64);
            text.extend_from_slice(name.as_bytes());
        }
        number(&mut text, syscall.action() as u64);
        number(&mut text, optional(syscall.errno_ret()));
        let args = syscall.args().as_deref().unwrap_or_default();
        number(&mut text, args.len() as u64);
        for arg in args {
            number(&mut text, arg.index() as u64);
            number(&mut text, arg.value());
            number(&mut text, arg.value_two().unwrap_or(0));
            number(&mut text, arg.op() as u64);
        }
    }
    Sha256::digest(&text).into()
}

/// Returns a number for an optional one: zero when it is missing.
fn optional(value: Option<u32>) -> u64 {
    value.map_or(0, |value| u64::from(value) + 1)
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Opens the folder, making it when it is missing, and checks whose it is.
fn open_folder(dir: &Path) -> Result<OwnedFd, Error> {
    let untrusted = |reason: String| Error::Cache { path: dir.to_owned(), reason };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::open(dir, flags, Mode::empty());
    let folder = match open() {
        Err(Errno::NOENT) => {
            // The state root above it may not be there before the first container; what cannot be made, mkdir says.
            let _ = dir.parent().map(std::fs::create_dir_all);
            match rustix::fs::mkdir(dir, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(errno) => Err(errno),
            }
        }
        other => other,
    };
    let folder = folder.map_err(|errno| untrusted(errno.to_string()))?;
    owned_by_us(folder.as_fd()).map_err(untrusted)?;
    Ok(folder)
}

/// Says what is wrong when the file belongs to somebody else or others may write to it.
fn owned_by_us(file: BorrowedFd<'_>) -> Result<(), String> {
    let stat = rustix::fs::fstat(file).map_err(|errno| errno.to_string())?;
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid != us {
        return Err(format!("it belongs to user {}, not to user {us}", stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(format!("its mode {:o} lets others write", stat.st_mode & 0o7777));
    }
    Ok(())
}

/// Reads an entry; `None` when there is none or it is damaged.
fn load(folder: BorrowedFd<'_>, name: &str, key: &[u8; 32]) -> Option<Program> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
    owned_by_us(file.as_fd()).ok()?;
    let mut bytes = vec![0; LARGEST + 1];
    let mut filled = 0;
    loop {
        match rustix::io::read(&file, &mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    decode(&bytes[..filled], key)
}

fn checksum(body: &[u8], key: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(body).chain_update(key).finalize().into()
}

fn encode(program: &Program, key: &[u8; 32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + program.instructions.len() * INSTRUCTION + CHECKSUM);
    let count = u32::try_from(program.instructions.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&program.flags.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    for instruction in &program.instructions {
        bytes.extend_from_slice(&instruction.code.to_le_bytes());
        bytes.extend_from_slice(&[instruction.jump_true, instruction.jump_false]);
        bytes.extend_from_slice(&instruction.k.to_le_bytes());
    }
    let checksum = checksum(&bytes, key);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8], key: &[u8; 32]) -> Option<Program> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if sum != checksum(body, key) || !body.starts_with(MAGIC) {
        return None;
    }
    let word = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
    let flags = word(body.get(8..12)?)?;
    let count = word(body.get(12..16)?)? as usize;
    let rest = body.get(HEADER..)?;
    if rest.len() != count.checked_mul(INSTRUCTION)? {
        return None;
    }
    let instruction = |bytes: &[u8]| Instruction {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jump_true: bytes[2],
        jump_false: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Some(Program { instructions: rest.chunks_exact(INSTRUCTION).map(instruction).collect(), flags })
}

/// Writes an entry under another name and renames it, so that nobody ever reads half of one.
fn store(folder: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let temporary = format!(".{name}.{}.{}", std::process::id(), now.as_nanos());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let written = io::Write::write_all(&mut std::fs::File::from(file), bytes);
    let renamed = written.and_then(|()| Ok(rustix::fs::renameat(folder, &temporary, folder, name)?));
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(folder, &temporary, rustix::fs::AtFlags::empty());
    }
    renamed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::seccomp::{KernelVersion, default_profile};

    fn profile() -> LinuxSeccomp {
        default_profile(&["CAP_CHOWN"], Arch::X86_64, KernelVersion { major: 6, minor: 1 })
    }

    #[test]
    fn an_entry_is_found_again_and_a_damaged_one_is_made_again() {
        let dir = tempfile::tempdir().expect("temp dir");
        let cache = dir.path().join("seccomp");
        let first = load_or_compile(&profile(), Arch::X86_64, &cache).expect("compile");
        let entry = std::fs::read_dir(&cache).expect("list").next().expect("one").expect("entry").path();
        let whole = std::fs::read(&entry).expect("read");
        assert_eq!(load_or_compile(&profile(), Arch::X86_64, &cache).expect("load"), first);
        for damage in [0, 9, 13, 40, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[damage] ^= 1;
            std::fs::write(&entry, &bytes).expect("damage");
            assert_eq!(load_or_compile(&profile(), Arch::X86_64, &cache).expect("again"), first);
            assert_eq!(std::fs::read(&entry).expect("read"), whole, "not repaired");
        }
        std::fs::write(&entry, &whole[..100]).expect("cut");
        assert_eq!(load_or_compile(&profile(), Arch::X86_64, &cache).expect("again"), first);
        assert_eq!(std::fs::read_dir(&cache).expect("list").count(), 1, "nothing else is left behind");
    }

    #[test]
    fn an_entry_of_another_profile_is_not_taken() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (ours, mut other) = (profile(), profile());
        other.set_default_errno_ret(Some(13));
        load_or_compile(&ours, Arch::X86_64, dir.path()).expect("compile");
        let entry = dir.path().join(hexadecimal(&key(&ours, Arch::X86_64)));
        std::fs::rename(&entry, dir.path().join(hexadecimal(&key(&other, Arch::X86_64)))).expect("swap");
        let loaded = load_or_compile(&other, Arch::X86_64, dir.path()).expect("compile");
        assert_eq!(loaded, compile(&other, Arch::X86_64).expect("compile"));
        assert_ne!(key(&ours, Arch::X86_64), key(&ours, Arch::Aarch64));
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
        let error = load_or_compile(&profile(), Arch::X86_64, dir.path()).expect_err("refused");
        assert!(error.to_string().contains("lets others write"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).expect("symlink");
        assert!(matches!(load_or_compile(&profile(), Arch::X86_64, &link), Err(Error::Cache { .. })));
    }

    #[test]
    fn loading_is_quick() {
        let dir = tempfile::tempdir().expect("temp dir");
        let profile = profile();
        load_or_compile(&profile, Arch::X86_64, dir.path()).expect("compile");
        let fastest = (0..200).map(|_| {
            let start = std::time::Instant::now();
            load_or_compile(&profile, Arch::X86_64, dir.path()).expect("load");
            start.elapsed()
        });
        let fastest = fastest.min().expect("some");
        eprintln!("loading a cached filter: {fastest:?}");
        // 50 µs is the budget of a release build; a debug build on a busy machine gets ten times that.
        assert!(fastest.as_micros() < 500, "{fastest:?}");
    }
}
