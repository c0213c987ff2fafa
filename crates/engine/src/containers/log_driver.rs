//! Where a container's output is logged: from `--log-driver` and `--log-opt` to what the monitor is told.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use docker_types::logging::{self, Address, Driver, LogPlan};
use docker_types::size;
use docker_types::template::{Struct, Template};
use jiff::tz::TimeZone;
use monitor::LogSpec;
use monitor::launch::MAX_ATTRS;
use monitor::log::{Forward, SyslogFormat, SyslogTarget};
use serde_json::json;

use super::LOG_FILE;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Error, IoContext, Result};

/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where the machine's syslog listens.
const SYSLOG: &str = "/dev/log";
/// What lines are tagged with when nobody says: the short id.
const TAG: &str = "{{.ID}}";
/// The facility `daemon`.
const DAEMON: u8 = 3;

impl Engine {
    /// What was asked for of a container's log.
    pub(super) fn log_plan(&self, row: &ContainerRow) -> Result<LogPlan> {
        let log = &row.spec.host_config.log_config;
        logging::parse(&log.driver, &log.config).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Where a container's log is read and written; none when there is none to read.
    pub(crate) fn log_path(&self, row: &ContainerRow) -> Option<PathBuf> {
        let log = &row.spec.host_config.log_config;
        // The usual one, of which every listing asks.
        if log.config.is_empty() && matches!(log.driver.as_str(), "" | "json-file" | "local") {
            return Some(self.container_path(&row.id).join(LOG_FILE));
        }
        match self.log_plan(row) {
            Ok(plan) if plan.driver == Driver::None || plan.no_cache => None,
            Ok(plan) if plan.keep => Some(self.kept_logs(&row.name).join(LOG_FILE)),
            _ => Some(self.container_path(&row.id).join(LOG_FILE)),
        }
    }

    /// The folder of the logs that are kept by a container's name.
    pub(crate) fn kept_logs(&self, name: &str) -> PathBuf {
        self.roots().data.join("logs").join(name)
    }

    /// What the monitor is told of the log.
    pub(super) fn log_spec(&self, row: &ContainerRow) -> Result<LogSpec> {
        let plan = self.log_plan(row)?;
        if plan.driver == Driver::None {
            return Ok(LogSpec::None);
        }
        let defaults = &self.config().log;
        let max_size = match plan.max_size {
            Some(size) => size,
            None => size::parse_binary(&defaults.max_size).map_err(|error| {
                Error::Invalid(format!("invalid setting [log] max_size = {:?}: {error}", defaults.max_size))
            })?,
        };
        let tag = tag(&plan, row)?;
        let mut attrs = plan.extra.pick(&row.spec.config.labels, &row.spec.config.env);
        let forward = match plan.driver {
            Driver::Journald => Some(journal(row, &tag, &attrs)),
            Driver::Syslog => Some(syslog(&plan, tag.clone())?),
            _ => None,
        };
        if forward.is_none() && plan.tag.is_some() {
            attrs.insert("tag".to_owned(), tag);
        }
        let attrs = if attrs.is_empty() { String::new() } else { json!(attrs).to_string() };
        if attrs.len() > MAX_ATTRS {
            return Err(Error::Invalid(format!(
                "invalid log options: labels and variables of {} bytes were asked to be logged with each line; at most {MAX_ATTRS} may",
                attrs.len()
            )));
        }
        let path = match self.log_path(row) {
            Some(path) => path,
            // Nothing is kept here: each line goes to the other log alone.
            None => "/dev/null".into(),
        };
        if plan.keep {
            make_folder(&self.kept_logs(&row.name))?;
        }
        Ok(LogSpec::JsonFile {
            max_size: u64::try_from(max_size).ok().filter(|size| *size > 0 && path != Path::new("/dev/null")),
            path,
            max_files: plan.max_file.unwrap_or(defaults.max_file),
            compress: plan.compress.unwrap_or(!matches!(plan.driver, Driver::JsonFile)),
            attrs,
            forward,
        })
    }

    /// Lets a kept log follow the new name of its container.
    pub(super) fn rename_log(&self, row: &ContainerRow, new: &str) -> Result<()> {
        if !self.log_plan(row).is_ok_and(|plan| plan.keep) {
            return Ok(());
        }
        if self.state_of(row).status.is_alive() {
            return Err(Error::Conflict(format!(
                "cannot rename container {}: its log is kept by its name and is being written; stop it first",
                row.name
            )));
        }
        let (from, to) = (self.kept_logs(&row.name), self.kept_logs(new));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).at("rename the log to", &to)
            }
            _ => Ok(()),
        }
    }

    /// Removes the logs that are kept by names that no container has any more.
    pub(crate) fn sweep_logs(&self) -> Result<()> {
        let base = self.roots().data.join("logs");
        let Ok(entries) = std::fs::read_dir(&base) else { return Ok(()) };
        for entry in entries {
            let entry = entry.at("list", &base)?;
            if self.db()?.container_by_name(&entry.file_name().to_string_lossy())?.is_none() {
                super::remove_folder(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn make_folder(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at("make the folder", path)
}

/// Renders the tag of a container's lines.
fn tag(plan: &LogPlan, row: &ContainerRow) -> Result<String> {
    let source = plan.tag.as_deref().unwrap_or(TAG);
    let bad = |why: String| Error::Invalid(format!("invalid log option tag={source}: {why}"));
    let image = row.image.to_string();
    let value = json!({
        "ID": row.id.short(),
        "FullID": row.id.as_str(),
        "Name": row.name,
        "ImageID": row.image.short(),
        "ImageFullID": image,
        "ImageName": row.image_name,
        "Command": row.argv.join(" "),
        "DaemonName": "brig",
    });
    let template = Template::parse(source).map_err(|error| bad(error.to_string()))?;
    template.render(&value, &Struct("*loggerutils.Info")).map_err(|error| bad(error.to_string()))
}

fn journal(row: &ContainerRow, tag: &str, attrs: &BTreeMap<String, String>) -> Forward {
    let own = [
        ("CONTAINER_ID", row.id.short()),
        ("CONTAINER_ID_FULL", row.id.as_str()),
        ("CONTAINER_NAME", &row.name),
        ("CONTAINER_TAG", tag),
        ("IMAGE_NAME", &row.image_name),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let extra = attrs.iter().map(|(name, value)| (field_name(name), value.clone()));
    let fields = own.into_iter().chain(extra.filter(|(name, _)| !name.is_empty())).collect();
    Forward::Journal { socket: JOURNAL.into(), fields }
}

/// Makes a name that the journal takes: capitals, digits and `_`, not beginning with `_`.
fn field_name(name: &str) -> String {
    let mapped = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    mapped.collect::<String>().trim_start_matches('_').to_owned()
}

fn syslog(plan: &LogPlan, tag: String) -> Result<Forward> {
    let target = match &plan.address {
        None => SyslogTarget::Unix(SYSLOG.into()),
        Some(Address::Unix(path)) => SyslogTarget::Unix(path.into()),
        Some(Address::Udp(address)) => SyslogTarget::Udp(resolve(address)?),
        Some(Address::Tcp(address)) => SyslogTarget::Tcp(resolve(address)?),
    };
    let offset = TimeZone::system().to_offset(jiff::Timestamp::now()).seconds();
    Ok(Forward::Syslog {
        target,
        facility: plan.facility.unwrap_or(DAEMON),
        format: match plan.format.as_str() {
            "rfc3164" => SyslogFormat::Rfc3164,
            "rfc5424" => SyslogFormat::Rfc5424,
            "rfc5424micro" => SyslogFormat::Rfc5424Micro,
            _ => SyslogFormat::Local,
        },
        tag,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        offset,
        buffer: plan.buffer,
    })
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().map_err(|source| Error::System {
        action: format!("find the address of the syslog {address}"),
        source,
    })?;
    found
        .next()
        .ok_or_else(|| Error::Invalid(format!("invalid log option syslog-address: {address} has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_the_journals() {
        assert_eq!(field_name("com.example-x"), "COM_EXAMPLE_X");
        assert_eq!(field_name("__hidden"), "HIDDEN");
    }
}
