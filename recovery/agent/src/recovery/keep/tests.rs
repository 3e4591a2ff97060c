//! The collector on real filesystems, on slow, failing and hostile ones; and whoever waits for it, on collectors that hang, die or never end.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use images::disk::ReadDisk;
use proptest::prelude::*;
use recovery_protocol::agent::{Base64, Report, ReportReply};
use recovery_protocol::exhibit::Keep;
use recovery_protocol::{JobId, Problem};

use super::collect::{Sources, collect};
use super::*;
use crate::pid1::Pulse;
use crate::screen::Screen;
use crate::testing::{Answer, not_looked_at, serve_tls};
use crate::tpm::{Tpm, TpmError};

const MIB: usize = 1 << 20;

struct Raw(Vec<u8>);

impl ReadDisk for Raw {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..at.checked_add(buf.len())?));
        buf.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn order(seconds: u32, bytes: u64, files: &[&str]) -> KeepOrder {
    KeepOrder {
        keep: Keep::Quick,
        seconds,
        bytes,
        files: files.iter().map(|text| text.parse().unwrap()).collect(),
        nonce: Base64(vec![7; 32]),
    }
}

fn no_tpm() -> Result<Tpm, TpmError> {
    Err(TpmError::Absent { path: "/dev/tpmrm0".to_owned(), source: io::ErrorKind::NotFound.into() })
}

/// What came of it, and the members of the tar.
fn collected(order: &KeepOrder, disk: &dyn ReadDisk) -> (Said, BTreeMap<String, Vec<u8>>) {
    let nowhere = Path::new("/nonexistent");
    let mut out = Vec::new();
    let from = Sources { tpm: &no_tpm, event_log: nowhere, variables: nowhere };
    let said = collect(order, disk, &from, &mut out).unwrap();
    assert!(out.len() as u64 <= order.bytes);
    (said, members(&out))
}

fn members(mut tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    while tar[0] != 0 {
        let name = tar[..100].split(|byte| *byte == 0).next().unwrap();
        let len = usize::from_str_radix(std::str::from_utf8(&tar[124..135]).unwrap(), 8).unwrap();
        found.insert(String::from_utf8(name.to_vec()).unwrap(), tar[512..512 + len].to_vec());
        tar = &tar[512 + len.next_multiple_of(512)..];
    }
    found
}

fn index(members: &BTreeMap<String, Vec<u8>>) -> serde_json::Value {
    serde_json::from_slice(&members["exhibit.json"]).unwrap()
}

/// The bytes of a file of the old system, by its path.
fn file<'m>(members: &'m BTreeMap<String, Vec<u8>>, path: &str) -> Option<&'m [u8]> {
    let index = index(members);
    let entry = index["files"].as_array().unwrap().iter().find(|entry| entry["path"] == path)?;
    Some(&members[entry["member"].as_str().unwrap()])
}

fn cuts(said: &Said) -> String {
    said.cut.iter().map(|cut| format!("{}: {}\n", cut.what, cut.why)).collect()
}

/// A disk with an MBR, a FAT of 4 MiB and an ext4 of 16 MiB, made by the programs that make such; `None`, said loudly, without them.
fn old_system() -> Option<&'static [u8]> {
    static DISK: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    DISK.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for (path, text) in [
            ("etc/hostname", "press-01\n".to_owned()),
            ("etc/shadow", "secret".to_owned()),
            ("var/log/a.log", "first\n".repeat(10)),
            ("var/log/big.log", "x".repeat(2 * MIB)),
            ("var/log/apt/h.log", "apt\n".to_owned()),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/shadow", root.join("var/log/link.log")).unwrap();
        std::fs::create_dir_all(root.join("EFI/BOOT")).unwrap();
        std::fs::write(root.join("EFI/BOOT/BOOTX64.EFI"), b"loader").unwrap();
        let made = |name: &str, len: usize| -> PathBuf {
            let path = dir.path().join(name);
            std::fs::File::create(&path).unwrap().set_len(len as u64).unwrap();
            path
        };
        let (fat, ext) = (made("fat", 4 * MIB), made("ext", 16 * MIB));
        for (program, words) in [
            ("mkfs.fat", vec![fat.as_os_str()]),
            (
                "mcopy",
                vec![
                    "-s".as_ref(),
                    "-i".as_ref(),
                    fat.as_os_str(),
                    root.join("EFI").as_os_str(),
                    "::".as_ref(),
                ],
            ),
            (
                "mke2fs",
                vec![
                    "-q".as_ref(),
                    "-F".as_ref(),
                    "-t".as_ref(),
                    "ext4".as_ref(),
                    "-d".as_ref(),
                    root.as_os_str(),
                    ext.as_os_str(),
                ],
            ),
        ] {
            match Command::new(program).args(words).output() {
                Ok(run) => assert!(run.status.success(), "{program}: {run:?}"),
                Err(_) => {
                    not_looked_at(program, true);
                    return None;
                }
            }
        }
        let mut disk = vec![0; MIB];
        for (at, kind, start, sectors) in [(446, 0xef_u8, 2048_u32, 8192_u32), (462, 0x83, 10240, 32768)] {
            disk[at + 4] = kind;
            disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
            disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
        }
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        disk.extend(std::fs::read(fat).unwrap());
        disk.extend(std::fs::read(ext).unwrap());
        Some(disk)
    })
    .as_deref()
}

#[test]
fn files_are_kept_by_their_patterns_and_the_index_says_what_each_is() {
    let Some(disk) = old_system() else { return };
    let order = order(60, 64 << 20, &["/etc/hostname", "/efi/**", "/var/log/*"]);
    let (said, members) = collected(&order, &Raw(disk.to_vec()));
    assert_eq!(file(&members, "/etc/hostname"), Some(&b"press-01\n"[..]));
    assert_eq!(file(&members, "/EFI/BOOT/BOOTX64.EFI"), Some(&b"loader"[..]));
    assert_eq!(file(&members, "/var/log/big.log").map(<[u8]>::len), Some(2 * MIB));
    for left in ["/etc/shadow", "/var/log/apt/h.log", "/var/log/link.log"] {
        assert_eq!(file(&members, left), None, "{left}");
    }
    assert!(said.files == 5 && members["disk/first-mib.bin"] == disk[..MIB], "{}", said.files);
    let index = index(&members);
    assert_eq!(
        (&index["partitions"][1]["filesystem"], &index["partitions"][1]["type"]),
        (&"ext4".into(), &"83".into())
    );
    assert_eq!(index["files"][0]["sha256"], recovery_protocol::tpm::Sha256::of(b"loader").to_string());
    let regions = String::from_utf8(members["disk/regions.txt"].clone()).unwrap();
    assert_eq!(regions, format!("0 {} {}\n", disk.len(), images::Digest::of(disk)));
    // What is not there is said: no TPM, no event log.
    assert!(said.cut.len() == 2 && cuts(&said).contains("the TPM's quote"), "{}", cuts(&said));
}

#[test]
fn a_system_that_lost_its_power_is_read_as_it_lies_and_said_so() {
    let Some(disk) = old_system() else { return };
    let mut disk = disk.to_vec();
    disk[10240 * 512 + 1024 + 96] |= 4;
    let (_, members) = collected(&order(60, 64 << 20, &["/etc/hostname"]), &Raw(disk));
    assert_eq!(file(&members, "/etc/hostname"), Some(&b"press-01\n"[..]));
    assert!(index(&members)["partitions"][1]["note"].as_str().unwrap().contains("journal"));
}

#[test]
fn what_does_not_fit_is_cut_and_named_and_what_is_smaller_still_goes_in() {
    let Some(disk) = old_system() else { return };
    let (said, members) =
        collected(&order(60, 1 << 20, &["/var/log/*", "/etc/hostname"]), &Raw(disk.to_vec()));
    let cuts = cuts(&said);
    for part in
        ["the first MiB of the disk: no room", "/var/log/big.log of partition 2: the file has 2097152 bytes"]
    {
        assert!(cuts.contains(part), "{cuts}");
    }
    assert!(file(&members, "/etc/hostname").is_some() && file(&members, "/var/log/a.log").is_some());
}

#[test]
fn a_tpm_quotes_what_the_recovery_system_measured() {
    let board = crate::tpm::swtpm::SwTpm::start();
    let dir = tempfile::tempdir().unwrap();
    let (log, variables) = (dir.path().join("log"), dir.path().join("vars"));
    std::fs::write(&log, b"log").unwrap();
    std::fs::create_dir(&variables).unwrap();
    for name in
        ["BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c", "Else-8be4df61-93ca-11d2-aa0d-00e098032b8c"]
    {
        std::fs::write(variables.join(name), b"\x07\0\0\0\x01\0").unwrap();
    }
    let from = Sources { tpm: &|| Ok(board.tpm()), event_log: &log, variables: &variables };
    let mut out = Vec::new();
    let said = collect(&order(60, 8 << 20, &[]), &Raw(vec![0; 3 * MIB]), &from, &mut out).unwrap();
    assert_eq!(said, Said::default());
    let members = members(&out);
    let quote: serde_json::Value = serde_json::from_slice(&members["tpm/quote.json"]).unwrap();
    assert!(quote["of"].as_str().unwrap().contains("not the old system"));
    let attest = hex::decode(quote["attest"].as_str().unwrap()).unwrap();
    assert!(attest.windows(32).any(|part| part == [7; 32]), "the nonce stands in it");
    assert_eq!(quote["pcrs_sha256"].as_object().unwrap().len(), 16);
    assert_eq!(members["tpm/event-log.bin"], b"log");
    let firmware: Vec<_> = members.keys().filter(|name| name.starts_with("firmware/")).collect();
    assert_eq!(firmware, ["firmware/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"]);
}

/// A disk that answers slowly, or not at all behind its first MiB.
struct Ill {
    bytes: Vec<u8>,
    each_read: Duration,
    broken: bool,
}

impl ReadDisk for Ill {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.broken && offset >= MIB as u64 {
            return Err(io::Error::other("uncorrectable error"));
        }
        let until = Instant::now() + self.each_read;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        buf.copy_from_slice(&self.bytes[offset as usize..][..buf.len()]);
        Ok(())
    }
}

#[test]
fn a_slow_disk_costs_its_seconds_and_what_was_read_is_there() {
    let Some(disk) = old_system() else { return };
    let slow = Ill { bytes: disk.to_vec(), each_read: Duration::from_millis(60), broken: false };
    let begun = Instant::now();
    let (said, members) = collected(&order(1, 64 << 20, &["/etc/hostname", "/var/**"]), &slow);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(cuts(&said).contains("the time for it was over"), "{}", cuts(&said));
    assert!(members.contains_key("disk/first-mib.bin") && members.contains_key("exhibit.json"));
}

#[test]
fn a_disk_that_cannot_be_read_is_said_so_and_no_error() {
    let Some(disk) = old_system() else { return };
    let broken = Ill { bytes: disk.to_vec(), each_read: Duration::ZERO, broken: true };
    let (said, members) = collected(&order(60, 64 << 20, &["/etc/hostname"]), &broken);
    assert!(cuts(&said).contains("uncorrectable error"), "{}", cuts(&said));
    assert!(members.contains_key("disk/first-mib.bin") && said.files == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_altered_disk_breaks_the_collector_or_its_limits(
        bytes in 1_u64 << 20..4 << 20,
        changes in proptest::collection::vec((0_usize..9 * MIB, any::<u8>()), 1..40),
    ) {
        let Some(disk) = old_system() else { return Ok(()) };
        let mut disk = disk.to_vec();
        for (at, value) in changes {
            // Where the table and the maps of both filesystems lie.
            let at = match at { at if at < 3 * MIB => at % 512, at if at < 6 * MIB => MIB + at % 16_384, at => 5 * MIB + at % 131_072 };
            disk[at] = value;
        }
        let begun = Instant::now();
        collected(&order(2, bytes, &["/**"]), &Raw(disk));
        prop_assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

/// An appliance's side.
#[derive(Clone, Default)]
struct Desk {
    taken: Arc<Mutex<Vec<u8>>>,
    /// Instead of taking bytes: this status.
    refuses: Option<u16>,
    stop: bool,
}

impl Desk {
    fn answer(&self, path: &str, body: &[u8]) -> Answer {
        if path == "/agent/v1/report" {
            let _: Report = serde_json::from_slice(body).unwrap();
            let abort = ReportReply::Abort { why: "STOP".to_owned() };
            return (
                200,
                serde_json::to_vec(if self.stop { &abort } else { &ReportReply::Continue }).unwrap(),
            );
        }
        if let Some(status) = self.refuses {
            let problem = Problem::new(status, "exhibits-full", "no", "there is no room", "now");
            return (status, serde_json::to_vec(&problem).unwrap());
        }
        let mut taken = self.taken.lock().unwrap();
        assert_eq!(path, format!("/agent/v1/exhibit?at={}", taken.len()));
        taken.extend_from_slice(body);
        (200, serde_json::to_vec(&KeptSoFar { bytes: taken.len() as u64 }).unwrap())
    }

    /// What comes of a collector that is this shell script.
    fn keep(&self, seconds: u32, bytes: u64, script: &str) -> (Kept, Duration) {
        let desk = self.clone();
        let (address, pin) = serve_tls(move |request| desk.answer(&request.path, &request.body));
        let appliance = Appliance::new(address, pin).unwrap();
        let (screen, pulse) = (Screen::standard_error("test"), Pulse::new());
        let reporter = Reporter::new(&appliance, "s", (JobId::new(1, [1; 10]), 1), &screen, &pulse);
        let order = order(seconds, bytes, &[]);
        let start = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            shell.spawn()
        };
        let begun = Instant::now();
        let kept = reporter.during(|| Keeping::new(&order, &appliance, "s", &reporter).keep(&start));
        (kept, begun.elapsed())
    }
}

fn said(kept: &Kept) -> String {
    kept.cut.iter().map(|cut| format!("{}: {}\n", cut.what, cut.why)).collect()
}

#[test]
fn what_a_collector_gives_arrives_whole_with_its_digests_and_its_word() {
    let desk = Desk::default();
    let script = "head -c 5000000 /dev/zero; echo noise >&2; echo '{\"files\":3,\"cut\":[{\"what\":\"a\",\"why\":\"b\"}]}' >&2";
    let (kept, _) = desk.keep(30, 64 << 20, script);
    assert_eq!((kept.bytes, kept.files, said(&kept).as_str()), (5_000_000, 3, "a: b\n"));
    let taken = desk.taken.lock().unwrap();
    assert!(taken.len() == 5_000_000 && taken.iter().all(|byte| *byte == 0));
    assert_eq!(kept.sha256, recovery_protocol::tpm::Sha256::of(&taken).to_string());
    assert_eq!(kept.blake3, images::Digest::of(&taken).to_string());
}

#[test]
fn a_collector_that_hangs_never_ends_or_dies_holds_nobody() {
    for (script, bytes, why) in [
        ("echo begun; exec sleep 600", 6, "its 2 seconds were over"),
        ("exec yes", 1 << 20, "its 1048576 bytes were used up"),
        ("echo begun; kill -9 $$", 6, "the collector broke off: it ended without a word"),
        (
            "echo begun; echo 'memory allocation of 9 bytes failed' >&2; exit 3",
            6,
            "the collector broke off: memory allocation",
        ),
        ("trap '' TERM; echo begun; while :; do :; done", 6, "its 2 seconds were over"),
        ("echo begun; sleep 9 & exit 0", 6, "its 2 seconds were over"),
    ] {
        let desk = Desk::default();
        let (kept, took) = desk.keep(2, 1 << 20, script);
        assert!(took < Duration::from_secs(4), "{script}: {took:?}");
        assert_eq!(
            (kept.bytes, kept.bytes),
            (bytes, desk.taken.lock().unwrap().len() as u64),
            "{script}: {kept:?}"
        );
        assert!(said(&kept).contains(why), "{script}: {kept:?}");
    }
}

#[test]
fn an_appliance_that_does_not_take_it_holds_nobody() {
    for (refuses, why) in [(507, "there is no room"), (401, "there is no room"), (503, "seconds were over")] {
        let desk = Desk { refuses: Some(refuses), ..Desk::default() };
        let (kept, took) = desk.keep(2, 64 << 20, "exec head -c 3000000 /dev/zero");
        assert!(took < Duration::from_secs(4), "{refuses}: {took:?}");
        assert!(kept.bytes == 0 && said(&kept).contains(why), "{kept:?}");
    }
}

#[test]
fn stop_ends_it_at_once_and_a_collector_that_does_not_start_is_said() {
    let (kept, took) = Desk { stop: true, ..Desk::default() }.keep(60, 64 << 20, "exec sleep 600");
    assert!(took < Duration::from_secs(10) && said(&kept).contains("said to stop"), "{kept:?}");
    let desk = Desk::default();
    let (address, pin) = serve_tls(move |request| desk.answer(&request.path, &request.body));
    let (appliance, screen, pulse) =
        (Appliance::new(address, pin).unwrap(), Screen::standard_error("test"), Pulse::new());
    let reporter = Reporter::new(&appliance, "s", (JobId::new(1, [1; 10]), 1), &screen, &pulse);
    let order = order(5, 1 << 20, &[]);
    let kept = Keeping::new(&order, &appliance, "s", &reporter)
        .keep(&|| Err(io::ErrorKind::PermissionDenied.into()));
    assert!(said(&kept).contains("does not start"), "{kept:?}");
}

#[test]
fn a_file_can_stand_for_a_disk() {
    let mut file = tempfile::tempfile().unwrap();
    file.set_len(3 << 20).unwrap();
    file.write_all_at(b"here", 100).unwrap();
    let mut first = [0; 4];
    let disk = collect::Opened::of(file.try_clone().unwrap()).unwrap();
    disk.read_at(100, &mut first).unwrap();
    assert_eq!((&first, disk.size()), (b"here", 3 << 20));
    assert!(io::Read::read(&mut file, &mut first).is_ok());
}
