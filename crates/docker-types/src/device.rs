//! Devices: `--device`, `--device-cgroup-rule`, and the rates and weights of block devices.

use base::{ErrorKind, Kinded};

use crate::container::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};
use crate::{csv, size};

/// Why a text is no device. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A path is not absolute.
    #[error("{0} is not an absolute path")]
    Relative(String),
    /// It has too many parts, or an empty first one.
    #[error("bad format for path: {0}")]
    Format(String),
    /// The permissions are not of r, w, m.
    #[error("bad mode specified: {0}")]
    Mode(String),
    /// A rule is not `type major:minor access`.
    #[error("invalid device cgroup format '{0}'")]
    Rule(String),
    /// The number of GPUs is none.
    #[error("invalid count ({0}): value must be either \"all\" or an integer")]
    GpuCount(String),
    /// A key of `--gpus` comes twice.
    #[error("gpu request key '{0}' can be specified only once")]
    GpuTwice(String),
    /// There is no such key.
    #[error("unexpected key '{0}' in '{1}'")]
    GpuKey(String, String),
    /// `--gpus` is no list.
    #[error("{0}")]
    GpuCsv(String),
    /// A rate or weight has no colon.
    #[error("bad format: {0}")]
    NoColon(String),
    /// A rate or weight is for something outside `/dev`.
    #[error("bad format for device path: {0}")]
    NotDev(String),
    /// A rate in bytes is malformed.
    #[error(
        "invalid rate for device: {0}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
    )]
    ByteRate(String),
    /// A rate in operations is malformed.
    #[error(
        "invalid rate for device: {0}. The correct format is <device-path>:<number>. Number must be a positive integer"
    )]
    Rate(String),
    /// A weight is malformed or out of range.
    #[error("invalid weight for device: {0}")]
    Weight(String),
}

impl Kinded for DeviceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses `--device`: `path[:path inside][:permissions]`.
pub fn parse(text: &str) -> Result<DeviceMapping, DeviceError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, mode] => (host, inside, mode),
        _ => return Err(DeviceError::Format(text.to_owned())),
    };
    if host.is_empty() {
        return Err(DeviceError::Format(text.to_owned()));
    }
    if let Some(relative) = [host, inside].into_iter().find(|path| !path.starts_with('/')) {
        return Err(DeviceError::Relative(relative.to_owned()));
    }
    if !is_mode(mode) {
        return Err(DeviceError::Mode(mode.to_owned()));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: mode.to_owned(),
    })
}

/// Parses `--gpus`: `all`, a number, or `count=`, `device=`, `capabilities=`, `driver=`, `options=` as a list with commas.
pub fn parse_gpus(text: &str) -> Result<DeviceRequest, DeviceError> {
    let fields = csv::split(text).map_err(|error| DeviceError::GpuCsv(error.to_string()))?;
    let mut request = DeviceRequest::default();
    let mut seen: Vec<&str> = Vec::new();
    let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    for field in &fields {
        let (key, value) = field.split_once('=').unwrap_or(("count", field));
        if seen.contains(&key) {
            return Err(DeviceError::GpuTwice(key.to_owned()));
        }
        seen.push(key);
        match key {
            "driver" => request.driver = value.to_owned(),
            "count" => request.count = gpu_count(value)?,
            "device" => request.device_ids = Some(words(value)),
            "capabilities" => {
                let mut names = words(value);
                names.push("gpu".to_owned());
                request.capabilities = Some(vec![names]);
            }
            "options" => {
                let pairs = csv::split(value).map_err(|error| DeviceError::GpuCsv(error.to_string()))?;
                let pair = |text: &String| {
                    let (name, value) = text.split_once('=').unwrap_or((text, ""));
                    (name.to_owned(), value.to_owned())
                };
                request.options = Some(pairs.iter().map(pair).collect());
            }
            _ => return Err(DeviceError::GpuKey(key.to_owned(), field.clone())),
        }
    }
    if !seen.contains(&"count") && request.device_ids.is_none() {
        request.count = 1;
    }
    request.options.get_or_insert_default();
    request.capabilities.get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(request)
}

fn gpu_count(text: &str) -> Result<i64, DeviceError> {
    match text {
        "all" => Ok(-1),
        _ => text.parse().map_err(|_| DeviceError::GpuCount(text.to_owned())),
    }
}

/// Says whether `--device` names a device of the Container Device Interface, `vendor.com/class=name`.
pub fn is_cdi_name(text: &str) -> bool {
    !text.starts_with('/')
        && text.split_once('=').is_some_and(|(kind, name)| kind.contains('/') && !name.is_empty())
}

/// Letters of r, w, m, each at most once, at least one.
fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| "rwm".contains(c))
        && "rwm".chars().all(|c| text.matches(c).count() <= 1)
}

/// A rule for the device cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// None means any.
    pub major: Option<u32>,
    /// None means any.
    pub minor: Option<u32>,
    /// Of `r`, `w`, `m`.
    pub access: String,
}

/// Parses `--device-cgroup-rule`: `c 1:3 rwm`, with `*` for any number.
pub fn parse_rule(text: &str) -> Result<DeviceRule, DeviceError> {
    let bad = || DeviceError::Rule(text.to_owned());
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = parts[..] else { return Err(bad()) };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| bad())
        }
        _ => Err(bad()),
    };
    let (major, minor) = (number(major)?, number(minor)?);
    if access.is_empty() || access.len() > 3 || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(bad());
    }
    Ok(DeviceRule { kind, major, minor, access: access.to_owned() })
}

/// Parses `--device-read-bps` and its like: `/dev/sda:1mb`.
pub fn parse_byte_rate(text: &str) -> Result<ThrottleDevice, DeviceError> {
    let (path, rate) = split_device(text)?;
    let rate = size::parse_binary(rate).ok().and_then(|rate| u64::try_from(rate).ok());
    Ok(ThrottleDevice { path, rate: rate.ok_or_else(|| DeviceError::ByteRate(text.to_owned()))? })
}

/// Parses `--device-read-iops` and its like: `/dev/sda:1000`.
pub fn parse_rate(text: &str) -> Result<ThrottleDevice, DeviceError> {
    let (path, rate) = split_device(text)?;
    Ok(ThrottleDevice { path, rate: rate.parse().map_err(|_| DeviceError::Rate(text.to_owned()))? })
}

/// Parses `--blkio-weight-device`: `/dev/sda:500`.
pub fn parse_weight(text: &str) -> Result<WeightDevice, DeviceError> {
    let (path, weight) = split_device(text)?;
    let bad = || DeviceError::Weight(text.to_owned());
    let weight: u16 = weight.parse().map_err(|_| bad())?;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(bad());
    }
    Ok(WeightDevice { path, weight })
}

fn split_device(text: &str) -> Result<(String, &str), DeviceError> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| DeviceError::NoColon(text.to_owned()))?;
    if !path.starts_with("/dev/") {
        return Err(DeviceError::NotDev(text.to_owned()));
    }
    Ok((path.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_does() {
        for (text, host, inside, mode) in [
            ("/dev/a", "/dev/a", "/dev/a", "rwm"),
            ("/dev/a:/dev/b", "/dev/a", "/dev/b", "rwm"),
            ("/dev/a:/dev/b:rw", "/dev/a", "/dev/b", "rw"),
            ("/dev/a:rw", "/dev/a", "/dev/a", "rw"),
        ] {
            let device = parse(text).unwrap();
            assert_eq!(
                (
                    device.path_on_host.as_str(),
                    device.path_in_container.as_str(),
                    device.cgroup_permissions.as_str()
                ),
                (host, inside, mode)
            );
        }
        for (text, message) in [
            ("/dev/a:x", "x is not an absolute path"),
            ("a", "a is not an absolute path"),
            ("/dev/a:/dev/b:x", "bad mode specified: x"),
            ("/dev/a:/dev/b:r:w", "bad format for path: /dev/a:/dev/b:r:w"),
            ("", "bad format for path: "),
            (":/dev/b", "bad format for path: :/dev/b"),
            ("/dev/a:", " is not an absolute path"),
            ("/dev/a:/dev/b:", "bad mode specified: "),
            ("/dev/a:rwmr", "rwmr is not an absolute path"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
        assert!(is_cdi_name("vendor.com/class=x") && !is_cdi_name("/dev/a=b") && !is_cdi_name("a=b"));
    }

    #[test]
    fn graphics_processors_are_asked_for_as_in_docker() {
        let all = parse_gpus("all").unwrap();
        assert_eq!((all.count, all.capabilities), (-1, Some(vec![vec!["gpu".to_owned()]])));
        let some = parse_gpus("\"device=0,GPU-1\",capabilities=utility,driver=nvidia").unwrap();
        assert_eq!((some.count, some.driver.as_str()), (0, "nvidia"));
        assert_eq!(some.device_ids, Some(vec!["0".to_owned(), "GPU-1".to_owned()]));
        assert_eq!(some.capabilities, Some(vec![vec!["utility".to_owned(), "gpu".to_owned()]]));
        assert_eq!(parse_gpus("driver=x").unwrap().count, 1);
        for (text, message) in [
            ("many", "invalid count (many): value must be either \"all\" or an integer"),
            ("1,count=2", "gpu request key 'count' can be specified only once"),
            ("kind=x", "unexpected key 'kind' in 'kind=x'"),
        ] {
            assert_eq!(parse_gpus(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn rules_are_checked() {
        assert_eq!(parse_rule("c 1:3 rwm").unwrap().major, Some(1));
        assert_eq!(parse_rule("a *:* rwm").unwrap().minor, None);
        for text in [
            "x 1:3 r",
            "c 1:3",
            "c 1 r",
            "c 1:3 rwmr",
            "c a:3 r",
            " c 1:3 r",
            "a",
            "c 1:3 rwmz",
            "c :3 r",
            "c 1:99999999999 r",
        ] {
            assert_eq!(
                parse_rule(text).unwrap_err().to_string(),
                format!("invalid device cgroup format '{text}'")
            );
        }
    }

    #[test]
    fn rates_and_weights_are_read() {
        assert_eq!(parse_byte_rate("/dev/a:1mb").unwrap().rate, 1 << 20);
        assert_eq!(parse_rate("/dev/a:100").unwrap().rate, 100);
        assert_eq!(parse_weight("/dev/a:0").unwrap().weight, 0);
        assert!(matches!(parse_byte_rate("/dev/a:1:2"), Err(DeviceError::ByteRate(_))));
        assert!(matches!(parse_byte_rate("a:1"), Err(DeviceError::NotDev(_))));
        assert!(matches!(parse_byte_rate("/dev/a"), Err(DeviceError::NoColon(_))));
        assert!(matches!(parse_rate("/dev/a:-1"), Err(DeviceError::Rate(_))));
        assert!(matches!(parse_weight("/dev/a:5"), Err(DeviceError::Weight(_))));
    }
}
