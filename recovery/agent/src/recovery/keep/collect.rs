//! The collector: a process of its own that reads the old system's disk and writes an exhibit to its standard output.
//!
//! ```text
//! order (argument), disk (standard input, no leave to write)
//!   ─► TPM ─► firmware's variables ─► partition table, first MiB ─► files by their patterns ─► hashes of regions ─► index
//!        each: what cannot be had is a cut, with why                                    last line on standard error: Said
//! ```
//!
//! The disk is hostile. So is a process of its own: with limits of its own on memory and processor time, killed when its time is up,
//! and whatever becomes of it, the recovery goes on. Nothing is mounted; [`images::files`] reads ext2, ext3, ext4 and FAT. No symbolic link is
//! followed. It must never write to a disk.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use images::Digest;
use images::disk::{Gpt, ReadDisk, gpt, guid_text, mbr};
use images::files::{Entry, Files, FilesError, Kind, Listing, Shown};
use images::filesystem;
use nix::sys::resource::{Resource, setrlimit};
use recovery_protocol::exhibit::{CUTS_MOST, Cut, FORMAT, INDEX, KeepOrder};
use recovery_protocol::tpm::{EVENT_LOG_PATH, PcrMask, Sha256};
use serde::{Deserialize, Serialize};

use super::super::chain;
use super::tar::Tar;
use crate::tpm::Tpm;

/// Memory that it may have: lists of names of a disk of plenty, and one file.
const MEMORY_MOST: u64 = 512 << 20;
/// Longest single file.
const FILE_MOST: u64 = 16 << 20;
/// Most files.
const FILES_MOST: usize = 2000;
/// The start of the disk that is kept as it is.
const HEAD_LEN: u64 = 1 << 20;
/// Shortest region that has a hash; there are never more than [`REGIONS_MOST`].
const REGION_LEN: u64 = 64 << 20;
const REGIONS_MOST: u64 = 4096;
/// Held back for the index, of which [`INDEX_LEN_MOST`] is the longest.
const RESERVE: u64 = 1 << 19;
const INDEX_LEN_MOST: usize = RESERVE as usize - 4096;
/// Longest variable of the firmware, and which: what starts, and what may start.
const VARIABLE_MOST: u64 = 64 << 10;
const VARIABLES: &[&str] =
    &["Boot", "SecureBoot", "SetupMode", "PK-", "KEK-", "db-", "dbx-", "MokListRT", "OsIndications"];
/// Of its time, in hundredths, so much is for collecting; the rest is for sending what was collected.
const COLLECTING: u32 = 85;

/// What the collector has to say at its end.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Files of the old system that it kept.
    pub files: u64,
    /// What was left out, and why.
    pub cut: Vec<Cut>,
}

/// What stands in the index.
#[derive(Serialize)]
struct Index<'a> {
    format: &'static str,
    order: &'a KeepOrder,
    /// What the members are, for whoever has only the file.
    about: &'static str,
    disk_bytes: u64,
    partitions: Vec<Partition>,
    files: Vec<Kept>,
    cut: &'a [Cut],
}

const ABOUT: &str = "Collected by the recovery system before it wrote anything. tpm/: the event log and the quote are those of the recovery system \
that collected this, not of the old system. firmware/: the firmware's variables as they were. disk/first-mib.bin: the start of the disk as it was. \
files/: files of the old system, read without mounting it; their paths stand here, and no path is one to unpack to. disk/regions.txt: offset, length and \
blake3 of the disk's regions, as far as the time went.";

#[derive(Debug, Clone, Serialize)]
struct Partition {
    number: u32,
    start: u64,
    bytes: u64,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    filesystem: String,
    /// Why its files were not read, or what stands against them.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

#[derive(Serialize)]
struct Kept {
    member: String,
    partition: u32,
    path: String,
    bytes: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

/// Runs as that process. Its exit code says nothing; what it says stands on standard error.
///
/// # Errors
/// When its order or its disk cannot be used, or nobody reads what it writes.
pub fn run(order: &str) -> anyhow::Result<()> {
    let order: KeepOrder = serde_json::from_str(order)?;
    setrlimit(Resource::RLIMIT_AS, MEMORY_MOST, MEMORY_MOST)?;
    let seconds = u64::from(order.seconds);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds)?;
    let disk = Opened::of(File::from(io::stdin().as_fd().try_clone_to_owned()?))?;
    let from = Sources {
        tpm: &|| Tpm::open(),
        event_log: EVENT_LOG_PATH.as_ref(),
        variables: "/sys/firmware/efi/efivars".as_ref(),
    };
    let said = collect(&order, &disk, &from, io::stdout().lock())?;
    eprintln!("{}", serde_json::to_string(&said)?);
    Ok(())
}

/// A disk that somebody else opened.
pub struct Opened {
    file: File,
    size: u64,
}

impl Opened {
    /// As long as it is.
    pub fn of(mut file: File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl ReadDisk for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// What is read beside the disk.
pub struct Sources<'a> {
    /// Opens the TPM.
    pub tpm: &'a dyn Fn() -> Result<Tpm, crate::tpm::TpmError>,
    /// Where the kernel shows the firmware's event log.
    pub event_log: &'a Path,
    /// Where it shows its variables.
    pub variables: &'a Path,
}

/// A disk that can be read until a time, so that no reader of it goes on after that.
struct Bounded<'a> {
    disk: &'a dyn ReadDisk,
    until: Instant,
}

impl Bounded<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl ReadDisk for Bounded<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self.is_over() {
            true => Err(io::Error::new(io::ErrorKind::TimedOut, OVER)),
            false => self.disk.read_at(offset, buf),
        }
    }
}

const OVER: &str = "the time for it was over";

/// Collects into `out` what the order names, within its limits.
///
/// # Errors
/// When `out` cannot be written: nobody wants it any more. Everything else is a cut.
pub fn collect(
    order: &KeepOrder,
    disk: &dyn ReadDisk,
    from: &Sources<'_>,
    out: impl Write,
) -> io::Result<Said> {
    let time = Duration::from_secs(u64::from(order.seconds)) * COLLECTING / 100;
    let disk = Bounded { disk, until: Instant::now() + time };
    let mut all = Collecting {
        order,
        disk: &disk,
        tar: Tar::new(out, order.bytes),
        cut: Vec::new(),
        cuts_more: 0,
        files: Vec::new(),
    };
    all.tpm(from)?;
    all.variables(from.variables)?;
    let mut partitions = all.head()?;
    for partition in &mut partitions {
        all.files_of(partition)?;
    }
    all.regions()?;
    all.finish(partitions)
}

struct Collecting<'a, W: Write> {
    order: &'a KeepOrder,
    disk: &'a Bounded<'a>,
    tar: Tar<W>,
    cut: Vec<Cut>,
    cuts_more: usize,
    files: Vec<Kept>,
}

impl<W: Write> Collecting<'_, W> {
    fn cut(&mut self, what: impl Into<String>, why: impl ToString) {
        match self.cut.len() < CUTS_MOST - 1 {
            true => self.cut.push(Cut::new(what, why.to_string())),
            false => self.cuts_more += 1,
        }
    }

    /// Whether it is in.
    fn add(&mut self, member: &str, what: &str, bytes: &[u8]) -> io::Result<bool> {
        let added = self.tar.add(member, bytes, RESERVE)?;
        if let Err(why) = added {
            self.cut(what, why);
        }
        Ok(added.is_ok())
    }

    /// What this recovery system measured, and its TPM's word for it.
    fn tpm(&mut self, from: &Sources<'_>) -> io::Result<()> {
        match fs::read(from.event_log) {
            Ok(log) => drop(self.add("tpm/event-log.bin", "the firmware's event log", &log)?),
            Err(error) => self.cut("the firmware's event log", error),
        }
        let quoted = (from.tpm)().and_then(|mut tpm| {
            let pcrs: Vec<u8> = (0..16).collect();
            let ak = tpm.ak()?.public.to_bytes();
            Ok((tpm.quote(&self.order.nonce.0, PcrMask::of(&pcrs))?, ak))
        });
        let (quote, ak) = match quoted {
            Ok(quoted) => quoted,
            Err(error) => {
                self.cut("the TPM's quote", chain(&error));
                return Ok(());
            }
        };
        let values: std::collections::BTreeMap<_, _> = quote
            .pcrs
            .0
            .iter()
            .map(|(index, value)| (index.to_string(), hex::encode(value.as_bytes())))
            .collect();
        let text = serde_json::json!({
            "of": "the recovery system that collected this, not the old system",
            "attest": hex::encode(&quote.attest), "signature": hex::encode(&quote.signature), "ak_public": hex::encode(ak),
            "nonce": hex::encode(&self.order.nonce.0), "pcrs_sha256": values,
        });
        self.add("tpm/quote.json", "the TPM's quote", text.to_string().as_bytes()).map(drop)
    }

    /// What the firmware starts and lets start.
    fn variables(&mut self, dir: &Path) -> io::Result<()> {
        let Ok(names) = fs::read_dir(dir) else { return Ok(()) };
        let mut names: Vec<_> = names.filter_map(|name| name.ok()?.file_name().into_string().ok()).collect();
        names.retain(|name| VARIABLES.iter().any(|begins| name.starts_with(begins)));
        names.sort_unstable();
        for name in names.iter().take(256) {
            let path = dir.join(name);
            let len = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match fs::read(&path) {
                Ok(bytes) if len <= VARIABLE_MOST => {
                    self.add(&format!("firmware/{}", plain(name.as_bytes())), name, &bytes)?;
                }
                Ok(_) => self.cut(format!("the firmware's variable {name}"), "it is longer than 64 KiB"),
                Err(error) => self.cut(format!("the firmware's variable {name}"), error),
            }
        }
        Ok(())
    }

    /// The start of the disk as it is, and what its table says.
    fn head(&mut self) -> io::Result<Vec<Partition>> {
        let mut head = vec![0; self.disk.size().min(HEAD_LEN) as usize];
        match self.disk.read_at(0, &mut head) {
            Ok(()) => drop(self.add("disk/first-mib.bin", "the first MiB of the disk", &head)?),
            Err(error) => self.cut("the first MiB of the disk", error),
        }
        Ok(match partitions(self.disk) {
            Ok(partitions) => partitions,
            Err(why) => {
                self.cut("the partition table", why);
                Vec::new()
            }
        })
    }

    fn files_of(&mut self, partition: &mut Partition) -> io::Result<()> {
        if self.order.files.is_empty() {
            return Ok(());
        }
        let range = partition.start..partition.start + partition.bytes;
        let (files, listing) = match listed(self.order, self.disk, range) {
            Ok(Some((files, unclean, listing))) => {
                if unclean {
                    "it was not unmounted: what its journal holds is not in these files"
                        .clone_into(&mut partition.note);
                }
                (files, listing)
            }
            Ok(None) => {
                if !partition.filesystem.is_empty() {
                    "its files are not read: only those of ext2, ext3, ext4 and FAT are"
                        .clone_into(&mut partition.note);
                    self.cut(
                        format!("files of partition {}", partition.number),
                        format!("{} is not read", partition.filesystem),
                    );
                }
                return Ok(());
            }
            Err(error) => {
                self.cut(format!("files of partition {}", partition.number), chain(&error));
                return Ok(());
            }
        };
        let order = self.order;
        for (path, why) in &listing.unread {
            let path_bytes = path.as_os_str().as_bytes();
            if order.files.iter().any(|pattern| pattern.fits(path_bytes) || pattern.leads_through(path_bytes))
            {
                self.cut(format!("{} of partition {}", Shown(path), partition.number), chain(why));
            }
        }
        let meant = |entry: &Entry| {
            let path = entry.path.as_os_str().as_bytes();
            order.files.iter().position(|pattern| pattern.fits(path)).filter(|_| entry.kind == Kind::File)
        };
        let mut wanted: Vec<(usize, &Entry)> =
            listing.entries.iter().filter_map(|entry| Some((meant(entry)?, entry))).collect();
        wanted.sort_by_key(|(pattern, _)| *pattern);
        for (_, entry) in wanted {
            self.file(partition.number, &files, entry)?;
        }
        Ok(())
    }

    fn file(&mut self, partition: u32, files: &Files<'_>, entry: &Entry) -> io::Result<()> {
        let path = Shown(&entry.path).to_string();
        let what = format!("{path} of partition {partition}");
        if self.files.len() >= FILES_MOST {
            self.cut(what, format!("{FILES_MOST} files are kept at most"));
            return Ok(());
        }
        let bytes = match files.read(entry, FILE_MOST.min(self.tar.room(RESERVE))) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.cut(what, chain(&error));
                return Ok(());
            }
        };
        let member =
            format!("files/{:04}_{}", self.files.len() + 1, plain(entry.path.as_os_str().as_bytes()));
        if self.add(&member, &what, &bytes)? {
            let sha256 = Sha256::of(&bytes).to_string();
            let mode = entry.owner.map(|owner| format!("{:04o}", owner.mode));
            let uid = entry.owner.map(|owner| owner.uid);
            self.files.push(Kept { member, partition, path, bytes: entry.len, sha256, mode, uid });
        }
        Ok(())
    }

    /// Hashes, as far as the time goes.
    fn regions(&mut self) -> io::Result<()> {
        let size = self.disk.size();
        let len = REGION_LEN.max(size.div_ceil(REGIONS_MOST).next_power_of_two());
        let (mut text, mut at) = (String::new(), 0);
        while at < size {
            let end = (at + len).min(size);
            match hash(self.disk, at..end) {
                Ok(digest) => text += &format!("{at} {} {digest}\n", end - at),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    self.cut(format!("hashes of the disk from byte {at} to {size}"), error);
                    break;
                }
                Err(error) => self.cut(format!("the hash of the disk's bytes {at} to {end}"), error),
            }
            at = end;
        }
        self.add("disk/regions.txt", "hashes of the disk's regions", text.as_bytes()).map(drop)
    }

    fn finish(mut self, partitions: Vec<Partition>) -> io::Result<Said> {
        if self.cuts_more > 0 {
            self.cut.push(Cut::new(format!("{} more", self.cuts_more), "only the first ones are named"));
        }
        let mut index = Index {
            format: FORMAT,
            order: self.order,
            about: ABOUT,
            disk_bytes: self.disk.size(),
            partitions,
            files: self.files,
            cut: &self.cut,
        };
        let files = index.files.len() as u64;
        let mut text = serde_json::to_vec_pretty(&index).map_err(io::Error::other)?;
        while text.len() > INDEX_LEN_MOST && !index.files.is_empty() {
            // Paths of four thousand letters: the members are there, and their names tell most of it.
            index.files.truncate(index.files.len() / 2);
            text = serde_json::to_vec_pretty(&index).map_err(io::Error::other)?;
        }
        let listed = index.files.len() as u64;
        let room = self.tar.add(INDEX, &text, 0)?;
        self.tar.finish()?;
        if listed < files {
            self.cut.push(Cut::new(
                format!("{} files in the index", files - listed),
                "their paths are too long for it",
            ));
        }
        if let Err(why) = room {
            self.cut.push(Cut::new("the index", why.to_string()));
        }
        Ok(Said { files, cut: self.cut })
    }
}

type Listed<'d> = (Files<'d>, bool, Listing);

/// The files of a partition, as it lies there, whether it was unmounted, and those of its names that patterns lead to.
fn listed<'d>(
    order: &KeepOrder,
    disk: &'d Bounded<'_>,
    range: Range<u64>,
) -> Result<Option<Listed<'d>>, FilesError> {
    let Some((files, unclean)) = Files::open_as_it_lies(disk, range)? else { return Ok(None) };
    let mut enter = |directory: &Path| {
        let path = directory.as_os_str().as_bytes();
        !disk.is_over() && order.files.iter().any(|pattern| pattern.leads_through(path))
    };
    let listing = files.list(&mut enter)?;
    Ok(Some((files, unclean, listing)))
}

/// A part of a member's name: what letters of a path may safely be.
fn plain(path: &[u8]) -> String {
    let safe = |byte: &u8| {
        if byte.is_ascii_alphanumeric() || b".-".contains(byte) { char::from(*byte) } else { '_' }
    };
    let all: String = path.iter().skip_while(|byte| **byte == b'/').map(safe).collect();
    // The end of a path tells more than its beginning.
    all[all.len().saturating_sub(80)..].to_owned()
}

fn hash(disk: &Bounded<'_>, range: Range<u64>) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    let mut at = range.start;
    while at < range.end {
        let part = &mut buffer[..(range.end - at).min(1 << 20) as usize];
        disk.read_at(at, part)?;
        hasher.update(part);
        at += part.len() as u64;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// The partitions that a table names, by whichever copy can be read; without one, the whole disk is one.
fn partitions(disk: &Bounded<'_>) -> Result<Vec<Partition>, String> {
    let size = disk.size();
    let mut read = |offset: u64, buf: &mut [u8]| disk.read_at(offset, buf);
    let mut found = Vec::new();
    for sector in [512, 4096_u32] {
        if !gpt::is_present(&mut read, sector, size).map_err(|error| chain(&error))? {
            continue;
        }
        let copies = Gpt::copies(&mut read, sector, size).map_err(|error| error.to_string())?;
        let entries = copies.into_iter().flatten().next().ok_or("neither copy of the GPT can be read")?;
        for entry in entries {
            let range = range_of(entry.first_lba, entry.last_lba, sector);
            found.push((entry.index + 1, range, guid_text(&entry.type_guid), entry.name));
        }
        break;
    }
    if found.is_empty() {
        let mut first = [0; 512];
        disk.read_at(0, &mut first).map_err(|error| error.to_string())?;
        match mbr::entries(&first, size / 512).filter(|_| !mbr::is_protective(&first)) {
            Some(entries) => found.extend(entries.iter().map(|entry| {
                let range = range_of(entry.first_lba, entry.last_lba, 512);
                (entry.index + 1, range, format!("{:02x}", entry.kind), String::new())
            })),
            None => found.push((0, 0..size, "the whole disk".to_owned(), String::new())),
        }
    }
    found.retain(|(_, range, ..)| range.start < range.end && range.end <= size);
    Ok(found
        .into_iter()
        .map(|(number, range, kind, name)| Partition {
            number,
            start: range.start,
            bytes: range.end - range.start,
            kind,
            name,
            filesystem: filesystem::kind(disk, range).name().to_owned(),
            note: String::new(),
        })
        .collect())
}

fn range_of(first: u64, last: u64, sector: u32) -> Range<u64> {
    let at = |lba: u64| lba.saturating_mul(u64::from(sector));
    at(first)..at(last.saturating_add(1))
}
