//! A manifest on its way: header, signatures, pages, as one file that can be read as it arrives.
//!
//! The layout is in `images/DESIGN.md`, section "Signed manifest file". Signatures stand beside the header, not in
//! it: people sign in turn, and the name of the image never changes by it.

use super::arriving::{ArrivalError, Arriving};
use super::header::Header;
use super::{Manifest, ManifestError, codec};
use crate::ImageId;
use crate::wire::{Reader, WireError, Writer};

/// First bytes of a signed manifest file.
pub const MAGIC: &[u8; 8] = b"GSIMAGE\x01";
/// Length of a signature in a file: a key and two signatures.
pub const SIGNATURE_LEN: usize = 32 + 64 + 64;
/// Most signatures on one manifest.
pub const SIGNATURES_MAX: usize = 64;

/// One person's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The Ed25519 public key (RFC 8032) that made it.
    pub key: [u8; 32],
    /// Ed25519 over the encoded header.
    pub signature: [u8; 64],
    /// Ed25519 over `signature` and the trusted comment, so that minisign can check an export.
    pub comment_signature: [u8; 64],
}

impl Signature {
    /// Its form in files: key, signature, signature for minisign.
    pub fn encode(&self) -> Vec<u8> {
        [&self.key[..], &self.signature, &self.comment_signature].concat()
    }

    /// Take it from a file; whether it is valid is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Reader::new(bytes);
        let (key, signature, comment_signature) = (input.array()?, input.array()?, input.array()?);
        input.end()?;
        Ok(Self { key, signature, comment_signature })
    }
}

/// A manifest with its signatures, of which nothing has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// The encoded header.
    pub header: Vec<u8>,
    /// Who signed it, in order of their keys.
    pub signatures: Vec<Signature>,
    /// The encoded pages.
    pub pages: Vec<Vec<u8>>,
}

impl SignedManifest {
    /// A manifest that nobody has signed yet.
    pub fn unsigned(manifest: &Manifest) -> Self {
        Self {
            header: manifest.header_bytes().to_vec(),
            signatures: Vec::new(),
            pages: manifest.pages().to_vec(),
        }
    }

    /// Name of the image.
    pub fn id(&self) -> ImageId {
        ImageId::of_header(&self.header)
    }

    /// Add a signature; one key signs once, the newer signature stays.
    pub fn add(&mut self, signature: Signature) {
        self.signatures.retain(|other| other.key != signature.key);
        self.signatures.push(signature);
        self.signatures.sort_by_key(|signature| signature.key);
    }

    /// The content, for tools that show or sign it. Nothing says that it may be trusted.
    pub fn parse(&self) -> Result<Manifest, ManifestError> {
        Manifest::from_parts(self.header.clone(), self.pages.clone())
    }

    /// The header alone, for lists: it may be whole where a page is not.
    pub fn parse_header(&self) -> Result<Header, ManifestError> {
        codec::decode(&self.header)
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.bytes(MAGIC).u32(self.header.len() as u32).bytes(&self.header);
        out.u16(self.signatures.len() as u16);
        for signature in &self.signatures {
            out.bytes(&signature.encode());
        }
        out.u32(self.pages.len() as u32);
        for page in &self.pages {
            out.u32(page.len() as u32).bytes(page);
        }
        out.0
    }

    /// Split a file into its parts; only lengths are checked, the rest is up to [`crate::KeyRing::verify`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut file = Arriving::begin(bytes).map_err(not_arrived)?;
        let mut pages = Vec::new();
        while let Some(page) = file.next_page().map_err(not_arrived)? {
            pages.push(page);
        }
        let Arriving { header, signatures, .. } = file;
        Ok(Self { header, signatures, pages })
    }
}

/// Reading from memory does not fail; what is there is right or wrong.
fn not_arrived(error: ArrivalError) -> ManifestError {
    match error {
        ArrivalError::Manifest(error) => error,
        ArrivalError::Read(_) => ManifestError::NotAManifest,
    }
}
