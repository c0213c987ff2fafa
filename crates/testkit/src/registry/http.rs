//! HTTP/1.1 as far as a registry needs it: requests read, answers and their faults written.

use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::answer_to;
use super::{Fault, Shared};

/// The longest head and body of a request.
const LONGEST_REQUEST: usize = 1 << 20;
/// The first byte of a TLS connection (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// A request that came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `GET`, `HEAD`, `POST`.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Seen {
    /// Returns a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer before it is written.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Serves one connection until either side ends it.
pub(super) fn serve(stream: &mut (impl Read + Write), shared: &Shared) {
    let mut buffer = Vec::new();
    loop {
        let seen = match read_request(stream, &mut buffer) {
            Ok(Some(seen)) => seen,
            Ok(None) => return,
            Err(_) => {
                // As Go's server answers TLS on a plain port; the client may have gone.
                let _ = stream.write_all(
                    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
                );
                return;
            }
        };
        shared.content().seen.push(seen.clone());
        let fault = shared.take_fault(&seen.path);
        match respond(stream, shared, &seen, fault) {
            Ok(true) => {}
            _ => return,
        }
    }
}

fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let head_length = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if !read_more(stream, buffer)? {
            return Ok(None);
        }
        if buffer.first() == Some(&TLS_HANDSHAKE) {
            return Err(io::Error::other("TLS was spoken to a server of plain HTTP"));
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_length]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { method, path, headers, body: String::new() };
    let length = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < head_length + length {
        if !read_more(stream, buffer)? {
            return Ok(None);
        }
    }
    seen.body = String::from_utf8_lossy(&buffer[head_length..head_length + length]).into_owned();
    buffer.drain(..head_length + length);
    Ok(Some(seen))
}

fn read_more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    let got = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..got]);
    Ok(got > 0 && buffer.len() <= LONGEST_REQUEST)
}

/// Writes the answer; returns whether the connection goes on.
fn respond(stream: &mut impl Write, shared: &Shared, seen: &Seen, fault: Option<Fault>) -> io::Result<bool> {
    let whole = matches!(fault, Some(Fault::IgnoreRange));
    let mut answer = match &fault {
        Some(Fault::Hangup) => return Ok(false),
        Some(Fault::Garbage) => {
            return stream.write_all(b"\x15\x03\x01\x00\x02\x02\x46 what?\r\n\r\n").map(|()| false);
        }
        Some(Fault::Status(status, headers, body)) => headers
            .iter()
            .fold(Answer::new(*status, body.as_bytes()), |answer, (name, value)| answer.with(name, value)),
        Some(Fault::Redirect(location)) => Answer::new(307, "").with("Location", location),
        _ => answer_to(shared, seen, whole),
    };
    match fault {
        Some(Fault::OtherBody(body)) => answer.body = body,
        Some(Fault::Header(name, value)) => answer = answer.with(&name, value),
        Some(Fault::BreakAfter(bytes)) => return write_broken(stream, &answer, bytes),
        Some(Fault::Endless) => return write_endless(stream, shared, &answer),
        Some(Fault::Stall(time)) => return write_stalled(stream, shared, &answer, time),
        _ => {}
    }
    write_head(stream, &answer, Some(answer.body.len()))?;
    if seen.method != "HEAD" {
        stream.write_all(&answer.body)?;
    }
    stream.flush()?;
    Ok(true)
}

fn write_head(stream: &mut impl Write, answer: &Answer, length: Option<usize>) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Fake\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        None => head.push_str("Connection: close\r\n"),
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.flush()
}

fn write_broken(stream: &mut impl Write, answer: &Answer, bytes: usize) -> io::Result<bool> {
    write_head(stream, answer, Some(answer.body.len()))?;
    stream.write_all(&answer.body[..bytes.min(answer.body.len())])?;
    stream.flush()?;
    Ok(false)
}

fn write_endless(stream: &mut impl Write, shared: &Shared, answer: &Answer) -> io::Result<bool> {
    write_head(stream, answer, None)?;
    stream.write_all(&answer.body)?;
    while !shared.is_stopping() {
        stream.write_all(&[0; 4096])?;
    }
    Ok(false)
}

fn write_stalled(
    stream: &mut impl Write,
    shared: &Shared,
    answer: &Answer,
    time: Duration,
) -> io::Result<bool> {
    write_head(stream, answer, Some(answer.body.len()))?;
    let until = Instant::now() + time;
    while Instant::now() < until && !shared.is_stopping() {
        thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(&answer.body)?;
    stream.flush()?;
    Ok(true)
}
