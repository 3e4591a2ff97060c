//! A certs-only CMS message: degenerate `SignedData` without content and signers (RFC 5652 §5, RFC 5751 §3.2.2), the
//! form in which EST hands out certificates (RFC 7030 §4.1.3, §4.2.3). Encoding only; nothing is parsed here.

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
    use super::*;

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
