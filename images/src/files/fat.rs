//! FAT, by the library that also writes the EFI system partition.

use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;

use super::{DEPTH_MAX, Enter, Entry, FilesError, Kind, Listing};
use crate::disk::{PartitionIo, ReadDisk};

/// A FAT filesystem.
pub(super) struct Fat<'d>(fatfs::FileSystem<PartitionIo<'d>>);

impl<'d> Fat<'d> {
    /// `None` when the first sector is not that of FAT.
    pub fn open(disk: &'d dyn ReadDisk, range: Range<u64>) -> Result<Option<Self>, FilesError> {
        let mut first = [0; 4096];
        if range.end - range.start < first.len() as u64 {
            return Ok(None);
        }
        disk.read_at(range.start, &mut first).map_err(FilesError::Disk)?;
        // The text is for people by the specification; all that make FAT write it, and nothing else has it.
        let named = first[54..].starts_with(b"FAT1") || first[82..].starts_with(b"FAT32");
        if !named || first[510..512] != [0x55, 0xaa] {
            return Ok(None);
        }
        let options = fatfs::FsOptions::new().update_accessed_date(false);
        let opened = fatfs::FileSystem::new(PartitionIo::read_only(disk, range), options);
        opened.map(|fat| Some(Self(fat))).map_err(|_| FilesError::Damaged { what: "first sector" })
    }

    pub fn list(&self, enter: &mut Enter<'_>, listing: &mut Listing) -> Result<(), FilesError> {
        let mut waiting = vec![(PathBuf::from("/"), self.0.root_dir(), 0)];
        while let Some((path, directory, depth)) = waiting.pop() {
            for found in directory.iter() {
                let found = match found {
                    // The library's iterator does not get past an error.
                    Err(error) => {
                        listing.add_unread(path.clone(), failed(error))?;
                        break;
                    }
                    Ok(found) => found,
                };
                let name = found.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                if name.is_empty() || name.contains(['/', '\0']) {
                    listing.add_unread(path.clone(), FilesError::Damaged { what: "name of a file" })?;
                    continue;
                }
                let path = path.join(name);
                let kind = if found.is_dir() { Kind::Directory } else { Kind::File };
                listing.add(Entry { path: path.clone(), kind, len: found.len(), owner: None, inode: 0 })?;
                if !found.is_dir() || !enter(&path) {
                    continue;
                }
                match depth + 1 < DEPTH_MAX {
                    true => waiting.push((path, found.to_dir(), depth + 1)),
                    false => listing.add_unread(path, FilesError::Endless { what: "deeper directories" })?,
                }
            }
        }
        Ok(())
    }

    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, FilesError> {
        let path = entry.path.to_string_lossy();
        let file = self.0.root_dir().open_file(path.trim_start_matches('/')).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(entry.len + 1).read_to_end(&mut bytes).map_err(failed)?;
        match bytes.len() as u64 == entry.len {
            true => Ok(bytes),
            false => Err(FilesError::Damaged { what: "chain of a file's clusters" }),
        }
    }
}

fn failed(error: io::Error) -> FilesError {
    FilesError::Disk(error)
}
