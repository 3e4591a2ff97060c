//! Export for minisign, so that an image can be checked with a stock tool on an air-gapped laptop:
//! `minisign -V -p anna.pub -m image.header -x image.header.minisig`.
//!
//! The file checked is the encoded manifest header, whose blake3 names the image. The format is that of minisign's
//! legacy signatures: Ed25519 over the file itself (jedisct1/minisign, "Signature format"). Both signatures of a
//! minisign file are made when the image is signed, so exporting needs no secret key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::PublicKey;
use crate::{ImageId, Signature};

/// The trusted comment of the signature on an image.
pub fn trusted_comment(image: &ImageId) -> String {
    format!("groundstate image {image}")
}

/// What the second signature of a minisign file covers.
pub(super) fn comment_message(image: &ImageId, signature: &[u8; 64]) -> Vec<u8> {
    [&signature[..], trusted_comment(image).as_bytes()].concat()
}

/// A minisign public key file.
pub fn public_key_file(key: &PublicKey) -> String {
    let line = STANDARD.encode([&b"Ed"[..], &key.short_id(), key.as_bytes()].concat());
    format!("untrusted comment: groundstate image key {key}\n{line}\n")
}

/// A minisign signature file for the encoded header of `image`.
pub fn signature_file(image: &ImageId, signature: &Signature) -> String {
    let key = PublicKey::from_bytes(signature.key);
    let line = STANDARD.encode([&b"Ed"[..], &key.short_id(), &signature.signature].concat());
    let comment_line = STANDARD.encode(signature.comment_signature);
    let comment = trusted_comment(image);
    format!(
        "untrusted comment: signature by groundstate image key {key}\n{line}\ntrusted comment: {comment}\n{comment_line}\n"
    )
}
