//! A machine as whoever stands before it needs it: its picture, what a recovery brings it to and how long that takes, whether it works again.

use serde::{Deserialize, Serialize};

use images::ImageId;

use crate::{exhibit::Keep, ids::EndpointId};

/// A picture has at most so many bytes.
pub const PHOTO_LEN_MAX: usize = 512 << 10;

/// Of fewer recoveries nothing is said about how long one takes.
pub const USUAL_LEAST: u64 = 5;

/// Ask for a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// Why, in the asker's words; goes into evidence.
    #[serde(default)]
    pub reason: String,
    /// Partitions that the image preserves are written as the image has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub give_up_preserved: bool,
    /// Only if this is still the image that it would return to, as [`OutlookView`] named it: else 409 `image-changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub image: Option<ImageId>,
    /// What is kept of the old system before it is overwritten; absent: as its blueprint has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// What an order of its recovery would bring, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutlookView {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// The golden image to which it would return, name and version; empty: there is none, and `why_none` says why.
    pub image_name: String,
    /// The digest of its manifest: what an order may be bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub image: Option<ImageId>,
    /// When that image was imported, milliseconds since 1970, as the importer's clock said.
    pub saved_unix_ms: Option<u64>,
    /// Partitions of the disk that the image preserves, by name or number.
    pub kept: Vec<String>,
    /// Why there is no image, in a sentence.
    pub why_none: String,
    /// How many recoveries of its kind (the same image in the same group) ended well, of the last hundred.
    pub recoveries: u64,
    /// How long they took; absent where they are fewer than [`USUAL_LEAST`].
    pub usual: Option<Usual>,
    /// Of an open recovery that has its boot ticket: by when nine of ten were over, milliseconds since 1970.
    pub until_unix_ms: Option<u64>,
}

/// How long recoveries took, from the boot ticket to the end. Milliseconds, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usual {
    /// Half of them took no longer.
    pub p50_ms: u64,
    /// Nine of ten took no longer.
    pub p90_ms: u64,
}

impl Usual {
    /// Of these durations in milliseconds; `None` for fewer than [`USUAL_LEAST`].
    #[must_use]
    pub fn of(mut took_ms: Vec<u64>) -> Option<Self> {
        took_ms.sort_unstable();
        let rank =
            |percent: usize| took_ms.get((took_ms.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        if (took_ms.len() as u64) < USUAL_LEAST {
            return None;
        }
        Some(Self { p50_ms: rank(50)?, p90_ms: rank(90)? })
    }
}

/// What a person sees on a recovered endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Its screen shows live values.
    pub live_values: bool,
    /// What else they say; goes into evidence.
    #[serde(default)]
    pub note: String,
}

/// A picture on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PhotoView {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub media_type: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
}

/// What a file is by its first bytes, of the kinds that every browser shows and that hold no script; `None`: another.
#[must_use]
pub fn photo_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_of_few_recoveries() {
        assert_eq!(Usual::of(vec![1, 2, 3, 4]), None);
        assert_eq!(Usual::of(vec![5, 4, 3, 2, 1]), Some(Usual { p50_ms: 3, p90_ms: 5 }));
        assert_eq!(Usual::of((1..=100).collect()), Some(Usual { p50_ms: 50, p90_ms: 90 }));
    }

    #[test]
    fn a_picture_is_known_by_its_first_bytes_and_by_nothing_else() {
        assert_eq!(photo_type(b"\xff\xd8\xff\xe0JFIF"), Some("image/jpeg"));
        assert_eq!(photo_type(b"\x89PNG\r\n\x1a\n"), Some("image/png"));
        assert_eq!(photo_type(b"RIFF\x10\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in
            [b"<svg onload=x>".as_slice(), b"GIF89a", b"RIFF\x10\0\0\0WAVE", b"\xff\xd8", b"", b"\x89PNG"]
        {
            assert_eq!(photo_type(other), None);
        }
    }
}
