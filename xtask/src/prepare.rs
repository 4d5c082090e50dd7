//! Everything that it takes to start a machine: fetched, built, saved, or found in the cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use refan_abi::{ApiProfile, ApiValues};
use refan_runner::cache::{Cache, Entry, Key};
use refan_runner::known::{self, Known};
use refan_runner::prepared::{PATIENCE, sources_digest};
use refan_runner::{Declared, Prepared};
use refan_vm::initramfs::Manifest;
use refan_vm::{
    Accel, AccelRequest, Kind, Machine, MachineSpec, Profile, Qemu, SharedMemory, snapshot_key,
};
use xtask::kernel::configs::Target;
use xtask::kernel::{self, Configs, Kernel, KernelRequest, NO_SERIES, Progress, Source};

use crate::agent::{self, Binaries};
use crate::cli;
use crate::exit::usage;
use crate::steps::Steps;

/// How long a machine may take to boot to agent-ready, and to be saved.
const BOOT: Duration = Duration::from_secs(120);

/// The API profile of programs that name no kernel.
const DEFAULT_API: &str = "restartable-events";

/// The series that is tested unless another is named.
const DEFAULT_SERIES: &str = "restartable";

/// A prepared machine, and what keeps its parts in the cache while it is used.
pub struct Ready {
    /// What machines start from.
    pub prepared: Prepared,
    /// Whether its kernel drives more than one processor.
    pub smp: bool,
    cache: Cache,
    binaries: Binaries,
    _kernel: Option<Kernel>,
    _parts: Vec<Entry>,
}

impl Ready {
    /// Makes it what the scenarios' nextest tests run on for a target.
    pub fn store(&self, target: &str) -> Result<()> {
        self.prepared.store(&self.cache, target)
    }

    /// The cache's folder.
    pub fn cache_root(&self) -> &Path {
        self.cache.root()
    }

    /// The initramfs of a machine that does nothing but say that it is up.
    pub fn bare_initramfs(&self, repository: &Path) -> Result<PathBuf> {
        let entry = initramfs(repository, &self.cache, &self.binaries.bare_init)?;
        Ok(entry.path().join(INITRAMFS))
    }
}

/// The kernel that is asked for, ready to boot.
struct Image {
    path: PathBuf,
    /// Changes with its content.
    digest: String,
    description: String,
    declared: Declared,
    /// Name of the API profile.
    api: String,
    /// What its target asks for.
    target: Target,
    kernel: Option<Kernel>,
}

/// Prepares the machine that the options ask for.
pub fn prepare(repository: &Path, options: &cli::Machine, steps: &Steps) -> Result<Ready> {
    let smp = check(repository, options)?;
    let cache = Cache::open()?;
    cache.sweep()?;
    steps.phase("build the agent");
    let binaries = agent::build(repository)?;
    steps.phase("look for QEMU");
    let qemu = Qemu::find()?;
    let image = image(repository, options, &cache, steps)?;
    steps.phase("write the initramfs");
    let initramfs = initramfs(repository, &cache, &binaries.agent)?;
    let api = api(repository, options.api.as_deref().unwrap_or(&image.api))?;
    steps.phase("choose machine and accelerator");
    let (profile, accel) = machine(repository, options, &image, &qemu, &cache)?;
    let spec = MachineSpec {
        qemu,
        profile,
        accelerator: accel.kind,
        kernel: image.path.clone(),
        initramfs: Some(initramfs.path().join(INITRAMFS)),
        extra_cmdline: options.append.clone().unwrap_or_default(),
    };
    let machine = describe(&spec, accel.why_not_kvm.as_deref());
    let snapshot = snapshot(&spec, &image.digest, &cache, steps)?;
    steps.done();
    let prepared = Prepared {
        options: options.chosen(&spec.profile.name, spec.accelerator).words(),
        sources: sources_digest(repository)?,
        kernel: image.description,
        machine,
        api: api.values,
        declared: image.declared,
        mutant: None,
        qemu: spec.qemu.path().to_owned(),
        profile: profile_path(repository, &spec.profile.name),
        append: spec.extra_cmdline,
        accelerator: spec.accelerator,
        image: image.path,
        initramfs: initramfs.path().join(INITRAMFS),
        patience: PATIENCE,
        watched: None,
        known: reports_of_classic_groups(repository)?,
        memory_mib: None,
        snapshot: snapshot.as_ref().map(|(entry, key)| (entry.path().to_owned(), key.clone())),
    };
    let parts = [Some(initramfs), snapshot.map(|(entry, _)| entry)];
    let parts = parts.into_iter().flatten().collect();
    Ok(Ready { prepared, smp, cache, binaries, _kernel: image.kernel, _parts: parts })
}

/// Tells before anything is built that something of what is asked for is not there, or does not go together. Returns
/// whether the kernel drives more than one processor.
fn check(repository: &Path, options: &cli::Machine) -> Result<bool> {
    let configs = configs(repository);
    let target = configs.target(&options.target)?;
    configs.series(&request(options).series)?;
    if let Some(name) = &options.api {
        api(repository, name)?;
    }
    // Nothing tells what an image does before it runs.
    let smp = options.bzimage.is_some() || configs.is_smp(&target)?;
    let asked = options.machine.as_ref().map(|name| profile(repository, name)).transpose()?;
    match asked {
        Some(profile) if profile.cpus > 1 && !smp => Err(usage(format!(
            "the machine {} has {} processors, and the kernel target {} is built for one; --target kasan is built \
             for several",
            profile.name, profile.cpus, options.target
        ))),
        _ => Ok(smp),
    }
}

/// The options of a campaign's machine, which stand for the same wherever they are given.
pub fn in_campaigns(repository: &Path, options: &cli::Machine) -> Result<cli::Machine> {
    let target = configs(repository).target(&options.target)?;
    let append = Some(target.in_campaigns).filter(|parameters| !parameters.is_empty());
    Ok(cli::Machine { append: options.append.clone().or(append), ..options.clone() })
}

/// The findings that are known.
pub fn known(repository: &Path) -> Result<Vec<Known>> {
    known::load(repository).map_err(|error| usage(format!("{error:#}")))
}

/// The titles of reports that say nothing about the feature (X5).
fn reports_of_classic_groups(repository: &Path) -> Result<Vec<String>> {
    let known = known(repository)?.into_iter();
    Ok(known.filter(|known| known.classic.is_some()).map(|known| known.title).collect())
}

fn image(repository: &Path, options: &cli::Machine, cache: &Cache, steps: &Steps) -> Result<Image> {
    let configs = configs(repository);
    let target = configs.target(&options.target)?;
    if let Some(file) = &options.bzimage {
        let path = std::fs::canonicalize(file).map_err(|error| {
            usage(format!("cannot use the kernel image {}: {error}", file.display()))
        })?;
        return Ok(Image {
            digest: digest(&path)?,
            description: format!("{} as it is", path.display()),
            path,
            declared: Declared::Nothing,
            api: target.api.clone(),
            target,
            kernel: None,
        });
    }
    let kernel = kernel::ensure_kernel(&request(options), &configs, cache, steps)?;
    Ok(Image {
        path: kernel.vmlinux(),
        digest: kernel.key.to_string(),
        description: kernel.identity.summary(),
        declared: declared(options, kernel.identity.api.is_some()),
        api: kernel.identity.api.clone().unwrap_or_else(|| target.api.clone()),
        target,
        kernel: Some(kernel),
    })
}

/// The kernels under test as data.
pub fn configs(repository: &Path) -> Configs {
    Configs::at(repository.join("kernel-configs"))
}

/// What is asked of the kernel's build.
pub fn request(options: &cli::Machine) -> KernelRequest {
    let (source, default_series) = match &options.kernel_src {
        Some(tree) => (Source::Tree(tree.clone()), NO_SERIES),
        None => (Source::Base(options.base.clone()), DEFAULT_SERIES),
    };
    KernelRequest {
        source,
        series: options.series.clone().unwrap_or_else(|| default_series.to_owned()),
        target: options.target.clone(),
        terminals: options.terminals,
        offline: options.offline,
    }
}

/// A series says whether it brings the feature. A user's own tree, as it stands, is there because
/// it has it; unless the user says `--series none`.
fn declared(options: &cli::Machine, series_has_api: bool) -> Declared {
    let tree_as_it_stands = options.kernel_src.is_some() && options.series.is_none();
    if series_has_api || tree_as_it_stands { Declared::Present } else { Declared::Absent }
}

/// The machine profile and what runs it: the profile that is asked for, else the one that the
/// kernel's target has for KVM where KVM works, else its other one.
fn machine(
    repository: &Path,
    options: &cli::Machine,
    image: &Image,
    qemu: &Qemu,
    cache: &Cache,
) -> Result<(Profile, Accel)> {
    let request = match options.accel {
        cli::Accel::Auto => AccelRequest::Auto,
        cli::Accel::Kvm => AccelRequest::Only(Kind::Kvm),
        cli::Accel::Tcg => AccelRequest::Only(Kind::Tcg),
    };
    let choose = |profile: &Profile| Accel::choose(request, profile, qemu, cache.root());
    if let Some(name) = &options.machine {
        let profile = profile(repository, name)?;
        let accel = choose(&profile)?;
        return Ok((profile, accel));
    }
    let quick = profile(repository, &image.target.kvm_machine)?;
    let accel = choose(&quick)?;
    match accel.kind {
        Kind::Kvm => Ok((quick, accel)),
        Kind::Tcg => Ok((profile(repository, &image.target.machine)?, accel)),
    }
}

fn describe(spec: &MachineSpec, why_not_kvm: Option<&str>) -> String {
    let MachineSpec { qemu, profile, accelerator, .. } = spec;
    let s = if profile.cpus == 1 { "" } else { "s" };
    // `doctor` tells the rest of it.
    let why = why_not_kvm.and_then(|why| why.lines().next());
    let why = why.map_or_else(String::new, |why| format!("; KVM does not work here: {why}"));
    format!(
        "{}, {} CPU{s}, QEMU {} with {accelerator}{why}",
        profile.name,
        profile.cpus,
        qemu.version()
    )
}

fn profile_path(repository: &Path, name: &str) -> PathBuf {
    repository.join("vm-images").join(format!("{name}.toml"))
}

fn profile(repository: &Path, name: &str) -> Result<Profile> {
    Ok(Profile::load(&profile_path(repository, name))?)
}

fn api(repository: &Path, name: &str) -> Result<ApiProfile> {
    let file = repository.join("kernel-configs/api").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&file).map_err(|error| {
        usage(format!("cannot read the API profile {}: {error}", file.display()))
    })?;
    ApiProfile::parse(&text)
        .map_err(|error| usage(format!("{} is not an API profile: {error}", file.display())))
}

/// The profile of these numbers; without any, the one that the contract is written for.
pub fn api_of(repository: &Path, values: Option<ApiValues>) -> Result<ApiProfile> {
    let fallback = api(repository, DEFAULT_API)?;
    let Some(values) = values else { return Ok(fallback) };
    let folder = repository.join("kernel-configs/api");
    let doing = || format!("cannot list {}", folder.display());
    for entry in std::fs::read_dir(&folder).with_context(doing)? {
        let name = entry.with_context(doing)?.path();
        let Some(name) = name.file_stem().and_then(|name| name.to_str()) else { continue };
        let profile = api(repository, name)?;
        if profile.values == values {
            return Ok(profile);
        }
    }
    Ok(ApiProfile { values, ..fallback })
}

/// The archive's name in its cache entry.
const INITRAMFS: &str = "initramfs.cpio";

fn initramfs(repository: &Path, cache: &Cache, init: &Path) -> Result<Entry> {
    let manifest = Manifest::load(&repository.join("vm-images/initramfs.toml"))?;
    let agent = std::fs::read(init).with_context(|| format!("cannot read {}", init.display()))?;
    let archive = manifest.archive(&BTreeMap::from([("agent", agent.as_slice())]))?;
    let key = Key::of([("initramfs", archive.as_slice())]);
    if let Some(entry) = cache.entry("initramfs", &key)? {
        return Ok(entry);
    }
    cache.publish("initramfs", &key, |folder| {
        std::fs::write(folder.join(INITRAMFS), &archive)
            .context("cannot write the initramfs into the cache")
    })
}

/// How often a machine in real time is booted until its timers are fine.
const BOOTS: u32 = 5;

/// What comes of the first boot that ends with high-resolution timers, if one does. A kernel that measures the rate of
/// its timer while the host is busy does without it.
fn with_fine_timers<M>(
    boots: u32,
    mut boot: impl FnMut() -> Result<(M, u64)>,
) -> Result<Option<M>> {
    for _ in 0..boots {
        let (booted, resolution) = boot()?;
        if resolution == 1 {
            return Ok(Some(booted));
        }
    }
    Ok(None)
}

/// A machine at agent-ready with its deadline, and the resolution of its timers.
fn boot(spec: &MachineSpec) -> Result<((Machine, Instant), u64)> {
    let deadline = Instant::now() + BOOT;
    let shared =
        SharedMemory::new(spec.profile.shared_bytes()).context("cannot make the shared memory")?;
    let machine =
        Machine::boot(spec, shared, deadline).context("the machine did not boot to agent-ready")?;
    let resolution = refan_wire::timer_resolution(machine.shared());
    Ok(((machine, deadline), resolution))
}

/// The snapshot at agent-ready; none where the machine cannot be saved.
fn snapshot(
    spec: &MachineSpec,
    kernel: &str,
    cache: &Cache,
    steps: &Steps,
) -> Result<Option<(Entry, String)>> {
    steps.phase("look for a snapshot");
    let initramfs = spec.initramfs.as_deref().map_or_else(|| Ok(String::new()), digest)?;
    let name = snapshot_key(spec, kernel, &initramfs);
    let key = Key::from_hex(&name).context("the snapshot's key is none")?;
    if let Some(entry) = cache.entry("snapshots", &key)? {
        return Ok(Some((entry, name)));
    }
    steps.phase("boot to agent-ready and take a snapshot");
    let boots = if spec.profile.is_deterministic() { 1 } else { BOOTS };
    let Some((machine, deadline)) = with_fine_timers(boots, || boot(spec))? else {
        steps.note(&format!(
            "no machine is kept, so that each will boot: the kernel came up {boots} times without high-resolution \
             timers, as it does on a host that is too busy, or where it has none"
        ));
        return Ok(None);
    };
    let saved = cache.publish("snapshots", &key, |folder| {
        machine.save(folder, &name, deadline).map(drop).context("cannot save the machine")
    });
    match saved {
        Ok(entry) => Ok(Some((entry, name))),
        Err(error) => {
            steps.note(&format!("{error:#}; each machine will boot"));
            Ok(None)
        }
    }
}

/// Changes with the content of the file.
fn digest(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Key::of([("file", bytes.as_slice())]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_does_not_go_together_is_told_first() {
        let told = |words: &str| {
            let options =
                cli::Machine::of_words(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
            let checked = check(
                Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")),
                &options.expect("options"),
            );
            checked.map_err(|error| error.to_string())
        };
        for (words, smp) in [
            ("--target kcov", Ok(false)),
            ("--target kasan --machine smp --series none", Ok(true)),
            ("--target kcov --machine smp", Err("the machine smp has 2 processors")),
            ("--target kcov --machine smp --bzimage x", Ok(true)),
            ("--target kcow", Err("there is no target kcow")),
            ("--series x", Err("there is no series x")),
            ("--machine x", Err("cannot read")),
            ("--api x", Err("cannot read the API profile")),
        ] {
            match (told(words), smp) {
                (Ok(told), Ok(smp)) => assert_eq!(told, smp, "{words}"),
                (Err(told), Err(begins)) => assert!(told.starts_with(begins), "{words}: {told}"),
                (told, _) => panic!("{words}: {told:?}"),
            }
        }
    }

    #[test]
    fn a_machine_is_booted_until_its_timers_are_fine() {
        let booted = |resolutions: &[u64]| {
            let mut resolutions = (0..).zip(resolutions.iter().copied());
            with_fine_timers(2, || resolutions.next().context("one boot more")).expect("boots")
        };
        assert_eq!(booted(&[1]), Some(0));
        assert_eq!(booted(&[4_000_000, 1]), Some(1));
        assert_eq!(booted(&[4_000_000, 4_000_000, 1]), None);
    }
}
