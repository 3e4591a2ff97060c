//! What a file is, is found by its content; a name or a caller that says otherwise is told so.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A name ending and a start of a file that says something else each time.
const STARTS: &[(&str, &[u8])] = &[
    ("qcow2", b"QFI\xfb\0\0\0\x03"),
    ("vhdx", b"vhdxfile"),
    ("vmdk", b"KDMV"),
    ("vmdk", b"# Disk DescriptorFile\n"),
    ("vhd", b"conectix"),
    ("zst", b"\x28\xb5\x2f\xfd"),
    ("gz", b"\x1f\x8b\x08"),
    ("xz", b"\xfd7zXZ\0"),
];

fn starting_with(start: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 2 * MIB as usize];
    bytes[..start.len()].copy_from_slice(start);
    bytes
}

#[test]
fn a_name_that_says_another_format_than_the_content_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (ending, start) in STARTS {
        for other in ["raw", "qcow2", "vhdx", "vmdk", "vhd", "iso", "zst", "gz", "xz"] {
            if other == *ending {
                continue;
            }
            let path = write(dir.path(), &format!("disk.{other}"), &starting_with(start));
            // What is packed is unpacked where the name says nothing else; here nothing gets so far.
            let refused = open(&path).unwrap_err();
            let packed_in_disk = matches!(refused, SourceError::Unpack { .. });
            assert!(
                packed_in_disk || matches!(refused, SourceError::Name { .. }),
                "{other} {start:?}: {refused}"
            );
        }
    }
    let raw = write(dir.path(), "disk.qcow2", &starting_with(b""));
    let refused = open(&raw).unwrap_err();
    assert!(
        matches!(&refused, SourceError::Name { says, is, .. } if says == "qcow2 disk" && is == "raw disk")
    );
    assert!(refused.to_string().contains("rename it"), "{refused}");
    // Names that say nothing.
    for name in ["disk", "disk.img", "disk.bin", "DISK.RAW", "disk.2026"] {
        assert_eq!(open(&write(dir.path(), name, &starting_with(b""))).unwrap().format, Format::Raw);
    }
}

#[test]
fn a_caller_that_says_another_format_is_refused_unless_it_says_raw() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "disk", &starting_with(b"QFI\xfb\0\0\0\x03"));
    let refused = open_as(&path, Some(Format::Vhdx)).unwrap_err();
    assert!(matches!(refused, SourceError::NotThat { wanted: Format::Vhdx, is: Format::Qcow2, .. }));
    // A guest can write anything to the start of its raw disk.
    for (_, start) in STARTS {
        let bytes = starting_with(start);
        let path = write(dir.path(), "disk.img", &bytes);
        let source = open_as(&path, Some(Format::Raw)).unwrap();
        assert_eq!((source.format, source.packing), (Format::Raw, None));
        assert_eq!(bytes_of(source.disk(), "raw"), bytes);
    }
    // The same disk in a compressed file: its name says that it is one.
    let bytes = starting_with(b"QFI\xfb\0\0\0\x03");
    let path = write(dir.path(), "disk.raw.zst", &zstd::encode_all(&bytes[..], 1).unwrap());
    assert!(matches!(open(&path), Err(SourceError::Name { .. })));
    let source = open_as(&path, Some(Format::Raw)).unwrap();
    assert_eq!((source.format, source.packing), (Format::Raw, Some(Packing::Zstd)));
    assert_eq!(bytes_of(source.disk(), "raw in zstd"), bytes);
}

#[test]
fn formats_of_others_and_what_is_packed_twice_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |bytes: &[u8]| open(&write(dir.path(), "disk", bytes)).unwrap_err();
    let mut vdi = starting_with(b"<<< Oracle VM VirtualBox Disk Image >>>\n");
    vdi[64..68].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
    let mut tar = starting_with(b"disk.vmdk");
    tar[257..262].copy_from_slice(b"ustar");
    let starts: [&[u8]; 3] = [b"BZh9", b"PK\x03\x04", b"QFI\xfb\0\0\0\x01"];
    for bytes in [vdi, tar].into_iter().chain(starts.map(starting_with)) {
        let refused = refuse(&bytes);
        assert!(matches!(refused, SourceError::Foreign { .. }), "{refused}");
    }
    let once = zstd::encode_all(&starting_with(b"")[..], 1).unwrap();
    let twice = zstd::encode_all(&once[..], 1).unwrap();
    assert!(matches!(refuse(&twice), SourceError::PackedTwice { .. }));
}

#[test]
fn a_cd_image_is_a_raw_disk_that_says_how_it_boots() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = starting_with(b"");
    bytes[16 * 2048..16 * 2048 + 6].copy_from_slice(b"\x01CD001");
    let note = |name: &str, bytes: &[u8]| {
        let source = open(&write(dir.path(), name, bytes)).unwrap();
        assert_eq!(source.format, Format::Iso);
        assert_eq!(bytes_of(source.disk(), "iso"), bytes);
        source.notes.clone()
    };
    assert_eq!(note("a.iso", &bytes), [Note::Iso { hybrid: false, optical: false }]);
    bytes[17 * 2048..17 * 2048 + 30].copy_from_slice(b"\0CD001\x01EL TORITO SPECIFICATION");
    assert_eq!(note("b.iso", &bytes), [Note::Iso { hybrid: false, optical: true }]);
    bytes[446 + 4] = 0x17;
    bytes[446 + 8] = 1;
    bytes[446 + 12..446 + 14].copy_from_slice(&[0, 8]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(note("c.raw", &bytes), [Note::Iso { hybrid: true, optical: true }]);
}

#[test]
fn what_is_no_disk_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    for path in [dir.path(), &pipe, Path::new("/dev/zero")] {
        let refused = open(path).unwrap_err();
        assert!(matches!(refused, SourceError::NotADisk { .. }), "{refused}");
    }
    assert!(matches!(open(&dir.path().join("gone")), Err(SourceError::Open { .. })));
    for len in [0, 1, 511] {
        let source = open(&write(dir.path(), "short", &vec![0; len])).unwrap();
        assert_eq!(source.disk().size(), len as u64);
    }
    // A link is followed when a person names it.
    write(dir.path(), "disk.raw", &starting_with(b""));
    symlink("disk.raw", dir.path().join("link.raw")).unwrap();
    open(&dir.path().join("link.raw")).unwrap();
}

#[test]
fn a_stream_that_is_damaged_or_cut_short_is_refused() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let disk = lively_disk(10 * MIB);
    let gzip = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let xz = |bytes: &[u8]| {
        let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 0);
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| {
        let mut packer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        packer.include_checksum(true).unwrap();
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    for (name, packed) in [("a.zst", zstd(&disk)), ("a.gz", gzip(&disk)), ("a.xz", xz(&disk))] {
        let open_bytes = |bytes: &[u8]| open(&write(dir.path(), name, bytes));
        assert_eq!(open_bytes(&packed).unwrap().disk().size(), disk.len() as u64);
        for len in [10, 100, packed.len() / 2, packed.len() - 5, packed.len() - 1] {
            let refused = open_bytes(&packed[..len]).unwrap_err();
            assert!(matches!(refused, SourceError::Unpack { .. }), "{name} cut at {len}: {refused}");
        }
        let mut spoiled = packed.clone();
        spoiled[packed.len() / 2] ^= 0x10;
        assert!(matches!(open_bytes(&spoiled), Err(SourceError::Unpack { .. })), "{name} spoiled");
        let behind = [&packed[..], b"something else"].concat();
        assert!(matches!(open_bytes(&behind), Err(SourceError::Unpack { .. })), "{name} and more");
    }
}

#[test]
fn what_unpacks_to_more_than_the_limit_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "bomb.zst", &zstd::encode_all(&vec![0; 64 * MIB as usize][..], 1).unwrap());
    let temp = dir.path().join("temp");
    fs::create_dir(&temp).unwrap();
    let open = |unpacked_max| {
        let wanted = Wanted { format: None, temp: &temp, unpacked_max };
        Source::open(&path, &wanted, &mut |progress| assert!(progress.done <= progress.total))
    };
    let refused = open(Some(64 * MIB - 1)).unwrap_err();
    assert!(matches!(refused, SourceError::UnpacksTooLarge { limit, .. } if limit == 64 * MIB - 1));
    assert!(refused.to_string().contains("--unpacked-max-gib"));
    let source = open(Some(64 * MIB)).unwrap();
    assert_eq!(source.disk().zeros_at(0), 64 * MIB);
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0, "an unpacked disk has no name");
    // A window of 2 GiB is asked for by eleven bytes.
    let window = b"\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00\x00\x00";
    let path = write(dir.path(), "window.zst", window);
    assert!(matches!(super::open(&path), Err(SourceError::Unpack { .. })));
}

#[test]
fn a_file_that_changes_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "disk.raw.zst", &zstd::encode_all(&starting_with(b"")[..], 1).unwrap());
    let source = open(&path).unwrap();
    assert_eq!(source.changed().unwrap(), None);
    fs::File::options().append(true).open(&path).unwrap().set_len(7).unwrap();
    assert_eq!(source.changed().unwrap(), Some(&*path));
}
