//! What an image may be called: checked where it is named, when it is imported or captured.
//!
//! A name stands in channels (`hmi-panel/approved`), addresses, file names and shell commands, so it has letters, digits, `.`, `_`
//! and `-` and nothing that any of them reads as its own. A version has `+` and `~` as well, as versions of packages do.
//!
//! It must never be asked by a decoder: an image that was made before there was this rule is read, served and restored.

use crate::ImageId;

/// Most characters of a name, and of a version.
pub const NAME_LEN_MAX: usize = 64;

/// Why an image may not be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("an image needs a {what}; give one, such as `{such_as}`")]
    Empty {
        /// Name or version.
        what: &'static str,
        /// One that would do.
        such_as: &'static str,
    },
    /// Too much.
    #[error(
        "the {what} of an image has at most {NAME_LEN_MAX} characters, and this one has {len}; shorten it, and put the rest into the note"
    )]
    Long {
        /// Name or version.
        what: &'static str,
        /// How many it has.
        len: usize,
    },
    /// A character that something else reads as its own.
    #[error("the {what} `{text}` of an image has `{bad}` as character {at}; it may have {may}{}", instead(.better.as_deref()), text = text.escape_debug(), bad = bad.escape_debug())]
    Character {
        /// Name or version.
        what: &'static str,
        /// What was given.
        text: String,
        /// The first that may not be.
        bad: char,
        /// Where it stands, from 1.
        at: usize,
        /// What may be.
        may: &'static str,
        /// A spelling that would do, where one is near.
        better: Option<String>,
    },
    /// A first character that is none of a word.
    #[error("the {what} `{text}` of an image starts with `{bad}`; start it with a letter or a digit")]
    Start {
        /// Name or version.
        what: &'static str,
        /// What was given.
        text: String,
        /// With what it starts.
        bad: char,
    },
    /// It would be taken for another image.
    #[error(
        "`{text}` reads as the id of an image, so no image can be called so; give it a name that is a word"
    )]
    ReadsAsId {
        /// What was given.
        text: String,
    },
}

fn instead(better: Option<&str>) -> String {
    better.map_or_else(String::new, |better| format!("; `{better}` would do"))
}

struct Words {
    what: &'static str,
    such_as: &'static str,
    may: &'static str,
    more: &'static [char],
}

const NAME: Words = Words {
    what: "name",
    such_as: "hmi-panel",
    may: "letters a-z and A-Z, digits, `.`, `_` and `-`",
    more: &['.', '_', '-'],
};
const VERSION: Words = Words {
    what: "version",
    such_as: "1.0",
    may: "letters a-z and A-Z, digits, `.`, `_`, `-`, `+` and `~`",
    more: &['.', '_', '-', '+', '~'],
};

/// The name of a new image.
///
/// # Errors
/// [`NameError`], which says what to write instead.
pub fn name(text: &str) -> Result<String, NameError> {
    check(&NAME, text)?;
    match text.parse::<ImageId>() {
        Ok(_) => Err(NameError::ReadsAsId { text: text.to_owned() }),
        Err(_) => Ok(text.to_owned()),
    }
}

/// The version of a new image.
///
/// # Errors
/// [`NameError`], which says what to write instead.
pub fn version(text: &str) -> Result<String, NameError> {
    check(&VERSION, text).map(|()| text.to_owned())
}

fn check(words: &Words, text: &str) -> Result<(), NameError> {
    let Words { what, such_as, may, more } = *words;
    let Some(first) = text.chars().next() else { return Err(NameError::Empty { what, such_as }) };
    let len = text.chars().count();
    if len > NAME_LEN_MAX {
        return Err(NameError::Long { what, len });
    }
    let good = |c: char| c.is_ascii_alphanumeric() || more.contains(&c);
    if let Some((index, bad)) = text.chars().enumerate().find(|(_, c)| !good(*c)) {
        let near: String = text.trim().chars().map(|c| if good(c) { c } else { '-' }).collect();
        let better = Some(near).filter(|near| near.chars().any(|c| c.is_ascii_alphanumeric()));
        let better = better.filter(|near| check(words, near).is_ok());
        return Err(NameError::Character { what, text: text.to_owned(), bad, at: index + 1, may, better });
    }
    match first.is_ascii_alphanumeric() {
        true => Ok(()),
        false => Err(NameError::Start { what, text: text.to_owned(), bad: first }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_channels_addresses_and_shells_read_as_one_may_be() {
        for good in ["hmi-panel", "HMI_2", "7", "a.b", &"x".repeat(NAME_LEN_MAX)] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for good in ["1", "2026.11.22-rc1", "1.0+deb12~1"] {
            assert_eq!(version(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn each_other_is_refused_with_the_character_and_what_to_write() {
        let said = |given: Result<String, NameError>| given.unwrap_err().to_string();
        for (bad, says) in [
            ("", "give one, such as `hmi-panel`"),
            (
                "hmi panel",
                "has ` ` as character 4; it may have letters a-z and A-Z, digits, `.`, `_` and `-`; `hmi-panel` would do",
            ),
            ("hmi/approved", "`/` as character 4"),
            ("hmi:1", "`hmi-1` would do"),
            ("hmi+1", "`+` as character 4"),
            ("$(reboot)", "`$` as character 1"),
            ("grün", "`ü` as character 3"),
            ("a\nb", "`a\\nb` of an image has `\\n` as character 2"),
            ("..", "starts with `.`"),
            ("-hmi", "starts with `-`; start it with a letter or a digit"),
            (&"x".repeat(NAME_LEN_MAX + 1), "has 65; shorten it"),
            (&"ab".repeat(32), "reads as the id of an image"),
        ] {
            let said = said(name(bad));
            assert!(said.contains(says), "{bad}: {said}");
        }
        assert!(!said(name("/")).contains("would do"));
        assert!(said(version("")).contains("needs a version"));
        assert!(said(version("1:2")).contains(
            "`:` as character 2; it may have letters a-z and A-Z, digits, `.`, `_`, `-`, `+` and `~`"
        ));
        assert!(version("~1").is_err());
    }
}
