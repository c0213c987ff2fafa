//! A file from a plain web server: `brig import URL`. No credentials are sent, redirects are followed as for registries.

use std::io::{self, Read};

use ureq::BodyReader;

use crate::client::Client;
use crate::error::{Error, Lie, Result, TransportError, clean};
use crate::transport::{Asked, Method, Request, SchemeChoice, from_io};
use crate::url::Url;

/// The longest file that is fetched, in bytes: whatever ends a body that has no end.
const LONGEST_DOWNLOAD: u64 = 256 << 30;
/// How much of an answer that is no success is shown.
const SHOWN: u64 = 300;

/// The body of a download: reading fails when it ends before the announced length, or runs on too long.
pub struct Download {
    body: BodyReader<'static>,
    announced: Option<u64>,
    limit: u64,
    got: u64,
}

impl Client {
    /// Fetches `url` (`http` or `https`).
    pub fn download(&self, url: &str) -> Result<Download> {
        self.download_up_to(url, LONGEST_DOWNLOAD)
    }

    pub(crate) fn download_up_to(&self, text: &str, limit: u64) -> Result<Download> {
        let url =
            Url::parse(text).map_err(|error| Error::Url { url: clean(text), reason: error.to_string() })?;
        let asked =
            Asked { what: url.path.clone(), registry: url.authority.clone(), domain: url.authority.clone() };
        let choice = SchemeChoice::Only(url.scheme);
        let request = Request { method: Method::Get, url, accept: None, authorization: None, offset: 0 };
        let answer = self.inner.transport.send(&request, choice).map_err(|failure| failure.asked(&asked))?;
        let Asked { what, registry, .. } = asked;
        match answer.status {
            200 => {}
            404 | 410 => return Err(Error::NotFound { what, registry, detail: String::new() }),
            status => {
                // What cannot be read of the reason is not shown.
                let detail = answer.read(SHOWN).map(|text| clean(&String::from_utf8_lossy(&text)));
                let detail = detail.unwrap_or_default();
                return Err(Error::Status { what, registry, status, retry_after: None, detail });
            }
        }
        let announced = answer.content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(Error::Refused { what, registry, lie: Lie::TooLong { limit } });
        }
        Ok(Download { body: answer.into_reader(), announced, limit, got: 0 })
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = match self.body.read(buffer) {
            // Said better below.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.announced.is_some() => 0,
            result => result.map_err(|error| io::Error::other(from_io(error)))?,
        };
        self.got += got as u64;
        if self.got > self.limit {
            return Err(io::Error::other(Lie::TooLong { limit: self.limit }));
        }
        match self.announced {
            Some(expected) if got == 0 && !buffer.is_empty() && self.got < expected => {
                Err(io::Error::other(TransportError::Truncated { got: self.got, expected }))
            }
            _ => Ok(got),
        }
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("announced", &self.announced).field("got", &self.got).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and returns the URL to ask.
    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/root.tar", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    fn fetch(url: &str, limit: u64) -> std::result::Result<Vec<u8>, String> {
        let client = Client::new(crate::RegistryConfig::default(), crate::Anonymous).unwrap();
        let mut download = client.download_up_to(url, limit).map_err(|e| base::error::render_chain(&e))?;
        let mut bytes = Vec::new();
        download.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn a_whole_file_comes_and_nothing_else() {
        assert_eq!(fetch(&server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile"), 9).unwrap(), b"file");
        assert_eq!(fetch(&server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfile"), 9).unwrap(), b"file");
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfile\r\n0\r\n\r\n";
        assert_eq!(fetch(&server(chunks), 9).unwrap(), b"file");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for (answer, word) in [
            ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "cannot find /root.tar"),
            ("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nwhy?", "500"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfile", "early"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfile", "longer than 20 bytes"),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789012345678901234567890", "longer than 20"),
            ("HTTP/1.1 302 Go\r\nLocation: ftp://h/x\r\nContent-Length: 0\r\n\r\n", "redirect"),
        ] {
            let error = fetch(&server(answer), 20).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(fetch("http://user:secret@127.0.0.1/x", 20).unwrap_err().contains("user name"));
    }
}
