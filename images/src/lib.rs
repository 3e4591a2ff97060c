//! Golden images: what Groundstate restores.
//!
//! This package owns the manifest, the chunks, the store, the signatures and the restore path. It is a leaf: it
//! imports no other package of the workspace and does no network I/O; its core reads neither clock nor environment.
//! The formats are documented byte by byte in `images/DESIGN.md`.

pub mod boot;
pub mod bundle;
mod chunker;
pub mod depot;
pub mod diff;
pub mod digest;
pub mod disk;
pub mod files;
pub mod filesystem;
pub mod frames;
pub mod import;
pub mod keys;
pub mod manifest;
pub mod replicate;
pub mod restore;
pub mod source;
pub mod store;
#[cfg(test)]
mod testing;
pub mod wire;

pub use digest::{ChunkId, Digest, ImageId, PackId, ParseDigestError};
pub use frames::{Encoding, Frame, FrameError};
pub use import::{ImportRequest, Imported, import_disk, import_raw};
pub use keys::{
    KeyFile, KeyRing, PublicKey, Role, SignedTrustRoot, SigningKey, TrustRoot, TrustRootError, Verified,
    VerifyError,
};
pub use manifest::{Content, Extent, Header, Manifest, ManifestError, Signature, SignedManifest};
pub use restore::{ChunkSource, RestoreError, RestorePlan, RestoreTarget};
pub use source::Source;
pub use store::{Ingest, Store, StoreError, StoreWriter};
