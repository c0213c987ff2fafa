//! The health record, `health` in the run folder: what a container's probes came to.
//!
//! ```text
//! header: magic, version │ count │ status, streak │ began │ probe, its start
//! slot 0 … slot 5:         begin, end │ exit code, flags │ time-out │ length │ output
//! ```
//!
//! A file of fixed size with little-endian numbers and not a document: a monitor writes one slot and the header after each
//! probe, holds nothing of it in memory, and one that takes over goes on from what it finds. The last five of `count` results
//! count; the sixth slot is the one that is being written, so that a reader never meets half of one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::clock::UnixNanos;
use crate::error::{Doing, Result};

/// Bytes that are kept of the output of one probe, as in Docker.
pub const MAX_OUTPUT: usize = 4096;

/// Results that are told, as in Docker.
const KEPT: u64 = 5;
const SLOTS: u64 = KEPT + 1;

/// Name of the record in the run folder.
pub(crate) const FILE: &str = "health";

/// "BRGH", and the version of the layout.
const MAGIC: u64 = 0x4847_5242 | 1 << 32;
const HEADER: usize = 6 * 8;
const SLOT_HEAD: usize = 5 * 8;
const SLOT: u64 = (SLOT_HEAD + MAX_OUTPUT) as u64;

/// The output was longer than is kept.
const TRUNCATED: u32 = 1;
/// The probe was killed because its time was up.
const TIMED_OUT: u32 = 2;

/// How well a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// No probe has succeeded, and not enough have failed.
    Starting,
    /// The last probe succeeded, or not enough have failed since.
    Healthy,
    /// As many probes as were allowed have failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Returns Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Healthy,
            2 => Self::Unhealthy,
            _ => Self::Starting,
        }
    }
}

/// What one probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// When it began.
    pub start: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
    /// Its exit code; −1 when it could not be run or was killed because its time was up.
    pub exit_code: i32,
    /// The first [`MAX_OUTPUT`] bytes of what it wrote.
    pub output: String,
}

/// What a health record tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// How well it is.
    pub status: HealthStatus,
    /// Probes that have failed since the last one that succeeded.
    pub failing_streak: u32,
    /// The last five results, oldest first.
    pub log: Vec<ProbeResult>,
}

impl HealthReport {
    /// Reads the record of a run folder; `None` when there is none.
    pub fn load(run_dir: &Path) -> Option<Self> {
        let file = File::open(run_dir.join(FILE)).ok()?;
        // A second look when the first one met a change.
        let (_, report) =
            (0..3).find_map(|_| Self::read(&file).filter(|(same, _)| *same)).or_else(|| Self::read(&file))?;
        Some(report)
    }

    /// Reads the status alone.
    pub fn status(run_dir: &Path) -> Option<HealthStatus> {
        let file = File::open(run_dir.join(FILE)).ok()?;
        Header::read(&file).map(|header| header.status)
    }

    fn read(file: &File) -> Option<(bool, Self)> {
        let header = Header::read(file)?;
        let first = header.count.saturating_sub(KEPT);
        let log = (first..header.count).filter_map(|number| read_slot(file, number)).collect();
        let same = Header::read(file).is_some_and(|again| again.count == header.count);
        Some((same, Self { status: header.status, failing_streak: header.streak, log }))
    }
}

/// What the record says as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Results so far.
    pub(crate) count: u64,
    pub(crate) status: HealthStatus,
    pub(crate) streak: u32,
    /// When the container began, in milliseconds of the monotonic clock.
    pub(crate) began: u64,
    /// The probe that runs, 0 for none, and when it began, in milliseconds since boot.
    pub(crate) probe: i32,
    pub(crate) probe_began: u64,
}

impl Header {
    fn read(file: &impl FileRead) -> Option<Self> {
        let mut bytes = [0; HEADER];
        file.read_at_exactly(&mut bytes, 0)?;
        let word = |at: usize| word(&bytes, at);
        (word(0) == MAGIC).then(|| Self {
            count: word(1),
            status: HealthStatus::from_number(word(2) as u32),
            streak: (word(2) >> 32) as u32,
            began: word(3),
            probe: word(4) as u32 as i32,
            probe_began: word(5),
        })
    }
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) start: UnixNanos,
    pub(crate) end: UnixNanos,
    pub(crate) exit_code: i32,
    /// The time that it had, when that was up.
    pub(crate) timed_out_ms: Option<u64>,
}

/// The record, as its monitor holds it.
#[derive(Debug)]
pub(crate) struct HealthFile {
    file: OwnedFd,
    pub(crate) header: Header,
    /// Bytes of the present probe's output that are written, and whether there were more.
    written: usize,
    truncated: bool,
}

impl HealthFile {
    /// Begins the record of a container that began at `began`.
    pub(crate) fn create(dir: &OwnedFd, began: u64) -> Result<Self> {
        let file = open(dir, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        let status = HealthStatus::Starting;
        let header = Header { count: 0, status, streak: 0, began, probe: 0, probe_began: 0 };
        let mut made = Self { file, header, written: 0, truncated: false };
        made.save()?;
        Ok(made)
    }

    /// Opens the record that a former monitor left; one that is none is begun anew.
    pub(crate) fn open(dir: &OwnedFd, began: u64) -> Result<Self> {
        let found = open(dir, OFlags::RDWR).ok().and_then(|file| {
            let header = Header::read(&file)?;
            Some(Self { file, header, written: 0, truncated: false })
        });
        found.map_or_else(|| Self::create(dir, began), Ok)
    }

    /// Writes the header.
    pub(crate) fn save(&mut self) -> Result<()> {
        let header = &self.header;
        let state = u64::from(header.status as u32) | u64::from(header.streak) << 32;
        let words =
            [MAGIC, header.count, state, header.began, u64::from(header.probe as u32), header.probe_began];
        self.write(&encode(words), 0)
    }

    /// Adds to the output of the present probe what there is room for.
    pub(crate) fn add_output(&mut self, data: &[u8]) {
        let taken = data.len().min(MAX_OUTPUT - self.written);
        self.truncated |= taken < data.len();
        let at = slot_at(self.header.count) + (SLOT_HEAD + self.written) as u64;
        // A run folder that is full keeps less of it.
        if taken > 0 && self.write(&data[..taken], at).is_ok() {
            self.written += taken;
        }
    }

    /// Forgets the output of a probe that does not count.
    pub(crate) fn drop_output(&mut self) {
        (self.written, self.truncated) = (0, false);
    }

    /// Ends the present probe: writes its slot; the header is the caller's to change and to save.
    pub(crate) fn finish(&mut self, verdict: Verdict) -> Result<()> {
        let mut flags = if self.truncated { TRUNCATED } else { 0 };
        if verdict.timed_out_ms.is_some() {
            flags |= TIMED_OUT;
        }
        let words = [
            verdict.start as u64,
            verdict.end as u64,
            u64::from(verdict.exit_code as u32) | u64::from(flags) << 32,
            verdict.timed_out_ms.unwrap_or(0),
            self.written as u64,
        ];
        let number = self.header.count;
        self.drop_output();
        self.header.count += 1;
        self.write(&encode(words), slot_at(number))
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        rustix::io::pwrite(&self.file, bytes, at).map(|_| ()).doing(|| "write the health record".to_owned())
    }
}

/// Reads at a place; both sides of the record do.
trait FileRead {
    fn read_at_exactly(&self, bytes: &mut [u8], at: u64) -> Option<()>;
}

impl FileRead for File {
    fn read_at_exactly(&self, bytes: &mut [u8], at: u64) -> Option<()> {
        self.read_exact_at(bytes, at).ok()
    }
}

impl FileRead for OwnedFd {
    fn read_at_exactly(&self, bytes: &mut [u8], at: u64) -> Option<()> {
        (rustix::io::pread(self, &mut *bytes, at).ok()? == bytes.len()).then_some(())
    }
}

fn open(dir: &OwnedFd, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, FILE, flags, Mode::RUSR | Mode::WUSR)
        .doing(|| "open the health record".to_owned())
}

fn slot_at(number: u64) -> u64 {
    HEADER as u64 + number % SLOTS * SLOT
}

fn word(bytes: &[u8], nth: usize) -> u64 {
    let bytes = bytes.get(nth * 8..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn encode<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn read_slot(file: &File, number: u64) -> Option<ProbeResult> {
    let mut head = [0; SLOT_HEAD];
    file.read_at_exactly(&mut head, slot_at(number))?;
    let flags = (word(&head, 2) >> 32) as u32;
    let mut output = vec![0; (word(&head, 4) as usize).min(MAX_OUTPUT)];
    file.read_at_exactly(&mut output, slot_at(number) + SLOT_HEAD as u64)?;
    let mut output = String::from_utf8_lossy(&output).into_owned();
    if flags & TRUNCATED != 0 {
        output.push_str("...");
    }
    if flags & TIMED_OUT != 0 {
        let time = std::time::Duration::from_millis(word(&head, 3));
        output = match output.is_empty() {
            true => format!("Health check exceeded timeout ({time:?})"),
            false => format!("Health check exceeded timeout ({time:?}): {output}"),
        };
    }
    Some(ProbeResult {
        start: UnixNanos::from(word(&head, 0) as i64),
        end: UnixNanos::from(word(&head, 1) as i64),
        exit_code: word(&head, 2) as u32 as i32,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(exit_code: i32) -> Verdict {
        Verdict { start: 10, end: 20, exit_code, timed_out_ms: None }
    }

    #[test]
    fn the_last_five_results_are_told_and_a_new_monitor_goes_on() {
        let path = std::env::temp_dir().join(format!("brig-health-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        assert_eq!(HealthReport::load(&path), None);
        let dir = crate::transport::open_dir(&path).unwrap();
        let mut file = HealthFile::create(&dir, 7).unwrap();
        assert_eq!(HealthReport::status(&path), Some(HealthStatus::Starting));
        for number in 0..8 {
            file.add_output(format!("n{number}").as_bytes());
            file.finish(verdict(number)).unwrap();
            file.header.streak = 3;
            file.header.status = HealthStatus::Unhealthy;
            file.save().unwrap();
        }
        drop(file);
        let mut file = HealthFile::open(&dir, 9).unwrap();
        assert_eq!((file.header.began, file.header.count), (7, 8));
        // What a probe has written so far shows nowhere.
        file.add_output(&[b'x'; 3000]);
        let report = HealthReport::load(&path).unwrap();
        assert_eq!((report.status, report.failing_streak), (HealthStatus::Unhealthy, 3));
        let codes: Vec<_> =
            report.log.iter().map(|result| (result.exit_code, result.output.as_str())).collect();
        assert_eq!(codes, [(3, "n3"), (4, "n4"), (5, "n5"), (6, "n6"), (7, "n7")]);
        file.add_output(&[b'y'; 3000]);
        file.finish(Verdict { timed_out_ms: Some(1500), ..verdict(-1) }).unwrap();
        file.save().unwrap();
        let report = HealthReport::load(&path).unwrap();
        let last = report.log.last().unwrap();
        assert!(last.output.starts_with("Health check exceeded timeout (1.5s): xxx"), "{}", last.output);
        assert!(last.output.ends_with("yyy..."));
        assert_eq!((last.exit_code, last.start, last.end), (-1, 10, 20));
        assert_eq!(last.output.bytes().filter(|byte| matches!(byte, b'x' | b'y')).count(), MAX_OUTPUT + 1);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_record_is_none() {
        let path = std::env::temp_dir().join(format!("brig-no-health-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for text in ["", "short", &"x".repeat(500)] {
            std::fs::write(path.join(FILE), text).unwrap();
            assert_eq!(HealthReport::load(&path), None);
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
