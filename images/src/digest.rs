//! Digests and the identities made of them.
//!
//! Every object of this package is named by a blake3 digest of its content. Three names exist, and one never fits
//! where another goes:
//!
//! | name | of | how |
//! |---|---|---|
//! | [`ChunkId`] | the plain bytes of a chunk | plain blake3, so that `b3sum` can check it |
//! | [`ImageId`] | the encoded header of a manifest | blake3 in key-derivation mode, own context |
//! | [`PackId`] | the whole file of a pack | blake3 in key-derivation mode, own context |
//!
//! Separate contexts mean that no chunk can be replayed as a manifest or a pack. This module must never accept a
//! digest of another length or in upper case: one digest has one spelling.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of every digest of this package, in bytes.
pub const DIGEST_LEN: usize = 32;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected 64 lower-case hexadecimal digits; copy it whole")]
pub struct ParseDigestError {
    /// What was given, cut to 80 characters.
    pub text: String,
}

/// A 256-bit digest: 32 bytes, shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; DIGEST_LEN]);

impl Digest {
    /// Plain blake3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// blake3 of `bytes` in key-derivation mode under `context` (BLAKE3 specification, section 2.3).
    pub fn derived(context: &str, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(bytes);
        Self(*hasher.finalize().as_bytes())
    }

    /// The bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseDigestError { text: text.chars().take(80).collect() };
        if text.len() != 2 * DIGEST_LEN || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; DIGEST_LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| refuse())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// The bytes of the digest.
            pub const fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

identity! {
    /// Names a chunk: plain blake3 of its plain bytes.
    ChunkId
}
identity! {
    /// Names a golden image: the digest of its manifest's encoded header (which holds the digests of its pages).
    ImageId
}
identity! {
    /// Names a pack: the digest of its whole file.
    PackId
}

impl ChunkId {
    /// The name of the chunk with these plain bytes.
    pub fn of(plain: &[u8]) -> Self {
        Self(Digest::of(plain))
    }
}

impl ImageId {
    /// Key-derivation context of [`ImageId`].
    pub const CONTEXT: &str = "groundstate 2026-11-22 image manifest header";

    /// The name of the golden image with this encoded manifest header.
    pub fn of_header(header: &[u8]) -> Self {
        Self(Digest::derived(Self::CONTEXT, header))
    }
}

impl PackId {
    /// Key-derivation context of [`PackId`].
    pub const CONTEXT: &str = "groundstate 2026-11-22 chunk pack";

    /// The name of the pack whose file holds these bytes.
    pub fn of_file(file: &[u8]) -> Self {
        Self(Digest::derived(Self::CONTEXT, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_text_has_one_spelling() {
        let digest = Digest::of(b"abc");
        let text = digest.to_string();
        assert_eq!(text, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(text.parse::<Digest>(), Ok(digest));
        for bad in [&text[1..], &text.to_uppercase(), &format!("{text}0"), "", &"g".repeat(64)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn identities_serialize_as_hex_text() {
        let id = ChunkId::of(b"abc");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<ChunkId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<ChunkId>("\"00\"").is_err());
    }

    #[test]
    fn same_bytes_have_different_names_by_role() {
        assert_ne!(ImageId::of_header(b"x").0, PackId::of_file(b"x").0);
        assert_ne!(ImageId::of_header(b"x").0, ChunkId::of(b"x").0);
    }
}
