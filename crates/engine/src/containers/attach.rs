//! `attach`: the streams of a running container, for as many clients as like.

use monitor::{Client, Session};

pub use monitor::AttachOptions;

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::events::of_container;
use crate::model::Status;

impl Engine {
    /// Attaches to a running container.
    pub fn attach(&self, name: &str, options: AttachOptions) -> Result<Session> {
        let row = self.row(name)?;
        match self.state_of(&row).status {
            Status::Running => {}
            Status::Paused => {
                return Err(Error::Conflict(
                    "cannot attach to a paused container, unpause the container and try again".to_owned(),
                ));
            }
            _ => {
                return Err(Error::Conflict(
                    "cannot attach to a stopped container, start it first".to_owned(),
                ));
            }
        }
        let client = self.client(&row)?;
        self.record(&[of_container(&row.id, "attach")]);
        client.attach(options).doing(|| format!("cannot attach to container {}", row.name))
    }

    /// Sets the size of a container's terminal.
    pub fn resize(&self, name: &str, columns: u16, rows: u16) -> Result<()> {
        let row = self.row(name)?;
        self.client(&row)?
            .resize(columns, rows)
            .doing(|| format!("cannot resize the terminal of container {}", row.name))
    }

    /// Records that a client left a container that runs on.
    pub fn record_detach(&self, id: &base::ContainerId) {
        self.record(&[of_container(id, "detach")]);
    }

    /// Makes sure that a running container has a monitor.
    pub(super) fn ensure_monitor(&self, row: &ContainerRow) -> Result<()> {
        let run_dir = self.roots().container_run(row.id.as_str());
        let doing = || format!("cannot watch container {}", row.name);
        self.keep_user_network(row, |keep| monitor::ensure_monitor(&run_dir, keep).doing(doing))
    }

    /// Connects to the monitor of a running container; one that was killed is replaced first.
    pub(crate) fn client(&self, row: &ContainerRow) -> Result<Client> {
        self.thaw_left(row);
        let run_dir = self.roots().container_run(row.id.as_str());
        let doing = || format!("cannot reach the monitor of container {}", row.name);
        if let Ok(client) = Client::connect(&run_dir) {
            return Ok(client);
        }
        self.ensure_monitor(row).doing(doing)?;
        Client::connect(&run_dir).doing(doing)
    }
}
