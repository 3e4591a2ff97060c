//! A signed manifest file that is read as it arrives: header and signatures first, then page by page.
//!
//! ```text
//!   begin: magic, header, signatures ─► who signed it? ─► next_page … next_page ─► end of the file
//!                                       crate::KeyRing    each no longer than a page may be
//! ```
//!
//! No length is believed beyond what the format allows, so a hostile source costs no more memory than one page. Whether a page
//! is the right one says [`crate::KeyRing::verify_arriving`], before it asks for the next.

use std::io::{self, Read};

use super::signed::{MAGIC, SIGNATURE_LEN, SIGNATURES_MAX, Signature};
use super::{ManifestError, codec, page};
use crate::ImageId;
use crate::wire::WireError;

/// Why no more of a manifest arrives.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// The source failed.
    #[error("the manifest stopped arriving; fetch it again")]
    Read(#[source] io::Error),
    /// What arrived is no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A manifest of which header and signatures have arrived. Nothing of it has been checked.
#[derive(Debug)]
pub struct Arriving<R> {
    from: R,
    at: usize,
    pages_left: usize,
    /// The encoded header.
    pub header: Vec<u8>,
    /// Who signed it, in order of their keys.
    pub signatures: Vec<Signature>,
}

impl<R: Read> Arriving<R> {
    /// Read up to the first page.
    pub fn begin(from: R) -> Result<Self, ArrivalError> {
        let mut file = Self { from, at: 0, pages_left: 0, header: Vec::new(), signatures: Vec::new() };
        if file.take(MAGIC.len()).map_err(not_even_a_start)? != MAGIC {
            return Err(ManifestError::NotAManifest.into());
        }
        let header_len = file.number(4, codec::HEADER_LEN_MAX, "header")?;
        file.header = file.take(header_len)?;
        for _ in 0..file.number(2, SIGNATURES_MAX, "signature list")? {
            let next = Signature::decode(&file.take(SIGNATURE_LEN)?).map_err(ManifestError::from)?;
            if file.signatures.last().is_some_and(|last| last.key >= next.key) {
                return Err(ManifestError::NotCanonical.into());
            }
            file.signatures.push(next);
        }
        file.pages_left = file.number(4, codec::PAGES_MAX, "page list")?;
        Ok(file)
    }

    /// Name of the image.
    pub fn id(&self) -> ImageId {
        ImageId::of_header(&self.header)
    }

    /// The next encoded page; none after the last, where the file must end too.
    pub fn next_page(&mut self) -> Result<Option<Vec<u8>>, ArrivalError> {
        if self.pages_left == 0 {
            return match self.up_to(1)?.len() {
                0 => Ok(None),
                count => Err(ManifestError::from(WireError::Trailing { at: self.at, count }).into()),
            };
        }
        self.pages_left -= 1;
        let len = self.number(4, page::PAGE_LEN_MAX, "page")?;
        self.take(len).map(Some)
    }

    fn number(&mut self, len: usize, max: usize, what: &'static str) -> Result<usize, ArrivalError> {
        let bytes = self.take(len)?;
        let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
        match number <= max {
            true => Ok(number),
            false => Err(ManifestError::TooLarge { what, len: number, max }.into()),
        }
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, ArrivalError> {
        let bytes = self.up_to(len)?;
        if bytes.len() < len {
            let (at, wanted) = (self.at + bytes.len(), len - bytes.len());
            return Err(ManifestError::from(WireError::Truncated { at, wanted }).into());
        }
        self.at += len;
        Ok(bytes)
    }

    /// As many bytes, or fewer where the file ends.
    fn up_to(&mut self, len: usize) -> Result<Vec<u8>, ArrivalError> {
        let mut bytes = Vec::new();
        (&mut self.from).take(len as u64).read_to_end(&mut bytes).map_err(ArrivalError::Read)?;
        Ok(bytes)
    }
}

/// A file too short for its first line is another file, not half a manifest.
fn not_even_a_start(error: ArrivalError) -> ArrivalError {
    match error {
        ArrivalError::Manifest(_) => ManifestError::NotAManifest.into(),
        ArrivalError::Read(_) => error,
    }
}
