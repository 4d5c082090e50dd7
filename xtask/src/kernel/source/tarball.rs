//! Release tarballs, as kernel.org has them.

use super::{Archive, Origin, download, unpack};
use crate::kernel::error::{Error, Result};
use crate::kernel::progress::Progress;
use refan_runner::cache::{Cache, Key};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The kind of cache workspace that a download is.
const DOWNLOADS: &str = "downloads";
/// Published checksums, signed, in the folder of the tarballs.
const CHECKSUMS: &str = "sha256sums.asc";

/// Fetches the tarball at `url` and checks it against `pinned`, else against the checksums published beside it.
pub fn fetch(
    url: &str,
    pinned: Option<&str>,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Archive> {
    let (folder, name) = url
        .rsplit_once('/')
        .ok_or_else(|| Error::Usage(format!("{url} is no address of a tarball")))?;
    progress.phase(&format!("fetch {name}"));
    let client = download::client();
    // The checksum first: it is small and shows whether the server is there at all.
    let (expected, verified) = match pinned {
        Some(pinned) => (pinned.to_ascii_lowercase(), "sha256 as pinned in the base".to_owned()),
        None => {
            let list = download::text(&client, &format!("{folder}/{CHECKSUMS}"))?;
            let sum = published(&list, name).ok_or_else(|| {
                Error::NoKernel(format!("{folder}/{CHECKSUMS} has no checksum for {name}"))
            })?;
            (sum, format!("sha256 as published in {CHECKSUMS}; {}", signature(&list)?))
        }
    };
    let wait = Duration::from_secs(60);
    let space = cache.workspace(DOWNLOADS, &Key::of([("url", url.as_bytes())]), wait, || ())?;
    let part = space.path().join("part");
    download::file(&client, url, &part, progress)?;
    let sha256 = download::sha256(&part)?;
    if sha256 != expected {
        fs::remove_file(&part).map_err(|e| Error::io("remove", &part, e))?;
        return Err(Error::NoKernel(format!(
            "{url} has the wrong checksum and is not used: sha256 {sha256}, expected {expected}"
        )));
    }
    let file = space.path().join("verified");
    fs::rename(&part, &file).map_err(|e| Error::io("rename", &part, e))?;
    let version = name.trim_start_matches("linux-").split(".tar").next().unwrap_or(name).to_owned();
    let origin = Origin { version, provider: url.to_owned(), sha256, verified };
    Ok(Archive { origin, file, format: unpack::Format::Tar })
}

/// The checksum of `name` in a list of `HEX  NAME` lines.
fn published(list: &str, name: &str) -> Option<String> {
    list.lines().find_map(|line| {
        let (sum, file) = line.split_once(char::is_whitespace)?;
        let right =
            file.trim() == name && sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        right.then(|| sum.to_ascii_lowercase())
    })
}

/// What the signature of the list says, in words; a signature that is wrong is an error. Only the user's own keyring
/// vouches for a key: none is fetched.
fn signature(list: &str) -> Result<String> {
    let gpg = Command::new("gpg")
        .args(["--batch", "--no-auto-key-retrieve", "--status-fd", "1", "--verify", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut gpg) = gpg else {
        return Ok("its signature is not checked: gpg is not installed".to_owned());
    };
    if let Some(mut stdin) = gpg.stdin.take() {
        // A gpg that ends early says why in its status.
        let _ = stdin.write_all(list.as_bytes());
    }
    let output = gpg.wait_with_output().map_err(|e| Error::start("gpg", &e))?;
    let status = String::from_utf8_lossy(&output.stdout);
    let says =
        |word: &str| status.lines().any(|line| line.starts_with(&format!("[GNUPG:] {word}")));
    if says("BADSIG") {
        return Err(Error::NoKernel(format!(
            "the signature of {CHECKSUMS} is wrong: it is not used"
        )));
    }
    Ok(if says("VALIDSIG") && says("GOODSIG") {
        "its signature is good".to_owned()
    } else if says("NO_PUBKEY") {
        "its signature is not checked: the key is not in the keyring".to_owned()
    } else {
        "its signature is not checked: gpg finds none that it can judge".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_found_by_the_whole_name() {
        let sum = "0123456789abcdef".repeat(4);
        let list = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{sum}  linux-7.3.4.tar.xz.sign\n\
             short  linux-7.3.4.tar.xz\n{sum}  linux-7.3.4.tar.xz\n-----BEGIN PGP SIGNATURE-----\n"
        );
        assert_eq!(published(&list, "linux-7.3.4.tar.xz"), Some(sum));
        assert_eq!(published(&list, "linux-7.3.tar.xz"), None);
        assert_eq!(published("", "x"), None);
    }
}
