//! TFTP packets (RFC 1350 section 5, option form RFC 2347). Reading is lenient and bounded; it never panics.

/// Longest request read (RFC 2347 section 2).
pub const REQUEST_LEN_MAX: usize = 512;
/// Options read per request; more are ignored.
const OPTIONS_MAX: usize = 16;

/// Error codes (RFC 1350 appendix, RFC 2347 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum ErrorCode {
    /// 1: what shim takes as "go on without it".
    NotFound = 1,
    /// 2: policy.
    AccessViolation = 2,
    /// 3: a limit was reached.
    Busy = 3,
    /// 4: malformed or unsupported.
    Illegal = 4,
    /// 5: packet of another transfer.
    UnknownTransfer = 5,
}

/// A packet that arrives at port 69.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Read request.
    Read(ReadRequest<'a>),
    /// Write request: never served.
    Write,
    /// A packet of a transfer, which does not belong here.
    Stray,
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// Name as sent.
    pub name: &'a [u8],
    /// `octet` or `netascii`, in any case.
    pub mode: &'a [u8],
    /// Options as sent, name and value.
    pub options: Vec<(&'a [u8], &'a [u8])>,
}

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Longer than a request may be.
    #[error("a request of {0} bytes is too long")]
    Long(usize),
    /// No operation code, or an unknown one.
    #[error("unknown operation")]
    Operation,
    /// Name or mode missing.
    #[error("file name or mode is missing")]
    Fields,
}

/// Reads what came to port 69. A missing last NUL and trailing bytes are tolerated.
pub fn parse_incoming(raw: &[u8]) -> Result<Incoming<'_>, BadRequest> {
    if raw.len() > REQUEST_LEN_MAX {
        return Err(BadRequest::Long(raw.len()));
    }
    match raw {
        [0, 1, rest @ ..] => parse_read(rest).map(Incoming::Read),
        [0, 2, ..] => Ok(Incoming::Write),
        [0, 3..=6, ..] => Ok(Incoming::Stray),
        _ => Err(BadRequest::Operation),
    }
}

fn parse_read(rest: &[u8]) -> Result<ReadRequest<'_>, BadRequest> {
    let mut fields = rest.split(|b| *b == 0);
    let mut field = || fields.next().filter(|f| !f.is_empty());
    let (name, mode) = (field().ok_or(BadRequest::Fields)?, field().ok_or(BadRequest::Fields)?);
    let mut options = Vec::new();
    while let (Some(name), Some(value)) = (field(), field()) {
        if options.len() == OPTIONS_MAX {
            break;
        }
        options.push((name, value));
    }
    Ok(ReadRequest { name, mode, options })
}

/// A packet that arrives within a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Acknowledgement of a block.
    Ack(u16),
    /// The peer ends the transfer.
    Error {
        /// Code.
        code: u16,
        /// Text as sent.
        message: &'a [u8],
    },
    /// Anything else.
    Other,
}

/// Reads a packet within a transfer. EDK2 leaves the text of an error empty, some send no code at all.
pub fn parse_answer(raw: &[u8]) -> Answer<'_> {
    match raw {
        [0, 4, hi, lo, ..] => Answer::Ack(u16::from_be_bytes([*hi, *lo])),
        [0, 5, hi, lo, text @ ..] => {
            let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
            Answer::Error { code: u16::from_be_bytes([*hi, *lo]), message: &text[..end] }
        }
        [0, 5, ..] => Answer::Error { code: 0, message: &[] },
        _ => Answer::Other,
    }
}

/// Writes an error packet.
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let mut out = vec![0, 5, 0, code as u8];
    out.extend_from_slice(message.as_bytes());
    out.push(0);
    out
}

/// Writes an option acknowledgement.
pub fn option_ack<'a>(options: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<u8> {
    let mut out = vec![0, 6];
    for (name, value) in options {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(0);
    }
    out
}

/// Appends a data packet to `out`.
pub fn data(block: u16, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 3]);
    out.extend_from_slice(&block.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &[u8]) -> ReadRequest<'_> {
        match parse_incoming(raw) {
            Ok(Incoming::Read(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn edk2_request_is_read_with_its_options() {
        let request = read(b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0");
        assert_eq!(request.name, b"snponly.efi");
        assert_eq!(request.options.len(), 3);
        assert_eq!(request.options[1], (&b"blksize"[..], &b"1468"[..]));
    }

    #[test]
    fn a_missing_last_nul_trailing_bytes_and_half_an_option_are_tolerated() {
        assert_eq!(read(b"\0\x01a\0octet").mode, b"octet");
        assert_eq!(read(b"\0\x01a\0octet\0\0\0garbage").options, vec![]);
        assert_eq!(read(b"\0\x01a\0octet\0blksize\0").options, vec![]);
    }

    #[test]
    fn malformed_requests_are_refused_by_name() {
        assert_eq!(parse_incoming(&[]), Err(BadRequest::Operation));
        assert_eq!(parse_incoming(&[0, 9]), Err(BadRequest::Operation));
        assert_eq!(parse_incoming(&[0, 1]), Err(BadRequest::Fields));
        assert_eq!(parse_incoming(b"\0\x01\0octet\0"), Err(BadRequest::Fields));
        assert_eq!(parse_incoming(b"\0\x01name"), Err(BadRequest::Fields));
        assert_eq!(parse_incoming(&[0; 513]), Err(BadRequest::Long(513)));
        assert_eq!(parse_incoming(b"\0\x02up\0octet\0"), Ok(Incoming::Write));
        assert_eq!(parse_incoming(&[0, 4, 0, 1]), Ok(Incoming::Stray));
    }

    #[test]
    fn many_options_are_cut_off() {
        let mut raw = b"\0\x01a\0octet\0".to_vec();
        for _ in 0..60 {
            raw.extend_from_slice(b"a\x001\0");
        }
        assert_eq!(read(&raw).options.len(), OPTIONS_MAX);
    }

    #[test]
    fn d13_errors_carry_their_code_and_a_text() {
        assert_eq!(error(ErrorCode::NotFound, "no"), b"\0\x05\0\x01no\0");
        assert_eq!(parse_answer(&[0, 5]), Answer::Error { code: 0, message: &[] });
        assert_eq!(
            parse_answer(b"\0\x05\0\x08User aborted\0x"),
            Answer::Error { code: 8, message: b"User aborted" }
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_incoming(&raw);
            let _ = parse_answer(&raw);
        }

        #[test]
        fn reading_a_request_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut raw = vec![0, 1];
            raw.extend(tail);
            let _ = parse_incoming(&raw);
        }
    }
}
