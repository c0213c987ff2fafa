//! The record of events: what happened to containers, images, volumes and networks, appended by whichever process of Brig did
//! or saw it, read by `brig events`.
//!
//! There is no daemon through which all passes, so the record is a file: each event is one line, each call of [`record`] is
//! one write to a file opened for appending. No lock, no transaction, no sync: the kernel puts whole writes one after the
//! other. Who tells another process of a thing records it before, so that the order in the file is the order in which
//! things happened. The file has a budget; beyond it the record begins anew and one old file is kept.
//!
//! ```no_run
//! use monitor::events::{self, Event, Kind};
//!
//! let folder = std::path::Path::new("/var/lib/brig/events");
//! let id = "0123…";
//! events::record(folder, &[Event::new(Kind::Container, "health_status: healthy", id)]);
//! events::record(folder, &[Event::new(Kind::Container, "die", id).with("exitCode", 0)]);
//! ```
//!
//! Inside the engine `Engine::record` knows the folder. An event carries what is special to it; image, name and labels of a
//! container ([`Event::about`]) are written with its first event, its new name and its last event only: the reader
//! completes the others.

mod read;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use read::Reader;

use crate::clock;

/// Bytes after which a new file is begun: with the old one the record holds about 50,000 events.
const MAX_SIZE: u64 = 4 << 20;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    #[serde(rename = "t")]
    pub time: u64,
    /// To what kind of object.
    #[serde(rename = "k")]
    pub kind: Kind,
    /// What, in Docker's word: `create`, `die`, `exec_start: sh -c true`.
    #[serde(rename = "a")]
    pub action: String,
    /// Identity of the object: an id, or the name of a volume or image.
    #[serde(rename = "i")]
    pub id: String,
    /// What is special to this event, such as `exitCode`.
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What holds for the object until another event says otherwise: name, image, labels.
    #[serde(rename = "o", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub object: BTreeMap<String, String>,
}

impl Event {
    /// Makes an event of this moment.
    pub fn new(kind: Kind, action: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            time: u64::try_from(clock::now()).unwrap_or(0),
            kind,
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::new(),
            object: BTreeMap::new(),
        }
    }

    /// Adds what is special to this event.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.attributes.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds what holds for the object from now on.
    #[must_use]
    pub fn about(mut self, object: BTreeMap<String, String>) -> Self {
        self.object = object;
        self
    }
}

/// Appends `events` to the record in `folder`, which is made where it is missing, in one write.
///
/// Nothing is said of a failure: a full disk costs the record of the thing, never the thing.
pub fn record(folder: &Path, events: &[Event]) {
    let mut text = Vec::with_capacity(192 * events.len());
    for event in events {
        if serde_json::to_writer(&mut text, event).is_ok() {
            text.push(b'\n');
        }
    }
    if !text.is_empty() {
        // Why nobody is told: see above.
        let _ = append(folder, &text, MAX_SIZE);
    }
}

fn append(folder: &Path, text: &[u8], max_size: u64) -> io::Result<()> {
    let path = newest(folder);
    let mut file = match open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(folder)?;
            open(&path)?
        }
        other => other?,
    };
    file.write_all(text)?;
    if file.metadata()?.len() > max_size { rotate(folder, &file) } else { Ok(()) }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Puts the full file `file` aside, once: the lock is on the file itself, and whoever comes second finds another in its place.
fn rotate(folder: &Path, file: &File) -> io::Result<()> {
    flock(file, FlockOperation::LockExclusive)?;
    match fs::metadata(newest(folder)) {
        Ok(there) if there.ino() == file.metadata()?.ino() => fs::rename(newest(folder), oldest(folder)),
        // Nobody has begun the next one yet.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn newest(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn oldest(folder: &Path) -> PathBuf {
    folder.join("log.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("brig-events-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn all(folder: &Path) -> Vec<Event> {
        let mut list = Vec::new();
        Reader::open(folder)
            .unwrap()
            .read(&mut |event| {
                list.push(event);
                Ok(true)
            })
            .unwrap();
        list
    }

    #[test]
    fn what_is_recorded_is_read() {
        let folder = folder("round");
        let object = BTreeMap::from([("name".to_owned(), "a \"b\"\n{\"t\":1".to_owned())]);
        let create = Event::new(Kind::Container, "create", "1").about(object);
        let die = Event::new(Kind::Container, "die", "1").with("exitCode", 137);
        record(&folder, &[create.clone(), die.clone()]);
        record(&folder, &[Event::new(Kind::Volume, "destroy", "v")]);
        let list = all(&folder);
        assert_eq!(list[..2], [create, die]);
        assert_eq!((list[2].kind, list.len()), (Kind::Volume, 3));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let folder = folder("torn");
        record(&folder, &[Event::new(Kind::Image, "tag", "1")]);
        append(&folder, b"{\"t\":5,\"k\":\"con", MAX_SIZE).unwrap();
        record(&folder, &[Event::new(Kind::Image, "untag", "2")]);
        append(&folder, b"nonsense\n\n", MAX_SIZE).unwrap();
        record(&folder, &[Event::new(Kind::Image, "delete", "3")]);
        let actions: Vec<String> = all(&folder).into_iter().map(|event| event.action).collect();
        assert_eq!(actions, ["tag", "untag", "delete"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn many_writers_lose_nothing_as_files_change() {
        let folder = folder("many");
        let mut reader = Reader::open(&folder).unwrap();
        let line = |writer: usize, number: usize| {
            let event = Event::new(Kind::Container, number.to_string(), writer.to_string());
            serde_json::to_string(&event).unwrap() + "\n"
        };
        let mut seen = vec![Vec::new(); 4];
        // A reader that comes along as often as a file is filled misses nothing.
        for round in 0..20 {
            std::thread::scope(|scope| {
                for writer in 0..4 {
                    let folder = &folder;
                    scope.spawn(move || {
                        for number in 0..10 {
                            append(folder, line(writer, round * 10 + number).as_bytes(), 3000).unwrap();
                        }
                    });
                }
            });
            reader
                .read(&mut |event| {
                    seen[event.id.parse::<usize>().unwrap()].push(event.action.parse::<usize>().unwrap());
                    Ok(true)
                })
                .unwrap();
        }
        for list in seen {
            assert_eq!(list, (0..200).collect::<Vec<_>>());
        }
        let kept = fs::metadata(newest(&folder)).map_or(0, |meta| meta.len());
        assert!(kept <= 4000 && fs::metadata(oldest(&folder)).unwrap().len() <= 4000);
        fs::remove_dir_all(folder).unwrap();
    }
}
