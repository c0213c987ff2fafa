//! A world for one container: folders of its own, and everything in it is gone at its end.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base::ContainerId;
use monitor::{
    AttachOptions, CgroupManager, Client, Event, ExitRecord, Launch, LaunchFds, LogSpec, Pending, Result,
    Session, Started, StateRecord, StdinMode,
};

pub struct World {
    pub root: PathBuf,
    pub launch: Launch,
}

/// All that a session brought.
#[derive(Debug, Default)]
pub struct Collected {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: Option<ExitRecord>,
    pub code: Option<i32>,
}

impl World {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("brig-monitor-{}-{number}", std::process::id()));
        fs::create_dir_all(root.join("bundle")).unwrap();
        let launch = Launch {
            version: 1,
            id: ContainerId::from_random([number as u8; 32]),
            bundle: root.join("bundle"),
            run_dir: root.join("run"),
            state_root: root.join("state"),
            terminal: false,
            console_size: None,
            stdin: StdinMode::Null,
            log: LogSpec::json_file(root.join("log.json")),
            exit_file: root.join("exit.json"),
            durable: false,
            cleanup: vec!["cleaned".into(), root.join("cleanups").into()],
            init: false,
            cgroup: CgroupManager::Disabled,
            seccomp_cache: None,
            events: None,
            health: None,
            guard: None,
            program: Some(env!("CARGO_BIN_EXE_monitor-plain").into()),
        };
        Self { root, launch }
    }

    pub fn write_config(&self, args: &[&str]) {
        let json = serde_json::json!({ "args": args }).to_string();
        fs::write(self.launch.bundle.join("config.json"), json).unwrap();
    }

    pub fn spawn(&self) -> Pending {
        monitor::spawn(&self.launch, LaunchFds::default()).unwrap()
    }

    /// Starts a shell script.
    pub fn start(&self, script: &str) -> Started {
        self.write_config(&["/bin/sh", "-c", script]);
        let mut pending = self.spawn();
        pending.wait_created().unwrap();
        pending.start().unwrap()
    }

    pub fn run_attached(&self, script: &str, options: AttachOptions) -> (Session, Started) {
        self.write_config(&["/bin/sh", "-c", script]);
        let mut pending = self.spawn();
        pending.wait_created().unwrap();
        let session = pending.attach(options).unwrap();
        (session, pending.start().unwrap())
    }

    pub fn client(&self) -> Client {
        self.client_or_gone().unwrap()
    }

    pub fn client_or_gone(&self) -> Result<Client> {
        Client::connect(&self.launch.run_dir)
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log.json")
    }

    pub fn say(&self, text: &str) {
        fs::write(self.root.join("cleanups.say"), text).unwrap();
    }

    pub fn cleanups(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("cleanups")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn run_files(&self) -> Vec<String> {
        fs::read_dir(&self.launch.run_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    pub fn exit_record(&self) -> Option<ExitRecord> {
        ExitRecord::load(&self.launch.exit_file).unwrap()
    }

    /// The monitor's process number.
    pub fn monitor(&self) -> i32 {
        self.monitor_if_any().expect("there is a monitor")
    }

    pub fn monitor_if_any(&self) -> Option<i32> {
        self.monitors().first().copied()
    }

    fn monitors(&self) -> Vec<i32> {
        let wanted = format!("monitor\0--run-dir\0{}\0", self.launch.run_dir.display());
        processes()
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&wanted)
            })
            .collect()
    }

    pub fn monitor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.monitor())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Waits until no monitor of this world is left.
    pub fn wait_gone(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.monitors().is_empty() {
            assert!(Instant::now() < end, "the monitor does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(Some(record)) = StateRecord::load(&self.launch.run_dir)
            && record.is_alive()
        {
            kill(record.pid);
        }
        for pid in self.monitors() {
            kill(pid);
        }
        // One that was just killed may finish a call.
        for _ in 0..200 {
            if fs::remove_dir_all(&self.root).is_ok() || !self.root.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Kills a process and waits until it has ended: until then its socket still takes connections.
pub fn kill(pid: i32) {
    let _ = sys::process::kill(pid, 9);
    while is_alive(pid) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Takes all events of a session up to its end.
pub fn collect(session: &mut Session) -> Collected {
    let mut got = Collected::default();
    loop {
        match session.next_event().unwrap() {
            Event::Stdout(data) => got.stdout.extend_from_slice(data),
            Event::Stderr(data) => got.stderr.extend_from_slice(data),
            Event::Exited(record) => {
                got.exit = Some(record);
                return got;
            }
            Event::ExecExited(code) => {
                got.code = Some(code);
                return got;
            }
        }
    }
}

pub fn read_all(log: &Path) -> Vec<String> {
    let options = monitor::log::ReadOptions {
        stdout: true,
        stderr: true,
        tail: None,
        since: None,
        until: None,
        follow: None,
    };
    let mut lines = Vec::new();
    monitor::log::read(log, &options, &mut |line| {
        lines.push(String::from_utf8_lossy(line.text).into_owned());
        Ok(true)
    })
    .unwrap();
    lines
}
