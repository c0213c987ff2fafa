//! Unpacking: a layer's tar into a folder in overlayfs's own form.
//!
//! Everything in the archive is hostile. Each folder on the way to a member is opened from the one above it, by
//! descriptor and without following links; a link that the layer itself made is resolved within the layer's folder. So nothing outside
//! can be reached, whatever the archive says. Whiteouts become devices 0:0, opaque folders get overlayfs's mark.
//!
//! Two things depend on the layers below, which are not looked at here, because a layer is unpacked once for all
//! images: folders that the archive leaves out (*implicit* ones), and hard links to files of a lower layer. Both are
//! reported in [`Unpacked`]; `layers::fix` deals with them when layers are stacked.

mod apply;
mod folders;
mod guard;
mod path;
pub(crate) mod remove;
mod xattr;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::os::fd::OwnedFd;

use base::{ErrorKind, Kinded};
use serde::{Deserialize, Serialize};

use crate::tar::{Entry, Limits, Reader, TarError};

pub(crate) use apply::write_data;
pub(crate) use path::split as split_path;
pub(crate) use xattr::{Form, is_allowed, list_xattrs, set_opaque};

/// Limits of unpacking.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Limits of the archive's headers.
    pub tar: Limits,
    /// Folders in one another.
    pub depth: usize,
    /// Bytes that the paths of implicit folders and links to lower layers may take together.
    pub deferred: usize,
    /// Plain bytes for one compressed byte …
    pub ratio: u64,
    /// … beyond so many plain bytes, which are free.
    pub ratio_free: u64,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self { tar: Limits::default(), depth: 255, deferred: 8 << 20, ratio: 250, ratio_free: 1 << 30 }
    }
}

/// What came out of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Bytes of all regular files.
    pub size: u64,
    /// Bytes on disk, whole pages.
    pub disk: u64,
    /// Members of the archive.
    pub entries: u64,
    /// The archive describes its own root folder.
    pub has_root: bool,
    /// Folders that the archive leaves out, made as root's with mode 0755.
    #[serde(with = "path::hex_list")]
    pub implicit: Vec<Vec<u8>>,
    /// Hard links whose target is not in this layer: name and target, in order.
    pub links: Vec<LowerLink>,
    /// Device files that could not be made in a user namespace.
    pub skipped_devices: u64,
}

/// A hard link to a file of a lower layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LowerLink {
    /// Path of the link.
    #[serde(with = "path::hex_text")]
    pub name: Vec<u8>,
    /// Path of the file.
    #[serde(with = "path::hex_text")]
    pub target: Vec<u8>,
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read.
    #[error("invalid tar")]
    Tar(#[from] TarError),
    /// A member is refused.
    #[error("{path:?} is refused: {reason}")]
    Refused {
        /// The member.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// A system call on a member failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The member.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The owner of a member has no number in our user namespace.
    #[error(
        "cannot give {path:?} to {uid}:{gid}: your user namespace has no such numbers; have root give you more by `usermod --add-subuids 100000-165535 --add-subgids 100000-165535` with your name"
    )]
    Owner {
        /// The member.
        path: String,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Something is larger than is allowed.
    #[error("{what} is {value}, more than the limit of {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What was found.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
}

impl Kinded for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => crate::error::io_kind(source),
            Self::Owner { .. } => ErrorKind::Unsupported,
            Self::Tar(_) | Self::Refused { .. } | Self::Limit { .. } => ErrorKind::Invalid,
        }
    }
}

/// Unpacks the archive in `input` into the empty folder `root`, and reads `input` to its end.
///
/// The calling thread gets a file creation mask of its own; call it on a thread that does nothing else.
pub(crate) fn unpack<R: BufRead>(
    input: R,
    root: OwnedFd,
    form: Form,
    options: &UnpackOptions,
) -> Result<(Unpacked, R), UnpackError> {
    let mut reader = Reader::new(input, options.tar);
    let mut unpacker = apply::Unpacker::new(root, form, options)?;
    let mut entry = Entry::default();
    while reader.next(&mut entry)? {
        unpacker.apply(&entry, &mut reader)?;
    }
    let unpacked = unpacker.finish()?;
    Ok((unpacked, reader.finish()?))
}
