//! What EST answers with: a CMS "certs-only" message (RFC 7030 §4.2.3, RFC 5652 §5), and the few facts of a certificate
//! that we look at (RFC 5280 §4.1). Reads DER strictly as far as it goes; must never panic on any bytes.

/// 1.2.840.113549.1.7.2, signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

mod tag {
    pub const INTEGER: u8 = 0x02;
    pub const OBJECT: u8 = 0x06;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    pub const CONTEXT_0: u8 = 0xa0;
}

/// A reader over DER elements.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: tag, content, and the whole of it. Definite lengths of at most 4 bytes (X.690 §10.1).
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(len)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((tag, content, whole))
    }

    /// The content of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, ..)| *found == tag).map(|(_, content, _)| content)
    }
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// All of it, DER.
    pub der: &'a [u8],
    /// Serial number, big-endian, without leading zeros.
    pub serial: &'a [u8],
    /// SubjectPublicKeyInfo, DER.
    pub spki: &'a [u8],
}

impl<'a> Certificate<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut tbs = Der(Der(Der(der).expect(tag::SEQUENCE)?).expect(tag::SEQUENCE)?);
        let (mut tag, mut content, _) = tbs.next()?;
        if tag == tag::CONTEXT_0 {
            (tag, content, _) = tbs.next()?;
        }
        if tag != tag::INTEGER {
            return None;
        }
        let leading = content.iter().take_while(|&&byte| byte == 0).count();
        // signature, issuer, validity, subject
        (0..4).try_for_each(|_| tbs.expect(tag::SEQUENCE).map(drop))?;
        let (_, _, spki) = tbs.next().filter(|(found, ..)| *found == tag::SEQUENCE)?;
        Some(Self { der, serial: &content[leading..], spki })
    }
}

/// The certificates in a certs-only message; `None` when it is not one.
pub fn parse(cms: &[u8]) -> Option<Vec<Certificate<'_>>> {
    let mut info = Der(Der(cms).expect(tag::SEQUENCE)?);
    if info.expect(tag::OBJECT)? != SIGNED_DATA {
        return None;
    }
    let mut signed = Der(Der(info.expect(tag::CONTEXT_0)?).expect(tag::SEQUENCE)?);
    signed.expect(tag::INTEGER)?;
    signed.expect(tag::SET)?;
    signed.expect(tag::SEQUENCE)?;
    let mut certificates = Der(signed.expect(tag::CONTEXT_0)?);
    let mut found = Vec::new();
    while !certificates.0.is_empty() {
        found.push(Certificate::parse(certificates.next()?.2)?);
    }
    Some(found)
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SerialNumber};

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let len = match len {
            0..=0x7f => vec![len as u8],
            _ => vec![0x82, (len >> 8) as u8, len as u8],
        };
        [&[tag], &len[..], content].concat()
    }

    /// RFC 5652's shape with no signers and no content.
    pub fn certs_only(certificates: &[u8]) -> Vec<u8> {
        let data = element(tag::OBJECT, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]);
        let signed = [
            element(tag::INTEGER, &[1]),
            element(tag::SET, &[]),
            element(tag::SEQUENCE, &data),
            element(tag::CONTEXT_0, certificates),
            element(tag::SET, &[]),
        ]
        .concat();
        let signed = element(tag::CONTEXT_0, &element(tag::SEQUENCE, &signed));
        element(tag::SEQUENCE, &[element(tag::OBJECT, SIGNED_DATA), signed].concat())
    }

    fn certificate(serial: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["press-01".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        (params.self_signed(&key).unwrap().der().to_vec(), key.subject_public_key_info())
    }

    #[test]
    fn certificates_come_out_with_serial_and_key() {
        let (one, one_key) = certificate(&[0x7f, 1]);
        let (two, two_key) = certificate(&[0xff, 2]);
        let cms = certs_only(&[one.clone(), two.clone()].concat());
        let found = parse(&cms).unwrap();
        let serials: Vec<&[u8]> = found.iter().map(|certificate| certificate.serial).collect();
        assert_eq!(serials, [&[0x7f, 1][..], &[0xff, 2]]);
        assert_eq!((found[0].spki, found[1].spki), (&one_key[..], &two_key[..]));
        assert_eq!((found[0].der, found[1].der), (&one[..], &two[..]));
    }

    #[test]
    fn other_messages_are_refused() {
        let (one, _) = certificate(&[1]);
        assert!(parse(&one).is_none());
        assert!(parse(&[]).is_none());
        let cms = certs_only(&one);
        for cut in 1..cms.len() {
            assert!(parse(&cms[..cut]).is_none());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
