//! The server: waits for the kernel's requests, answers them, and looks every few seconds how many processes are busy.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};

use super::FILES;
use super::fuse::{Answer, BUFFER, Request, parse, refusal};
use super::group::{self, Group};
use super::render::{self, Load};
use crate::cgroup::CgroupPaths;

/// How often busy processes are counted, as the kernel does.
const SAMPLE: Duration = Duration::from_secs(5);
/// The most open files whose text is kept; older ones are rendered anew at each read.
const OPEN_MAX: usize = 16;
/// How old the text of a file may be when it is opened.
const FRESH: Duration = Duration::from_millis(50);
/// The number of the first file; the folder is 1.
const FIRST: u64 = 2;

/// Serves until the last mount is gone.
pub(super) fn run(device: &OwnedFd, pid: i32, group: &CgroupPaths) -> Result<()> {
    let mut server = Server { pid, group, load: Load::default(), told: None, open: Vec::new(), next: 1 };
    let mut buffer = vec![0; BUFFER];
    let mut sampled = Instant::now();
    loop {
        let left = SAMPLE.saturating_sub(sampled.elapsed());
        let wait = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(device.as_fd(), PollFlags::IN)], Some(&wait)) {
            Ok(0) => {
                server.load.sample(group::tasks(group).1, sampled.elapsed().as_secs_f64());
                sampled = Instant::now();
                continue;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let length = match rustix::io::read(device, &mut buffer) {
            Ok(length) => length,
            // The request was taken back meanwhile.
            Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => continue,
            Err(Errno::NODEV) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some((unique, request)) = parse(&buffer[..length]) else { continue };
        let message = match server.answer(request) {
            Ok(Some(answer)) => answer.message(unique),
            Ok(None) => continue,
            Err(error) => refusal(unique, error),
        };
        match rustix::io::write(device, &message) {
            // Nobody waits for it any more.
            Ok(_) | Err(Errno::NOENT | Errno::INTR) => {}
            Err(Errno::NODEV) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

struct Server<'a> {
    pid: i32,
    group: &'a CgroupPaths,
    load: Load,
    /// File and text whose size was told a moment ago: what is opened then has that size.
    told: Option<(u64, Instant, String)>,
    /// Handle and text: what is read piece by piece belongs together.
    open: Vec<(u64, String)>,
    next: u64,
}

impl Server<'_> {
    fn answer(&mut self, request: Request<'_>) -> Result<Option<Answer>> {
        Ok(Some(match request {
            Request::Init { minor } => Answer::init(minor),
            Request::Lookup { name } => {
                let found = FILES.iter().zip(FIRST..).find(|((file, _), _)| file.as_bytes() == name);
                Answer::entry(found.ok_or(Errno::NOENT)?.1)
            }
            Request::Attributes { node } if node < FIRST => Answer::attributes(node, 0),
            Request::Attributes { node } => {
                let text = self.text(node)?;
                let size = text.len();
                self.told = Some((node, Instant::now(), text));
                Answer::attributes(node, size)
            }
            Request::Open { write: true, .. } => return Err(Errno::ACCESS),
            Request::Open { node, .. } => {
                let text = match self.told.take() {
                    Some((told, when, text)) if told == node && when.elapsed() < FRESH => text,
                    _ => self.text(node)?,
                };
                if self.open.len() == OPEN_MAX {
                    self.open.remove(0);
                }
                self.open.push((self.next, text));
                self.next += 1;
                Answer::opened(self.next - 1)
            }
            Request::Read { node, handle, offset, size } => {
                let kept = self.open.iter().find(|(number, _)| *number == handle);
                let fresh = if kept.is_none() { self.text(node)? } else { String::new() };
                let bytes = kept.map_or(fresh.as_bytes(), |(_, text)| text.as_bytes());
                let rest =
                    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                Answer::bytes(&rest[..rest.len().min(size as usize)])
            }
            Request::Release { handle } => {
                self.open.retain(|(number, _)| *number != handle);
                Answer::default()
            }
            Request::Nothing | Request::Destroy => Answer::default(),
            Request::Silent => return Ok(None),
            Request::Unknown => return Err(Errno::NOSYS),
        }))
    }

    fn text(&self, node: u64) -> Result<String> {
        let index = node.checked_sub(FIRST).and_then(|index| usize::try_from(index).ok());
        let (name, _) = index.and_then(|index| FILES.get(index)).ok_or(Errno::NOENT)?;
        let group = Group::read(self.group);
        let host = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = || host("/proc/cpuinfo");
        let processors = || group.processors(machine_processors());
        Ok(match *name {
            "meminfo" => render::meminfo(&host("/proc/meminfo"), &group),
            "cpuinfo" => render::cpuinfo(&cpuinfo(), &processors()),
            "stat" => {
                let tasks = group::tasks(self.group);
                render::stat(&host("/proc/stat"), self.age(), processors().len(), &group, tasks)
            }
            "loadavg" => self.load.render(group::tasks(self.group)),
            "uptime" => render::uptime(self.age(), processors().len(), &group),
            "swaps" => render::swaps(&host("/proc/swaps"), &group),
            _ => render::online(&processors()),
        })
    }

    /// Milliseconds since the container's init began.
    fn age(&self) -> u64 {
        let ticks = crate::state::start_time(self.pid).unwrap_or(0);
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = uptime.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        // `start_time` counts hundredths of a second since the machine's start.
        ((seconds * 1000.0) as u64).saturating_sub(ticks * 10)
    }
}

/// How many processors the machine has.
fn machine_processors() -> usize {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let last = online.trim_end().rsplit([',', '-']).next().and_then(|text| text.parse::<usize>().ok());
    last.unwrap_or(0) + 1
}
