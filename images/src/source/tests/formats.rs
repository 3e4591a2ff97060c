//! Hand-made files of each format: what they hold is known, and each byte of them can be made wrong.

use flate2::Compression;
use proptest::prelude::*;

use super::*;

const CLUSTER: usize = 4096;

/// What one cluster, block or grain of a made file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Absent,
    Zero,
    Plain(u8),
    Packed(u8),
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        Just(Made::Absent),
        Just(Made::Zero),
        (1..=u8::MAX).prop_map(Made::Plain),
        (1..=u8::MAX).prop_map(Made::Packed),
    ]
}

/// The bytes of one, none like another.
fn content(made: Made, len: usize) -> Vec<u8> {
    match made {
        Made::Absent | Made::Zero => vec![0; len],
        Made::Plain(seed) | Made::Packed(seed) => {
            (0..len).map(|at| seed.wrapping_add((at / 7) as u8)).collect()
        }
    }
}

/// The disk that they make.
pub(super) fn disk_of(made: &[Made], len: usize) -> Vec<u8> {
    made.iter().flat_map(|made| content(*made, len)).collect()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A qcow2 of version 3 with clusters of 4 KiB: header, one level 1 table, one level 2 table, clusters.
pub(super) fn qcow2(clusters: &[Made]) -> Vec<u8> {
    assert!(clusters.len() <= CLUSTER / 8);
    let mut file = vec![0; 3 * CLUSTER];
    put(&mut file, 0, &qcow2::MAGIC);
    put(&mut file, 4, &3_u32.to_be_bytes());
    put(&mut file, 20, &12_u32.to_be_bytes());
    put(&mut file, 24, &((clusters.len() * CLUSTER) as u64).to_be_bytes());
    put(&mut file, 36, &1_u32.to_be_bytes());
    put(&mut file, 40, &(CLUSTER as u64).to_be_bytes());
    put(&mut file, 96, &4_u32.to_be_bytes());
    put(&mut file, 100, &104_u32.to_be_bytes());
    put(&mut file, CLUSTER, &((2 * CLUSTER as u64) | (1 << 63)).to_be_bytes());
    for (number, made) in clusters.iter().enumerate() {
        let plain = content(*made, CLUSTER);
        let at = file.len() as u64;
        let entry = match made {
            Made::Absent => 0,
            Made::Zero => 1,
            Made::Plain(_) => {
                file.extend(plain);
                at | 1 << 63
            }
            Made::Packed(_) => {
                let mut packed = Vec::with_capacity(2 * CLUSTER);
                let mut packer = flate2::Compress::new(Compression::fast(), false);
                packer.compress_vec(&plain, &mut packed, flate2::FlushCompress::Finish).unwrap();
                packed.resize(packed.len().next_multiple_of(CLUSTER), 0xee);
                let sectors = packed.len() as u64 / 512 - 1;
                file.extend(packed);
                at | sectors << 58 | 1 << 62
            }
        };
        put(&mut file, 2 * CLUSTER + number * 8, &entry.to_be_bytes());
    }
    file
}

fn vhd_sum(bytes: &mut [u8], at: usize) {
    put(bytes, at, &[0; 4]);
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    put(bytes, at, &(!sum).to_be_bytes());
}

/// A VHD's footer.
pub(super) fn vhd_footer(size: u64, kind: u32) -> Vec<u8> {
    let mut footer = vec![0; 512];
    put(&mut footer, 0, &vhd::COOKIE);
    put(&mut footer, 12, &0x0001_0000_u32.to_be_bytes());
    put(&mut footer, 16, &if kind == 2 { u64::MAX } else { 512 }.to_be_bytes());
    put(&mut footer, 48, &size.to_be_bytes());
    put(&mut footer, 60, &kind.to_be_bytes());
    vhd_sum(&mut footer, 64);
    footer
}

/// A dynamic VHD with blocks of 4 KiB.
pub(super) fn vhd(blocks: &[Made], kind: u32) -> Vec<u8> {
    let footer = vhd_footer((blocks.len() * CLUSTER) as u64, kind);
    let mut header = vec![0; 1024];
    put(&mut header, 0, b"cxsparse");
    put(&mut header, 16, &1536_u64.to_be_bytes());
    put(&mut header, 28, &(blocks.len() as u32).to_be_bytes());
    put(&mut header, 32, &(CLUSTER as u32).to_be_bytes());
    vhd_sum(&mut header, 36);
    let mut file = [&footer[..], &header].concat();
    let table = file.len();
    file.resize(table + (blocks.len() * 4).next_multiple_of(512), 0xff);
    for (number, made) in blocks.iter().enumerate() {
        if !matches!(made, Made::Absent) {
            let sector = (file.len() / 512) as u32;
            put(&mut file, table + number * 4, &sector.to_be_bytes());
            file.extend([0xff; 512]);
            file.extend(content(*made, CLUSTER));
        }
    }
    file.extend(footer);
    file
}

fn crc32c_into(bytes: &mut [u8]) {
    put(bytes, 4, &[0; 4]);
    // As the specification has it, bit by bit: not the code under test.
    let mut crc = !0_u32;
    for byte in bytes.iter() {
        for bit in 0..8 {
            let odd = (crc ^ u32::from(byte >> bit)) & 1 == 1;
            crc = if odd { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    put(bytes, 4, &(!crc).to_le_bytes());
}

/// Changes a VHDX's header, region table and metadata.
pub(super) type Change<'a> = &'a dyn Fn(&mut [u8], &mut [u8], &mut [u8]);

/// A VHDX that `change` has had its hands on, before the checksums.
pub(super) fn vhdx(blocks: &[Made], change: Change<'_>) -> Vec<u8> {
    let (mut header, mut regions, mut metadata) = (vec![0; 4096], vec![0; 65_536], vec![0; MIB as usize]);
    put(&mut header, 0, b"head");
    put(&mut header, 8, &7_u64.to_le_bytes());
    put(&mut header, 66, &1_u16.to_le_bytes());
    put(&mut regions, 0, b"regi");
    put(&mut regions, 8, &2_u32.to_le_bytes());
    let guid = |text: &str| hex::decode(text).unwrap();
    for (number, (name, at)) in
        [("66 77c22d23f600429d64115e9bfd4a08", 2 * MIB), ("06a27c8b90479a4bb8fe575f050f886e", 3 * MIB)]
            .iter()
            .enumerate()
    {
        let entry = 16 + 32 * number;
        put(&mut regions, entry, &guid(&name.replace(' ', "")));
        put(&mut regions, entry + 16, &at.to_le_bytes());
        put(&mut regions, entry + 24, &(MIB as u32).to_le_bytes());
        put(&mut regions, entry + 28, &1_u32.to_le_bytes());
    }
    put(&mut metadata, 0, b"metadata");
    put(&mut metadata, 10, &3_u16.to_le_bytes());
    let items: [(&str, Vec<u8>); 3] = [
        ("3767a1ca36fa434db3b633f0aa44e76b", (MIB).to_le_bytes().to_vec()),
        ("2442a52f1bcd7648b2115dbed83bf4b8", (blocks.len() as u64 * MIB).to_le_bytes().to_vec()),
        ("1dbf41816fa90947ba47f233a8faab5f", 512_u32.to_le_bytes().to_vec()),
    ];
    for (number, (name, item)) in items.iter().enumerate() {
        let (entry, at) = (32 + 32 * number, 65_536 + 16 * number);
        put(&mut metadata, entry, &guid(name));
        put(&mut metadata, entry + 16, &(at as u32).to_le_bytes());
        put(&mut metadata, entry + 20, &(item.len() as u32).to_le_bytes());
        put(&mut metadata, entry + 24, &4_u32.to_le_bytes());
        put(&mut metadata, at, item);
    }
    change(&mut header, &mut regions, &mut metadata);
    crc32c_into(&mut header);
    crc32c_into(&mut regions);
    let mut file = vec![0; 4 * MIB as usize];
    put(&mut file, 0, &vhdx::MAGIC);
    put(&mut file, 128 << 10, &header);
    put(&mut file, 192 << 10, &regions);
    put(&mut file, 3 * MIB as usize, &metadata);
    for (number, made) in blocks.iter().enumerate() {
        let entry = match made {
            Made::Absent => 0_u64,
            Made::Zero => 2,
            Made::Plain(_) | Made::Packed(_) => {
                let at = file.len() as u64;
                file.extend(content(*made, MIB as usize));
                at | 6
            }
        };
        put(&mut file, 2 * MIB as usize + number * 8, &entry.to_le_bytes());
    }
    file
}

/// A sparse VMDK with grains of 4 KiB, compressed or not, and its footer at the end if it is.
pub(super) fn vmdk(grains: &[Made], packed: bool, descriptor: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    put(&mut header, 0, &vmdk::MAGIC);
    put(&mut header, 4, &if packed { 3_u32 } else { 1 }.to_le_bytes());
    put(&mut header, 8, &if packed { 0x3_0005_u32 } else { 5 }.to_le_bytes());
    header[8] &= !1;
    put(&mut header, 12, &(grains.len() as u64 * 8).to_le_bytes());
    put(&mut header, 20, &8_u64.to_le_bytes());
    put(&mut header, 28, &1_u64.to_le_bytes());
    put(&mut header, 36, &2_u64.to_le_bytes());
    put(&mut header, 44, &512_u32.to_le_bytes());
    put(&mut header, 77, &u16::from(packed).to_le_bytes());
    let mut file = header.clone();
    file.extend(descriptor.as_bytes());
    file.resize(3 * 512, 0);
    let mut table = vec![0; 2048];
    for (number, made) in grains.iter().enumerate() {
        let sector = (file.len() / 512) as u32;
        let entry = match made {
            Made::Absent => 0,
            Made::Zero => 1,
            Made::Plain(_) | Made::Packed(_) if packed => {
                let mut data = Vec::with_capacity(2 * CLUSTER);
                let mut packer = flate2::Compress::new(Compression::fast(), true);
                let plain = content(*made, CLUSTER);
                packer.compress_vec(&plain, &mut data, flate2::FlushCompress::Finish).unwrap();
                file.extend((number as u64 * 8).to_le_bytes());
                file.extend((data.len() as u32).to_le_bytes());
                file.extend(data);
                sector
            }
            Made::Plain(_) | Made::Packed(_) => {
                file.extend(content(*made, CLUSTER));
                sector
            }
        };
        file.resize(file.len().next_multiple_of(512), 0);
        put(&mut table, number * 4, &entry.to_le_bytes());
    }
    let table_sector = (file.len() / 512) as u32;
    file.extend(table);
    let directory = (file.len() / 512) as u64;
    file.extend(table_sector.to_le_bytes());
    file.resize(file.len().next_multiple_of(512), 0);
    put(&mut file, 56, &if packed { u64::MAX } else { directory }.to_le_bytes());
    if packed {
        put(&mut header, 56, &directory.to_le_bytes());
        file.extend(header);
        file.extend([0; 512]);
    }
    file
}

/// A descriptor of this kind, with these lines.
pub(super) fn descriptor(kind: &str, lines: &str) -> String {
    format!("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"{kind}\"\n{lines}\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_mixture_of_clusters_reads_as_the_disk(made in proptest::collection::vec(made(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk_of(&made, CLUSTER);
        let monolithic = |kind: &str| descriptor(kind, "");
        for (name, file) in [
            ("a.qcow2", qcow2(&made)),
            ("a.vhd", vhd(&made, 3)),
            ("a.vmdk", vmdk(&made, false, &monolithic("monolithicSparse"))),
            ("b.vmdk", vmdk(&made, true, &monolithic("streamOptimized"))),
        ] {
            let source = open(&write(dir.path(), name, &file)).unwrap();
            assert_reads_as(source.disk(), &disk, name);
        }
    }
}

#[test]
fn a_vhdx_reads_as_its_disk_whatever_state_its_blocks_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = [Made::Plain(3), Made::Absent, Made::Zero, Made::Plain(9), Made::Absent];
    let mut file = vhdx(&blocks, &|_, _, _| {});
    // Undefined and unmapped blocks read as zeros, as Windows reads them.
    for (number, state) in [(1, 1), (4, 3)] {
        put(&mut file, 2 * MIB as usize + number * 8, &[state]);
    }
    let source = open(&write(dir.path(), "a.vhdx", &file)).unwrap();
    assert_reads_as(source.disk(), &disk_of(&blocks, MIB as usize), "vhdx");
}

#[test]
fn a_vhdx_has_the_entry_of_a_bitmap_behind_each_four_gibibytes() {
    let dir = tempfile::tempdir().unwrap();
    // 4096 blocks of 1 MiB, the bitmap's entry, and two blocks more.
    let size = (4098 * MIB).to_le_bytes();
    let mut file = vhdx(&[], &|_, _, metadata| put(metadata, 65_536 + 16, &size));
    for (index, byte) in [(4095, 1), (4096, 2), (4097, 3), (4098, 4)] {
        let at = file.len() as u64;
        put(&mut file, 2 * MIB as usize + index * 8, &(at | 6).to_le_bytes());
        file.extend(vec![byte; MIB as usize]);
    }
    let source = open(&write(dir.path(), "a.vhdx", &file)).unwrap();
    let mut found = vec![0; 4 * MIB as usize];
    source.disk().read_at(4094 * MIB, &mut found).unwrap();
    let firsts: Vec<u8> = found.chunks(MIB as usize).map(|block| block[0]).collect();
    assert_eq!(firsts, [0, 1, 3, 4]);
}

#[test]
fn a_descriptor_joins_the_files_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (noise(1, 3 * 512), noise(2, 4 * 512));
    write(dir.path(), "one.bin", &first);
    std::fs::create_dir(dir.path().join("deep")).unwrap();
    write(&dir.path().join("deep"), "two.bin", &second);
    let text = descriptor("vmfs", "RW 3 FLAT \"one.bin\" 0\nRW 5 ZERO\nRW 2 VMFS \"deep/two.bin\" 1\n");
    let source = open(&write(dir.path(), "a.vmdk", text.as_bytes())).unwrap();
    assert_eq!(source.notes, [Note::Files(3)]);
    let disk = [&first[..], &[0; 5 * 512], &second[512..3 * 512]].concat();
    assert_reads_as(source.disk(), &disk, "joined");
}
