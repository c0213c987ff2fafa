//! Garbage collection: whatever is neither live nor leased goes.
//!
//! Deciding and renaming happen under the lock that leases need (see `lease`); the deletion itself comes after it. What a
//! killed process left half made has no lock any more and goes too; what a running one makes is locked, and stays.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use oci::Digest;
use rustix::fs::FlockOperation;

use crate::error::{At as _, Result};
use crate::files::{self, random_name};
use crate::lease::Lease;
use crate::store::Store;

/// What the engine knows to be in use.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Layers, by DiffID: of all images, and of the images of all containers.
    pub layers: HashSet<Digest>,
    /// Blobs: see [`crate::StoredImage::blobs`].
    pub blobs: HashSet<Digest>,
    /// Keys of snapshots.
    pub snapshots: HashSet<String>,
}

/// A sweep that has begun: no operation starts to use anything until it ends. Read the database now, then
/// [`Sweep::run`].
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a Store,
    lock: File,
    /// Things that running operations have.
    leased: Live,
    reclaimed: Reclaimed,
    /// What was renamed out of the way, to be deleted.
    trash: Vec<PathBuf>,
}

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes on disk.
    pub bytes: u64,
    /// Layers.
    pub layers: Vec<Digest>,
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Keys of snapshots.
    pub snapshots: Vec<String>,
}

/// What the store takes on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of each unpacked layer.
    pub layers: BTreeMap<Digest, u64>,
    /// The blob that each layer came in, if it was kept.
    pub origins: BTreeMap<Digest, Digest>,
    /// Bytes of each blob.
    pub blobs: BTreeMap<Digest, u64>,
    /// Bytes of each snapshot's writable folder.
    pub snapshots: BTreeMap<String, u64>,
}

impl Store {
    /// Begins a sweep: waits until nobody is just about to name something, then keeps everybody from it.
    pub fn begin_sweep(&self) -> Result<Sweep<'_>> {
        let (lock, path) = self.gate()?;
        files::lock(&lock, FlockOperation::LockExclusive, &path)?;
        let mut sweep = Sweep {
            store: self,
            lock,
            leased: Live::default(),
            reclaimed: Reclaimed::default(),
            trash: Vec::new(),
        };
        sweep.read_leases()?;
        Ok(sweep)
    }

    /// Returns what the store takes on disk.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for name in list(&self.path("layers"))? {
            if let Some(diff_id) = digest_of(&name)
                && let Some(meta) = self.layer_meta(&diff_id)?
            {
                let path = self.path("layers").join(&name);
                usage.layers.insert(diff_id.clone(), files::disk_usage(&path).at("measure", &path)?);
                usage.origins.extend(meta.blob.map(|origin| (diff_id, origin.digest)));
            }
        }
        for name in list(&self.path("content/blobs/sha256"))? {
            let path = self.path("content/blobs/sha256").join(&name);
            if let Some(digest) = digest_of(&name)
                && let Ok(size) = files::disk_usage(&path)
            {
                usage.blobs.insert(digest, size);
            }
        }
        for name in list(&self.path("snapshots"))? {
            let Some(key) = name.to_str().filter(|key| !key.starts_with('.')) else { continue };
            let path = self.path("snapshots").join(key);
            usage.snapshots.insert(key.to_owned(), files::disk_usage(&path).at("measure", &path)?);
        }
        Ok(usage)
    }
}

impl Sweep<'_> {
    /// Removes everything that is neither in `live` nor leased nor being made by a running process.
    pub fn run(mut self, live: &Live) -> Result<Reclaimed> {
        let mut layers = self.leased.layers.clone();
        layers.extend(live.layers.iter().cloned());
        let mut fixes = HashSet::new();
        for key in &live.snapshots {
            // One that is damaged keeps nothing; it is reported where it is used.
            if let Ok(Some(meta)) = self.store.snapshot_meta(key) {
                layers.extend(meta.diff_ids);
                fixes.extend(meta.folders.iter().filter_map(|f| Some(f.strip_suffix("/diff")?.to_owned())));
            }
        }
        // From its blob a layer is made again after a power cut, and saved, whichever image it came with.
        for diff_id in &layers {
            let origin = self.store.recorded_meta(diff_id).ok().flatten().and_then(|meta| meta.blob);
            self.leased.blobs.extend(origin.map(|origin| origin.digest));
        }
        self.sweep_snapshots(live)?;
        self.sweep_layers(&layers, &fixes)?;
        self.sweep_blobs(live)?;
        self.sweep_unfinished()?;
        self.delete()
    }

    fn read_leases(&mut self) -> Result<()> {
        let folder = self.store.path("content/leases");
        for name in list(&folder)? {
            let path = folder.join(name);
            let Ok(file) = File::open(&path) else { continue };
            if files::try_lock(&file, &path)? {
                files::remove_file(&path)?;
                continue;
            }
            let (blobs, layers) = Lease::read(&file).at("read", &path)?;
            self.leased.blobs.extend(blobs);
            self.leased.layers.extend(layers);
        }
        Ok(())
    }

    fn sweep_snapshots(&mut self, live: &Live) -> Result<()> {
        let folder = self.store.path("snapshots");
        for name in list(&folder)? {
            let Some(key) = name.to_str().filter(|key| !key.starts_with('.')) else { continue };
            if !live.snapshots.contains(key) {
                self.discard(&folder.join(key), "snapshots/.trash")?;
                self.reclaimed.snapshots.push(key.to_owned());
            }
        }
        Ok(())
    }

    fn sweep_layers(&mut self, live: &HashSet<Digest>, fixes: &HashSet<String>) -> Result<()> {
        let folder = self.store.path("layers");
        for name in list(&folder)? {
            let Some(text) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            match digest_of(&name) {
                Some(diff_id) if live.contains(&diff_id) => {}
                Some(diff_id) => {
                    self.discard(&folder.join(&name), "layers/.trash")?;
                    self.reclaimed.layers.push(diff_id);
                }
                // A fix layer is made again when it is wanted again.
                None if fixes.contains(text) => {}
                None => self.discard(&folder.join(&name), "layers/.trash")?,
            }
        }
        Ok(())
    }

    fn sweep_blobs(&mut self, live: &Live) -> Result<()> {
        let folder = self.store.path("content/blobs/sha256");
        for name in list(&folder)? {
            let digest = digest_of(&name);
            if digest.as_ref().is_some_and(|d| live.blobs.contains(d) || self.leased.blobs.contains(d)) {
                continue;
            }
            let path = folder.join(&name);
            let size = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            if files::remove_file(&path)? {
                self.reclaimed.bytes += size;
                self.reclaimed.blobs.extend(digest);
            }
        }
        Ok(())
    }

    /// Removes what nobody holds the lock of, and the trash of whoever was killed while deleting.
    fn sweep_unfinished(&mut self) -> Result<()> {
        for (folder, trash) in [("layers/.tmp", "layers/.trash"), ("content/ingest", "layers/.trash")] {
            let folder = self.store.path(folder);
            for name in list(&folder)? {
                let path = folder.join(name);
                let Ok(file) = File::open(&path) else { continue };
                if files::try_lock(&file, &path)? {
                    self.discard(&path, trash)?;
                }
            }
        }
        for name in list(&self.store.path("snapshots/.tmp"))? {
            let path = self.store.path("snapshots/.tmp").join(name);
            // Snapshots are made under the lock that is held here: whoever made this one is gone.
            self.discard(&path, "snapshots/.trash")?;
        }
        for folder in ["layers/.trash", "snapshots/.trash"] {
            let folder = self.store.path(folder);
            let left = list(&folder)?.into_iter().map(|name| folder.join(name));
            self.trash.extend(left.collect::<Vec<_>>());
        }
        self.trash.sort();
        self.trash.dedup();
        Ok(())
    }

    fn discard(&mut self, path: &Path, trash: &str) -> Result<()> {
        let to = self.store.path(trash).join(random_name());
        std::fs::rename(path, &to).at("remove", path)?;
        self.trash.push(to);
        Ok(())
    }

    fn delete(mut self) -> Result<Reclaimed> {
        drop(self.lock);
        for path in &self.trash {
            self.reclaimed.bytes += files::disk_usage(path).unwrap_or(0);
            files::remove_tree(path)?;
        }
        Ok(self.reclaimed)
    }
}

fn list(folder: &Path) -> Result<Vec<OsString>> {
    let entries = std::fs::read_dir(folder).at("list", folder)?;
    entries.map(|entry| Ok(entry.at("list", folder)?.file_name())).collect()
}

fn digest_of(name: &std::ffi::OsStr) -> Option<Digest> {
    format!("sha256:{}", name.to_str()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{FetchOptions, NoProgress};
    use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_root};

    fn count(store: &Store, folder: &str) -> usize {
        std::fs::read_dir(store.path(folder)).unwrap().count()
    }

    #[test]
    fn root_what_is_not_live_goes_completely() {
        if !is_root("root_what_is_not_live_goes_completely") {
            return;
        }
        let store = TestStore::new();
        let one = TarBuilder::new().folder("a", 0o755).file("a/b", "c").finish();
        let two = TarBuilder::new().file("tmp/x", "y").finish();
        let image = MemoryImage::new(&[one, two], gzip);
        let lease = store.lease().unwrap();
        let stored = store.fetch(&lease, &image, &FetchOptions::default(), &NoProgress).unwrap();
        store.prepare_snapshot("kept", &stored.diff_ids()).unwrap();
        store.prepare_snapshot("lost", &stored.diff_ids()[..1]).unwrap();
        // Leased: all but the snapshots stays, although nothing is live.
        let live = Live { snapshots: HashSet::from(["kept".to_owned()]), ..Live::default() };
        let swept = store.begin_sweep().unwrap().run(&live).unwrap();
        assert_eq!((swept.snapshots, swept.layers.len(), swept.blobs.len()), (vec!["lost".to_owned()], 0, 0));
        drop(lease);
        // Layers of a live snapshot stay with their blobs; manifest and configuration go.
        let swept = store.begin_sweep().unwrap().run(&live).unwrap();
        assert_eq!((swept.layers.len(), swept.blobs.len()), (0, 2));
        assert!(store.has_layer(&stored.layers[0].diff_id));
        let swept = store.begin_sweep().unwrap().run(&Live::default()).unwrap();
        assert_eq!(swept.layers.len(), 2);
        assert_eq!(count(&store, "layers") + count(&store, "snapshots"), 4);
        assert_eq!(count(&store, "layers/.trash") + count(&store, "layers/.tmp"), 0);
        assert_eq!(store.usage().unwrap(), Usage::default());
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_being_made_stays() {
        let store = TestStore::new();
        let digest = Digest::of(b"x");
        let crate::content::Begun::New(ingest) = store.ingest(&digest, 5, &|| false).unwrap() else {
            panic!()
        };
        std::fs::write(store.path("content/ingest/0123"), "left").unwrap();
        std::fs::create_dir_all(store.path("layers/.tmp/0123/diff")).unwrap();
        std::fs::create_dir_all(store.path("layers/.trash/0123/deep/er")).unwrap();
        std::fs::write(store.path("content/leases/dead"), format!("b{digest}\n")).unwrap();
        store.begin_sweep().unwrap().run(&Live::default()).unwrap();
        assert_eq!(count(&store, "content/ingest"), 1);
        assert_eq!(count(&store, "layers/.tmp") + count(&store, "layers/.trash"), 0);
        assert_eq!(count(&store, "content/leases"), 0);
        drop(ingest);
        store.begin_sweep().unwrap().run(&Live::default()).unwrap();
        assert_eq!(count(&store, "content/ingest"), 0);
    }
}
