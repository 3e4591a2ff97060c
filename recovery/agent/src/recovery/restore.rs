//! One restore, from an order to a disk that boots.
//!
//! ```text
//! manifest fetched, verified ─► disk chosen, opened, asked how it is ─► kept, what the order says of it ([`super::keep`]) ─► erased, where the order demands it ([`super::erasing`])
//!   ─► scanned ─► planned ─► disk chosen again, drivers quiet ─► Planned ──Continue──► poisoned ─► written ─► Written ─► read back ─► Proven ─► files on the ESP ─► boot region
//!   ─► Committed ─► reboot
//! ```
//!
//! Until a `Continue` nothing is written. The disk is chosen twice, because one that a slow bus brings late could be the one meant
//! or make the choice ambiguous: at once to read it, and again, once the drivers are quiet, before it may be written. It must never take a key, an image or a disk on the appliance's word alone: keys
//! come from inside the recovery system, the image's name is its digest, the disk is chosen by what it says of itself.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use images::disk::ESP_TYPE;
use images::keys::ArrivingError;
use images::manifest::header::AgentVersion;
use images::manifest::{ArrivalError, Arriving};
use images::restore::{
    Ahead, EndpointFacts, EndpointFile, Phase, PlacedOn, Preserve, Preserved, Progress, ProgressEvent,
    Proven, ReadBack, RestoreError, RestorePlan, RestoreStats, RestoreTarget, Restored, SourceError,
    scan_for,
};
use images::{Digest, Header, KeyRing, Manifest, SignedTrustRoot, Verified};
use recovery_protocol::agent::{
    Activity, BootEntry, DiskFacts, DiskSelector, PlacedFile, PlanFacts, PreservedFacts, Reported,
    RestoreFacts, RestoreOrder,
};
use recovery_protocol::erase::ErasePolicy;
use recovery_protocol::health::{DiskHealth, HealthState};
use recovery_protocol::job::HoldReason;
use recovery_protocol::settings::EndpointSettings;
use recovery_protocol::trust::{EnrolmentTicket, RecoveryTrust};

use super::gate::Gated;
use super::reporter::Reporter;
use super::source::{HttpSource, Watched, plain_http};
use super::sources::{Limits, SOURCES_MAX};
use super::{Refusal, Stop, chain, erasing, keep};
use crate::boot_entry::{self, Done, Loader};
use crate::disk::{BlockDevice, DeviceError, Port, describe, select};
use crate::inventory::{self, Disk};
use crate::pid1;

/// Longest manifest we take: enough for an image of 256 GiB.
const MANIFEST_LEN_MAX: u64 = 96 << 20;
/// How long a disk that is not there yet is waited for; staggered spin-up takes its time.
const DISK_WAIT: Duration = Duration::from_secs(20);
/// The one file of an order that is placed on the disk.
const TICKET: EndpointFile = EndpointFile::new(EnrolmentTicket::ESP_PATH);
/// What belongs to this endpoint, for the check-in service of the restored system.
const SETTINGS: EndpointFile = EndpointFile::new(EndpointSettings::ESP_PATH);
/// Longest enrolment ticket.
const TICKET_LEN_MAX: usize = 4096;
/// Most bytes of frames that are fetched before the disk may be written.
const AHEAD_LEN: usize = 48 << 20;
/// How often manifest sources are asked in turn.
const MANIFEST_ROUNDS: u32 = 5;

/// Brings the endpoint's disk to the ordered image and reports each step. On return the disk boots it.
///
/// # Errors
/// [`Stop`] says whether it was refused here (and why), stopped by the appliance, or is to be begun again.
pub fn run(
    order: &RestoreOrder,
    trust: &RecoveryTrust,
    uefi: bool,
    drivers_quiet: &dyn Fn(),
    reporter: &Reporter<'_>,
) -> Result<(), Stop> {
    let manifest = fetch_manifest(order, trust)?;
    let (now, why) = headline(&manifest);
    reporter.show(now, why);
    let disk = wait_for_disk(&order.disk)?;
    let target = BlockDevice::open(&disk).map_err(|error| Refusal::from(&error))?;
    let meant = || {
        drivers_quiet();
        still_meant(order, &disk.facts, &inventory::disks(Path::new("/sys/block")))
    };
    let register = |header: &Header, booting: &Restored| match uefi {
        true => register(header, booting, reporter),
        false => BootEntry::None,
    };
    let health = target.health(&disk.facts.transport);
    reporter.say(format!("The disk says of its health: {health}."));
    if let Some(kept) = keep::run(order, &disk, reporter) {
        reporter.say(format!("Kept of the old system: {} bytes, {} files.", kept.bytes, kept.files));
        if let Some(stop) = reporter.take_stop() {
            return Err(stop);
        }
        reporter.milestone(Reported::Kept { kept: Box::new(kept) })?;
        let (now, why) = headline(&manifest);
        reporter.show(now, why);
    }
    let chosen = Chosen {
        facts: &disk.facts,
        health: &health,
        port: target.port(),
        meant: &meant,
        register: &register,
    };
    restore(order, &manifest, &target, &chosen, uefi, reporter)
}

/// A disk that may be read, and the question whether it may be written.
pub(super) struct Chosen<'a> {
    /// What it says of itself.
    pub facts: &'a DiskFacts,
    /// How it is.
    pub health: &'a DiskHealth,
    /// What takes its own commands.
    pub port: &'a dyn Port,
    /// Whether it is still the only one that the order can mean; asked before anything is written.
    pub meant: &'a dyn Fn() -> Result<(), Refusal>,
    /// Tells the firmware where the loader of a disk that boots is.
    pub register: &'a dyn Fn(&Header, &Restored) -> BootEntry,
}

/// A firmware that refuses the entry does not undo a restore: it is said, and the disk boots where firmware finds it by itself.
fn register(header: &Header, _booting: &Restored, reporter: &Reporter<'_>) -> BootEntry {
    let Some(loader) = Loader::of(header) else { return BootEntry::None };
    match pid1::with_writable_variables(|efivars| boot_entry::ensure(efivars, &loader)) {
        Ok(Done::Kept) => BootEntry::Kept,
        Ok(Done::Set) => BootEntry::Set,
        Err(error) => {
            reporter.say(format!("The firmware's boot entry was not set: {error}."));
            BootEntry::Refused
        }
    }
}

/// Whether the order still means the disk that was chosen, now that these are there.
pub(super) fn still_meant(order: &RestoreOrder, chosen: &DiskFacts, disks: &[Disk]) -> Result<(), Refusal> {
    let now = select(&order.disk, disks).map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    if now.facts == *chosen {
        return Ok(());
    }
    let detail = format!("{chosen:?} was chosen and read; {:?} is the one that fits now", now.facts);
    Err(Refusal::new(HoldReason::DiskAmbiguous, detail))
}

/// What is restored, in the words of the manifest: said only once our keys have said yes to it.
pub(super) fn headline(manifest: &Verified<Manifest>) -> (String, String) {
    let identity = &manifest.header().identity;
    let now = format!("Restoring the golden image {} {}.", identity.name, identity.version);
    (now, "Its signatures are those that this recovery system trusts.".to_owned())
}

/// Fetches, names and verifies the manifest with the keys of this recovery system.
fn fetch_manifest(order: &RestoreOrder, trust: &RecoveryTrust) -> Result<Verified<Manifest>, Refusal> {
    let untrusted = |detail: String| Refusal::new(HoldReason::ManifestRefused, detail);
    let root: SignedTrustRoot = serde_json::from_slice(&trust.image_trust_root.0).map_err(|error| {
        untrusted(format!("the trust root inside the recovery system cannot be read: {error}"))
    })?;
    let keys = KeyRing::pin(root).map_err(|error| untrusted(chain(&error)))?;
    download_manifest(&order.manifest_urls, Limits::USUAL, |body| {
        verify_manifest(body, order, &keys, trust.min_image_epoch)
    })
}

/// What comes of one source of the manifest.
#[derive(Debug)]
pub enum NotTaken {
    /// It failed half way: ask again.
    Broken(io::Error),
    /// What it sent is refused.
    Refused(Refusal),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The manifest that arrives, if it is the one ordered and our keys say yes. What is refused is not read to its end.
pub(super) fn verify_manifest(
    from: impl Read,
    order: &RestoreOrder,
    keys: &KeyRing,
    min_epoch: u64,
) -> Result<Verified<Manifest>, NotTaken> {
    let altered = |detail: String| Refusal::new(HoldReason::ManifestAltered, detail);
    let file = Arriving::begin(from).map_err(|error| match error {
        ArrivalError::Read(source) => NotTaken::Broken(source),
        ArrivalError::Manifest(error) => altered(chain(&error)).into(),
    })?;
    if file.id() != order.image {
        return Err(altered(format!("image {} was ordered, {} was sent", order.image, file.id())).into());
    }
    let manifest = keys.verify_arriving(file).map_err(|error| match error {
        ArrivingError::Read(source) => NotTaken::Broken(source),
        ArrivingError::Verify(error) => Refusal::new(HoldReason::from(&error), chain(&error)).into(),
    })?;
    let epoch = manifest.header().identity.epoch;
    if epoch < min_epoch {
        let detail =
            format!("image {} has epoch {epoch}, this recovery system wants {min_epoch}", order.image);
        return Err(Refusal::new(HoldReason::ManifestRefused, detail).into());
    }
    Ok(manifest)
}

/// Asks the sources in turn until `take` takes what one sends. One that sends something to be refused costs the others
/// nothing; when no other has better, its refusal is what we say.
pub fn download_manifest<T>(
    urls: &[String],
    limits: Limits,
    take: impl Fn(&mut dyn Read) -> Result<T, NotTaken>,
) -> Result<T, Refusal> {
    let http = plain_http(limits.slow_after);
    let mut why = "no address was given".to_owned();
    for round in 0..MANIFEST_ROUNDS {
        let mut refused = None;
        for url in urls.iter().take(SOURCES_MAX) {
            let mut answer = match http.get(url).call() {
                Ok(answer) if answer.status() == 200 => answer,
                Ok(answer) => {
                    why = format!("{url}: {}", ureq::Error::StatusCode(answer.status().as_u16()));
                    continue;
                }
                Err(error) => {
                    why = format!("{url}: {error}");
                    continue;
                }
            };
            let body = answer.body_mut().with_config().limit(MANIFEST_LEN_MAX).reader();
            let mut body = Watched::new(body, limits);
            match take(&mut body) {
                Ok(taken) => return Ok(taken),
                Err(NotTaken::Broken(error)) => why = format!("{url}: {error}"),
                Err(NotTaken::Refused(refusal)) => refused = Some(refusal),
            }
        }
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        std::thread::sleep(Duration::from_secs(1 << round));
    }
    Err(Refusal::new(HoldReason::Stalled, format!("the manifest cannot be fetched: {why}")))
}

pub(super) fn wait_for_disk(wanted: &DiskSelector) -> Result<Disk, Refusal> {
    let until = Instant::now() + DISK_WAIT;
    loop {
        let disks = inventory::disks(Path::new("/sys/block"));
        match select(wanted, &disks) {
            Ok(disk) => return Ok(disk.clone()),
            Err(error) if error.reason() == HoldReason::DiskNotFound && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(500));
            }
            Err(error) => return Err(Refusal::new(error.reason(), error.to_string())),
        }
    }
}

/// The restore itself, on any target.
pub(super) fn restore(
    order: &RestoreOrder,
    manifest: &Verified<Manifest>,
    target: &dyn RestoreTarget,
    disk: &Chosen<'_>,
    uefi: bool,
    reporter: &Reporter<'_>,
) -> Result<(), Stop> {
    check_health(disk)?;
    check_files(order, manifest)?;
    let gated = Gated::new(target, reporter);
    let target: &dyn RestoreTarget = &gated;
    let progress = |event: ProgressEvent| {
        if let Some(activity) = activity(event.phase) {
            reporter.progress(activity, event.done, event.total);
        }
    };
    let progress: &Progress = &progress;
    let source = HttpSource::new(&order.frames_urls, Limits::USUAL, || reporter.halted());
    let failed = |error: RestoreError| reporter.take_stop().unwrap_or_else(|| Refusal::from(&error).into());
    // Asked before the disk is touched: sources of another version would leave it half written.
    source.check_version().map_err(|error| failed(error.into()))?;

    let preserve = match order.give_up_preserved {
        true => Preserve::GiveUp,
        false => Preserve::Keep,
    };
    if order.erase != ErasePolicy::None {
        erasing::erase(order, manifest, target, disk, (uefi, preserve), reporter)?;
    }
    let scan = reporter.during(|| scan_for(manifest, target, preserve, progress)).map_err(failed)?;
    let plan =
        RestorePlan::new(manifest, scan, &endpoint_facts(uefi)).map_err(|error| failed(error.into()))?;
    if let Some(stop) = reporter.take_stop() {
        return Err(stop);
    }
    // What is written first is fetched while the drivers settle and the appliance is asked.
    let (ahead, asking) = (Ahead::new(&source), AtomicBool::new(true));
    std::thread::scope(|scope| {
        scope.spawn(|| ahead.fill(&plan, AHEAD_LEN, &|| asking.load(Ordering::Relaxed)));
        let facts = || Reported::Planned {
            plan: plan_facts(manifest, &plan),
            disk: disk.facts.clone(),
            preserved: preserved_facts(plan.preserved()),
            health: Box::new(disk.health.clone()),
        };
        let leave = (disk.meant)().map_err(Stop::from).and_then(|()| reporter.milestone(facts()));
        asking.store(false, Ordering::Relaxed);
        leave
    })?;

    let written = reporter.during(|| plan.poison(target)?.write(&ahead, progress)).map_err(failed)?;
    let stats = written_facts(written.stats());
    reporter.milestone(Reported::Written { stats, sources: source.facts() })?;
    let how = if order.read_back_all { ReadBack::Everything } else { ReadBack::Written };
    let proven = reporter.during(|| written.read_back(how)).map_err(failed)?;
    let preserved = preserved_facts(proven.preserved());
    reporter.milestone(Reported::Proven { stats: written_facts(proven.stats()), preserved })?;

    let proven = match order.esp_files.get(TICKET.path()) {
        Some(ticket) => proven.place(TICKET, &ticket.0).map_err(failed)?,
        None => proven,
    };
    let (proven, placed) = place_settings(order, proven).map_err(failed)?;
    let restored = proven.commit_boot_region().map_err(failed)?;
    let boot_entry = (disk.register)(manifest.header(), &restored);
    let stats = RestoreFacts { boot_entry, ..written_facts(restored.stats()) };
    reporter.milestone(Reported::Committed { stats, placed })
}

/// What belongs to this endpoint, where its system looks: our service on the EFI system partition, cloud-init and its kin on
/// the seed partition, if the image has one.
fn place_settings<'a>(
    order: &RestoreOrder,
    mut proven: Proven<'a>,
) -> Result<(Proven<'a>, Vec<PlacedFile>), RestoreError> {
    let (settings, mut placed) = (&order.settings, Vec::new());
    if settings.is_empty() {
        return Ok((proven, placed));
    }
    let mut files = vec![(SETTINGS, serde_json::json!(settings).to_string())];
    if proven.seed().is_some() {
        files.push((EndpointFile::SEED_META_DATA, settings.meta_data(&order.job.to_string())));
        // The image's own stays: its people, and what they run. The name above counts with it.
        if !proven.holds(EndpointFile::SEED_USER_DATA)? {
            files.push((EndpointFile::SEED_USER_DATA, settings.user_data()));
        }
        let network = settings.network_config();
        files.extend(network.map(|network| (EndpointFile::SEED_NETWORK_CONFIG, network)));
    }
    for (file, text) in files {
        let on = match file.on() {
            PlacedOn::Esp => "esp",
            PlacedOn::Seed => "cidata",
        };
        placed
            .push(PlacedFile { path: format!("{on}/{}", file.path()), blake3: Digest::of(text.as_bytes()) });
        proven = proven.place(file, text.as_bytes())?;
    }
    Ok((proven, placed))
}

/// A disk that says that it is failing would take the image and lose it. Anything less, and silence, stops nobody.
fn check_health(disk: &Chosen<'_>) -> Result<(), Refusal> {
    match disk.health.state {
        HealthState::Failing => {
            let detail = format!("{} says of itself: {}", describe(disk.facts), disk.health);
            Err(Refusal::new(HoldReason::DiskFailing, detail))
        }
        HealthState::Good | HealthState::Worn | HealthState::Unknown => Ok(()),
    }
}

/// The only file that an order may place is the way home of its own job. Anything else could be a loader that no image key
/// signed; it is refused before a byte is written.
fn check_files(order: &RestoreOrder, manifest: &Manifest) -> Result<(), Refusal> {
    let refused = |detail: String| Err(Refusal::new(HoldReason::ManifestRefused, detail));
    for (path, content) in &order.esp_files {
        if path != EnrolmentTicket::ESP_PATH {
            return refused(format!("the order places `{path}`, which only a signed image may hold"));
        }
        let ticket = serde_json::from_slice::<EnrolmentTicket>(&content.0);
        if content.0.len() > TICKET_LEN_MAX || !ticket.is_ok_and(|ticket| ticket.job == order.job) {
            return refused("the enrolment ticket in the order is not one of this job".to_owned());
        }
    }
    let has_esp = manifest.header().table.partitions.iter().any(|partition| partition.type_guid == ESP_TYPE);
    let places = !order.esp_files.is_empty() || !order.settings.is_empty();
    if places && !has_esp {
        return refused(
            "the image has no EFI system partition, so the endpoint's own files cannot be placed on it"
                .to_owned(),
        );
    }
    let seed = manifest.header().seed_partition();
    if let Some(seed) = seed.filter(|seed| !order.settings.is_empty() && seed.filesystem != "vfat") {
        return refused(format!(
            "the endpoint has settings, and the image's partition `{}` holds no FAT ({}) to place them on",
            seed.name, seed.filesystem
        ));
    }
    if let Err(error) = order.settings.check() {
        return refused(format!("the endpoint's settings in the order are wrong: {error}"));
    }
    Ok(())
}

fn activity(phase: Phase) -> Option<Activity> {
    match phase {
        Phase::Scan | Phase::Search => Some(Activity::Scanning),
        Phase::Write => Some(Activity::Writing),
        Phase::ReadBack => Some(Activity::ReadingBack),
        Phase::Commit => None,
    }
}

pub(super) fn endpoint_facts(uefi: bool) -> EndpointFacts {
    let mut parts = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    EndpointFacts {
        arch: std::env::consts::ARCH.to_owned(),
        hardware_class: None,
        uefi: Some(uefi),
        agent: Some(AgentVersion(part(), part(), part())),
    }
}

fn plan_facts(manifest: &Manifest, plan: &RestorePlan<'_>) -> PlanFacts {
    let summary = plan.summary();
    PlanFacts {
        image_bytes: manifest.header().disk.size,
        keep_bytes: summary.keep_bytes,
        fetch_bytes: summary.fetch_bytes,
        zero_bytes: summary.zero_bytes,
        fetch_chunks: summary.fetch_extents,
        move_bytes: summary.move_bytes + summary.copy_bytes,
        preserve_bytes: summary.preserve_bytes,
    }
}

fn preserved_facts(preserved: &[Preserved]) -> Vec<PreservedFacts> {
    let facts = |kept: &Preserved| PreservedFacts {
        partition: kept.number,
        name: kept.name.clone(),
        bytes: kept.range.end - kept.range.start,
        blake3: kept.digest,
    };
    preserved.iter().map(facts).collect()
}

fn written_facts(stats: RestoreStats) -> RestoreFacts {
    RestoreFacts {
        wire_bytes: stats.fetched_stored,
        written_bytes: stats.written,
        zeroed_bytes: stats.zeroed,
        read_back_bytes: stats.read_back,
        memory_peak_bytes: memory_peak(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        boot_entry: BootEntry::None,
    }
}

impl From<&DeviceError> for Refusal {
    fn from(error: &DeviceError) -> Self {
        let reason = match error {
            DeviceError::Open { .. } | DeviceError::Changed { .. } => HoldReason::DiskFailed,
            DeviceError::NotADisk { .. } => HoldReason::DiskNotFound,
        };
        Self::new(reason, chain(error))
    }
}

/// `VmHWM` of proc(5), in bytes.
pub fn memory_peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

impl From<&RestoreError> for Refusal {
    fn from(error: &RestoreError) -> Self {
        use images::restore::PlanRefusal as Plan;
        let reason = match error {
            RestoreError::Refused(
                Plan::DiskTooSmall { .. }
                | Plan::SectorSize { .. }
                | Plan::RaggedDisk { .. }
                | Plan::Firmware { .. },
            )
            | RestoreError::Table(_) => HoldReason::DiskUnfit,
            RestoreError::Refused(
                Plan::PreservedElsewhere { .. }
                | Plan::PreservedInTheWay { .. }
                | Plan::PreservedUnknown { .. }
                | Plan::PreservedChanged { .. },
            ) => HoldReason::PreservedMissing,
            RestoreError::Refused(Plan::PreservedErased { .. }) => HoldReason::EraseConflict,
            RestoreError::Refused(_) => HoldReason::ManifestRefused,
            // All is written by then, and the disk does not boot.
            RestoreError::NoEsp { .. }
            | RestoreError::NoSeed { .. }
            | RestoreError::Place(_)
            | RestoreError::EspTooScattered => HoldReason::AgentFailed,
            RestoreError::Disk { .. } | RestoreError::OtherDisk { .. } => HoldReason::DiskFailed,
            RestoreError::Source(SourceError::Unreachable { .. }) => HoldReason::Stalled,
            RestoreError::Source(SourceError::OtherVersion { .. }) => HoldReason::AgentVersion,
            RestoreError::Source(SourceError::Refused { .. } | SourceError::NoneLeft { .. })
            | RestoreError::NotDelivered { .. }
            | RestoreError::ChunkLength { .. } => HoldReason::ChunkCorrupt,
            RestoreError::ReadBack { .. } | RestoreError::Unstable { .. } | RestoreError::Spoiled { .. } => {
                HoldReason::ReadBackFailed
            }
            RestoreError::NotPreserved { .. } => HoldReason::PreservedLost,
            RestoreError::Decoder(_) => HoldReason::AgentFailed,
        };
        Self::new(reason, chain(error))
    }
}
