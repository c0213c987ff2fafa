//! What a layer needs from the layers below it.
//!
//! A layer is unpacked once, alone. Three things then depend on what it is put on:
//!
//! - A folder that its archive leaves out was made as root's with mode 0755; overlayfs would show these attributes in
//!   place of the lower folder's.
//! - What stands in such a folder may belong behind a link of a lower layer: `lib/x` on an image whose `lib` is a link
//!   to `usr/lib` means `usr/lib/x`. (Unpackers that see all layers at once do it so.)
//! - A hard link may name a file of a lower layer.
//!
//! For these a small *fix* layer is made above it, keyed by the ChainID of the stack up to it: folders with the lower ones'
//! attributes, and hard links to the layers' own files. No data is copied. Most layers need none.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci::Digest;
use oci::config::chain_ids;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::stack::{Found, Stack, is_opaque, join};
use super::{LayerMeta, random_name};
use crate::error::{At as _, Error, Result};
use crate::files;
use crate::store::Store;
use crate::unpack::{Form, UnpackError, Unpacked, list_xattrs, set_opaque};

/// The folders that stand for a stack of layers: names below `layers/`, bottom first.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(crate) folders: Vec<String>,
    pub(crate) stack: Stack,
}

impl Store {
    /// Finds the folders of the layers `diff_ids`, bottom first, and makes the fix layers that they need.
    pub(crate) fn compose(&self, diff_ids: &[Digest]) -> Result<Composed> {
        let form = Form::of_process();
        let chains = chain_ids(diff_ids);
        let mut composed = Composed { folders: Vec::new(), stack: Stack::new(form) };
        for (index, diff_id) in diff_ids.iter().enumerate() {
            let meta =
                self.layer_meta(diff_id)?.ok_or_else(|| Error::LayerNotFound { diff_id: diff_id.clone() })?;
            if meta.form != form {
                let what = format!("layer {diff_id}, unpacked by another kind of user,");
                return Err(Error::Unsupported { what });
            }
            let folder = self.open_layer(diff_id.hex())?;
            let fix = match depends_on_lower(&meta.unpacked, index) {
                true => self.ensure_fix(&chains[index], diff_id, &composed.stack, &folder, &meta)?,
                false => None,
            };
            composed.folders.push(format!("{}/diff", diff_id.hex()));
            composed.stack.push(folder);
            if let Some((name, folder)) = fix {
                composed.folders.push(format!("{name}/diff"));
                composed.stack.push(folder);
            }
        }
        Ok(composed)
    }

    fn open_layer(&self, name: &str) -> Result<OwnedFd> {
        let path = self.path("layers").join(name).join("diff");
        Ok(files::open_dir(&path).at("open", &path)?.into())
    }

    /// Returns the fix layer for one layer on `lower`, made now if need be; `None` when nothing is to be fixed.
    fn ensure_fix(
        &self,
        chain: &Digest,
        diff_id: &Digest,
        lower: &Stack,
        layer: &OwnedFd,
        meta: &LayerMeta,
    ) -> Result<Option<(String, OwnedFd)>> {
        let name = format!("{}.fix", chain.hex());
        let path = self.path("layers").join(&name);
        if path.join("none").exists() {
            return Ok(None);
        }
        if !path.join("diff").exists() {
            self.make_fix(&path, diff_id, lower, layer, meta)?;
        }
        if path.join("none").exists() { Ok(None) } else { Ok(Some((name.clone(), self.open_layer(&name)?))) }
    }

    fn make_fix(
        &self,
        path: &Path,
        diff_id: &Digest,
        lower: &Stack,
        layer: &OwnedFd,
        meta: &LayerMeta,
    ) -> Result<()> {
        let (temporary, _lock) = loop {
            let temporary = self.path("layers/.tmp").join(format!("fix-{}", random_name()));
            // A sweep may take it away before it is locked; then once more.
            if let Some(lock) = super::lock_folder(&temporary, &|| false)? {
                break (temporary, lock);
            }
        };
        let made = fill(&temporary, diff_id, lower, layer, meta).and_then(|()| {
            match rustix::fs::rename(&temporary, path) {
                // Somebody else was quicker; theirs is the same.
                Err(Errno::EXIST | Errno::NOTEMPTY) => files::remove_tree(&temporary),
                renamed => renamed.at("publish", path),
            }
        });
        if made.is_err() {
            let _ = files::remove_tree(&temporary);
        }
        made
    }
}

/// A bottom layer has nothing below it; links from it lead nowhere, which `fill` says.
fn depends_on_lower(unpacked: &Unpacked, index: usize) -> bool {
    !unpacked.links.is_empty() || (index > 0 && (!unpacked.implicit.is_empty() || !unpacked.has_root))
}

fn fill(folder: &Path, diff_id: &Digest, lower: &Stack, layer: &OwnedFd, meta: &LayerMeta) -> Result<()> {
    let diff = folder.join("diff");
    let fixes = plan(lower, layer, meta).at("compare layers for", folder)?;
    if fixes.folders.is_empty() && fixes.behind_links.is_empty() && meta.unpacked.links.is_empty() {
        let none = folder.join("none");
        return std::fs::write(&none, b"").at("write", &none);
    }
    files::ensure_dir(&diff, Mode::from_raw_mode(0o755))?;
    let fix = Fix { lower, layer, meta, root: files::open_dir(&diff).at("open", &diff)?.into() };
    for path in &fixes.folders {
        fix.folder(path).at("fix folders in", &diff)?;
    }
    for (path, target) in &fixes.behind_links {
        fix.behind_link(path, target).at("fix links in", &diff)?;
    }
    for link in &meta.unpacked.links {
        let refused = |reason| Error::Unpack {
            layer: diff_id.clone(),
            source: UnpackError::Refused { path: String::from_utf8_lossy(&link.name).into_owned(), reason },
        };
        match fix.link(&link.name, &link.target) {
            Err(Errno::NOENT) => return Err(refused("it is a hard link to a file that does not exist")),
            Err(Errno::PERM | Errno::ISDIR) => return Err(refused("it is a hard link to a folder")),
            result => result.at("link files in", &diff)?,
        }
    }
    fix.times().at("set times in", &diff)
}

/// What is to be fixed, besides hard links.
#[derive(Debug, Default)]
struct Fixes {
    /// Folders whose attributes must be the lower ones'.
    folders: Vec<Vec<u8>>,
    /// Folders that stand in place of a lower layer's link, and the folder that the link leads to.
    behind_links: Vec<(Vec<u8>, Vec<u8>)>,
}

fn plan(lower: &Stack, layer: &OwnedFd, meta: &LayerMeta) -> rustix::io::Result<Fixes> {
    let mut fixes = Fixes::default();
    let root = (!meta.unpacked.has_root).then_some(Vec::new());
    for path in root.iter().chain(&meta.unpacked.implicit) {
        let Some(found) = lower.lookup(path)? else { continue };
        if !shows_through(layer, path, meta.form)? {
            continue;
        }
        match found.kind() {
            FileType::Directory if !same_attributes(&found, path, layer, meta.form)? => {
                fixes.folders.push(path.clone());
            }
            FileType::Symlink => {
                let target = parent_of(&lower.resolve_parents(&join(path, b"x"))?).to_vec();
                let leads_to = lower.lookup(&target)?.map(|found| found.kind());
                if leads_to == Some(FileType::Directory) && !target.starts_with(path) {
                    fixes.behind_links.push((path.clone(), target));
                }
            }
            _ => {}
        }
    }
    Ok(fixes)
}

/// Says whether lower layers show through the layer's folder `path`: neither it nor one above it is opaque.
fn shows_through(layer: &OwnedFd, path: &[u8], form: Form) -> rustix::io::Result<bool> {
    let mut folder = open_below(layer, b".")?;
    if is_opaque(&folder, form) {
        return Ok(false);
    }
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        folder = open_below(&folder, part)?;
        if is_opaque(&folder, form) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_attributes(found: &Found, path: &[u8], layer: &OwnedFd, form: Form) -> rustix::io::Result<bool> {
    let ours = open_path(layer, path)?;
    let stat = rustix::fs::fstat(&ours)?;
    let theirs = open_below(&found.folder, last(path))?;
    Ok((stat.st_mode, stat.st_uid, stat.st_gid) == (found.stat.st_mode, found.stat.st_uid, found.stat.st_gid)
        && list_xattrs(&ours, form)? == list_xattrs(&theirs, form)?)
}

/// A fix layer that is being made.
struct Fix<'a> {
    lower: &'a Stack,
    layer: &'a OwnedFd,
    meta: &'a LayerMeta,
    root: OwnedFd,
}

impl Fix<'_> {
    /// Makes the folder `path`, and those above it, with the attributes that the whole stack shows.
    fn folder(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let mut folder = open_below(&self.root, b".")?;
        self.copy_attributes(b"", &folder)?;
        let mut done = Vec::new();
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            match rustix::fs::mkdirat(&folder, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            folder = open_below(&folder, part)?;
            done = join(&done, part);
            self.copy_attributes(&done, &folder)?;
        }
        Ok(folder)
    }

    /// Gives the file `target` of the stack the further name `name`.
    fn link(&self, name: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let target = self.lower.resolve_parents(target)?;
        // The target may itself be one of the links made here before.
        let from = match open_path(&self.root, parent_of(&target)) {
            Ok(from) if rustix::fs::statat(&from, last(&target), AtFlags::SYMLINK_NOFOLLOW).is_ok() => from,
            _ => self.lower.lookup(&target)?.ok_or(Errno::NOENT)?.folder,
        };
        let folder = self.folder(parent_of(name))?;
        rustix::fs::linkat(&from, last(&target), &folder, last(name), AtFlags::empty())
    }

    /// Shows the lower layer's link `path` again, and what the layer has in its place in `target`, where the link leads.
    fn behind_link(&self, path: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let link = self.lower.lookup(path)?.ok_or(Errno::NOENT)?;
        let parent = self.folder(parent_of(path))?;
        rustix::fs::linkat(&link.folder, last(path), &parent, last(path), AtFlags::empty())?;
        self.merge(&open_path(self.layer, path)?, path, target)?;
        // What was made in them changed the folders' times.
        self.folder(target)?;
        self.folder(parent_of(path)).map(drop)
    }

    fn merge(&self, from: &OwnedFd, path: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let to = self.folder(target)?;
        for entry in rustix::fs::Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let (below, target) = (join(path, name), join(target, name));
            match open_below(from, name) {
                Ok(folder) => {
                    self.merge(&folder, &below, &target)?;
                    self.copy_own(&folder, &below, &target)?;
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    rustix::fs::linkat(from, name, &to, name, AtFlags::empty())?;
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Gives a folder that was moved behind a link its own attributes, unless the archive left it out.
    fn copy_own(&self, folder: &OwnedFd, path: &[u8], target: &[u8]) -> rustix::io::Result<()> {
        let to = open_path(&self.root, target)?;
        if is_opaque(folder, self.meta.form) {
            set_opaque(&to, self.meta.form)?;
        } else if self.is_implicit(path) && self.lower.lookup(target)?.is_some() {
            return Ok(());
        }
        self.copy_from(folder, &to)
    }

    fn is_implicit(&self, path: &[u8]) -> bool {
        self.meta.unpacked.implicit.binary_search_by(|implicit| implicit.as_slice().cmp(path)).is_ok()
    }

    fn copy_attributes(&self, path: &[u8], to: &OwnedFd) -> rustix::io::Result<()> {
        match self.attributes_of(path) {
            // A folder that only stands behind a link so far; `copy_own` follows.
            Err(Errno::NOENT) => Ok(()),
            from => self.copy_from(&from?, to),
        }
    }

    fn copy_from(&self, from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
        let stat = rustix::fs::fstat(from)?;
        if rustix::process::geteuid().is_root() {
            rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        for (name, value) in list_xattrs(from, self.meta.form)? {
            rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty())?;
        }
        let mtime = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
        rustix::fs::futimens(to, &Timestamps { last_access: mtime, last_modification: mtime })
    }

    /// Opens the folder whose attributes the stack shows at `path`: the layer's own, unless its archive left it out.
    fn attributes_of(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let left_out = match path {
            b"" => !self.meta.unpacked.has_root,
            path => self.is_implicit(path),
        };
        let own = open_path(self.layer, path);
        match own {
            Ok(own) if !left_out || !shows_through(self.layer, path, self.meta.form)? => return Ok(own),
            _ => {}
        }
        match self.lower.lookup(path)? {
            Some(found) if found.kind() == FileType::Directory => open_below(&found.folder, last(path)),
            _ => own,
        }
    }

    /// Sets the folders' times again, after all was made in them.
    fn times(&self) -> rustix::io::Result<()> {
        let mut paths: BTreeSet<Vec<u8>> = BTreeSet::from([Vec::new()]);
        let names = self.meta.unpacked.links.iter().map(|link| parent_of(&link.name).to_vec());
        for path in names.chain(self.meta.unpacked.implicit.iter().cloned()) {
            for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                paths.insert(path[..at].to_vec());
            }
            paths.insert(path);
        }
        for path in paths.iter().rev() {
            if let Ok(folder) = open_path(&self.root, path) {
                self.copy_attributes(path, &folder)?;
            }
        }
        Ok(())
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(b"", |slash| &path[..slash])
}

/// The last part of a path; of the root, itself.
fn last(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => &path[slash + 1..],
        None if path.is_empty() => b".",
        None => path,
    }
}

fn open_path(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let mut folder = open_below(root, b".")?;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        folder = open_below(&folder, part)?;
    }
    Ok(folder)
}

fn open_below(folder: &impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Says where the folders of a composed stack are.
pub(crate) fn folder_paths(store: &Store, folders: &[String]) -> Vec<PathBuf> {
    let layers = store.path("layers");
    folders.iter().map(|folder| layers.join(folder)).collect()
}
