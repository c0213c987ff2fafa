//! Who is on a network: what names are made of.

use crate::Engine;
use crate::db::Member;
use crate::error::Result;

impl Engine {
    /// Called after each change of who is on the networks `networks`, and by what names; the default bridge has no names.
    pub(crate) fn members_changed<'a>(&self, networks: impl IntoIterator<Item = &'a str>) -> Result<()> {
        networks.into_iter().try_for_each(|_network| Ok(()))
    }

    /// The containers that are on a network now, by their names.
    pub(crate) fn members(&self, network: &str) -> Result<Vec<Member>> {
        self.db()?.members(network)
    }
}
