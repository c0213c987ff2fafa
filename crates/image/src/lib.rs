//! The image store: blobs by digest, unpacked layers by DiffID, writable snapshots on overlayfs.
//!
//! It knows nothing of containers, names or the database: the engine keeps names → images and tells the store what is
//! live when garbage is collected. Nothing here is asynchronous; several processes may use one store at once.
//!
//! ```text
//! <root>/content/blobs/sha256/<hex>    whole, verified blobs (rename publishes them)
//! <root>/content/ingest/<hex>          blobs on their way in, flock held by whoever writes
//! <root>/content/leases/<random>       what running operations use, flock held by their process
//! <root>/layers/<diff-id hex>/         diff/ in overlayfs's own form, meta.json
//! <root>/layers/<chain-id hex>.fix/    what a layer needs from the layers below it (see `layers::fix`)
//! <root>/layers/.tmp, .trash           layers being made, being removed
//! <root>/snapshots/<key>/              upper/, work/, meta.json
//! ```

mod content;
mod error;
mod fetch;
mod files;
mod import;
mod layers;
mod lease;
mod load;
mod save;
mod snapshot;
mod store;
mod sweep;
pub mod tar;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod unpack;

pub use error::{Error, Result};
pub use fetch::{FetchOptions, LayerEvent, NoProgress, Progress, Retry};
pub use import::{ImportOptions, InvalidChange, parse_changes};
pub use lease::Lease;
pub use load::{LoadOptions, LoadedImage};
pub use save::{SaveFormat, SaveItem};
pub use snapshot::{Change, ChangeKind, CommitOptions, IdMap, MountOptions, Snapshot};
pub use store::{LayerInfo, Store, StoredImage};
pub use sweep::{Live, Reclaimed, Sweep, Usage};
