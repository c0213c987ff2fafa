//! `--user`: names looked up in the image's own `passwd` and `group`, within limits; numbers are never looked up as names.
//!
//! The files belong to strangers (CVE-2026-47262, CVE-2024-9676, CVE-2016-3697): they are opened beneath the
//! root file system, must be plain files, and no more than [`FILE_MAX`] bytes of them are read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use sys::beneath::Root;

use self::guard::{Guard, stands};
use crate::error::{Error, Result};

/// The most that is read of `passwd` or `group`.
const FILE_MAX: u64 = 8 << 20;

/// Who the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Home folder, `/` when nobody says.
    pub(crate) home: String,
}

/// The two files, as text.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads both files of the root file system; missing ones are empty.
    pub(crate) fn load(root: &Root) -> Result<Self> {
        Ok(Self { passwd: read(root, "etc/passwd")?, group: read(root, "etc/group")? })
    }

    fn user_lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4)
    }

    fn group_lines(&self) -> impl Iterator<Item = Vec<&str>> {
        self.group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 3)
    }
}

/// The guards that a test can take away, to show that it fails without them.
mod guard {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Guard {
        /// A number is never looked up as a name.
        Numbers,
        /// The primary group stands among the supplementary ones.
        PrimaryGroup,
        /// The files are opened beneath the image's root.
        Beneath,
        /// The files must be plain ones.
        PlainFile,
        /// No more than a bound is read.
        Bound,
    }

    base::guard_switches!(Guard);
}

fn open(root: &Root, path: &str) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !stands(Guard::PlainFile) {
        flags.remove(OFlags::NONBLOCK);
    }
    match stands(Guard::Beneath) {
        true => root.open_in(Path::new(path), flags, Mode::empty()),
        false => rustix::fs::openat(root, path, flags, Mode::empty()),
    }
}

fn read(root: &Root, path: &str) -> Result<String> {
    use rustix::io::Errno;
    let fail =
        |source: std::io::Error| Error::System { action: format!("read /{path} of the image"), source };
    let fd = match open(root, path) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(fail(error.into())),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|error| fail(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile && stands(Guard::PlainFile) {
        return Err(Error::Invalid(format!("/{path} of the image is not a plain file")));
    }
    let mut bytes = Vec::new();
    let bound = if stands(Guard::Bound) { FILE_MAX } else { u64::MAX - 1 };
    File::from(fd).take(bound + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > bound {
        return Err(Error::Invalid(format!("/{path} of the image is larger than {FILE_MAX} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number that may be an id: decimal digits, at most 2³¹−1, as in Docker.
fn number(text: &str) -> Option<std::result::Result<u32, ()>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<u32>().ok().filter(|id| i32::try_from(*id).is_ok()).ok_or(()))
}

/// Finds out who `user` (`user[:group]`, empty means root) is, with the groups `add`.
pub(crate) fn resolve(user: &str, add: &[String], accounts: &Accounts) -> Result<Identity> {
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    let name = if name.is_empty() { "0" } else { name };
    let range = |text: &str| Error::Invalid(format!("uids and gids must be in range 0-2147483647: {text}"));
    let (uid, entry) = match number(name).filter(|_| stands(Guard::Numbers)) {
        Some(id) => {
            let uid = id.map_err(|()| range(name))?;
            (uid, accounts.user_lines().find(|fields| fields[2].parse() == Ok(uid)))
        }
        None => {
            let entry = accounts.user_lines().find(|fields| fields[0] == name);
            let uid = entry.as_ref().and_then(|fields| fields[2].parse().ok());
            (
                uid.ok_or_else(|| {
                    Error::Invalid(format!("unable to find user {name}: no matching entries in passwd file"))
                })?,
                entry,
            )
        }
    };
    let primary = entry.as_ref().and_then(|fields| fields[3].parse().ok()).unwrap_or(0);
    let gid = match group {
        Some(group) => find_group(group, accounts)?,
        None => primary,
    };
    let mut groups = Vec::new();
    if group.is_none() {
        let login = entry.as_ref().map(|fields| fields[0]);
        let of_login = accounts.group_lines().filter(|fields| {
            fields
                .get(3)
                .is_some_and(|members| login.is_some_and(|login| members.split(',').any(|m| m == login)))
        });
        groups.extend(of_login.filter_map(|fields| fields[2].parse::<u32>().ok()));
    }
    for name in add {
        groups.push(find_group(name, accounts)?);
    }
    groups.retain(|id| *id != gid || add.iter().any(|a| a.parse() == Ok(*id)));
    // The primary group stands in the list too: a group deny entry must not be dodged (CVE-2022-36109).
    if stands(Guard::PrimaryGroup) {
        groups.insert(0, gid);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|id| seen.insert(*id));
    let home = entry
        .and_then(|fields| fields.get(5).map(|home| (*home).to_owned()))
        .filter(|home| home.starts_with('/'));
    Ok(Identity { uid, gid, groups, home: home.unwrap_or_else(|| "/".to_owned()) })
}

fn find_group(name: &str, accounts: &Accounts) -> Result<u32> {
    if let Some(id) = number(name) {
        return id
            .map_err(|()| Error::Invalid(format!("uids and gids must be in range 0-2147483647: {name}")));
    }
    accounts
        .group_lines()
        .find(|fields| fields[0] == name)
        .and_then(|fields| fields[2].parse().ok())
        .ok_or_else(|| {
            Error::Invalid(format!("unable to find group {name}: no matching entries in group file"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/evil:/bin/sh\nme:x:1000:100::/home/me:/bin/sh\nbroken\n".into(),
            group: "root:x:0:\nusers:x:100:\naudio:x:29:me,you\nvideo:x:44:you\nstaff:x:50:me\n".into(),
        }
    }

    #[test]
    fn users_and_groups_are_exact() {
        for (user, add, want) in [
            ("", &[][..], Some((0, 0, vec![0]))),
            ("me", &[], Some((1000, 100, vec![100, 29, 50]))),
            ("1000", &[], Some((1000, 100, vec![100, 29, 50]))),
            ("1000:1000", &[], Some((1000, 1000, vec![1000]))),
            ("me:video", &[], Some((1000, 44, vec![44]))),
            ("me", &["video", "7"], Some((1000, 100, vec![100, 29, 50, 44, 7]))),
            ("4242", &[], Some((4242, 0, vec![0]))),
            ("4294967297", &[], None),
            ("2147483648", &[], None),
            ("nobody", &[], None),
            ("me:nogroup", &[], None),
            ("-1", &[], None),
        ] {
            let add: Vec<String> = add.iter().map(|a| (*a).to_owned()).collect();
            let got = resolve(user, &add, &accounts()).ok().map(|id| (id.uid, id.gid, id.groups));
            assert_eq!(got, want, "{user}");
        }
    }

    /// Shows that `guard` is what keeps a harm out.
    fn proves(guard: Guard, harm: impl Fn() -> bool) {
        assert!(!harm(), "harm was done with {guard:?}");
        assert!(guard::without(guard, harm), "no harm is done without {guard:?}: the test proves nothing");
    }

    /// CVE-2016-3697, CVE-2026-46680: a line of the image's whose name is the number makes its user root.
    #[test]
    fn numbers_are_no_names() {
        proves(Guard::Numbers, || resolve("1000", &[], &accounts()).is_ok_and(|identity| identity.uid == 0));
    }

    /// CVE-2022-36109: who gives a group up by `chgrp`-like calls must still have it, or a file that denies that group is open.
    #[test]
    fn the_primary_group_cannot_be_dodged() {
        for user in ["me", "me:video", "4242"] {
            proves(Guard::PrimaryGroup, || {
                resolve(user, &[], &accounts()).is_ok_and(|identity| !identity.groups.contains(&identity.gid))
            });
        }
    }

    /// CVE-2026-47262, CVE-2024-9676: the files are none, are huge, or lead to the host.
    #[test]
    fn strange_account_files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let passwd = dir.path().join("root/etc/passwd");
        std::fs::create_dir_all(passwd.parent().unwrap()).unwrap();
        let root = || Root::open(&dir.path().join("root")).unwrap();
        assert!(Accounts::load(&root()).is_ok());
        let host = dir.path().join("secret");
        std::fs::write(&host, "root:x:0:0::/of-the-host:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink(&host, &passwd).unwrap();
        proves(Guard::Beneath, || {
            Accounts::load(&root()).is_ok_and(|accounts| accounts.passwd.contains("of-the-host"))
        });
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap();
        assert!(Accounts::load(&root()).is_ok(), "the link does not leave the root");
        std::fs::remove_file(&passwd).unwrap();
        File::create(&passwd).unwrap().set_len(10 << 30).unwrap();
        assert!(Accounts::load(&root()).is_err());
        File::options().write(true).open(&passwd).unwrap().set_len(FILE_MAX * 4).unwrap();
        proves(Guard::Bound, || {
            Accounts::load(&root()).is_ok_and(|accounts| accounts.passwd.len() as u64 > FILE_MAX)
        });
        std::fs::remove_file(&passwd).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &passwd, FileType::Fifo, mode, 0).unwrap();
        assert!(Accounts::load(&root()).is_err());
        // Without the guard it waits for a writer; this one comes after a moment, so that the test ends.
        let path = passwd.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            drop(File::options().write(true).open(path));
        });
        let begin = std::time::Instant::now();
        let _ = guard::without(Guard::PlainFile, || Accounts::load(&root()));
        writer.join().unwrap();
        assert!(begin.elapsed().as_millis() >= 200, "it did not wait: the test proves nothing");
    }
}
