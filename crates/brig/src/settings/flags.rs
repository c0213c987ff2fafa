//! What `run` and `create` share: everything that a container can be told.
//!
//! The doc comments are the help. Flags that Docker knows and Brig does not are listed in [`REFUSED`].

use clap::Args;
use docker_types::container::{
    DeviceMapping, DeviceRequest, Mount, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use docker_types::host::NetworkFlag;
use docker_types::{device, duration, host, limits, mount, policy, secret, security, size};
use engine::containers::PullPolicy;

use super::others::OtherFlags;

/// Flags that are known and refused.
pub(crate) const REFUSED: &[&str] = &[];

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = None)]
pub(crate) struct ContainerFlags {
    /// Add a line to /etc/hosts (name:address, or name:host-gateway)
    #[arg(long, value_name = "list", value_parser = host::add_host)]
    pub(crate) add_host: Vec<String>,
    /// Add an annotation (passed on to the OCI runtime)
    #[arg(long, value_name = "map")]
    pub(crate) annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list", value_parser = stream)]
    pub(crate) attach: Vec<Stream>,
    /// Weight for block I/O, between 10 and 1000, 0 for the default
    #[arg(long, value_name = "uint16", value_parser = go_uint16)]
    pub(crate) blkio_weight: Option<u16>,
    /// Weight for one block device (path:weight)
    #[arg(long, value_name = "list", value_parser = device::parse_weight)]
    pub(crate) blkio_weight_device: Vec<WeightDevice>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    pub(crate) cap_drop: Vec<String>,
    /// Parent cgroup of the container's own
    #[arg(long, value_name = "string")]
    pub(crate) cgroup_parent: Option<String>,
    /// Cgroup namespace (host|private)
    #[arg(long, value_name = "string")]
    pub(crate) cgroupns: Option<String>,
    /// Write the container's id to a file that must not exist
    #[arg(long, value_name = "string")]
    pub(crate) cidfile: Option<String>,
    /// Length of the CPU period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) cpu_period: Option<i64>,
    /// CPU time in each period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) cpu_quota: Option<i64>,
    /// Length of the real-time CPU period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) cpu_rt_period: Option<i64>,
    /// Real-time CPU time in each period in microseconds
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// Weight for CPU time (1024 is the normal one)
    #[arg(short, long, value_name = "int", value_parser = go_int)]
    pub(crate) cpu_shares: Option<i64>,
    /// How many CPUs' worth of time
    #[arg(long, value_name = "decimal", value_parser = limits::parse_cpus)]
    pub(crate) cpus: Option<i64>,
    /// CPUs to run on (0-3, 0,1)
    #[arg(long, value_name = "string")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to allocate from (0-3, 0,1)
    #[arg(long, value_name = "string")]
    pub(crate) cpuset_mems: Option<String>,
    /// Give a device of the host (path[:path inside][:rwm], or vendor.com/class=name)
    #[arg(long, value_name = "list")]
    pub(crate) device: Vec<String>,
    /// Allow devices by rule ("c 1:3 rwm")
    #[arg(long, value_name = "list", value_parser = device_rule)]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Limit reading from a block device (path:bytes a second)
    #[arg(long, value_name = "list", value_parser = device::parse_byte_rate)]
    pub(crate) device_read_bps: Vec<ThrottleDevice>,
    /// Limit reading from a block device (path:operations a second)
    #[arg(long, value_name = "list", value_parser = device::parse_rate)]
    pub(crate) device_read_iops: Vec<ThrottleDevice>,
    /// Limit writing to a block device (path:bytes a second)
    #[arg(long, value_name = "list", value_parser = device::parse_byte_rate)]
    pub(crate) device_write_bps: Vec<ThrottleDevice>,
    /// Limit writing to a block device (path:operations a second)
    #[arg(long, value_name = "list", value_parser = device::parse_rate)]
    pub(crate) device_write_iops: Vec<ThrottleDevice>,
    /// DNS server to ask
    #[arg(long, value_name = "list", value_parser = host::dns_server)]
    pub(crate) dns: Vec<String>,
    /// Option for /etc/resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "list")]
    pub(crate) dns_option: Vec<String>,
    /// Domain to search names in
    #[arg(long, value_name = "list", value_parser = host::dns_search)]
    pub(crate) dns_search: Vec<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "string")]
    pub(crate) domainname: Option<String>,
    /// Replace the image's entry point ("" for none)
    #[arg(long, value_name = "string")]
    pub(crate) entrypoint: Option<String>,
    /// Set a variable (NAME=value, or NAME to take it from here)
    #[arg(short, long, value_name = "list")]
    pub(crate) env: Vec<String>,
    /// Set variables from a file, one a line
    #[arg(long, value_name = "list")]
    pub(crate) env_file: Vec<String>,
    /// Expose a port or range without publishing it
    #[arg(long, value_name = "list")]
    pub(crate) expose: Vec<String>,
    /// Give graphics processors (all, a number, or device=…,capabilities=…)
    #[arg(long, value_name = "gpu-request", value_parser = device::parse_gpus)]
    pub(crate) gpus: Vec<DeviceRequest>,
    /// Further groups of the process
    #[arg(long, value_name = "list")]
    pub(crate) group_add: Vec<String>,
    /// Command that checks the health, run by a shell inside
    #[arg(long, value_name = "string")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks (default 30s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    pub(crate) health_interval: Option<i64>,
    /// What to do when it becomes unhealthy (none|restart|stop|kill) (default "none")
    #[arg(long, value_name = "string")]
    pub(crate) health_on_failure: Option<String>,
    /// Failures in a row that mean unhealthy (default 3)
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) health_retries: Option<i64>,
    /// Time between two checks in the start period (default 5s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    pub(crate) health_start_interval: Option<i64>,
    /// Time from the start in which failures do not count
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    pub(crate) health_start_period: Option<i64>,
    /// Time that one check may take (default 30s)
    #[arg(long, value_name = "duration", value_parser = duration::parse)]
    pub(crate) health_timeout: Option<i64>,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "string")]
    pub(crate) hostname: Option<String>,
    /// Run a small init that forwards signals and reaps processes
    #[arg(long)]
    pub(crate) init: bool,
    /// Keep the input open even if nobody is attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// IPv4 address on the network
    #[arg(long, value_name = "string")]
    pub(crate) ip: Option<String>,
    /// IPv6 address on the network
    #[arg(long, value_name = "string")]
    pub(crate) ip6: Option<String>,
    /// IPC namespace (none|private|shareable|host|container:NAME)
    #[arg(long, value_name = "string")]
    pub(crate) ipc: Option<String>,
    /// Set a label (name or name=value)
    #[arg(short, long, value_name = "list")]
    pub(crate) label: Vec<String>,
    /// Set labels from a file, one a line
    #[arg(long, value_name = "list")]
    pub(crate) label_file: Vec<String>,
    /// Give another container a further name inside (name:alias)
    #[arg(long, value_name = "list")]
    pub(crate) link: Vec<String>,
    /// Further address of the network's link (169.254.… or fe80:…)
    #[arg(long, value_name = "list")]
    pub(crate) link_local_ip: Vec<String>,
    /// What keeps the output (json-file|local|journald|syslog|none)
    #[arg(long, value_name = "string")]
    pub(crate) log_driver: Option<String>,
    /// Option of the log (max-size=20m, max-file=5)
    #[arg(long, value_name = "list")]
    pub(crate) log_opt: Vec<String>,
    /// Keep the log by the container's name when the container is removed
    #[arg(long)]
    pub(crate) log_keep: bool,
    /// Hardware address on the network (92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string")]
    pub(crate) mac_address: Option<String>,
    /// Limit of memory
    #[arg(short, long, value_name = "bytes", value_parser = size::parse_binary)]
    pub(crate) memory: Option<i64>,
    /// Memory to get back to when the machine runs short
    #[arg(long, value_name = "bytes", value_parser = size::parse_binary)]
    pub(crate) memory_reservation: Option<i64>,
    /// Limit of memory and swap together (-1 for unlimited swap)
    #[arg(long, value_name = "bytes", value_parser = memory_swap)]
    pub(crate) memory_swap: Option<i64>,
    /// How readily memory is swapped out (0 to 100, -1 for the machine's)
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) memory_swappiness: Option<i64>,
    /// Mount something (type=bind|volume|tmpfs,source=…,target=…)
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    pub(crate) mount: Vec<Mount>,
    /// Name of the container
    #[arg(long, value_name = "string")]
    pub(crate) name: Option<String>,
    /// Network to join (bridge|none|host|container:NAME|NETWORK, or name=NETWORK,alias=…,ip=…,gw-priority=…); may be repeated
    #[arg(long, visible_alias = "net", value_name = "network", value_parser = host::network)]
    pub(crate) network: Vec<NetworkFlag>,
    /// Further name on the network
    #[arg(long, visible_alias = "net-alias", value_name = "list")]
    pub(crate) network_alias: Vec<String>,
    /// Disable the image's health check
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
    /// Do not let the kernel kill it when memory is short (cgroup v1)
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How readily the kernel kills it when memory is short (-1000 to 1000)
    #[arg(long, value_name = "int", value_parser = go_int32)]
    pub(crate) oom_score_adj: Option<i32>,
    /// PID namespace (host|container:NAME)
    #[arg(long, value_name = "string")]
    pub(crate) pid: Option<String>,
    /// Limit of processes (-1 for unlimited)
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) pids_limit: Option<i64>,
    /// Platform of the image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    pub(crate) platform: Option<String>,
    /// Take all confinement off
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Whose figures /proc shows: memory, processors, load, uptime (host|truthful)
    #[arg(long, value_name = "string", value_parser = ["host", "truthful"])]
    pub(crate) proc: Option<String>,
    /// Publish a port or range ([ip:][host port:]port[/tcp|udp|sctp])
    #[arg(short, long, value_name = "list")]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports on free ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// When to pull the image ("always", "missing", "never") (default "missing")
    #[arg(long, value_name = "string")]
    pub(crate) pull: Option<String>,
    /// Do not show the pull's progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// What to do after the end (no|on-failure[:times]|always|unless-stopped) (default "no")
    #[arg(long, value_name = "string")]
    pub(crate) restart: Option<String>,
    /// Remove the container and its anonymous volumes after the end
    #[arg(long)]
    pub(crate) rm: bool,
    /// Give it a secret (NAME[,type=mount|env,target=…,uid=…,gid=…,mode=…])
    #[arg(long, value_name = "list", value_parser = secret::parse)]
    pub(crate) secret: Vec<secret::SecretUse>,
    /// Security option (seccomp=…|apparmor=…|label=…|no-new-privileges|systempaths=unconfined)
    #[arg(long, value_name = "list")]
    pub(crate) security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", value_parser = size::parse_binary)]
    pub(crate) shm_size: Option<i64>,
    /// Signal that asks the process to stop
    #[arg(long, value_name = "string")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds from that signal to SIGKILL
    #[arg(long, value_name = "int", value_parser = go_int)]
    pub(crate) stop_timeout: Option<i64>,
    /// Set a kernel parameter of the container's namespaces (name=value)
    #[arg(long, value_name = "map", value_parser = security::parse_sysctl)]
    pub(crate) sysctl: Vec<(String, String)>,
    /// Mount a tmpfs (path[:options])
    #[arg(long, value_name = "list")]
    pub(crate) tmpfs: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Limit of a resource of processes (nofile=1024:2048)
    #[arg(long, value_name = "ulimit", value_parser = limits::parse_ulimit)]
    pub(crate) ulimit: Vec<Ulimit>,
    /// User and group of the process (name|uid[:group|gid])
    #[arg(short, long, value_name = "string")]
    pub(crate) user: Option<String>,
    /// User namespace (host|private|keep-id[:uid=N,gid=N]|auto[:size=N])
    #[arg(long, value_name = "string")]
    pub(crate) userns: Option<String>,
    /// UTS namespace (host)
    #[arg(long, value_name = "string")]
    pub(crate) uts: Option<String>,
    /// Mount a path of the host or a volume ([source:]target[:options])
    #[arg(short, long, value_name = "list")]
    pub(crate) volume: Vec<String>,
    /// What keeps the volumes that are made (local)
    #[arg(long, value_name = "string", value_parser = local_driver)]
    pub(crate) volume_driver: Option<String>,
    /// Mount the volumes of another container (NAME[:ro])
    #[arg(long, value_name = "list")]
    pub(crate) volumes_from: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "string")]
    pub(crate) workdir: Option<String>,
    #[command(flatten)]
    pub(crate) others: OtherFlags,
}

/// A stream to attach to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// What the flags say of the way the container is made, not of what it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateOptions {
    /// When the image is pulled.
    pub(crate) pull: PullPolicy,
    /// Whether the pull's progress is hidden.
    pub(crate) quiet: bool,
    /// Where the id is written.
    pub(crate) cidfile: Option<String>,
}

impl ContainerFlags {
    /// Reads the flags that say how the container is made.
    pub(crate) fn create_options(&self) -> anyhow::Result<CreateOptions> {
        let pull = match self.pull.as_deref().unwrap_or_default().parse()? {
            policy::PullPolicy::Always => PullPolicy::Always,
            policy::PullPolicy::Missing => PullPolicy::Missing,
            policy::PullPolicy::Never => PullPolicy::Never,
        };
        Ok(CreateOptions { pull, quiet: self.quiet, cidfile: self.cidfile.clone() })
    }

    /// Reads `--restart`.
    pub(crate) fn restart_policy(&self) -> anyhow::Result<RestartPolicy> {
        match &self.restart {
            Some(text) => Ok(policy::parse_restart(text)?),
            None => Ok(RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 }),
        }
    }

    /// Reads `--device`, where it names files.
    pub(crate) fn devices(&self) -> anyhow::Result<Vec<DeviceMapping>> {
        let files = self.device.iter().filter(|text| !device::is_cdi_name(text));
        Ok(files.map(|text| device::parse(text)).collect::<Result<_, _>>()?)
    }

    /// Reads `--gpus`, and `--device` where it names devices of the Container Device Interface.
    pub(crate) fn device_requests(&self) -> Vec<DeviceRequest> {
        let mut requests = self.gpus.clone();
        let names: Vec<String> =
            self.device.iter().filter(|text| device::is_cdi_name(text)).cloned().collect();
        if !names.is_empty() {
            requests.push(DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: Some(names),
                ..DeviceRequest::default()
            });
        }
        requests
    }
}

fn stream(text: &str) -> Result<Stream, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err("valid streams are STDIN, STDOUT and STDERR"),
    }
}

fn device_rule(text: &str) -> Result<String, device::DeviceError> {
    device::parse_rule(text).map(|_| text.to_owned())
}

pub(crate) fn memory_swap(text: &str) -> Result<i64, size::SizeError> {
    if text == "-1" { Ok(-1) } else { size::parse_binary(text) }
}

/// Parses a number as Go does, with Go's words for what is none.
pub(crate) fn go_int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| go_number_error("ParseInt", text, &error))
}

pub(crate) fn go_int32(text: &str) -> Result<i32, String> {
    text.parse().map_err(|error| go_number_error("ParseInt", text, &error))
}

pub(crate) fn go_uint16(text: &str) -> Result<u16, String> {
    text.parse().map_err(|error| go_number_error("ParseUint", text, &error))
}

fn go_number_error(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

/// There is one driver of volumes.
fn local_driver(text: &str) -> Result<String, String> {
    match text {
        "" | "local" => Ok(text.to_owned()),
        other => Err(format!("volume driver {other:?} is not supported: only \"local\" is")),
    }
}
