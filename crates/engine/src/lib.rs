//! Containers, images, volumes and networks as one service: the use-cases that every door calls.
//!
//! [`Engine`] takes and returns plain types; it never sees an argument parser or an HTTP status. It joins the mechanisms
//! (`image`, `registry`, `network`, `monitor`), which do not know each other. It is no daemon: each program that wants
//! something opens an engine of its own on the same two roots, and the database, the locks of the containers' folders and the
//! kernel keep them apart. Everything that is reported is reconciled with the kernel first.

pub mod archive;
pub mod config;
pub mod containers;
mod db;
pub mod error;
pub mod events;
pub mod images;
pub mod model;
pub mod networks;
pub mod roles;
pub mod rootless;
pub mod roots;
pub mod secrets;
pub mod system;
pub mod timings;
pub mod volumes;
pub mod why;

use std::cell::OnceCell;

use error::Doing as _;
pub use error::{Error, Result};
pub use monitor::{Error as SessionError, ExitRecord, Session, interact, log};
pub use roots::Roots;

/// The service on one pair of roots. Cheap to open: the database and the stores are opened on first use.
#[derive(Debug)]
pub struct Engine {
    roots: Roots,
    config: config::Config,
    db: OnceCell<db::Database>,
    store: OnceCell<image::Store>,
    /// One socket for all rules: closing one after a removal waits for the kernel, so that is done once.
    firewall: OnceCell<network::Firewall>,
}

impl Engine {
    /// Opens the engine on `roots`, which are made where they are missing.
    ///
    /// Fails when the roots cannot be made, when the data root was written by a newer program, or when the
    /// configuration file is malformed.
    pub fn open(roots: Roots) -> Result<Self> {
        roots.ensure()?;
        let config = config::Config::load(&roots.config)?;
        Ok(Self { roots, config, db: OnceCell::new(), store: OnceCell::new(), firewall: OnceCell::new() })
    }

    /// Returns where this engine keeps its things.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Returns the configuration.
    pub fn config(&self) -> &config::Config {
        &self.config
    }

    fn db(&self) -> Result<&db::Database> {
        if let Some(db) = self.db.get() {
            return Ok(db);
        }
        let db = db::Database::open(&self.roots.data.join("brig.db"))?;
        Ok(self.db.get_or_init(|| db))
    }

    fn store(&self) -> Result<&image::Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = image::Store::open(&self.roots.data)
            .doing(|| format!("cannot open the image store in {:?}", self.roots.data))?;
        Ok(self.store.get_or_init(|| store))
    }

    fn firewall(&self) -> Result<&network::Firewall> {
        if let Some(firewall) = self.firewall.get() {
            return Ok(firewall);
        }
        let (_, table) = self.network_names();
        let firewall =
            network::Firewall::open(&table).doing(|| format!("cannot open the firewall table {table}"))?;
        Ok(self.firewall.get_or_init(|| firewall))
    }
}
