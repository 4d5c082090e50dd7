//! From a tree and fragments to a kernel.

use super::configs::Fragment;
use super::error::{Error, Result};
use super::guard::Guarded;
use super::kconfig;
use super::progress::Progress;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// How long a configuration and a build may take.
const CONFIGURE: Duration = Duration::from_secs(10 * 60);
const BUILD: Duration = Duration::from_secs(2 * 60 * 60);

/// What makes a build the same at any time, for anybody: scripts/mkcompile_h and init/build-version read these.
const FIXED: &[&str] = &[
    "ARCH=x86",
    "KBUILD_BUILD_TIMESTAMP=1970-01-01",
    "KBUILD_BUILD_USER=refan",
    "KBUILD_BUILD_HOST=refan",
    "KBUILD_BUILD_VERSION=1",
    "LOCALVERSION=",
    // Kbuild's own programs run so shortly that to optimize them takes longer than it saves.
    "HOSTCFLAGS=-O1",
];

/// Counts up when the recipe changes in a way that changes what comes out.
pub const RECIPE: &str = "1";

/// A folder to build in, out of tree.
pub struct Build<'a> {
    /// The source, only read.
    pub source: &'a Path,
    /// The folder that the build happens in, kept for the next time.
    pub folder: &'a Path,
    /// The configuration.
    pub fragments: &'a [Fragment],
    /// Folders and files of the source that KCOV is told of.
    pub coverage: &'a [String],
    /// Folders and files of the source that gcov counts in.
    pub gcov: &'a [String],
}

impl Build<'_> {
    /// The uncompressed kernel, with all symbols.
    pub fn vmlinux(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// The final configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join(".config")
    }

    /// Configures and builds the kernel.
    ///
    /// # Errors
    /// An option that a fragment asks for does not end up set so; the compiler complains; the disk is full.
    pub fn run(&self, progress: &dyn Progress) -> Result<()> {
        self.begin(progress)?;
        progress.phase("build the kernel");
        self.make(progress)?;
        self.finish()
    }

    /// Makes the folder ready to build in.
    fn begin(&self, progress: &dyn Progress) -> Result<()> {
        fs::create_dir_all(self.folder).map_err(|e| Error::io("create", self.folder, e))?;
        self.mend()?;
        let unfinished = self.unfinished();
        fs::write(&unfinished, "").map_err(|e| Error::io("write", &unfinished, e))?;
        progress.phase("configure the kernel");
        self.configure()
    }

    fn finish(&self) -> Result<()> {
        let unfinished = self.unfinished();
        fs::remove_file(&unfinished).map_err(|e| Error::io("remove", &unfinished, e))
    }

    /// Writes the configuration. It keeps its times when it comes out as it is, and then nothing is built for it.
    pub fn configure(&self) -> Result<()> {
        let request = self.folder.join("refan.config");
        fs::write(&request, kconfig::merged(self.fragments))
            .map_err(|e| Error::io("write", &request, e))?;
        let mut arguments = self.arguments();
        arguments.push(assignment("KCONFIG_ALLCONFIG", &request));
        arguments.push("allnoconfig".into());
        Guarded::new("configuring the kernel", r#"make "$@""#, arguments, CONFIGURE)
            .dir(self.folder)
            .run_logged(&self.folder.join("refan.configure.log"), self.folder, |_| ())?;
        let path = self.config();
        let config = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let refused = kconfig::refused(self.fragments, &config);
        if refused.is_empty() {
            return Ok(());
        }
        Err(Error::NoKernel(format!(
            "the configuration does not grant what is asked for:\n  {}\nanother option that it depends on is \
             missing, or this kernel does not have it",
            refused.join("\n  ")
        )))
    }

    /// Configures, and compiles these objects alone. What the compiler says where it does not take them all.
    pub fn compile(
        &self,
        objects: &[PathBuf],
        progress: &dyn Progress,
    ) -> Result<Option<Vec<String>>> {
        self.begin(progress)?;
        progress.phase("compile");
        let mut arguments = self.making()?;
        arguments.push("-k".into());
        arguments.extend(objects.iter().map(|object| object.as_os_str().to_owned()));
        let mut said = Vec::new();
        let ended = Guarded::new("compiling", r#"make "$@""#, arguments, BUILD)
            .dir(self.folder)
            .run(|line| said.push(line.to_owned()))?;
        self.finish()?;
        Ok((!ended.status.success()).then_some(said))
    }

    /// The arguments of make but for what is to be made.
    fn making(&self) -> Result<Vec<std::ffi::OsString>> {
        // One more than processors, so that none waits for a file.
        let jobs = thread::available_parallelism().map_or(1, usize::from) + 1;
        let mut arguments = self.arguments();
        arguments.push(format!("-j{jobs}").into());
        // Neither the folder of the source nor that of the build may show in what comes out.
        let mapped = [self.folder, self.source].map(|path| {
            [b"-ffile-prefix-map=".as_slice(), path.as_os_str().as_bytes(), b"=."].concat()
        });
        for (switch, paths) in [("KCOV_INSTRUMENT", self.coverage), ("GCOV_PROFILE", self.gcov)] {
            for path in paths {
                // The same in all folders: Kbuild's variables have the name alone (scripts/Makefile.lib).
                let named = |object| format!("{switch}_{object}=y").into();
                arguments.extend(objects(&self.source.join(path))?.map(named));
            }
        }
        for variable in ["KCFLAGS", "KAFLAGS"] {
            let flags = [variable.as_bytes(), b"=", &mapped.join(b" ".as_slice())].concat();
            arguments.push(std::ffi::OsStr::from_bytes(&flags).to_owned());
        }
        Ok(arguments)
    }

    fn make(&self, progress: &dyn Progress) -> Result<()> {
        let mut arguments = self.making()?;
        arguments.push("vmlinux".into());
        let mut steps = 0_usize;
        Guarded::new("building the kernel", r#"make "$@""#, arguments, BUILD)
            .dir(self.folder)
            .run_logged(&self.folder.join("refan.build.log"), self.folder, |line| {
                // "  CC      fs/open.o"
                if let Some(file) =
                    line.strip_prefix("  ").and_then(|l| l.split_whitespace().nth(1))
                {
                    steps += 1;
                    progress.at(&format!("{steps} steps, {file}"));
                }
            })
    }

    fn arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["-C".into(), self.source.into(), assignment("O", self.folder)];
        arguments.extend(FIXED.iter().map(Into::into));
        arguments
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.join("refan.unfinished")
    }

    /// Deletes what a build that was killed may have written in part. A compiler that dies leaves half an object file,
    /// newer than its source, and make would take it for done. Kbuild writes the command of a finished step to
    /// `.NAME.cmd` after the file itself; a file of the killed build that has none so new is not trusted.
    fn mend(&self) -> Result<()> {
        let started = match fs::metadata(self.unfinished()).and_then(|meta| meta.modified()) {
            Ok(started) => started,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("stat", &self.unfinished(), error)),
        };
        distrust(self.folder, started)
    }
}

/// The objects that are made of a C file, or of all in a folder and below.
fn objects(path: &Path) -> Result<impl Iterator<Item = String> + use<>> {
    let mut names = Vec::new();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let list = fs::read_dir(&path).map_err(|e| Error::io("read", &path, e))?;
            paths.extend(list.flatten().map(|item| item.path()));
        } else if path.extension().is_some_and(|extension| extension == "c") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    if names.is_empty() {
        return Err(Error::NoKernel(format!(
            "the target asks for the coverage of {}, where no C file is",
            path.display()
        )));
    }
    names.sort();
    Ok(names.into_iter().map(|name| format!("{name}.o")))
}

fn distrust(folder: &Path, since: SystemTime) -> Result<()> {
    let modified = |path: &Path| fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
    let list = fs::read_dir(folder).map_err(|e| Error::io("read", folder, e))?;
    for item in list.flatten() {
        let path = item.path();
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            distrust(&path, since)?;
            continue;
        }
        let name = item.file_name().to_string_lossy().into_owned();
        // Headers and configuration are moved into place when they are whole; the commands are what is asked.
        let whole = name.ends_with(".h") || name.ends_with(".cmd") || name.contains(".conf");
        let Some(written) = modified(&path).filter(|written| *written >= since && !whole) else {
            continue;
        };
        let finished =
            modified(&folder.join(format!(".{name}.cmd"))).is_some_and(|at| at >= written);
        if !finished {
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
    }
    Ok(())
}

fn assignment(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(format!("{name}="));
    text.push(path);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_folders_and_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/b.c", "a/Kconfig", "a/d/c.c", "e.c"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let of = |name: &str| objects(&dir.path().join(name)).map(Iterator::collect::<Vec<_>>);
        assert_eq!(of("a").unwrap(), ["b.o", "c.o"]);
        assert_eq!(of("e.c").unwrap(), ["e.o"]);
        assert!(of("a/Kconfig").is_err() && of("f").is_err());
    }

    #[test]
    fn half_written_files_of_a_killed_build_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, second: u64| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            fs::File::create(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let old = at("fs/old.o", 50);
        let done = at("fs/done.o", 150);
        at("fs/.done.o.cmd", 151);
        let half = at("fs/half.o", 150);
        at("fs/.half.o.cmd", 60);
        let lone = at("scripts/tool", 150);
        let header = at("include/generated/autoconf.h", 150);
        distrust(dir.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(100)).unwrap();
        assert!(old.exists() && done.exists() && header.exists());
        assert!(!half.exists() && !lone.exists());
    }
}
