//! One file over HTTP(S): resumed when it was broken off, verified before it is used.

use crate::kernel::configs::hex;
use crate::kernel::error::{Error, Result};
use crate::kernel::progress::Progress;
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A server that does not answer by then is none: the next provider is tried.
const CONNECT: Duration = Duration::from_secs(4);
/// How long a server may think before it sends its first byte.
const RESPOND: Duration = Duration::from_secs(20);
/// How long one request may last; a slow download goes on with another one where it stood.
const REQUEST: Duration = Duration::from_secs(120);
/// How many requests in a row may end early without a single new byte.
const FRUITLESS: usize = 3;

/// How often progress is told.
const TELL: Duration = Duration::from_millis(200);

/// A client whose every wait is bounded.
pub fn client() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(RESPOND))
        .timeout_recv_body(Some(REQUEST))
        .http_status_as_error(false)
        .build()
        .into()
}

/// The text at `url`.
pub fn text(client: &ureq::Agent, url: &str) -> Result<String> {
    let mut response = client.get(url).call().map_err(|e| failed(url, &e.to_string()))?;
    if response.status() != 200 {
        return Err(failed(url, &format!("the server answers {}", response.status())));
    }
    response.body_mut().read_to_string().map_err(|e| failed(url, &e.to_string()))
}

/// Brings `url` to the file `part`, going on after the bytes that it has. The file is complete afterwards, which
/// says nothing yet about whether it is right.
pub fn file(client: &ureq::Agent, url: &str, part: &Path, progress: &dyn Progress) -> Result<()> {
    let mut fruitless = 0;
    loop {
        let before = size(part);
        match request(client, url, part, progress) {
            Ok(()) => return Ok(()),
            Err(Broken::For(error)) => return Err(error),
            Err(Broken::Off(why)) => {
                fruitless = if size(part) > before { 0 } else { fruitless + 1 };
                if fruitless == FRUITLESS {
                    return Err(failed(url, &format!("it broke off {FRUITLESS} times: {why}")));
                }
            }
        }
    }
}

/// How a request ended early.
enum Broken {
    /// For good.
    For(Error),
    /// On its way: another request can go on.
    Off(String),
}

fn request(
    client: &ureq::Agent,
    url: &str,
    part: &Path,
    progress: &dyn Progress,
) -> std::result::Result<(), Broken> {
    let have = size(part);
    let mut request = client.get(url);
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| match error {
        ureq::Error::Io(_) | ureq::Error::Timeout(ureq::Timeout::RecvBody) => {
            Broken::Off(error.to_string())
        }
        other => Broken::For(failed(url, &other.to_string())),
    })?;
    let (start, total) = match response.status().as_u16() {
        200 => (0, length(&response, "content-length")),
        206 if range_start(&response) == Some(have) => {
            (have, length(&response, "content-length").map(|left| have + left))
        }
        // The file on the server is not the one that the bytes here belong to: begin again.
        206 | 416 if have > 0 => {
            fs::remove_file(part).map_err(|e| Broken::For(Error::io("remove", part, e)))?;
            return Err(Broken::Off("the server cannot go on with it".to_owned()));
        }
        status => return Err(Broken::For(failed(url, &format!("the server answers {status}")))),
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(start > 0)
        .write(true)
        .truncate(start == 0)
        .open(part)
        .map_err(|e| Broken::For(Error::io("write", part, e)))?;
    let done = copy(response.into_body().into_reader(), &mut file, start, total, progress);
    match done {
        Ok(size) if total.is_none_or(|total| size == total) => Ok(()),
        Ok(size) => Err(Broken::Off(format!("{size} of {} bytes came", total.unwrap_or_default()))),
        Err(Copy::Read(error)) => Err(Broken::Off(error.to_string())),
        Err(Copy::Write(error)) => Err(Broken::For(Error::io("write", part, error))),
    }
}

/// The side on which copying failed.
enum Copy {
    Read(io::Error),
    Write(io::Error),
}

fn copy(
    mut from: impl Read,
    to: &mut File,
    start: u64,
    total: Option<u64>,
    progress: &dyn Progress,
) -> std::result::Result<u64, Copy> {
    let mut buffer = vec![0; 128 << 10];
    let mut size = start;
    let mut told = Instant::now();
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copy::Read(error)),
        };
        to.write_all(&buffer[..count]).map_err(Copy::Write)?;
        size += count as u64;
        if told.elapsed() >= TELL {
            told = Instant::now();
            progress.at(&match total {
                Some(total) => format!("{} of {} MB", size >> 20, total >> 20),
                None => format!("{} MB", size >> 20),
            });
        }
    }
}

/// The SHA-256 of a file, in hex.
pub fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    io::copy(&mut file, &mut hash).map_err(|e| Error::io("read", path, e))?;
    Ok(hex(&hash.finalize()))
}

fn failed(url: &str, why: &str) -> Error {
    Error::NoKernel(format!("{url} cannot be fetched: {why}"))
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn length<B>(response: &ureq::http::Response<B>, header: &str) -> Option<u64> {
    response.headers().get(header)?.to_str().ok()?.parse().ok()
}

/// Where the part that a server sends starts, by its `Content-Range: bytes START-END/TOTAL`.
fn range_start<B>(response: &ureq::http::Response<B>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
