//! The delta plan: what will be kept, copied, fetched and zeroed. It prints, and nothing is written before it exists.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::boot_region::{self, Place};
use super::compare::ExtentSet;
use super::preserve::{Kept, Preserved};
use super::seeds::{EXTENTS_MAX, Moves, in_order};
use super::{RestoreError, RestoreTarget, Scan, write::Poisoned};
use crate::manifest::header::{AgentVersion, Policy, Scheme};
use crate::{ChunkId, Content, Extent, Header, ImageId, Manifest, Verified};

/// What the agent knows of its endpoint; empty or `None` means that it cannot tell.
#[derive(Debug, Clone, Default)]
pub struct EndpointFacts {
    /// CPU architecture in the words of `uname -m`.
    pub arch: String,
    /// Hardware class that the appliance has given the endpoint.
    pub hardware_class: Option<String>,
    /// Whether its firmware booted the agent by UEFI.
    pub uefi: Option<bool>,
    /// Version of the agent.
    pub agent: Option<AgentVersion>,
}

/// Why an image is not restored on this disk or endpoint. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// The scan is of another image.
    #[error("the scan is of image {scanned}, not of {planned}; scan again")]
    OtherImage {
        /// The image to restore.
        planned: ImageId,
        /// The image scanned for.
        scanned: ImageId,
    },
    /// The disk is too small.
    #[error(
        "the image needs a disk of {image} bytes, this one has {disk}; choose a larger disk or a smaller image"
    )]
    DiskTooSmall {
        /// Size of the image.
        image: u64,
        /// Size of the disk.
        disk: u64,
    },
    /// The disk has other sectors than the image was made for.
    #[error(
        "the image was made for sectors of {image} bytes, the disk has {disk}; use an image for this kind of disk"
    )]
    SectorSize {
        /// Sector size of the image.
        image: u32,
        /// Sector size of the disk.
        disk: u32,
    },
    /// The disk's size is not a whole number of sectors.
    #[error("the disk says that it has {disk} bytes, which is no whole number of sectors; check its health")]
    RaggedDisk {
        /// Size of the disk.
        disk: u64,
    },
    /// A partition has a policy that this version cannot carry out.
    #[error(
        "partition {index} of the image is to be handled as `{policy:?}`, which this agent cannot do; update it"
    )]
    Policy {
        /// Index of the partition.
        index: u32,
        /// Its policy.
        policy: Policy,
    },
    /// Another CPU architecture.
    #[error("the image is for {image}, this endpoint is {endpoint}; check the endpoint's blueprint")]
    Architecture {
        /// The image's.
        image: String,
        /// The endpoint's.
        endpoint: String,
    },
    /// Another hardware class.
    #[error(
        "the image is for hardware class `{image}`, this endpoint is `{endpoint}`; check the endpoint's blueprint"
    )]
    HardwareClass {
        /// The image's.
        image: String,
        /// The endpoint's.
        endpoint: String,
    },
    /// Firmware that cannot start the image.
    #[error(
        "the image does not boot with this endpoint's firmware ({endpoint}); check the boot mode in its setup"
    )]
    Firmware {
        /// `UEFI` or `BIOS`.
        endpoint: &'static str,
    },
    /// A partition that must stay is not in the disk's table, or its copies differ about it.
    #[error(
        "partition {number} `{name}` of the image is to be preserved, and the disk's partition table does not have it (it has {found}). Restore an image for this layout, or give up what is to be preserved"
    )]
    PreservedElsewhere {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
        /// What the table has.
        found: String,
    },
    /// A partition that must stay lies where the image wants something else.
    #[error(
        "partition {number} `{name}` is to be preserved, and the disk has it where the image wants {taken} (it is {found}). Restore an image that leaves room for it, or save what it holds and give it up"
    )]
    PreservedInTheWay {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
        /// Where the disk has it.
        found: String,
        /// What the image wants there.
        taken: String,
    },
    /// Nothing says where a partition is that must stay, and the disk is not blank.
    #[error(
        "partition {number} `{name}` of the image is to be preserved. The disk has no partition table that can be read, and it is not blank. Save what it holds if it matters, then give up what is to be preserved"
    )]
    PreservedUnknown {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
    },
    /// Something wrote to a partition that an interrupted restore has left alone.
    #[error(
        "partition {number} `{name}` is to be preserved and was changed since an earlier restore of this disk began. To keep what it holds now, put the disk's partition table back, then resume; or give up what is to be preserved"
    )]
    PreservedChanged {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
    },
    /// An erasure would take with it what must stay.
    #[error(
        "partition {number} `{name}` of the image is to be preserved, and the disk is to be erased. Give up what is to be preserved, or restore without erasing"
    )]
    PreservedErased {
        /// Number of the partition, counted from 1.
        number: u32,
        /// Its name.
        name: String,
    },
    /// The agent is too old.
    #[error("the image needs agent {need:?} or newer, this is {have:?}; update the recovery system")]
    AgentTooOld {
        /// The oldest that can restore it.
        need: AgentVersion,
        /// This one.
        have: AgentVersion,
    },
}

impl PlanRefusal {
    pub(super) fn of_disk(header: &Header, disk_size: u64, sector_size: u32) -> Result<(), Self> {
        let disk = &header.disk;
        if disk.sector_size != sector_size {
            return Err(Self::SectorSize { image: disk.sector_size, disk: sector_size });
        }
        if !disk_size.is_multiple_of(u64::from(sector_size)) {
            return Err(Self::RaggedDisk { disk: disk_size });
        }
        if disk_size < disk.size {
            return Err(Self::DiskTooSmall { image: disk.size, disk: disk_size });
        }
        Ok(())
    }

    fn of_endpoint(header: &Header, facts: &EndpointFacts) -> Result<(), Self> {
        let identity = &header.identity;
        if !facts.arch.is_empty() && facts.arch != identity.arch {
            let (image, endpoint) = (identity.arch.clone(), facts.arch.clone());
            return Err(Self::Architecture { image, endpoint });
        }
        if let Some(endpoint) = &facts.hardware_class
            && !identity.hardware_class.is_empty()
            && *endpoint != identity.hardware_class
        {
            let (image, endpoint) = (identity.hardware_class.clone(), endpoint.clone());
            return Err(Self::HardwareClass { image, endpoint });
        }
        let known = header.boot.uefi || header.boot.bios;
        match facts.uefi {
            Some(true) if known && !header.boot.uefi => return Err(Self::Firmware { endpoint: "UEFI" }),
            Some(false) if known && !header.boot.bios => return Err(Self::Firmware { endpoint: "BIOS" }),
            _ => {}
        }
        match facts.agent {
            Some(have) if have < identity.agent_min => {
                Err(Self::AgentTooOld { need: identity.agent_min, have })
            }
            _ => Ok(()),
        }
    }

    fn of_partitions(header: &Header) -> Result<(), Self> {
        let cannot = |policy| matches!(policy, Policy::Regenerate | Policy::Skip);
        match header.table.partitions.iter().find(|p| cannot(p.policy)) {
            Some(p) => Err(Self::Policy { index: p.index, policy: p.policy }),
            None => Ok(()),
        }
    }
}

/// Where the bytes of a data extent come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// From the source.
    Fetch,
    /// From this place of the same disk, which is right and stays.
    Copy(u64),
    /// From this place of the same disk, which is overwritten later.
    Move(u64),
}

/// A plan in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct PlanSummary {
    /// Bytes that are right already.
    pub keep_bytes: u64,
    /// Extents to be copied from elsewhere on the disk.
    pub copy_extents: u64,
    /// Their bytes.
    pub copy_bytes: u64,
    /// Extents to be moved from places that are overwritten later.
    #[serde(default)]
    pub move_extents: u64,
    /// Their bytes.
    #[serde(default)]
    pub move_bytes: u64,
    /// Extents to be fetched.
    pub fetch_extents: u64,
    /// Their plain bytes; fewer travel.
    pub fetch_bytes: u64,
    /// Ranges to be made zero.
    pub zero_ranges: u64,
    /// Their bytes.
    pub zero_bytes: u64,
    /// Bytes of the boot region to be written last.
    pub boot_bytes: u64,
    /// Whether the boot region has to be fetched, too.
    pub boot_differs: bool,
    /// Partitions that stay as they are.
    #[serde(default)]
    pub preserve_partitions: u64,
    /// Their bytes.
    #[serde(default)]
    pub preserve_bytes: u64,
    /// How many of them the disk has at another place, larger or smaller than the image; the table will say so.
    #[serde(default)]
    pub preserve_elsewhere: u64,
    /// Whether the backup partition table moves to the end of a larger disk.
    pub larger_disk: bool,
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        if self.preserve_partitions > 0 {
            let (mib, count) = (mib(self.preserve_bytes), self.preserve_partitions);
            let elsewhere = match self.preserve_elsewhere {
                0 => String::new(),
                some => format!(", {some} not as the image has them"),
            };
            writeln!(
                f,
                "stay   {mib:>10.1} MiB in {count} preserved partitions{elsewhere}, hashed before and after"
            )?;
        }
        writeln!(f, "keep   {:>10.1} MiB", mib(self.keep_bytes))?;
        writeln!(f, "copy   {:>10.1} MiB in {} extents", mib(self.copy_bytes), self.copy_extents)?;
        writeln!(f, "move   {:>10.1} MiB in {} extents", mib(self.move_bytes), self.move_extents)?;
        writeln!(f, "fetch  {:>10.1} MiB in {} extents", mib(self.fetch_bytes), self.fetch_extents)?;
        writeln!(f, "zero   {:>10.1} MiB in {} ranges", mib(self.zero_bytes), self.zero_ranges)?;
        let boot = if self.boot_differs { "fetched, " } else { "" };
        let moved = if self.larger_disk { ", backup table moved to the end of the disk" } else { "" };
        write!(f, "boot   {:>10.1} MiB {boot}written last{moved}", mib(self.boot_bytes))
    }
}

/// What a restore will do to a disk.
pub struct RestorePlan<'m> {
    pub(super) manifest: &'m Verified<Manifest>,
    pub(super) scan: Scan,
    copies: HashMap<ChunkId, u64>,
    moves: Moves,
    clean: bool,
    summary: PlanSummary,
}

impl<'m> RestorePlan<'m> {
    /// Plan, or refuse by name.
    pub fn new(
        manifest: &'m Verified<Manifest>,
        scan: Scan,
        facts: &EndpointFacts,
    ) -> Result<Self, PlanRefusal> {
        let header = manifest.header();
        if scan.image != manifest.id() {
            return Err(PlanRefusal::OtherImage { planned: manifest.id(), scanned: scan.image });
        }
        PlanRefusal::of_disk(header, scan.disk_size, scan.sector_size)?;
        PlanRefusal::of_endpoint(header, facts)?;
        PlanRefusal::of_partitions(header)?;
        let copies = copies(manifest, &scan.kept, &scan.differences.wrong);
        let clean = scan.is_clean();
        let moves = match scan.seeds.is_empty() {
            true => Moves::default(),
            false => {
                let wrong: Vec<_> = wrong(manifest, &scan.kept, &scan.differences.wrong).collect();
                Moves::plan(&wrong, &scan.seeds, &|id| copies.contains_key(id))
            }
        };
        let mut plan = Self { manifest, scan, copies, moves, clean, summary: PlanSummary::default() };
        plan.summary = plan.summarize();
        Ok(plan)
    }

    /// Whether the disk holds the whole image already, so that nothing will be written.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// The partitions that stay as they are.
    pub fn preserved(&self) -> &[Preserved] {
        self.scan.preserved()
    }

    /// The plan in figures, to be shown before anything is written.
    pub fn summary(&self) -> PlanSummary {
        self.summary
    }

    /// Make the disk unbootable, unless there is nothing to do. From here on a power cut leads to another restore.
    pub fn poison<'a>(self, target: &'a dyn RestoreTarget) -> Result<Poisoned<'a>, RestoreError>
    where
        'm: 'a,
    {
        Poisoned::new(self, target)
    }

    /// Where a wrong extent's bytes come from.
    pub(super) fn from(&self, extent: &Extent, id: &ChunkId) -> From {
        match (self.copies.get(id), self.moves.from(extent)) {
            (Some(offset), _) => From::Copy(*offset),
            (None, Some(offset)) => From::Move(offset),
            (None, None) => From::Fetch,
        }
    }

    /// The wrong data extents in the order of writing.
    pub(super) fn wrong(&self) -> Box<dyn Iterator<Item = (Extent, ChunkId)> + Send + '_> {
        let wrong = wrong(self.manifest, &self.scan.kept, &self.scan.differences.wrong);
        match self.moves.descending {
            true => in_order(wrong.collect::<Vec<_>>().into_iter(), true),
            false => Box::new(wrong),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::new(self.manifest.header(), self.scan.disk_size, &self.scan.kept)
    }

    fn summarize(&self) -> PlanSummary {
        let (header, scan) = (self.manifest.header(), &self.scan);
        let mut summary = PlanSummary {
            keep_bytes: scan.differences.compared.saturating_sub(scan.differences.bytes),
            zero_ranges: scan.differences.dirty.len() as u64,
            zero_bytes: scan.differences.dirty.iter().map(|r| r.end - r.start).sum(),
            boot_differs: scan.boot.is_none(),
            preserve_partitions: scan.kept.list().len() as u64,
            preserve_bytes: scan.kept.bytes(),
            preserve_elsewhere: scan.kept.list().iter().filter(|kept| kept.is_elsewhere()).count() as u64,
            larger_disk: scan.disk_size > header.disk.size && header.table.scheme == Scheme::Gpt,
            ..PlanSummary::default()
        };
        for (extent, id) in self.wrong() {
            let (extents, bytes) = match self.from(&extent, &id) {
                From::Fetch => (&mut summary.fetch_extents, &mut summary.fetch_bytes),
                From::Copy(_) => (&mut summary.copy_extents, &mut summary.copy_bytes),
                From::Move(_) => (&mut summary.move_extents, &mut summary.move_bytes),
            };
            *extents += 1;
            *bytes += extent.len;
        }
        let boot_len = header.disk.head_len + header.disk.tail_len;
        match self.is_clean() {
            true => summary.keep_bytes += boot_len,
            false => summary.boot_bytes = boot_len,
        }
        summary
    }
}

impl fmt::Display for RestorePlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = &self.manifest.header().identity;
        writeln!(f, "image  {} {} ({})", identity.name, identity.version, self.manifest.id())?;
        match self.is_clean() {
            true => write!(f, "the disk holds it already; nothing will be written"),
            false => self.summary.fmt(f),
        }
    }
}

fn wrong<'m>(
    manifest: &'m Manifest,
    kept: &'m Kept,
    wrong: &'m ExtentSet,
) -> impl Iterator<Item = (Extent, ChunkId)> + Send + 'm {
    boot_region::payload(manifest, kept).filter_map(|(index, extent)| match extent.content {
        Content::Data(id) if wrong.contains(index) => Some((extent, id)),
        _ => None,
    })
}

/// The chunks of wrong extents, to be looked for on the disk; none when they are too many to be kept in memory.
pub(super) fn wanted(manifest: &Manifest, kept: &Kept, set: &ExtentSet) -> HashSet<ChunkId> {
    match set.len() {
        1..=EXTENTS_MAX => wrong(manifest, kept, set).map(|(_, id)| id).collect(),
        _ => HashSet::new(),
    }
}

/// Wrong chunks that stand right elsewhere on the disk.
pub(super) fn copies(manifest: &Manifest, kept: &Kept, wrong: &ExtentSet) -> HashMap<ChunkId, u64> {
    if wrong.is_empty() {
        return HashMap::new();
    }
    let data = || {
        boot_region::payload(manifest, kept).filter_map(|(index, extent)| match extent.content {
            Content::Data(id) => Some((wrong.contains(index), id, extent.offset)),
            Content::Zero | Content::Any => None,
        })
    };
    let needed: HashSet<ChunkId> = data().filter(|(wrong, ..)| *wrong).map(|(_, id, _)| id).collect();
    data()
        .filter(|(wrong, id, _)| !wrong && needed.contains(id))
        .map(|(_, id, offset)| (id, offset))
        .collect()
}
