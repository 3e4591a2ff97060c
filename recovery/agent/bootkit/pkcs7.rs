//! Signatures as firmware reads them: PKCS #7 `SignedData` (RFC 2315, section 9) with one signer.
//!
//! Two users: Authenticode, where content other than `data` stands inside and signed attributes name it, and authenticated variables, where
//! the content stands outside and there are no attributes (UEFI specification 2.10, section 8.2.2).

use anyhow::Result;
use ring::digest::{SHA256, digest};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag};

use crate::boot_key::Signer;

/// `id-data` (RFC 2315, section 14).
const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const SIGNED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 2];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113_549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 4];
const RSA_ENCRYPTION: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const SHA_256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];

/// Content within a signature: its type, and the value of its outer `SEQUENCE` without tag and length, which is what is hashed.
#[derive(Debug)]
pub struct Content<'c> {
    /// Object identifier.
    pub kind: &'c [u64],
    /// The inside of the sequence.
    pub inside: &'c [u8],
}

/// A `ContentInfo` around signed content.
pub fn signed(signer: &Signer, content: &Content<'_>) -> Result<Vec<u8>> {
    let attributes = attributes(content);
    // What is signed is a SET OF; what is written is [0] IMPLICIT (RFC 2315, section 9.3).
    let as_set = yasna::construct_der(|writer| {
        writer.write_set_of(|set| {
            attributes.iter().for_each(|attribute| set.next().write_der(attribute));
        })
    });
    let signature = signer.sign(&as_set)?;
    let data = yasna::construct_der(|writer| {
        signed_data(writer, signer, &signature, &attributes, |writer| {
            writer.write_sequence(|info| {
                info.next().write_oid(&oid(content.kind));
                info.next()
                    .write_tagged(Tag::context(0), |writer| writer.write_der(&sequence(content.inside)));
            });
        });
    });
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_oid(&oid(SIGNED_DATA));
            info.next().write_tagged(Tag::context(0), |writer| writer.write_der(&data));
        });
    }))
}

/// A bare `SignedData` over `message`, which is not inside.
pub fn detached(signer: &Signer, message: &[u8]) -> Result<Vec<u8>> {
    let signature = signer.sign(message)?;
    Ok(yasna::construct_der(|writer| {
        signed_data(writer, signer, &signature, &[], |writer| {
            writer.write_sequence(|info| info.next().write_oid(&oid(DATA)));
        });
    }))
}

/// `bytes` as the inside of a `SEQUENCE`.
fn sequence(inside: &[u8]) -> Vec<u8> {
    let mut out = vec![0x30];
    match inside.len() {
        short @ 0..0x80 => out.push(short as u8),
        long => {
            let length = long.to_be_bytes();
            let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | digits.len() as u8);
            out.extend(digits);
        }
    }
    out.extend(inside);
    out
}

/// Each attribute's DER, in the order of a DER `SET OF`.
fn attributes(content: &Content<'_>) -> Vec<Vec<u8>> {
    let attribute = |kind: &[u64], value: &dyn Fn(DERWriter<'_>)| {
        yasna::construct_der(|writer| {
            writer.write_sequence(|attribute| {
                attribute.next().write_oid(&oid(kind));
                attribute.next().write_set_of(|values| value(values.next()));
            })
        })
    };
    let hash = digest(&SHA256, content.inside);
    let mut attributes = vec![
        attribute(CONTENT_TYPE, &|writer| writer.write_oid(&oid(content.kind))),
        attribute(MESSAGE_DIGEST, &|writer| writer.write_bytes(hash.as_ref())),
    ];
    attributes.sort();
    attributes
}

fn signed_data(
    writer: DERWriter<'_>,
    signer: &Signer,
    signature: &[u8],
    attributes: &[Vec<u8>],
    content: impl FnOnce(DERWriter<'_>),
) {
    writer.write_sequence(|data| {
        data.next().write_u8(1);
        data.next().write_set_of(|algorithms| algorithm(algorithms.next(), SHA_256));
        content(data.next());
        data.next().write_tagged_implicit(Tag::context(0), |writer| {
            writer.write_set_of(|certificates| certificates.next().write_der(signer.certificate()));
        });
        data.next().write_set_of(|signers| {
            signers.next().write_sequence(|info| {
                info.next().write_u8(1);
                info.next().write_sequence(|name| {
                    name.next().write_der(signer.issuer());
                    name.next().write_bigint_bytes(signer.serial(), true);
                });
                algorithm(info.next(), SHA_256);
                if !attributes.is_empty() {
                    info.next().write_tagged_implicit(Tag::context(0), |writer| {
                        writer.write_set_of(|set| {
                            attributes.iter().for_each(|attribute| set.next().write_der(attribute));
                        })
                    });
                }
                algorithm(info.next(), RSA_ENCRYPTION);
                info.next().write_bytes(signature);
            })
        });
    });
}

/// `AlgorithmIdentifier` with the NULL parameter.
pub fn algorithm(writer: DERWriter<'_>, kind: &[u64]) {
    writer.write_sequence(|algorithm| {
        algorithm.next().write_oid(&oid(kind));
        algorithm.next().write_null();
    });
}

/// `AlgorithmIdentifier` of SHA-256.
pub fn sha256_algorithm(writer: DERWriter<'_>) {
    algorithm(writer, SHA_256);
}

/// An object identifier from its numbers.
pub fn oid(numbers: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(numbers)
}
