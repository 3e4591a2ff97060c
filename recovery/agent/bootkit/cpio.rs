//! A newc cpio archive (cpio(5), the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`), written so
//! that the same entries give the same bytes: sorted by path, no times, no owners, inode numbers by position.

use std::collections::BTreeMap;

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    File { executable: bool, content: Vec<u8> },
    CharacterDevice { major: u32, minor: u32 },
}

/// Entries by path, without a leading `/`.
#[derive(Debug, Clone, Default)]
pub struct Archive(BTreeMap<String, Entry>);

impl Archive {
    /// Adds a file and the directories above it.
    pub fn file(&mut self, path: &str, executable: bool, content: Vec<u8>) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::File { executable, content });
    }

    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Directory);
    }

    /// Adds a character device (`mknod`), readable and writable by root only.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::CharacterDevice { major, minor });
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert(Entry::Directory);
        }
    }

    /// The archive's bytes, padded to 512 so that another segment may follow.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, (path, entry)) in self.0.iter().enumerate() {
            let inode = at as u32 + 1;
            let (mode, links, device, content) = match entry {
                Entry::Directory => (0o040_755, 2, (0, 0), &[][..]),
                Entry::File { executable: true, content } => (0o100_755, 1, (0, 0), content.as_slice()),
                Entry::File { executable: false, content } => (0o100_644, 1, (0, 0), content.as_slice()),
                Entry::CharacterDevice { major, minor } => (0o020_600, 1, (*major, *minor), &[][..]),
            };
            write_entry(&mut out, path, inode, mode, links, device, content);
        }
        write_entry(&mut out, "TRAILER!!!", 0, 0, 1, (0, 0), &[]);
        pad(&mut out, 512);
        out
    }
}

fn write_entry(
    out: &mut Vec<u8>,
    path: &str,
    inode: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
    content: &[u8],
) {
    out.extend_from_slice(b"070701");
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let (size, name_size) = (content.len() as u32, path.len() as u32 + 1);
    for field in [inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0] {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out, 4);
    out.extend_from_slice(content);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(order: [usize; 3]) -> Archive {
        let mut archive = Archive::default();
        for at in order {
            match at {
                0 => archive.file("init", true, b"elf".to_vec()),
                1 => archive.file("lib/modules/x.ko", false, vec![7; 5]),
                _ => archive.character_device("dev/console", 5, 1),
            }
        }
        archive
    }

    #[test]
    fn bytes_do_not_depend_on_the_order_of_adding() {
        assert_eq!(archive([0, 1, 2]).to_bytes(), archive([2, 1, 0]).to_bytes());
    }

    /// Reads an archive by the format's description: mode, name and content of each entry before the trailer.
    fn read_back(bytes: &[u8]) -> Vec<(u32, String, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        loop {
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * index..][..8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, len, name_len) = (field(1), field(6) as usize, field(11) as usize);
            assert_eq!((field(2), field(3), field(5)), (0, 0, 0), "owner, group, time");
            let name = String::from_utf8(bytes[at + 110..at + 110 + name_len - 1].to_vec()).unwrap();
            let content_at = (at + 110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((mode, name, bytes[content_at..content_at + len].to_vec()));
            at = (content_at + len).next_multiple_of(4);
        }
    }

    #[test]
    fn what_was_written_reads_back_with_parents_first() {
        let entries = read_back(&archive([0, 1, 2]).to_bytes());
        let expected: [(u32, &str, &[u8]); 6] = [
            (0o040_755, "dev", b""),
            (0o020_600, "dev/console", b""),
            (0o100_755, "init", b"elf"),
            (0o040_755, "lib", b""),
            (0o040_755, "lib/modules", b""),
            (0o100_644, "lib/modules/x.ko", &[7; 5]),
        ];
        assert_eq!(entries, expected.map(|(mode, name, content)| (mode, name.to_owned(), content.to_vec())));
    }
}
