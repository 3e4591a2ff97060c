//! One byte range of a request (RFC 9110 section 14). Several ranges or a malformed one mean the whole file, which the
//! RFC allows; firmware asks for one range when it resumes.

use std::ops::Range;

/// What part of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Beyond the end.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes.
pub fn part(header: Option<&str>, size: u64) -> Part {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Part::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Some(first), _) if !last.trim().is_empty() && number(last).is_none_or(|l| l < first) => Part::Whole,
        (Some(first), _) if first >= size => Part::Unsatisfiable,
        (Some(first), Some(last)) => Part::Bytes(first..last.saturating_add(1).min(size)),
        (Some(first), None) => Part::Bytes(first..size),
        (None, Some(0)) => Part::Unsatisfiable,
        (None, Some(tail)) if first.trim().is_empty() => Part::Bytes(size.saturating_sub(tail)..size),
        (None, _) => Part::Whole,
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Whether a list of entity tags (`If-Match`, `If-Range`) holds ours, compared strongly.
pub fn holds_tag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == etag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_ranges_are_read_and_all_else_is_the_whole_file() {
        let of_100 = |h| part(Some(h), 100);
        assert_eq!(of_100("bytes=0-9"), Part::Bytes(0..10));
        assert_eq!(of_100("bytes=90-"), Part::Bytes(90..100));
        assert_eq!(of_100("bytes=90-1000"), Part::Bytes(90..100));
        assert_eq!(of_100("bytes=-10"), Part::Bytes(90..100));
        assert_eq!(of_100("bytes=-1000"), Part::Bytes(0..100));
        assert_eq!(of_100("bytes=100-"), Part::Unsatisfiable);
        assert_eq!(of_100("bytes=-0"), Part::Unsatisfiable);
        for whole in
            ["bytes=0-1,5-6", "bytes=9-1", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=1", "", "bytes=5-x"]
        {
            assert_eq!(of_100(whole), Part::Whole, "{whole}");
        }
        assert_eq!(part(None, 100), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_file(header in "(bytes=)?[0-9x, -]{0,30}", size in 1u64..1000) {
            if let Part::Bytes(range) = part(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size, "{:?}", range);
            }
        }
    }
}
