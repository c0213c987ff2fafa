//! Mount options: the words of the specification become bits to set and to clear, propagation, and data for the file system.
//!
//! Source: runtime-spec config.md "Linux mount options"; mount(8); `linux/mount.h`.

use sys::mount::{Propagation, attr};

/// What the options of one mount mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `MOUNT_ATTR_*` to set on the mount.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// The same for the mount and everything below it (`rro` and its kin).
    pub set_recursive: u64,
    /// The same, to clear.
    pub clear_recursive: u64,
    /// Propagation, and whether it goes for everything below too.
    pub propagation: Option<(PropagationWord, bool)>,
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// `remount`: change what is mounted there already.
    pub remount: bool,
    /// Fill a new tmpfs with what the folder held.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
    /// Flags of the file system itself, by fsconfig's names (`ro`, `sync`, `dirsync`, `lazytime`, `mand`).
    pub superblock: Vec<&'static str>,
    /// Everything else: `key` or `key=value` for the file system.
    pub data: Vec<String>,
}

/// Propagation as a plan holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationWord {
    /// `shared`.
    Shared,
    /// `slave`.
    Slave,
    /// `private`.
    Private,
    /// `unbindable`.
    Unbindable,
}

impl From<PropagationWord> for Propagation {
    fn from(word: PropagationWord) -> Self {
        match word {
            PropagationWord::Shared => Self::Shared,
            PropagationWord::Slave => Self::Slave,
            PropagationWord::Private => Self::Private,
            PropagationWord::Unbindable => Self::Unbindable,
        }
    }
}

/// What one word means.
#[derive(Clone, Copy)]
enum Word {
    Set(u64),
    Clear(u64),
    /// An access time mode: the whole field is replaced.
    Atime(u64),
    Propagation(PropagationWord, bool),
    Bind(bool),
    Remount,
    CopyUp,
    Idmap(bool),
    Superblock(&'static str),
    Nothing,
}

/// Words that have no recursive form.
const WORDS: &[(&str, Word)] = &[
    ("async", Word::Nothing),
    ("bind", Word::Bind(false)),
    ("defaults", Word::Nothing),
    ("dirsync", Word::Superblock("dirsync")),
    ("idmap", Word::Idmap(false)),
    ("lazytime", Word::Superblock("lazytime")),
    ("loud", Word::Nothing),
    ("mand", Word::Superblock("mand")),
    ("nolazytime", Word::Nothing),
    ("nomand", Word::Nothing),
    ("private", Word::Propagation(PropagationWord::Private, false)),
    ("rbind", Word::Bind(true)),
    ("remount", Word::Remount),
    ("ridmap", Word::Idmap(true)),
    ("rprivate", Word::Propagation(PropagationWord::Private, true)),
    ("rshared", Word::Propagation(PropagationWord::Shared, true)),
    ("rslave", Word::Propagation(PropagationWord::Slave, true)),
    ("runbindable", Word::Propagation(PropagationWord::Unbindable, true)),
    ("shared", Word::Propagation(PropagationWord::Shared, false)),
    ("silent", Word::Nothing),
    ("slave", Word::Propagation(PropagationWord::Slave, false)),
    ("sync", Word::Superblock("sync")),
    ("tmpcopyup", Word::CopyUp),
    ("unbindable", Word::Propagation(PropagationWord::Unbindable, false)),
];

/// Words that exist a second time with an `r` before them, for the whole tree.
const ATTRIBUTES: &[(&str, Word)] = &[
    ("atime", Word::Atime(0)),
    ("dev", Word::Clear(attr::NODEV)),
    ("diratime", Word::Clear(attr::NODIRATIME)),
    ("exec", Word::Clear(attr::NOEXEC)),
    ("noatime", Word::Atime(attr::NOATIME)),
    ("nodev", Word::Set(attr::NODEV)),
    ("nodiratime", Word::Set(attr::NODIRATIME)),
    ("noexec", Word::Set(attr::NOEXEC)),
    // Without the flag the kernel takes its default, which is relatime.
    ("norelatime", Word::Atime(0)),
    ("nostrictatime", Word::Atime(0)),
    ("nosuid", Word::Set(attr::NOSUID)),
    ("nosymfollow", Word::Set(attr::NOSYMFOLLOW)),
    ("relatime", Word::Atime(0)),
    ("ro", Word::Set(attr::RDONLY)),
    ("rw", Word::Clear(attr::RDONLY)),
    ("strictatime", Word::Atime(attr::STRICTATIME)),
    ("suid", Word::Clear(attr::NOSUID)),
    ("symfollow", Word::Clear(attr::NOSYMFOLLOW)),
];

/// Words of mount(2) that the new mount interface does not carry.
const REFUSED: &[&str] = &["iversion", "noiversion"];

/// Reads the options of one mount. The error is the word that cannot be had.
pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<MountOptions, String> {
    let mut result = MountOptions::default();
    for word in options {
        if REFUSED.contains(&word) {
            return Err(word.to_owned());
        }
        if let Some(meaning) = lookup(WORDS, word) {
            result.apply(meaning, false);
        } else if let Some(meaning) = lookup(ATTRIBUTES, word) {
            result.apply(meaning, false);
        } else if let Some(meaning) = word.strip_prefix('r').and_then(|word| lookup(ATTRIBUTES, word)) {
            result.apply(meaning, true);
        } else if !word.is_empty() {
            result.data.push(word.to_owned());
        }
    }
    Ok(result)
}

/// Returns every word that has a meaning here, sorted, for `features`.
pub fn known_words() -> Vec<String> {
    let plain = WORDS.iter().chain(ATTRIBUTES).map(|(word, _)| (*word).to_owned());
    let recursive = ATTRIBUTES.iter().map(|(word, _)| format!("r{word}"));
    let mut words: Vec<String> = plain.chain(recursive).collect();
    words.sort();
    words
}

fn lookup(table: &[(&str, Word)], word: &str) -> Option<Word> {
    table.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning)
}

impl MountOptions {
    fn apply(&mut self, meaning: Word, recursive: bool) {
        let (set, clear) = if recursive {
            (&mut self.set_recursive, &mut self.clear_recursive)
        } else {
            (&mut self.set, &mut self.clear)
        };
        match meaning {
            Word::Set(bits) => {
                *set |= bits;
                *clear &= !bits;
            }
            Word::Clear(bits) => {
                *clear |= bits;
                *set &= !bits;
            }
            Word::Atime(mode) => {
                *set = (*set & !attr::ATIME) | mode;
                *clear |= attr::ATIME;
            }
            Word::Propagation(word, below) => self.propagation = Some((word, below)),
            Word::Bind(below) => self.bind = Some(below),
            Word::Remount => self.remount = true,
            Word::CopyUp => self.copy_up = true,
            Word::Idmap(below) => self.idmap = Some(below),
            Word::Superblock(flag) => self.superblock.push(flag),
            Word::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_win() {
        let options = parse(["ro", "rw", "nosuid", "nodev", "dev"]).unwrap();
        assert_eq!((options.set, options.clear), (attr::NOSUID, attr::RDONLY | attr::NODEV));
    }

    #[test]
    fn recursive_words_are_apart() {
        let options = parse(["rbind", "rro", "rnoatime", "rslave"]).unwrap();
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.set_recursive, attr::RDONLY | attr::NOATIME);
        assert_eq!(options.clear_recursive, attr::ATIME);
        assert_eq!(options.propagation, Some((PropagationWord::Slave, true)));
        assert_eq!(options.set, 0);
    }

    #[test]
    fn the_rest_is_for_the_file_system() {
        let options = parse(["mode=755", "size=64k", "newinstance"]).unwrap();
        assert_eq!(options.data, ["mode=755", "size=64k", "newinstance"]);
        assert_eq!(parse(["iversion"]).unwrap_err(), "iversion");
    }
}
