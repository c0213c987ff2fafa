//! The help texts.

const COMMANDS: &[(&str, &str, &str)] = &[
    ("create", "Create a container that waits to be started", "[options] CONTAINER"),
    ("delete", "Remove a stopped container", "[-f, --force] CONTAINER"),
    ("events", "Print measurements and events", "[--stats] [--interval 5s] CONTAINER"),
    (
        "exec",
        "Run a process in a container",
        "[options] CONTAINER COMMAND [ARG…]  |  -p process.json CONTAINER",
    ),
    ("features", "Print what this runtime can do, as JSON", ""),
    ("kill", "Send a signal to a container's init", "[-a, --all] CONTAINER [SIGNAL]"),
    ("list", "List containers", "[-q, --quiet] [-f, --format table|json]"),
    ("pause", "Freeze all processes of a container", "CONTAINER"),
    ("ps", "List the processes of a container", "[-f, --format table|json] CONTAINER [PS OPTIONS]"),
    ("resume", "Thaw a frozen container", "CONTAINER"),
    ("run", "Create and start a container, wait for it, remove it", "[options] CONTAINER"),
    ("spec", "Write an example config.json", "[-b, --bundle DIR] [--rootless]"),
    ("start", "Start a created container", "CONTAINER"),
    ("state", "Print the state of a container, as JSON", "CONTAINER"),
    ("update", "Change the limits of a container", "[options] CONTAINER"),
];

const CREATE: &str = "
  -b, --bundle DIR          the bundle (default: the working directory)
      --console-socket PATH socket that gets the terminal's master end
      --pid-file PATH       file that gets the process number
      --preserve-fds N      descriptors after 2 that the process inherits
      --no-pivot            change the root by moving the mount (initramfs)
      --no-new-keyring      keep the session keyring
      --init                a small init as process 1 that forwards signals and reaps
";

const RUN: &str = "  -d, --detach              do not wait
      --keep                do not remove the container at its end
      --no-subreaper        do not adopt the container's orphans
";

const EXEC: &str = "
  -p, --process FILE        the process as JSON, instead of a command
      --cwd DIR             working directory
  -e, --env NAME=VALUE      add to the environment (repeatable)
  -t, --tty                 with a terminal
  -u, --user UID[:GID]      run as this user
  -g, --additional-gids GID add a supplementary group (repeatable)
  -c, --cap CAP             add a capability (repeatable)
      --no-new-privs        give up new privileges
      --apparmor PROFILE    AppArmor profile
      --process-label LABEL SELinux label
  -d, --detach              do not wait
      --pid-file PATH       file that gets the process number
      --console-socket PATH socket that gets the terminal's master end
      --preserve-fds N      descriptors after 2 that the process inherits
      --cgroup PATH         a group below the container's own
      --ignore-paused       run although the container is paused
";

const UPDATE: &str = "
  -r, --resources FILE      limits as JSON (linux.resources), - for standard input
      --memory BYTES        --memory-reservation BYTES   --memory-swap BYTES
      --kernel-memory BYTES --kernel-memory-tcp BYTES
      --cpu-period USECS    --cpu-quota USECS            --cpu-burst USECS
      --cpu-share N         --cpu-idle 0|1
      --cpu-rt-period USECS --cpu-rt-runtime USECS
      --cpuset-cpus LIST    --cpuset-mems LIST
      --pids-limit N        --blkio-weight N
";

const GLOBALS: &str = "
Options before the command:
      --root DIR            where states are kept (default /run/brig/runtime, rootless in $XDG_RUNTIME_DIR)
      --log FILE            append errors and warnings
      --log-format FORMAT   text (default) or json
      --debug               say what is done, the plan of the mounts too
      --systemd-cgroup      have systemd keep the control groups
      --rootless MODE       true, false or auto (default)
  -h, --help                this text; after a command its own
  -v, --version             versions
";

/// Returns the text for the whole command line.
pub(super) fn overview() -> String {
    let commands: String = COMMANDS.iter().map(|(name, what, _)| format!("  {name:10}{what}\n")).collect();
    format!(
        "Usage: brig runtime [options] COMMAND\n\nAn OCI runtime with runc's command line.\n\nCommands:\n{commands}{GLOBALS}"
    )
}

/// Returns the text for one command.
pub(super) fn of(command: &str) -> String {
    let known = COMMANDS.iter().find(|(name, _, _)| *name == command);
    let Some((name, what, usage)) = known else { return overview() };
    let options = match *name {
        "create" => CREATE.to_owned(),
        "run" => format!("{CREATE}{RUN}"),
        "exec" => EXEC.to_owned(),
        "update" => UPDATE.to_owned(),
        _ => String::new(),
    };
    let options = if options.is_empty() { options } else { format!("\nOptions:{options}") };
    format!("Usage: brig runtime {name} {usage}\n\n{what}.\n{options}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_text() {
        for (name, what, _) in COMMANDS {
            assert!(of(name).contains(what) && overview().contains(name));
        }
    }
}
