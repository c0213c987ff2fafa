//! `why`: one answer to why something is not running, unhealthy, unreachable, restarting, or takes this disk, with the next
//! command to try.
//!
//! An answer is put together from what was recorded when it was decided (exit code and signal, the error of a start, the
//! kernel's word on a want of memory, the output of health probes, the restart policy) and from what is true now. Nothing is
//! recorded for it while all goes well.

mod container;
pub(crate) mod memory;
mod objects;
pub(crate) mod sockets;

use serde::Serialize;

use crate::Engine;
use crate::error::{Error, Result};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `container`, `image`, `volume`, `network`, `port` or `disk`; `nothing` when there is no such object.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// Its identity, where it has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// How it is: `running`, `exited`, `in use`, …
    pub state: String,
    /// Why, in one clause.
    pub because: String,
    /// What that was learnt from.
    pub facts: Vec<Fact>,
    /// Commands to try next.
    #[serde(rename = "try")]
    pub next: Vec<String>,
}

/// Something that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What.
    pub what: &'static str,
    /// Its value; several lines for output.
    pub value: String,
}

impl Answer {
    fn new(kind: &'static str, name: &str, state: &str, because: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            id: String::new(),
            state: state.to_owned(),
            because: because.into(),
            facts: Vec::new(),
            next: Vec::new(),
        }
    }

    fn fact(&mut self, what: &'static str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.facts.push(Fact { what, value });
        }
    }

    fn next(&mut self, command: impl Into<String>) {
        self.next.push(command.into());
    }
}

impl Engine {
    /// Answers for the object that `name` means: a container, an image, a volume, a network, a port (`8080`, `53/udp`), or
    /// the word `disk`.
    pub fn why(&self, name: &str) -> Result<Answer> {
        match self.row(name) {
            Ok(row) => {
                // What a killed process left half done is finished first, so that the answer is about the container.
                let row = match self.tend(&row) {
                    Ok(true) => self.row(row.id.as_str())?,
                    _ => row,
                };
                return self.why_container(row);
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        if name == "disk" {
            return self.why_disk();
        }
        if let Some((port, proto)) = sockets::parse(name) {
            return self.why_port(port, proto);
        }
        match self.image(name) {
            Ok(image) => return Ok(Self::why_image(name, &image, &self.users_of(&image)?)),
            Err(Error::NotFound { .. } | Error::Invalid(_)) => {}
            Err(error) => return Err(error),
        }
        if let Ok(volume) = self.volume(name) {
            return self.why_volume(&volume);
        }
        if let Ok(network) = self.network(name) {
            return Ok(Self::why_network(&network));
        }
        self.why_missing(name)
    }
}
