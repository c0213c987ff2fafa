//! Writes planned limits into a group.

use oci::runtime::LinuxResources;
use rustix::io::Errno;

use super::error::is_permission;
use super::folder::Folder;
use super::plan::{Otherwise, Plan, Version, Write, plan};
use super::{Error, Manager, OnMissing, Warning, devices, systemd};

impl Manager {
    /// Sets the limits of a new group, and its device rules even where `resources` has none: a group without rules could
    /// open every device. See [`Manager::apply`].
    pub fn apply_new(
        &self,
        resources: Option<&LinuxResources>,
        missing: OnMissing,
    ) -> Result<Vec<Warning>, Error> {
        let list = match resources {
            Some(resources) => self.apply(resources, missing)?,
            None => Vec::new(),
        };
        let mut warnings = Warnings { list, missing };
        if resources.is_none_or(|resources| resources.devices().is_none()) {
            self.set_devices(&devices::rules(&[])?, &mut warnings)?;
        }
        Ok(warnings.list)
    }

    /// Sets limits: what is given changes, what is not given stays. Values are checked before anything is written.
    ///
    /// With [`OnMissing::Warn`] a limit that this machine lacks is given back and the others are set.
    pub fn apply(&self, resources: &LinuxResources, missing: OnMissing) -> Result<Vec<Warning>, Error> {
        let rules = resources.devices().as_deref().map(devices::rules).transpose()?;
        let mut warnings = Warnings { list: Vec::new(), missing };
        let version = if self.is_unified() { Version::V2 } else { Version::V1 };
        let mut plan = plan(resources, version)?;
        let on_v1 = |write: &Write| self.v1(&write.controller).is_some();
        let all_on_v1 = plan.writes.iter().all(on_v1) && resources.unified().is_none();
        if version == Version::V1 && self.unified.is_some() && !all_on_v1 {
            self.plan_hybrid(resources, &mut plan)?;
        }
        for error in std::mem::take(&mut plan.missing) {
            warnings.take(error)?;
        }
        let steps = self.find_folders(&plan, &mut warnings)?;
        if let Some(limit) = plan.check_memory {
            self.check_memory(limit)?;
        }
        if let Some(unit) = &self.paths.unit {
            systemd::update(unit, resources, version)?;
        }
        execute(&steps, &mut warnings)?;
        if let Some(rules) = rules {
            self.set_devices(&rules, &mut warnings)?;
        }
        Ok(warnings.list)
    }

    /// Sets the device rules: a v1 group's list, or a program on the v2 group.
    fn set_devices(&self, rules: &devices::Rules, warnings: &mut Warnings) -> Result<(), Error> {
        match devices::set(self.v1("devices"), self.unified.as_ref(), rules) {
            // In a user namespace nobody can make device nodes, and the group's rules are not ours to set.
            Err(error) if error.is_denied() && !devices::in_initial_user_namespace() => Ok(()),
            Err(error @ Error::Missing { .. }) => warnings.take(error),
            other => other,
        }
    }

    /// Beside v1, v2 may carry controllers that v1 left over: plans for those what v1 cannot do.
    fn plan_hybrid(&self, resources: &LinuxResources, v1_plan: &mut Plan) -> Result<(), Error> {
        let has_v1 = |controller: &str| controller != "io" && self.v1(controller).is_some();
        let offered = self.unified.as_ref().and_then(|folder| folder.read("cgroup.controllers").ok());
        let offered = offered.unwrap_or_default();
        let on_v2 = |controller: &str| offered.split_whitespace().any(|name| name == controller);
        let v2_plan = plan(resources, Version::V2)?;
        v1_plan.writes.retain(|write| has_v1(&write.controller) || !on_v2(&write.controller));
        for write in v2_plan.writes {
            let unified = write.field.starts_with("unified.");
            if on_v2(&write.controller) && (unified || !has_v1(&write.controller)) {
                v1_plan.missing.retain(|error| !error.is_about(&write.field));
                v1_plan.writes.push(write);
            }
        }
        Ok(())
    }

    /// Finds the folder of each write; a controller that is nowhere is a limit that cannot be set.
    fn find_folders<'a>(
        &'a self,
        plan: &'a Plan,
        warnings: &mut Warnings,
    ) -> Result<Vec<(&'a Folder, &'a Write)>, Error> {
        let mut steps = Vec::with_capacity(plan.writes.len());
        let needs_v2 = plan.writes.iter().any(|write| self.v1(&write.controller).is_none());
        let offered = match &self.unified {
            Some(folder) if needs_v2 => folder.read("cgroup.controllers").unwrap_or_default(),
            _ => String::new(),
        };
        for write in &plan.writes {
            let v1 = self.v1(&write.controller);
            let v2 = || {
                offered
                    .split_whitespace()
                    .any(|name| name == write.controller || write.controller == "cgroup")
            };
            match (v1, &self.unified) {
                (Some(folder), _) => steps.push((folder, write)),
                (None, Some(folder)) if v2() => steps.push((folder, write)),
                _ if matches!(write.otherwise, Otherwise::SkipMissing) => {}
                _ => warnings
                    .take(missing(write, format!("controller {} is not available", write.controller)))?,
            }
        }
        Ok(steps)
    }

    /// Fails when more memory is in use than `limit` (`checkBeforeUpdate`).
    fn check_memory(&self, limit: i64) -> Result<(), Error> {
        let usage = match (self.v1("memory"), &self.unified) {
            (Some(folder), _) => folder.read_number("memory.usage_in_bytes"),
            (None, Some(folder)) => folder.read_number("memory.current"),
            (None, None) => return Ok(()),
        };
        match usage {
            Ok(usage) if i64::try_from(usage).is_ok_and(|usage| usage > limit) => {
                Err(Error::InUse { limit, usage })
            }
            _ => Ok(()),
        }
    }
}

/// Limits that could not be set, and whether that is an error.
struct Warnings {
    list: Vec<Warning>,
    missing: OnMissing,
}

impl Warnings {
    fn take(&mut self, error: Error) -> Result<(), Error> {
        match self.missing {
            OnMissing::Refuse => Err(error),
            OnMissing::Warn => {
                self.list.push(Warning(error));
                Ok(())
            }
        }
    }
}

/// Writes all of `steps`; those that ask for it are tried again at the end.
fn execute(steps: &[(&Folder, &Write)], warnings: &mut Warnings) -> Result<(), Error> {
    let mut again = Vec::new();
    for (folder, write) in steps {
        match folder.write(&write.file, &write.value) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::BUSY) if write.otherwise == Otherwise::Again => {
                again.push((folder, write))
            }
            Err(errno) => otherwise(folder, write, errno, warnings)?,
        }
    }
    for (folder, write) in again {
        if let Err(errno) = folder.write(&write.file, &write.value) {
            otherwise(folder, write, errno, warnings)?;
        }
    }
    Ok(())
}

/// Does what `write` says for a failure.
fn otherwise(folder: &Folder, write: &Write, errno: Errno, warnings: &mut Warnings) -> Result<(), Error> {
    match (&write.otherwise, errno) {
        (Otherwise::SkipMissing, Errno::NOENT) => Ok(()),
        (Otherwise::Instead(file, value), Errno::NOENT) => {
            let second = Write {
                file: file.clone(),
                value: value.clone(),
                otherwise: Otherwise::Fail,
                ..write.clone()
            };
            match folder.write(file, value) {
                Ok(()) => Ok(()),
                Err(errno) => otherwise(folder, &second, errno, warnings),
            }
        }
        (_, Errno::NOENT | Errno::OPNOTSUPP) => {
            warnings.take(missing(write, format!("this kernel has no {}", write.file)))
        }
        _ => Err(refused(folder, write, errno)),
    }
}

fn missing(write: &Write, reason: String) -> Error {
    Error::Missing { limit: write.field.clone(), value: write.value.clone(), reason }
}

/// Makes the error of a write that the kernel did not take.
fn refused(folder: &Folder, write: &Write, errno: Errno) -> Error {
    let source = std::io::Error::from(errno);
    let path = folder.path().join(&write.file);
    if is_permission(&source) {
        return Error::Denied { action: "set a limit of", path, source };
    }
    let (limit, value) = (write.field.clone(), write.value.clone());
    if errno == Errno::BUSY && write.controller == "memory" {
        let usage = folder.read_number("memory.usage_in_bytes").unwrap_or_default();
        if let Ok(limit) = value.parse() {
            return Error::InUse { limit, usage };
        }
    }
    Error::Refused { limit, value, path, source }
}
