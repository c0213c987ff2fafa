//! Flags of Docker's that mean something on Windows, in a daemon's configuration or in kernels of the past. What they ask for is
//! either what happens anyway, or refused with the reason: nothing is accepted and ignored.

use anyhow::{Result, bail};
use clap::Args;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OtherFlags {
    /// CPU count (Windows only)
    #[arg(long, value_name = "int", hide = true)]
    cpu_count: Option<String>,
    /// CPU percent (Windows only)
    #[arg(long, value_name = "int", hide = true)]
    cpu_percent: Option<String>,
    /// Do not verify signatures (Docker's content trust); the default
    #[arg(long, default_value = "true")]
    disable_content_trust: bool,
    /// Maximum I/O bandwidth of the system drive (Windows only)
    #[arg(long, value_name = "bytes", hide = true)]
    io_maxbandwidth: Option<String>,
    /// Maximum I/O operations of the system drive (Windows only)
    #[arg(long, value_name = "uint", hide = true)]
    io_maxiops: Option<String>,
    /// How the container is isolated (default)
    #[arg(long, value_name = "string")]
    isolation: Option<String>,
    /// Limit of kernel memory (no longer in the kernel)
    #[arg(long, value_name = "bytes", hide = true)]
    kernel_memory: Option<String>,
    /// The OCI runtime (brig)
    #[arg(long, value_name = "string")]
    runtime: Option<String>,
    /// Option of the storage (size=…)
    #[arg(long, value_name = "list", hide = true)]
    storage_opt: Vec<String>,
    /// Mount the engine's API socket, and the credentials
    #[arg(long, hide = true)]
    use_api_socket: bool,
}

impl OtherFlags {
    /// Refuses what is not had.
    pub(crate) fn check(&self) -> Result<()> {
        let windows = [
            ("cpu-count", &self.cpu_count, "--cpus"),
            ("cpu-percent", &self.cpu_percent, "--cpus"),
            ("io-maxbandwidth", &self.io_maxbandwidth, "--device-read-bps and --device-write-bps"),
            ("io-maxiops", &self.io_maxiops, "--device-read-iops and --device-write-iops"),
        ];
        for (flag, value, instead) in windows {
            if value.is_some() {
                bail!("--{flag} is for containers of Windows; on Linux give {instead}");
            }
        }
        if !self.disable_content_trust {
            bail!(
                "--disable-content-trust=false is not supported: Docker's content trust cannot be verified"
            );
        }
        let isolation = self.isolation.as_deref().unwrap_or_default();
        if !matches!(isolation.to_ascii_lowercase().as_str(), "" | "default") {
            bail!("invalid isolation {isolation:?} on linux");
        }
        if self.kernel_memory.is_some() {
            bail!(
                "--kernel-memory is not supported: Linux has had no limit of kernel memory since 5.16; give --memory, which counts it"
            );
        }
        match self.runtime.as_deref().unwrap_or_default() {
            "" | "brig" => {}
            name => bail!(
                "unknown or invalid runtime name: {name}; containers run by Brig's own runtime, \"brig\""
            ),
        }
        if let Some(option) = self.storage_opt.first() {
            bail!(
                "--storage-opt {option} is not supported: a container's writable layer has no quota of its own; give --read-only with volumes or --tmpfs path:size=… where it must be bounded"
            );
        }
        if self.use_api_socket {
            bail!("--use-api-socket is not supported: there is no API server whose socket could be mounted");
        }
        Ok(())
    }
}
