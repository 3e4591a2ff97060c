//! A virtual disk that is not ours, as a file that is opened and read here and there.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use images::Source;
use images::source::{Format, Wanted};

thread_local! {
    /// One file for all runs of this process, in memory.
    static FILE: RefCell<(PathBuf, File)> = RefCell::new({
        let path = PathBuf::from(format!("/dev/shm/groundstate-fuzz-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        (path, file)
    });
}

/// Read in any order, a disk says the same, and what it knows to be zero is.
pub fn read(format: Format, parts: &[(u64, &[u8])], len: u64) {
    FILE.with_borrow_mut(|(path, file)| {
        file.set_len(0).unwrap();
        file.set_len(len).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        file.flush().unwrap();
        let temp = std::env::temp_dir();
        let wanted = Wanted { format: Some(format), temp: &temp, unpacked_max: Some(1 << 20) };
        let Ok(source) = Source::open(path, &wanted, &mut |_| {}) else { return };
        let disk = source.disk();
        for from in [0, 1, disk.size() / 2, disk.size().saturating_sub(70_000)] {
            let len = (disk.size().saturating_sub(from)).min(70_000) as usize;
            let zeros = (disk.zeros_at(from) as usize).min(len);
            let mut whole = vec![0xaa; len];
            if disk.read_at(from, &mut whole).is_err() {
                continue;
            }
            assert!(whole[..zeros].iter().all(|byte| *byte == 0));
            let mut piece = vec![0xbb; len.min(700)];
            for (number, expected) in whole.chunks(701).enumerate() {
                let piece_len = piece.len().min(expected.len());
                disk.read_at(from + number as u64 * 701, &mut piece[..piece_len]).unwrap();
                assert_eq!(piece[..piece_len], expected[..piece_len]);
            }
        }
    });
}
