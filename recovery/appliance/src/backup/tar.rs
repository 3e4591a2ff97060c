//! Files one after the other, as POSIX ustar has them: what `tar` reads. Plain files of relative names, nothing else.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// A name fits into its field; all of ours do.
const NAME_MAX: usize = 100;

/// One file's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Relative, with `/`, no part of it `..` or empty.
    pub name: String,
    /// Bytes.
    pub len: u64,
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it holds what no backup of ours does: {why}"))
}

/// Whether a name leads to a file below where it is put, and nowhere else.
fn safe(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    !name.is_empty() && name.len() <= NAME_MAX && !name.contains('\0') && name.split('/').all(part)
}

/// Write a file of exactly `head.len` bytes.
///
/// # Errors
/// [`io::Error`]; also where the file is shorter than it was said to be.
pub fn write(out: &mut impl Write, head: &Head, content: &mut impl Read) -> io::Result<()> {
    if !safe(&head.name) || head.len > 0o77_777_777_777 {
        return Err(bad(&head.name));
    }
    let mut block = [0; BLOCK];
    block[..head.name.len()].copy_from_slice(head.name.as_bytes());
    let size = format!("{:011o}", head.len);
    for (at, text) in
        [(100, "0000600"), (108, "0000000"), (116, "0000000"), (124, &size), (136, "00000000000")]
    {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&block)?;
    let copied = io::copy(&mut content.take(head.len), out)?;
    if copied != head.len {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} became shorter", head.name)));
    }
    out.write_all(&[0; BLOCK][..padding(head.len)])
}

/// Write the end.
///
/// # Errors
/// [`io::Error`].
pub fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// The next file's head; None at the end. Its content and [`skip_padding`] follow.
///
/// # Errors
/// [`io::Error`]; also for anything that [`write`] does not write.
pub fn next(file: &mut impl Read) -> io::Result<Option<Head>> {
    let mut block = [0; BLOCK];
    file.read_exact(&mut block)?;
    if block == [0; BLOCK] {
        file.read_exact(&mut block)?;
        return if block == [0; BLOCK] { Ok(None) } else { Err(bad("its end")) };
    }
    let octal = |field: &[u8]| {
        let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
        u64::from_str_radix(text, 8).ok()
    };
    if octal(&block[148..156]) != Some(checksum(&block)) || block[156] != b'0' {
        return Err(bad("a head of a file"));
    }
    let name = block[..NAME_MAX].split(|byte| *byte == 0).next().unwrap_or_default();
    let name = std::str::from_utf8(name).ok().filter(|name| safe(name)).ok_or_else(|| bad("a name"))?;
    let len = octal(&block[124..136]).ok_or_else(|| bad("a length"))?;
    Ok(Some(Head { name: name.to_owned(), len }))
}

/// Pass over what fills the last block of a file of `len` bytes.
///
/// # Errors
/// [`io::Error`].
pub fn skip_padding(file: &mut impl Read, len: u64) -> io::Result<()> {
    file.read_exact(&mut [0; BLOCK][..padding(len)])
}

fn padding(len: u64) -> usize {
    let over = usize::try_from(len % BLOCK as u64).unwrap_or_default();
    (BLOCK - over) % BLOCK
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let byte = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) };
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_it_and_so_do_we() {
        let mut out = Vec::new();
        for (name, text) in [("a", ""), ("dir/b.key", "secret"), ("c", &"x".repeat(512))] {
            let head = Head { name: name.to_owned(), len: text.len() as u64 };
            write(&mut out, &head, &mut text.as_bytes()).unwrap();
        }
        end(&mut out).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.tar"), &out).unwrap();
        let tar =
            std::process::Command::new("tar").args(["-xf", "x.tar"]).current_dir(&dir).status().unwrap();
        assert!(tar.success());
        assert_eq!(std::fs::read_to_string(dir.path().join("dir/b.key")).unwrap(), "secret");
        let mut read = out.as_slice();
        let mut names = Vec::new();
        while let Some(head) = next(&mut read).unwrap() {
            io::copy(&mut Read::by_ref(&mut read).take(head.len), &mut io::sink()).unwrap();
            skip_padding(&mut read, head.len).unwrap();
            names.push(head.name);
        }
        assert_eq!(names, ["a", "dir/b.key", "c"]);
        assert!(read.is_empty());
    }

    #[test]
    fn names_that_lead_elsewhere_are_neither_written_nor_read() {
        for name in ["/etc/passwd", "../x", "a/../../x", "a//b", "", ".", &"x".repeat(101)] {
            let head = Head { name: name.to_owned(), len: 0 };
            assert!(write(&mut Vec::new(), &head, &mut io::empty()).is_err(), "{name}");
            let mut block = Vec::new();
            let fit = Head { name: "y".repeat(name.len().clamp(1, 100)), len: 0 };
            write(&mut block, &fit, &mut io::empty()).unwrap();
            block[..100].fill(0);
            block[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
            let mut head: [u8; BLOCK] = block[..BLOCK].try_into().unwrap();
            let sum = checksum(&head);
            head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            assert!(next(&mut head.as_slice()).is_err() || name.len() > 100, "{name}");
        }
    }
}
