//! LDAP's bytes (RFC 4511, with the bounds of its section 5.1): what is asked, and what is answered. No I/O.
//!
//! A message has [`MESSAGE_MAX`] bytes at most, a length is definite and of four bytes at most, and of an answer only what counts is read:
//! a result code and its words, an entry's name. Nothing is recursive.
//!
//! It must never: panic at what a directory sends, or build a question out of text that somebody typed.

/// A message of more bytes is not read.
pub const MESSAGE_MAX: usize = 256 * 1024;
/// The directory's own words are shortened to so many characters.
const SAID_MAX: usize = 200;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BOOLEAN: u8 = 0x01;
/// RFC 4511 section 4.14.
const STARTTLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// RFC 4532 section 2.
const WHO_AM_I: &[u8] = b"1.3.6.1.4.1.4203.1.11.3";

/// What is no LDAP, or more than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it answers what is no LDAP: {0}")]
pub struct Odd(pub &'static str);

/// How something went, by the directory's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// RFC 4511 section 4.1.9.
    pub code: u32,
    /// In its words, short and without control characters.
    pub said: String,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of a bind.
    Bound(Outcome),
    /// An entry that was found: its name.
    Entry(String),
    /// It lies elsewhere, and nobody goes there.
    Reference,
    /// The search is over.
    Done(Outcome),
    /// Of StartTLS and “who am I”, and what it gives.
    Extended(Outcome, String),
    /// Something that nobody asked for.
    Other,
}

/// An element of BER: its tag, its length, its contents.
pub fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            bytes.push(0x84);
            bytes.extend_from_slice(&u32::try_from(contents.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(contents);
    bytes
}

/// Octets.
pub fn octets(bytes: &[u8]) -> Vec<u8> {
    element(OCTETS, bytes)
}

fn number(tag: u8, value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(3);
    let mut contents = Vec::new();
    if bytes[first] & 0x80 != 0 {
        contents.push(0);
    }
    contents.extend_from_slice(&bytes[first..]);
    element(tag, &contents)
}

fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[number(INTEGER, id).as_slice(), operation].concat())
}

/// A simple bind of LDAP 3.
pub fn bind(id: u32, dn: &str, password: &str) -> Vec<u8> {
    let parts = [number(INTEGER, 3), octets(dn.as_bytes()), element(0x80, password.as_bytes())].concat();
    message(id, &element(0x60, &parts))
}

/// Names of entries below `base` that a filter (as BER) finds; aliases are not followed.
pub fn search(id: u32, base: &str, filter: &[u8], most: u32, seconds: u32) -> Vec<u8> {
    let subtree = number(ENUMERATED, 2);
    let no_alias = number(ENUMERATED, 0);
    let limits = [number(INTEGER, most), number(INTEGER, seconds)].concat();
    let no_values = element(BOOLEAN, &[0xff]);
    // "1.1": no attributes (RFC 4511 section 4.5.1.8).
    let attributes = element(SEQUENCE, &octets(b"1.1"));
    let parts =
        [octets(base.as_bytes()), subtree, no_alias, limits, no_values, filter.to_vec(), attributes].concat();
    message(id, &element(0x63, &parts))
}

/// TLS is to begin.
pub fn starttls(id: u32) -> Vec<u8> {
    message(id, &element(0x77, &element(0x80, STARTTLS)))
}

/// As whom are we bound?
pub fn who_am_i(id: u32) -> Vec<u8> {
    message(id, &element(0x77, &element(0x80, WHO_AM_I)))
}

/// We leave.
pub fn unbind(id: u32) -> Vec<u8> {
    message(id, &[0x42, 0])
}

/// How long the first message of these bytes is; `None`: not enough of it is here to say.
///
/// # Errors
/// [`Odd`].
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Odd> {
    match bytes {
        [] | [SEQUENCE] => Ok(None),
        [SEQUENCE, short, ..] if *short < 0x80 => Ok(Some(2 + usize::from(*short))),
        [SEQUENCE, long, rest @ ..] => {
            let count = usize::from(long & 0x7f);
            if !(1..=4).contains(&count) {
                return Err(Odd("a length that is none"));
            }
            let Some(digits) = rest.get(..count) else { return Ok(None) };
            let len = digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
            if len > MESSAGE_MAX { Err(Odd("a message that is too long")) } else { Ok(Some(2 + count + len)) }
        }
        _ => Err(Odd("a message that does not begin as one")),
    }
}

/// Bytes that are left to read.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn next(&mut self) -> Result<(u8, &'a [u8]), Odd> {
        let cut = Odd("an element that is cut off");
        let [tag, first, ..] = *self.0 else { return Err(cut) };
        if tag & 0x1f == 0x1f {
            return Err(Odd("a tag of many bytes"));
        }
        let (head, len) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return Err(Odd("a length that is none"));
            }
            let digits = self.0.get(2..2 + count).ok_or(cut)?;
            (2 + count, digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit)))
        };
        let end = head.checked_add(len).ok_or(cut)?;
        let contents = self.0.get(head..end).ok_or(cut)?;
        self.0 = &self.0[end..];
        Ok((tag, contents))
    }

    fn of(&mut self, wanted: u8) -> Result<&'a [u8], Odd> {
        let (tag, contents) = self.next()?;
        if tag == wanted { Ok(contents) } else { Err(Odd("another element than there must be")) }
    }

    fn number(&mut self, tag: u8) -> Result<u32, Odd> {
        let contents = self.of(tag)?;
        match contents {
            [] => Err(Odd("a number of no bytes")),
            [first, ..] if first & 0x80 != 0 || contents.len() > 5 => {
                Err(Odd("a number that is none of ours"))
            }
            _ => {
                let value = contents.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
                u32::try_from(value).map_err(|_| Odd("a number that is none of ours"))
            }
        }
    }
}

fn outcome(contents: &[u8]) -> Result<Outcome, Odd> {
    let mut left = Left(contents);
    let code = left.number(ENUMERATED)?;
    let (_dn, said) = (left.of(OCTETS)?, left.of(OCTETS)?);
    let said =
        String::from_utf8_lossy(said).chars().filter(|sign| !sign.is_control()).take(SAID_MAX).collect();
    Ok(Outcome { code, said })
}

/// What an extended response gives (RFC 4511 section 4.12); empty: nothing.
fn response_value(contents: &[u8]) -> Result<String, Odd> {
    let mut left = Left(contents);
    while !left.0.is_empty() {
        if let (0x8b, value) = left.next()? {
            let text = std::str::from_utf8(value);
            return text.map(str::to_owned).map_err(|_| Odd("a value that is no UTF-8"));
        }
    }
    Ok(String::new())
}

/// A whole message: whose answer it is, and what it says.
///
/// # Errors
/// [`Odd`].
pub fn read(message: &[u8]) -> Result<(u32, Answer), Odd> {
    let mut whole = Left(message);
    let mut left = Left(whole.of(SEQUENCE)?);
    if !whole.0.is_empty() {
        return Err(Odd("more than one message"));
    }
    let id = left.number(INTEGER)?;
    let (tag, contents) = left.next()?;
    let answer = match tag {
        0x61 => Answer::Bound(outcome(contents)?),
        0x64 => {
            let dn = std::str::from_utf8(Left(contents).of(OCTETS)?);
            Answer::Entry(dn.map_err(|_| Odd("an entry's name that is no UTF-8"))?.to_owned())
        }
        0x73 => Answer::Reference,
        0x65 => Answer::Done(outcome(contents)?),
        0x78 => Answer::Extended(outcome(contents)?, response_value(contents)?),
        _ => Answer::Other,
    };
    Ok((id, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(tag: u8, code: u8, said: &[u8]) -> Vec<u8> {
        let parts = [element(ENUMERATED, &[code]), octets(b""), octets(said)].concat();
        message(7, &element(tag, &parts))
    }

    #[test]
    fn what_is_asked_is_what_the_standard_shows() {
        assert_eq!(hex::encode(bind(1, "cn=a", "b")), "3011020101600c0201030404636e3d61800162");
        assert_eq!(hex::encode(unbind(3)), "30050201034200");
        assert_eq!(
            hex::encode(starttls(1)),
            format!("301d02010177188016{}", hex::encode("1.3.6.1.4.1.1466.20037"))
        );
        assert_eq!(number(INTEGER, 0), [2, 1, 0]);
        assert_eq!(number(INTEGER, 128), [2, 2, 0, 128]);
        assert_eq!(number(INTEGER, 200), [2, 2, 0, 200]);
        assert_eq!(element(4, &[0; 200])[..6], [4, 0x84, 0, 0, 0, 200]);
    }

    #[test]
    fn what_is_answered_is_read_and_its_words_are_harmless() {
        let bound = result(0x61, 49, b"no\x1b[2J such\npassword");
        assert_eq!(length(&bound), Ok(Some(bound.len())));
        let said = "no[2J suchpassword".to_owned();
        assert_eq!(read(&bound), Ok((7, Answer::Bound(Outcome { code: 49, said }))));
        let entry = message(2, &element(0x64, &[octets(b"cn=a"), element(SEQUENCE, &[])].concat()));
        assert_eq!(read(&entry), Ok((2, Answer::Entry("cn=a".to_owned()))));
        assert_eq!(read(&message(2, &element(0x73, b"x"))), Ok((2, Answer::Reference)));
        let long = result(0x65, 0, &[b'x'; 3000]);
        let (_, Answer::Done(outcome)) = read(&long).unwrap() else { panic!() };
        assert_eq!((outcome.code, outcome.said.len()), (0, SAID_MAX));
    }

    #[test]
    fn what_is_no_ldap_is_refused_and_nothing_panics() {
        let whole = result(0x61, 0, b"fine");
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        for bytes in [
            &b"\x30\x00"[..],
            b"\x30\x02\x02\x00",
            b"\x30\x03\x02\x01\x01",
            b"\x30\x80",
            b"HTTP/1.1 400",
            b"\x30\x05\x02\x01\x01\x61\x00",
            b"\x30\x06\x02\x01\x01\x7f\x01\x00",
            b"\x30\x09\x02\x01\x01\x64\x04\x04\x02\xff\xfe",
        ] {
            assert!(read(bytes).is_err(), "{bytes:02x?}");
        }
        let deep: Vec<u8> = std::iter::repeat_n([0x30, 0x84, 0, 0, 1, 0], 4000).flatten().collect();
        assert!(read(&deep).is_err());
        assert_eq!(length(b"\x30\x85\x01\x01\x01\x01\x01"), Err(Odd("a length that is none")));
        assert_eq!(length(b"\x30\x84\x7f\xff\xff\xff"), Err(Odd("a message that is too long")));
        assert_eq!(length(b"\x30\x84\x00"), Ok(None));
        assert!(length(b"HTTP").is_err());
        assert!(read(&[whole.clone(), whole].concat()).is_err());
    }
}
