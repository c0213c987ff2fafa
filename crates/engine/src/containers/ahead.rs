//! Killing many containers to remove them: all are told before the first is waited for.

use monitor::{Claim, Client};

use super::stop::SIGKILL;
use crate::Engine;
use crate::model::Status;

/// How many containers are killed before the first of them is removed: each needs a descriptor until then.
const AHEAD: usize = 128;

/// Containers that were killed to be removed; their monitors wait for that.
#[derive(Debug, Default)]
pub struct Dying(Vec<(String, Client)>);

impl Dying {
    /// Lets the monitor of `name` go, whose container was removed, or could not be.
    pub fn release(&mut self, name: &str) {
        while let Some(at) = self.0.iter().position(|(dying, _)| dying == name) {
            // When the monitor is gone there is nobody to tell.
            let _ = self.0.swap_remove(at).1.cleaned();
        }
    }
}

impl Engine {
    /// Kills those of `names` that run, so that all of them end while the first is removed. Whatever does not work here is
    /// left to [`Engine::remove`], which says why.
    pub fn kill_ahead(&self, names: &[String]) -> Dying {
        let kill = |name: &String| -> Option<(String, Client)> {
            let row = self.row(name).ok()?;
            if self.state_of(&row).status != Status::Running {
                return None;
            }
            self.db().ok()?.set_stopped_by_user(&row.id).ok()?;
            let mut client = self.client(&row).ok()?;
            client.watch(Claim::Removal).ok()?;
            client.signal(SIGKILL).ok()?;
            Some((name.clone(), client))
        };
        Dying(names.iter().take(AHEAD).filter_map(kill).collect())
    }
}
