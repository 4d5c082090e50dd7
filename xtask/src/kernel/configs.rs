//! The kernels under test as data: what lies in `kernel-configs/`.

use super::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder `kernel-configs/`.
#[derive(Clone, Debug)]
pub struct Configs {
    root: PathBuf,
}

/// A kernel version and where its source comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// One line for people.
    pub summary: String,
    /// The base that stands in when no provider has this one any more.
    pub next: Option<String>,
    /// Where the source comes from, tried in this order.
    pub providers: Vec<Provider>,
}

/// A place that a kernel source comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Provider {
    /// A release tarball over HTTP(S), as kernel.org has them.
    Tarball {
        /// The tarball; `sha256sums.asc` is looked for beside it.
        url: String,
        /// Its SHA-256 in hex, where it is known for sure.
        sha256: Option<String>,
    },
    /// A package of the Debian distribution that holds a kernel source, fetched by the host's apt.
    Debian {
        /// The package.
        package: String,
        /// The suites to look in, in this order.
        suites: Vec<String>,
    },
}

/// A configuration to build a kernel in, and what the result promises.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// One line for people.
    pub summary: String,
    /// Fragments in `fragments/`; a later one wins.
    pub fragments: Vec<String>,
    /// Folders and files of the source whose code tells KCOV which of its places a task passes; each such
    /// place costs time.
    #[serde(default)]
    pub coverage: Vec<String>,
    /// Patches in `instrumentation/` that have the kernel tell more and change nothing that programs see. They
    /// go on a base behind the series, and on no tree of the user's.
    #[serde(default)]
    pub instrumentation: Vec<String>,
    /// Folders and files of the source whose code counts how often each of its lines and branches is
    /// passed (gcov).
    #[serde(default)]
    pub gcov: Vec<String>,
    /// The machine profile that it runs on unless another is asked for.
    pub machine: String,
    /// The same where KVM works.
    pub kvm_machine: String,
    /// The API profile that it declares when built with a series that has one.
    pub api: String,
    /// Parameters of the kernel in campaigns: what of it they do not ask for costs them nothing then.
    #[serde(default)]
    pub in_campaigns: String,
}

/// What a series says of itself as far as building goes.
#[derive(Clone, Debug, Deserialize)]
struct SeriesFile {
    summary: String,
    api: Option<String>,
    /// The series that this one stands on; `none` for the bare base.
    on: Option<String>,
    patches: Vec<String>,
}

/// A series with everything that it stands on.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// The API profile that a kernel with this series has.
    pub api: Option<String>,
    /// All patches, in the order in which they apply.
    pub patches: Vec<Patch>,
}

/// A patch file.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Its file.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Patch {
    fn read(path: PathBuf) -> Result<Self> {
        let bytes = fs::read(&path).map_err(|e| Error::io("read the patch", &path, e))?;
        Ok(Self { path, bytes })
    }

    /// Its file name.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The SHA-256 of its content, in hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }
}

/// A configuration fragment: its name and its text.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Its name, without `.config`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A kind of thing that `kernel-configs/` has, with its folders and file names.
const BASES: &str = "bases";
const TARGETS: &str = "targets";
const SERIES: [&str; 2] = ["series", "mutants"];

/// No series: the base as it is.
pub const NO_SERIES: &str = "none";

impl Configs {
    /// The folder `kernel-configs/` at `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The base of that name, and the text that defines it.
    pub fn base(&self, name: &str) -> Result<(Base, String)> {
        self.named(BASES, "base", name)
    }

    /// The target of that name.
    pub fn target(&self, name: &str) -> Result<Target> {
        Ok(self.named(TARGETS, "target", name)?.0)
    }

    /// The names of all bases.
    pub fn bases(&self) -> Result<Vec<String>> {
        self.names(BASES)
    }

    /// The names of all targets.
    pub fn targets(&self) -> Result<Vec<String>> {
        self.names(TARGETS)
    }

    /// The names of all series, those of mutants that are kernels of their own among them.
    pub fn all_series(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for folder in SERIES {
            let is_series =
                |name: &String| self.root.join(folder).join(name).join("series.toml").is_file();
            names.extend(self.names(folder)?.into_iter().filter(is_series));
        }
        Ok(names)
    }

    /// The series or mutant of that name with the patches of all that it stands on; `none` has no patch.
    pub fn series(&self, name: &str) -> Result<Series> {
        let mut series = Series { name: name.to_owned(), ..Series::default() };
        let mut wanted = Some(name.to_owned());
        let mut seen: Vec<String> = Vec::new();
        while let Some(part) = wanted.filter(|name| name != NO_SERIES) {
            if seen.contains(&part) {
                return Err(Error::Usage(format!(
                    "the series {part} stands on itself ({})",
                    seen.join(" on ")
                )));
            }
            let folder = self.series_folder(&part)?;
            let file: SeriesFile = parse(&folder.join("series.toml"))?.0;
            let patches = file.patches.iter().map(|name| Patch::read(folder.join(name)));
            series.patches.splice(0..0, patches.collect::<Result<Vec<_>>>()?);
            series.api = series.api.or(file.api);
            if seen.is_empty() {
                series.summary = file.summary;
            }
            seen.push(part);
            wanted = file.on;
        }
        Ok(series)
    }

    /// The fragments of a target, in order.
    pub fn fragments(&self, target: &Target) -> Result<Vec<Fragment>> {
        let read = |name: &String| {
            check_name("fragment", name)?;
            let path = self.root.join("fragments").join(format!("{name}.config"));
            let text =
                fs::read_to_string(&path).map_err(|e| Error::io("read the fragment", &path, e))?;
            Ok(Fragment { name: name.clone(), text })
        };
        target.fragments.iter().map(read).collect()
    }

    /// Whether a target's kernel drives more than one processor.
    pub fn is_smp(&self, target: &Target) -> Result<bool> {
        let fragments = self.fragments(target)?;
        Ok(fragments.iter().any(|it| it.text.lines().any(|line| line == "CONFIG_SMP=y")))
    }

    /// The patches of a target that have its kernel tell more.
    pub fn instrumentation(&self, target: &Target) -> Result<Vec<Patch>> {
        let read = |name: &String| {
            check_name("patch", name)?;
            Patch::read(self.root.join("instrumentation").join(format!("{name}.patch")))
        };
        target.instrumentation.iter().map(read).collect()
    }

    fn series_folder(&self, name: &str) -> Result<PathBuf> {
        check_name("series", name)?;
        SERIES
            .into_iter()
            .map(|folder| self.root.join(folder).join(name))
            .find(|folder| folder.join("series.toml").is_file())
            .ok_or_else(|| {
                let known = self.all_series().unwrap_or_default();
                unknown("series", name, &[vec![NO_SERIES.to_owned()], known].concat())
            })
    }

    fn named<T: DeserializeOwned>(
        &self,
        folder: &str,
        what: &str,
        name: &str,
    ) -> Result<(T, String)> {
        check_name(what, name)?;
        let path = self.root.join(folder).join(format!("{name}.toml"));
        if !path.is_file() {
            return Err(unknown(what, name, &self.names(folder)?));
        }
        parse(&path)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        let list = match fs::read_dir(&path) {
            Ok(list) => list,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        let mut names: Vec<String> = list
            .flatten()
            .filter_map(|item| {
                let name = item.file_name().into_string().ok()?;
                if item.path().join("series.toml").is_file() {
                    return Some(name);
                }
                name.strip_suffix(".toml").map(str::to_owned)
            })
            .collect();
        names.sort();
        Ok(names)
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<(T, String)> {
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let value = toml::from_str(&text)
        .map_err(|e| Error::Usage(format!("{} is malformed: {e}", path.display())))?;
    Ok((value, text))
}

fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(Error::Usage(format!("{name:?} is no name for a {what}")));
    }
    Ok(())
}

fn unknown(what: &str, name: &str, known: &[String]) -> Error {
    Error::Usage(format!("there is no {what} {name}; known are: {}", known.join(", ")))
}

/// Bytes as lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
