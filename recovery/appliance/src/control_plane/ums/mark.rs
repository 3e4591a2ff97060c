//! What we write into the comment of a record in UMS, by which we know it again. What else people wrote there stays.
//!
//! ```text
//! hall 3, by the door [groundstate endpoint=press-01 generation=3 job=… image=…]
//! ```

use std::{fmt, ops::Range};

use recovery_protocol::EndpointId;

const BEGIN: &str = "[groundstate ";

/// Of which recovery a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub endpoint: EndpointId,
    /// Which one of it.
    pub generation: u64,
    /// By which job; none before it registered.
    pub job: Option<String>,
    /// The golden image that it runs; none before it registered.
    pub image: Option<String>,
}

impl Mark {
    /// The one in a comment; none: there is none, or it is none of ours. An end that was cut off is one, too.
    pub fn of(comment: &str) -> Option<Self> {
        let text = &comment[place(comment)?];
        let pairs = text.trim_start_matches(BEGIN).trim_end_matches(']').split_whitespace();
        let pairs: Vec<(&str, &str)> = pairs.filter_map(|pair| pair.split_once('=')).collect();
        let value = |key: &str| pairs.iter().find(|(said, _)| *said == key).map(|(_, value)| *value);
        Some(Self {
            endpoint: value("endpoint")?.parse().ok()?,
            generation: value("generation")?.parse().ok()?,
            job: value("job").map(str::to_owned),
            image: value("image").map(str::to_owned),
        })
    }

    /// The comment with this one in the place of an earlier one, or behind all the rest.
    pub fn within(&self, comment: &str) -> String {
        match place(comment) {
            Some(Range { start, end }) => format!("{}{self}{}", &comment[..start], &comment[end..]),
            None => format!("{comment} {self}").trim_start().to_owned(),
        }
    }
}

fn place(comment: &str) -> Option<Range<usize>> {
    let start = comment.find(BEGIN)?;
    let end = comment[start..].find(']').map_or(comment.len(), |at| start + at + 1);
    Some(start..end)
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}endpoint={} generation={}", self.endpoint, self.generation)?;
        for (key, value) in [("job", &self.job), ("image", &self.image)] {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_whatever_stands_around_it() {
        let bare = Mark { endpoint: "press-01".parse().unwrap(), generation: 3, job: None, image: None };
        let full = Mark { job: Some("j".into()), image: Some("i".into()), ..bare.clone() };
        for mark in [&bare, &full] {
            for before in [
                "",
                "hall 3, by the door",
                "[x] ä",
                "[groundstate endpoint=a generation=1]",
                "[groundstate cut",
            ] {
                let comment = mark.within(before);
                assert_eq!(Mark::of(&comment).as_ref(), Some(mark), "{comment}");
                assert_eq!(mark.within(&comment), comment, "again it changes nothing");
            }
        }
        let kept = full.within("a [groundstate endpoint=press-01 generation=2] b");
        assert_eq!(kept, "a [groundstate endpoint=press-01 generation=3 job=j image=i] b");
        assert_eq!(
            Mark::of("[groundstate endpoint=press-01 generation=3 job=j ima"),
            Some(Mark { image: None, ..full })
        );
        for none in [
            "",
            "groundstate endpoint=press-01 generation=3",
            "[groundstate endpoint=Press generation=3]",
            "[groundstate endpoint=press-01 generation=x]",
            "[groundstate generation=3]",
        ] {
            assert_eq!(Mark::of(none), None, "{none}");
        }
    }
}
