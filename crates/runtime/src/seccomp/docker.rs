//! Docker's own JSON form of a profile: runtime-spec's, and rules that hold only for some architectures, kernels or
//! capabilities. This is what `--security-opt seccomp=FILE` reads.
//!
//! Source: moby/profiles `seccomp/seccomp.go` and `seccomp_linux.go` (August 2026).

use oci::runtime::{
    Arch as SpecArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator,
};
use serde::{Deserialize, Deserializer};

use super::{Arch, Error, KernelVersion};

/// Parses a profile in Docker's JSON format for a process with the bounding capabilities `caps` (names such as `CAP_SYS_ADMIN`) on
/// `arch` and `kernel`. A profile in runtime-spec's form is one in Docker's.
///
/// As with Docker, a profile that names neither a default action nor a rule means no seccomp: everything is allowed.
pub fn parse_docker_profile<S: AsRef<str>>(
    json: &[u8],
    caps: &[S],
    arch: Arch,
    kernel: KernelVersion,
) -> Result<LinuxSeccomp, Error> {
    let profile: Profile = serde_json::from_slice(json).map_err(Error::Json)?;
    let here = Here { caps: caps.iter().map(AsRef::as_ref).collect(), arch, kernel };
    let mut rules = Vec::new();
    for (index, rule) in profile.syscalls.iter().enumerate() {
        if rule.applies(&here, index)? {
            rules.push(rule.to_spec(index)?);
        }
    }
    let default = match (profile.default_action, profile.syscalls.is_empty()) {
        (Some(action), _) => action,
        (None, true) => LinuxSeccompAction::ScmpActAllow,
        (None, false) => return Err(invalid("defaultAction", "missing", "an SCMP_ACT_* is wanted")),
    };
    let mut spec = LinuxSeccomp::default();
    spec.set_default_action(default);
    spec.set_default_errno_ret(profile.default_errno_ret);
    spec.set_architectures(Some(profile.architectures(arch)?).filter(|list| !list.is_empty()));
    spec.set_flags(Some(profile.flags.clone()).filter(|list| !list.is_empty()));
    spec.set_listener_path(profile.listener_path.map(Into::into));
    spec.set_listener_metadata(profile.listener_metadata);
    spec.set_syscalls(Some(rules).filter(|list| !list.is_empty()));
    Ok(spec)
}

/// What the conditions of a rule are compared with.
struct Here<'a> {
    caps: Vec<&'a str>,
    arch: Arch,
    kernel: KernelVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default, deserialize_with = "empty_is_none")]
    default_action: Option<LinuxSeccompAction>,
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_default")]
    architectures: Vec<SpecArch>,
    #[serde(default, deserialize_with = "null_is_default")]
    arch_map: Vec<ArchMap>,
    #[serde(default, deserialize_with = "null_is_default")]
    flags: Vec<LinuxSeccompFilterFlag>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: SpecArch,
    #[serde(default, deserialize_with = "null_is_default")]
    sub_architectures: Vec<SpecArch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default, deserialize_with = "null_is_default")]
    name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_is_default")]
    args: Vec<Arg>,
    #[serde(default, deserialize_with = "null_is_default")]
    includes: Filter,
    #[serde(default, deserialize_with = "null_is_default")]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: LinuxSeccompOperator,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default, deserialize_with = "null_is_default")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    arches: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    min_kernel: String,
}

impl Profile {
    fn architectures(&self, arch: Arch) -> Result<Vec<SpecArch>, Error> {
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(invalid("archMap", "set beside architectures", "only one of the two is allowed"));
        }
        let native = spec_arch(arch);
        let map = self.arch_map.iter().find(|map| map.architecture == native);
        let mapped = map
            .into_iter()
            .flat_map(|map| [map.architecture].into_iter().chain(map.sub_architectures.clone()));
        Ok(self.architectures.iter().copied().chain(mapped).collect())
    }
}

impl Rule {
    /// Returns whether the rule is meant for this container: excluded by any of its exclusions, included by all inclusions.
    fn applies(&self, here: &Here<'_>, index: usize) -> Result<bool, Error> {
        let reached = |filter: &Filter, field: &str| match filter.min_kernel.as_str() {
            "" => Ok(None),
            text => kernel_version(text, index, field).map(|minimum| Some(here.kernel >= minimum)),
        };
        let arch = docker_arch(here.arch);
        let has = |cap: &String| here.caps.contains(&cap.as_str());
        let (excludes, includes) = (&self.excludes, &self.includes);
        let excluded = excludes.arches.iter().any(|name| name == arch)
            || excludes.caps.iter().any(has)
            || reached(excludes, "excludes")? == Some(true);
        let included = (includes.arches.is_empty() || includes.arches.iter().any(|name| name == arch))
            && includes.caps.iter().all(has)
            && reached(includes, "includes")? != Some(false);
        Ok(included && !excluded)
    }

    fn to_spec(&self, index: usize) -> Result<oci::runtime::LinuxSyscall, Error> {
        let names = match (self.name.is_empty(), self.names.is_empty()) {
            (false, false) => {
                let field = format!("syscalls[{index}].name");
                return Err(invalid(&field, &self.name, "either name or names is allowed, not both"));
            }
            (false, true) => vec![self.name.clone()],
            (true, _) => self.names.clone(),
        };
        let mut rule = oci::runtime::LinuxSyscall::default();
        rule.set_names(names);
        rule.set_action(self.action);
        rule.set_errno_ret(self.errno_ret);
        let args: Vec<_> = self.args.iter().map(Arg::to_spec).collect();
        rule.set_args(Some(args).filter(|list| !list.is_empty()));
        Ok(rule)
    }
}

impl Arg {
    fn to_spec(&self) -> LinuxSeccompArg {
        argument(self.index, self.value, self.value_two, self.op)
    }
}

/// Makes one condition of runtime-spec.
pub(super) fn argument(
    index: usize,
    value: u64,
    value_two: u64,
    op: LinuxSeccompOperator,
) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default().index(index).value(value).value_two(value_two).op(op);
    builder.build().expect("every field has been given")
}

/// Returns runtime-spec's name for an architecture.
pub(super) fn spec_arch(arch: Arch) -> SpecArch {
    match arch {
        Arch::X86_64 => SpecArch::ScmpArchX86_64,
        Arch::X86 => SpecArch::ScmpArchX86,
        Arch::X32 => SpecArch::ScmpArchX32,
        Arch::Aarch64 => SpecArch::ScmpArchAarch64,
        Arch::Arm => SpecArch::ScmpArchArm,
    }
}

/// Returns the name that `includes.arches` uses.
fn docker_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::X86 => "x86",
        Arch::X32 => "x32",
        Arch::Aarch64 => "arm64",
        Arch::Arm => "arm",
    }
}

fn kernel_version(text: &str, index: usize, field: &str) -> Result<KernelVersion, Error> {
    let parse = || {
        let (major, minor) = text.split_once('.')?;
        let version = KernelVersion { major: major.parse().ok()?, minor: minor.parse().ok()? };
        (version > KernelVersion { major: 0, minor: 0 }).then_some(version)
    };
    parse().ok_or_else(|| {
        invalid(&format!("syscalls[{index}].{field}.minKernel"), text, "two numbers such as 4.8 are wanted")
    })
}

fn invalid(field: &str, value: &str, allowed: &str) -> Error {
    Error::Invalid { field: field.into(), value: value.into(), allowed: allowed.into() }
}

/// Reads `null` as the default value: Go writes empty lists that way.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads `""` as nothing: Go writes a missing action that way.
fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LinuxSeccompAction>, D::Error> {
    use serde::de::IntoDeserializer;
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if !text.is_empty() => {
            LinuxSeccompAction::deserialize(IntoDeserializer::<D::Error>::into_deserializer(text)).map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: KernelVersion = KernelVersion { major: 5, minor: 10 };

    fn parse(json: &str, caps: &[&str], arch: Arch) -> Result<LinuxSeccomp, Error> {
        parse_docker_profile(json.as_bytes(), caps, arch, KERNEL)
    }

    #[test]
    fn rules_hold_where_their_conditions_hold() {
        let rule = |conditions: &str| {
            format!(
                r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",{conditions}}}]}}"#
            )
        };
        let rows = [
            (r#""includes":{"caps":["CAP_A"]}"#, true),
            (r#""includes":{"caps":["CAP_A","CAP_C"]}"#, false),
            (r#""excludes":{"caps":["CAP_C"]}"#, true),
            (r#""excludes":{"caps":["CAP_C","CAP_B"]}"#, false),
            (r#""includes":{"arches":["arm64","amd64"]}"#, true),
            (r#""includes":{"arches":["arm64"]}"#, false),
            (r#""excludes":{"arches":["amd64"]}"#, false),
            (r#""includes":{"minKernel":"5.10"}"#, true),
            (r#""includes":{"minKernel":"5.11"}"#, false),
            (r#""excludes":{"minKernel":"4.8"}"#, false),
            (r#""includes":null,"args":null,"comment":"x""#, true),
        ];
        for (conditions, expected) in rows {
            let profile = parse(&rule(conditions), &["CAP_A", "CAP_B"], Arch::X86_64).expect(conditions);
            assert_eq!(profile.syscalls().is_some(), expected, "{conditions}");
        }
    }

    #[test]
    fn architectures_come_from_the_map() {
        let json = r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","archMap":[
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
            {"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}]}"#;
        let profile = parse(json, &[], Arch::Aarch64).expect("parse");
        assert_eq!(*profile.architectures(), Some(vec![SpecArch::ScmpArchAarch64, SpecArch::ScmpArchArm]));
        assert_eq!(*parse(json, &[], Arch::X86_64).expect("parse").architectures(), None);
    }

    #[test]
    fn old_and_empty_forms_are_read() {
        let old = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"socket","action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":1,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = parse(old, &[], Arch::X86_64).expect("parse");
        assert_eq!(profile.syscalls().as_ref().expect("rules")[0].names(), &["socket"]);
        assert_eq!(
            parse("{}", &[], Arch::X86_64).expect("parse").default_action(),
            LinuxSeccompAction::ScmpActAllow
        );
    }

    #[test]
    fn malformed_profiles_say_where() {
        let rows = [
            (r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#, "defaultAction"),
            (r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#, "parse"),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}"#,
                "syscalls[0].name",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["b"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4"}}]}"#,
                "minKernel",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#,
                "archMap",
            ),
            ("[", "parse"),
        ];
        for (json, expected) in rows {
            let error = parse(json, &[], Arch::X86_64).expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
