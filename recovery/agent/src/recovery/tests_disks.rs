//! Disks for tests of the whole path, and what stays on them where the image preserves it.

use images::disk::{ESP_TYPE, esp};
use images::restore::mem::MemDisk;
use recovery_protocol::agent::Reported;
use recovery_protocol::job::HoldReason;

use super::tests::{Plant, go_on, reason, run_and_hear};
use crate::testing::noise;

const MIB: usize = 1 << 20;

/// A disk with an EFI system partition from 1 to 4 MiB that holds a loader, and a seed partition from 4 to 5 MiB.
pub(super) fn with_esp(size: usize, loader: &[u8]) -> Vec<u8> {
    with_seed_at(size, loader, (8192, 10239))
}

/// The same (UEFI specification 2.10, section 5.3), with the seed partition in these sectors.
pub(super) fn with_seed_at(size: usize, loader: &[u8], (first, last): (u64, u64)) -> Vec<u8> {
    let (mut disk, sectors) = (vec![0; size], size as u64 / 512);
    (disk[450], disk[454]) = (0xee, 1);
    disk[458..462].copy_from_slice(&((sectors - 1) as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let mut entries = vec![0; 128 * 128];
    entries[..16].copy_from_slice(&ESP_TYPE);
    entries[16..32].fill(1);
    entries[32..40].copy_from_slice(&2048_u64.to_le_bytes());
    entries[40..48].copy_from_slice(&8191_u64.to_le_bytes());
    let seed = &mut entries[128..256];
    seed[..32].fill(2);
    seed[32..40].copy_from_slice(&first.to_le_bytes());
    seed[40..48].copy_from_slice(&last.to_le_bytes());
    for (at, letter) in b"CIDATA".iter().enumerate() {
        seed[56 + 2 * at] = *letter;
    }
    let crc = crc32fast::hash(&entries);
    for (my, other, array) in [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)] {
        let mut header = vec![0; 92];
        header[..8].copy_from_slice(b"EFI PART");
        (header[10], header[12], header[80], header[84]) = (1, 92, 128, 128);
        for (at, value) in [(24, my), (32, other), (40, 34), (48, sectors - 34), (72, array)] {
            header[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        header[56..72].fill(0xd1);
        header[88..92].copy_from_slice(&crc.to_le_bytes());
        let header_crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&header_crc.to_le_bytes());
        disk[my as usize * 512..][..92].copy_from_slice(&header);
        disk[array as usize * 512..][..entries.len()].copy_from_slice(&entries);
    }
    for range in [MIB..4 * MIB, first as usize * 512..(last as usize + 1) * 512] {
        let mut volume = std::io::Cursor::new(vec![0; range.len()]);
        fatfs::format_volume(&mut volume, fatfs::FormatVolumeOptions::new()).unwrap();
        disk[range].copy_from_slice(volume.get_ref());
    }
    let disk = MemDisk::new(disk, 512);
    esp::put_file(&disk, MIB as u64..4 * MIB as u64, "EFI/BOOT/BOOTX64.EFI", loader).unwrap();
    disk.into_bytes()
}

#[test]
fn what_is_preserved_stays_where_the_disk_has_it_or_the_job_is_held() {
    let plant = Plant::preserving(with_esp(8 * MIB, &noise(3, 100_000)), "CIDATA");
    let frames = plant.frames(|_| {});
    let order = plant.order(vec![frames]);
    for (sectors, stays) in [((8192, 12287), true), ((12288, 14335), true), ((6144, 10239), false)] {
        let bytes = sectors.0 as usize * 512..(sectors.1 as usize + 1) * 512;
        let mut raw = with_seed_at(8 * MIB, b"an older loader", sectors);
        let own = noise(9, 300_000);
        raw[bytes.start + 40_960..][..own.len()].copy_from_slice(&own);
        let disk = MemDisk::new(raw.clone(), 512);
        let (outcome, reports) = run_and_hear(&plant, &order, &disk, Ok(()), go_on);
        if !stays {
            assert_eq!(reason(outcome), HoldReason::PreservedMissing);
            assert_eq!((reports.len(), disk.counts().operations), (0, 0), "the disk is untouched");
            continue;
        }
        assert_eq!(outcome, Ok(()), "{sectors:?}");
        let hash = images::Digest::of(&raw[bytes.clone()]);
        let told = reports.iter().any(|report| {
            matches!(report, Reported::Proven { preserved, .. }
                if preserved[0].blake3 == hash && preserved[0].bytes == bytes.len() as u64)
        });
        assert!(told, "{reports:?}");
        let left = disk.into_bytes();
        assert!(left[bytes.clone()] == raw[bytes] && left[MIB..4 * MIB] == plant.raw[MIB..4 * MIB]);
    }
}
