//! Partition tables as tools write them, as damage leaves them, and moved to a disk of another size and back.

use proptest::prelude::*;

use super::*;
use crate::disk::ESP_TYPE;
use crate::testing::{LINUX_TYPE, MIB, gpt_disk};

const SIZE: u64 = 16 * MIB;

fn disk(size: u64, sector: u32) -> Vec<u8> {
    let last = size / u64::from(sector) - 40;
    gpt_disk(size, sector as usize, &[(ESP_TYPE, 256, 511), (LINUX_TYPE, 512, last)])
}

fn read(disk: &[u8], sector: u32) -> Result<Gpt, GptError> {
    Gpt::read(&mut slice_reader(disk, 0), sector, disk.len() as u64)
}

#[test]
fn both_sector_sizes_are_read() {
    for sector in [512, 4096] {
        let gpt = read(&disk(SIZE, sector), sector).unwrap();
        assert_eq!(gpt.disk_guid, [0xd1; 16]);
        assert_eq!(gpt.entries.len(), 2);
        let first = &gpt.entries[0];
        assert_eq!((first.index, first.type_guid, first.first_lba, first.last_lba), (0, ESP_TYPE, 256, 511));
        assert_eq!((gpt.entries[1].name.as_str(), gpt.entries[1].type_guid), ("p1", LINUX_TYPE));
    }
}

#[test]
fn a_disk_cut_short_or_without_a_table_is_refused_by_name() {
    let whole = disk(SIZE, 512);
    assert!(matches!(read(&whole[..8 << 20], 512), Err(GptError::Damaged { copy: "primary", .. })));
    assert!(matches!(read(&vec![0; 1 << 20], 512), Err(GptError::Damaged { copy: "primary", .. })));
    assert!(is_present(&mut slice_reader(&whole, 0), 512, SIZE).unwrap());
    assert!(!is_present(&mut slice_reader(&[0; 1024], 0), 512, 1024).unwrap());
    assert!(!is_present(&mut slice_reader(&[], 0), 512, 0).unwrap());
}

#[test]
fn a_damaged_backup_and_copies_that_differ_are_told_apart() {
    let mut damaged = disk(SIZE, 512);
    let at = damaged.len() - 512 + 16;
    damaged[at] ^= 1;
    assert!(matches!(read(&damaged, 512), Err(GptError::Damaged { copy: "backup", .. })));

    // Each copy valid by itself, from two different tables.
    let (mut one, other) = (disk(SIZE, 512), gpt_disk(SIZE, 512, &[(ESP_TYPE, 256, 1023)]));
    let tail = one.len() - 33 * 512;
    one[tail..].copy_from_slice(&other[tail..]);
    assert!(matches!(read(&one, 512), Err(GptError::CopiesDiffer)));
}

#[test]
fn a_partition_outside_the_usable_space_is_refused() {
    let beyond = gpt_disk(SIZE, 512, &[(LINUX_TYPE, 2048, SIZE / 512 - 2)]);
    let what = "a partition outside the usable space";
    assert!(matches!(read(&beyond, 512), Err(GptError::Damaged { what: found, .. }) if found == what));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_byte_of_a_header_or_of_the_entries_goes_unseen(
        at in prop_oneof![512_usize..512 + 92, 1024_usize..1024 + 256],
        change in 1..=u8::MAX,
    ) {
        let mut disk = disk(SIZE, 512);
        disk[at] ^= change;
        prop_assert!(read(&disk, 512).is_err());
    }

    #[test]
    fn a_table_moved_to_a_larger_disk_is_valid_there_and_comes_back_byte_for_byte(more_mib in 1_u64..64) {
        let small = disk(SIZE, 512);
        let large_size = SIZE + more_mib * MIB;
        let (head_len, tail_len) = (34 * 512, 33 * 512);
        let of = |disk_size| Layout {
            sector: 512,
            disk_size,
            places: vec![(1, (512 + (disk_size - SIZE) / MIB, disk_size / 512 - 40))],
        };
        let (image, endpoint) = (of(SIZE), of(large_size));

        let (mut head, mut tail) = (small[..head_len].to_vec(), small[small.len() - tail_len..].to_vec());
        image.retarget(&endpoint, &mut head, &mut tail).unwrap();
        let mut large = vec![0; usize::try_from(large_size).unwrap()];
        large[..head_len].copy_from_slice(&head);
        let at = large.len() - tail_len;
        large[at..].copy_from_slice(&tail);
        let moved = read(&large, 512).unwrap();
        let moved_to = (moved.entries[1].first_lba, moved.entries[1].last_lba);
        prop_assert_eq!(moved_to, (512 + more_mib, large_size / 512 - 40));
        prop_assert_eq!(&moved.entries[0], &read(&small, 512).unwrap().entries[0]);

        endpoint.retarget(&image, &mut head, &mut tail).unwrap();
        prop_assert_eq!(&head[..], &small[..head_len]);
        prop_assert_eq!(&tail[..], &small[small.len() - tail_len..]);
    }
}
