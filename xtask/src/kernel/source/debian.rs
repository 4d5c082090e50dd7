//! Debian's `linux-source-*` packages, brought by the host's apt in a state of its own.

use super::apt::{Mirror, mirror};
use super::{Archive, Origin, download, unpack};
use crate::kernel::error::{Error, Result};
use crate::kernel::guard::Guarded;
use crate::kernel::progress::Progress;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long apt may take for the lists, and for the package.
const UPDATE: Duration = Duration::from_secs(3 * 60);
const DOWNLOAD: Duration = Duration::from_secs(20 * 60);

/// Fetches the package from the first of the suites that has it, into the folder `dir`.
pub fn fetch(
    package: &str,
    suites: &[String],
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Archive> {
    let cannot =
        |why: &str| Error::NoKernel(format!("{package} cannot be fetched from Debian: {why}"));
    for program in ["apt-get", "dpkg-deb"] {
        if !on_path(program) {
            return Err(cannot(&format!("{program} is not installed")));
        }
    }
    let mirror = mirror(Path::new("/etc/apt")).ok_or_else(|| {
        cannot("the host's apt knows neither a Debian mirror nor Debian's keyring")
    })?;
    let mut why = Vec::new();
    for suite in suites {
        progress.phase(&format!("fetch {package} from Debian {suite}"));
        match from_suite(package, suite, &mirror, &dir.join(suite), progress) {
            Ok(archive) => return Ok(archive),
            Err(Error::NoKernel(error)) => why.push(error),
            Err(other) => return Err(other),
        }
    }
    Err(cannot(&why.join("; ")))
}

fn from_suite(
    package: &str,
    suite: &str,
    mirror: &Mirror,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Archive> {
    let config = private_state(suite, mirror, dir)?;
    let apt = |limit, arguments: &[&str]| {
        let all = ["-c".as_ref(), config.as_os_str()]
            .into_iter()
            .chain(arguments.iter().map(|text| (*text).as_ref()));
        Guarded::new("apt-get", r#"apt-get "$@""#, all, limit).dir(dir)
    };
    let told = |line: &str| progress.at(line);
    let update = apt(UPDATE, &["-q", "update"]).run(told)?;
    // apt-get ends with status 0 when a list could not be had; it says so in lines that start with E or W.
    if !update.status.success() || !update.tail.iter().all(|line| !line.starts_with("E:")) {
        update.check("apt-get update", dir)?;
    }
    let fetched = apt(DOWNLOAD, &["-q", "download", package]).run(told)?;
    let Some(file) = package_in(dir) else {
        let complaint = update.tail.iter().chain(&fetched.tail).find(|line| {
            line.starts_with("E:") || line.starts_with("Err:") || line.starts_with("W: Failed")
        });
        fetched.check("apt-get download", dir).map_err(|error| match (error, complaint) {
            (Error::NoKernel(_), Some(line)) => Error::NoKernel(format!("{suite}: {line}")),
            (other, _) => other,
        })?;
        return Err(Error::NoKernel(format!("{suite}: apt-get brought no package")));
    };
    // The name is PACKAGE_VERSION_ARCHITECTURE.deb; a colon in the version is written %3a.
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = name.split('_').nth(1).unwrap_or("of unknown version").replace("%3a", ":");
    Ok(Archive {
        origin: Origin {
            version,
            provider: format!("Debian {suite}, package {package}"),
            sha256: download::sha256(&file)?,
            verified: "verified by apt against the archive's signature".to_owned(),
        },
        file,
        format: unpack::Format::DebianPackage,
    })
}

/// Writes an apt configuration that keeps sources, lists and packages in `dir`, and returns its file. The host's
/// other settings, such as proxies, stay in force; its hooks do not.
fn private_state(suite: &str, mirror: &Mirror, dir: &Path) -> Result<PathBuf> {
    let write =
        |path: &Path, text: &str| fs::write(path, text).map_err(|e| Error::io("write", path, e));
    for folder in ["lists/partial", "cache/archives/partial", "sources"] {
        let folder = dir.join(folder);
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
    }
    let signed_by = mirror.signed_by.as_ref().map(|value| format!("Signed-By: {value}\n"));
    write(
        &dir.join("sources/refan.sources"),
        &format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\n\
             Targets: Packages\n{}",
            mirror.uri,
            signed_by.unwrap_or_default()
        ),
    )?;
    let config = dir.join("apt.conf");
    let at = dir.display();
    write(
        &config,
        &format!(
            "Dir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::sourceparts \"{at}/sources\";\n\
             Dir::State \"{at}\";\n\
             Dir::State::lists \"{at}/lists\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{at}/cache\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"2\";\n\
             Acquire::http::Timeout \"10\";\n\
             Acquire::https::Timeout \"10\";\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n\
             #clear DPkg::Pre-Invoke;\n\
             #clear DPkg::Post-Invoke;\n"
        ),
    )?;
    Ok(config)
}

fn package_in(dir: &Path) -> Option<PathBuf> {
    let list = fs::read_dir(dir).ok()?;
    list.flatten().map(|item| item.path()).find(|path| path.extension().is_some_and(|e| e == "deb"))
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
