//! The manifest: what a golden image is, extent by extent.
//!
//! ```text
//!   SignedManifest (a file)            Manifest (checked, not yet trusted)        Verified<Manifest>
//!   ┌ header bytes ─── ImageId ┐       ┌ id                        ┐               (only from a KeyRing:
//!   │ signatures               │ ────► │ header: what is signed    │ ────────────►  crate::keys)
//!   └ pages, hashed in header  ┘ parse └ pages: extents, on demand ┘
//! ```
//!
//! Signatures cover the header; the header holds the digests of the pages; the pages hold the ids of the chunks.
//! So one signature covers every byte of the disk. This module must never say whether a manifest is trusted.

mod arriving;
pub mod codec;
pub mod header;
pub mod name;
pub mod page;
mod signed;
pub mod validate;

pub use arriving::{ArrivalError, Arriving};
pub use header::Header;
pub use name::NameError;
pub use page::{Content, Extent};
pub use signed::{MAGIC, SIGNATURES_MAX, Signature, SignedManifest};

use crate::wire::WireError;
use crate::{ChunkId, Digest, ImageId};

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The magic line is missing.
    #[error("this is not a groundstate manifest; check that the right file was given")]
    NotAManifest,
    /// Made by a newer version.
    #[error("manifest format version {version} is not known here; update this program")]
    UnknownVersion {
        /// The version found.
        version: u16,
    },
    /// Needs a feature that this version does not have.
    #[error("the manifest needs features {bits:#x} that are not known here; update this program")]
    UnknownFeature {
        /// The unknown bits.
        bits: u64,
    },
    /// Holds a section that may not be ignored.
    #[error("the manifest has a section {tag:#06x} that is not known here; update this program")]
    UnknownSection {
        /// Its tag.
        tag: u16,
    },
    /// Lacks a section.
    #[error("the manifest lacks section {tag:#06x}; it is damaged, fetch it again")]
    MissingSection {
        /// The tag expected.
        tag: u16,
    },
    /// A section is damaged.
    #[error("section {tag:#06x} of the manifest is damaged; fetch it again")]
    Section {
        /// Its tag.
        tag: u16,
        /// Where and what, counted from the start of the section.
        #[source]
        source: WireError,
    },
    /// Something outside a section is damaged.
    #[error("the manifest is damaged; fetch it again")]
    Wire(#[from] WireError),
    /// The same content can be written in another way, and this is not the one that we accept.
    #[error("the manifest is not in its canonical form; it was not made by groundstate or is damaged")]
    NotCanonical,
    /// Longer than allowed.
    #[error("the {what} has {len} bytes, at most {max} are allowed; it is damaged or hostile")]
    TooLarge {
        /// Header or page.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The most allowed.
        max: usize,
    },
    /// A rule of the content is broken.
    #[error("the manifest breaks the rule \"{rule}\"")]
    Rule {
        /// The rule.
        rule: &'static str,
    },
    /// The number of pages is not what the header says.
    #[error("the manifest has {found} pages, its header lists {expected}; fetch it again")]
    PageCount {
        /// Listed in the header.
        expected: usize,
        /// Found.
        found: usize,
    },
    /// A page is not the one that the header names.
    #[error("page {index} of the manifest was altered or damaged; fetch it again")]
    PageDigest {
        /// Index of the page, from 0.
        index: usize,
    },
}

/// A whole manifest that obeys every rule of the format. Whether to trust it is not said: see [`crate::Verified`].
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    id: ImageId,
    header: Header,
    header_bytes: Vec<u8>,
    pages: Vec<Vec<u8>>,
}

impl Manifest {
    /// Make a manifest from a header (its page list is replaced) and all extents in disk order.
    pub fn build(
        mut header: Header,
        extents: impl IntoIterator<Item = Extent>,
    ) -> Result<Self, ManifestError> {
        let pages = page::encode(extents);
        header.content.pages = pages
            .iter()
            .map(|page| header::PageRef { len: page.len() as u32, digest: page::page_digest(page) })
            .collect();
        validate::header(&header)?;
        Self::from_parts(codec::encode(&header), pages)
    }

    /// Check an encoded header and its pages against every rule.
    pub fn from_parts(header_bytes: Vec<u8>, pages: Vec<Vec<u8>>) -> Result<Self, ManifestError> {
        let mut parts = Parts::new(header_bytes)?;
        let (expected, found) = (parts.header().content.pages.len(), pages.len());
        if expected != found {
            return Err(ManifestError::PageCount { expected, found });
        }
        pages.into_iter().try_for_each(|page| parts.add(page))?;
        parts.finish()
    }

    /// Name of the image.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// What is signed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The encoded header: what signatures cover.
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// The encoded pages.
    pub fn pages(&self) -> &[Vec<u8>] {
        &self.pages
    }

    /// Every extent in disk order, without gaps, from byte 0 to the disk's size.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let mut offset = 0;
        self.pages.iter().flat_map(move |page| {
            // The constructor has decoded each page at this very offset; nothing can fail here.
            let extents = page::decode(page, offset).unwrap_or_default();
            offset = extents.last().map_or(offset, Extent::end);
            extents
        })
    }

    /// The ids of all data extents in disk order, with repetitions.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.extents().filter_map(|extent| match extent.content {
            Content::Data(id) => Some(id),
            Content::Zero | Content::Any => None,
        })
    }

    /// Plain blake3 of the whole raw image.
    pub fn content_root(&self) -> Digest {
        self.header.content.root
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manifest").field("id", &self.id).field("header", &self.header).finish_non_exhaustive()
    }
}

/// A manifest whose pages are added one by one, each checked when it is added.
pub(crate) struct Parts {
    manifest: Manifest,
    cuts: Cuts,
    /// Where the next page begins on the disk.
    offset: u64,
}

impl Parts {
    /// Check an encoded header.
    pub fn new(header_bytes: Vec<u8>) -> Result<Self, ManifestError> {
        let header = codec::decode(&header_bytes)?;
        validate::header(&header)?;
        let (id, cuts) = (ImageId::of_header(&header_bytes), Cuts::new(&header));
        let manifest = Manifest { id, header, header_bytes, pages: Vec::new() };
        Ok(Self { manifest, cuts, offset: 0 })
    }

    /// What is signed.
    pub fn header(&self) -> &Header {
        &self.manifest.header
    }

    /// Check the next page against the header and every rule.
    pub fn add(&mut self, page: Vec<u8>) -> Result<(), ManifestError> {
        let (refs, index) = (&self.manifest.header.content.pages, self.manifest.pages.len());
        let Some(page_ref) = refs.get(index) else {
            return Err(ManifestError::PageCount { expected: refs.len(), found: index + 1 });
        };
        if page.len() != page_ref.len as usize || page::page_digest(&page) != page_ref.digest {
            return Err(ManifestError::PageDigest { index });
        }
        for extent in page::decode(&page, self.offset)? {
            self.cuts.check(&extent)?;
            self.offset = extent.end();
        }
        self.manifest.pages.push(page);
        Ok(())
    }

    /// The manifest, when all of it was added.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        let (expected, found) = (self.header().content.pages.len(), self.manifest.pages.len());
        if expected != found {
            return Err(ManifestError::PageCount { expected, found });
        }
        match self.offset == self.header().disk.size {
            true => Ok(self.manifest),
            false => Err(ManifestError::Rule { rule: "extents cover the disk exactly" }),
        }
    }
}

/// Extents may not straddle the edges of the boot region and of what is preserved, and host regions hold `any`.
struct Cuts {
    edges: [u64; 2],
    /// Starts and ends of what is preserved.
    preserved: Vec<u64>,
    host: Vec<std::ops::Range<u64>>,
}

impl Cuts {
    fn new(header: &Header) -> Self {
        let disk = &header.disk;
        let host = header.host_regions.iter().map(|r| r.offset..r.offset + r.len).collect();
        let sector = u64::from(disk.sector_size);
        let preserved = header.table.partitions.iter().filter(|p| p.policy == header::Policy::Preserve);
        let preserved = preserved.flat_map(|p| [p.first_lba * sector, (p.last_lba + 1) * sector]).collect();
        Self { edges: [disk.head_len, disk.tail_start()], preserved, host }
    }

    fn check(&self, extent: &Extent) -> Result<(), ManifestError> {
        let straddles = |edge: &u64| extent.offset < *edge && *edge < extent.end();
        if self.edges.iter().any(straddles) {
            return Err(ManifestError::Rule { rule: "extents end at the edges of the boot region" });
        }
        if self.preserved.iter().any(straddles) {
            return Err(ManifestError::Rule { rule: "extents end at the edges of what is preserved" });
        }
        let any = matches!(extent.content, Content::Any);
        let owned = |host: &std::ops::Range<u64>| extent.offset < host.end && host.start < extent.end();
        if !any && self.host.iter().any(owned) {
            return Err(ManifestError::Rule { rule: "host regions hold `any` extents only" });
        }
        let in_boot_region = extent.end() <= self.edges[0] || extent.offset >= self.edges[1];
        if any && in_boot_region {
            return Err(ManifestError::Rule { rule: "the boot region has no `any` extents" });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
