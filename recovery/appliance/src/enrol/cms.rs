//! A certs-only CMS message: degenerate `SignedData` without content and signers (RFC 5652 §5, RFC 5751 §3.2.2), the
//! form in which EST hands out certificates (RFC 7030 §4.1.3, §4.2.3). Ours are DER; those of others are read in BER, too, since Java's
//! servers write lengths that are only known at the end.
//!
//! It must never: look into a certificate, or follow a message deeper than it can be.

const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const VERSION_1: &[u8] = &[0x02, 0x01, 0x01];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;

/// `ContentInfo` with the given certificates (DER, leaf first), in DER.
#[must_use]
pub fn certs_only<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sorted: Vec<&[u8]> = certificates.into_iter().collect();
    // `certificates` is a SET OF: DER wants its members in order of their encodings (X.690 §11.6).
    sorted.sort_unstable();
    let empty_set = value(SET, &[]);
    let signed_data =
        [VERSION_1, &empty_set, &value(SEQUENCE, DATA), &value(CONTEXT_0, &sorted.concat()), &empty_set]
            .concat();
    value(SEQUENCE, &[SIGNED_DATA, &value(CONTEXT_0, &value(SEQUENCE, &signed_data))].concat())
}

/// The certificates in a certs-only message, in its order; `None` when it is none. Signatures and contents are not looked at: what a
/// certificate is worth, itself says.
#[must_use]
pub fn certificates(message: &[u8]) -> Option<Vec<&[u8]>> {
    let (content_info, rest) = element(message, 0)?;
    let (kind, wrapped) = element(content_info.of(SEQUENCE)?, 0)?;
    if !rest.is_empty() || kind.whole != SIGNED_DATA {
        return None;
    }
    let (explicit, _) = element(wrapped, 0)?;
    let (signed_data, _) = element(explicit.of(CONTEXT_0)?, 0)?;
    let mut fields = signed_data.of(SEQUENCE)?;
    // version, digestAlgorithms, encapContentInfo
    for tag in [0x02, SET, SEQUENCE] {
        let (field, after) = element(fields, 0)?;
        field.of(tag)?;
        fields = after;
    }
    let (set, _) = element(fields, 0)?;
    let (mut members, mut found) = (set.of(CONTEXT_0)?, Vec::new());
    while !members.is_empty() {
        let (member, after) = element(members, 0)?;
        found.push(member.whole);
        (members, _) = (after, member.of(SEQUENCE)?);
    }
    Some(found)
}

/// Nesting of a certs-only message: a certificate is not looked into.
const DEPTH_MOST: u32 = 8;

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// With tag and length.
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    fn of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// One BER value (X.690 section 8.1) and what follows it.
fn element(bytes: &[u8], depth: u32) -> Option<(Element<'_>, &[u8])> {
    let [tag, first, ..] = *bytes else { return None };
    // Tags above 30 are in no certs-only message; the contents of an indefinite length must be constructed.
    if depth > DEPTH_MOST || tag & 0x1f == 0x1f {
        return None;
    }
    let (start, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x80 if tag & 0x20 != 0 => {
            let (mut at, mut rest) = (2, &bytes[2..]);
            while !rest.starts_with(&[0, 0]) {
                let (_, after) = element(rest, depth + 1)?;
                at = bytes.len() - after.len();
                rest = after;
            }
            let element = Element { tag, content: &bytes[2..at], whole: &bytes[..at + 2] };
            return Some((element, &bytes[at + 2..]));
        }
        0x81..=0x84 => {
            let digits = usize::from(first & 0x7f);
            let number = bytes.get(2..2 + digits)?;
            (2 + digits, number.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    let end = start.checked_add(length)?;
    let content = bytes.get(start..end)?;
    Some((Element { tag, content, whole: &bytes[..end] }, &bytes[end..]))
}

/// One DER value: tag, definite length (X.690 §8.1.3, §10.1), content.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if significant.len() == 1 && significant[0] < 0x80 {
        out.push(significant[0]);
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "a usize has at most 8 bytes")]
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_we_write_we_read_and_nothing_that_is_cut() {
        let (one, two) = (value(SEQUENCE, &[1; 300]), value(SEQUENCE, &[2; 3]));
        let message = certs_only([&one[..], &two]);
        assert_eq!(certificates(&message), Some(vec![&two[..], &one]), "in the order of a DER set");
        assert_eq!(certificates(&certs_only([])), Some(vec![]));
        for cut in 0..message.len() {
            assert_eq!(certificates(&message[..cut]), None, "{cut}");
        }
        assert_eq!(certificates(&[&message[..], &[0]].concat()), None);
        assert_eq!(certificates(&value(SEQUENCE, &[DATA, &value(CONTEXT_0, &[])].concat())), None);
    }

    #[test]
    fn lengths_that_are_only_known_at_the_end_are_read() {
        let open = |tag: u8, content: &[u8]| [&[tag, 0x80], content, &[0, 0]].concat();
        let certificate = value(SEQUENCE, &[7; 200]);
        let content = open(SEQUENCE, DATA);
        let fields =
            [VERSION_1, &value(SET, &[]), &content, &open(CONTEXT_0, &certificate), &value(SET, &[])];
        let signed_data = open(SEQUENCE, &fields.concat());
        let message = open(SEQUENCE, &[SIGNED_DATA, &open(CONTEXT_0, &signed_data)].concat());
        assert_eq!(certificates(&message), Some(vec![&certificate[..]]));
        let deep = (0..100).fold(certificate, |inner, _| open(SEQUENCE, &inner));
        assert_eq!(certificates(&deep), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = certificates(&bytes);
        }
    }

    #[test]
    fn lengths_use_the_shortest_form() {
        for (len, head) in [
            (0_usize, vec![0x30, 0x00]),
            (127, vec![0x30, 0x7f]),
            (128, vec![0x30, 0x81, 0x80]),
            (255, vec![0x30, 0x81, 0xff]),
            (256, vec![0x30, 0x82, 0x01, 0x00]),
            (65_536, vec![0x30, 0x83, 0x01, 0x00, 0x00]),
        ] {
            let der = value(SEQUENCE, &vec![7; len]);
            assert_eq!(der[..head.len()], head[..], "{len}");
            assert_eq!(der.len(), head.len() + len);
        }
    }
}
