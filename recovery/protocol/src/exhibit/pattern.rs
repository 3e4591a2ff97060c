//! Which files: absolute paths in which `*` stands for anything in one name, and `**` for any directories.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest pattern in bytes.
const LEN_MOST: usize = 256;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}; write it as /etc/hostname, /var/log/*.log or /srv/**")]
pub struct PatternError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A pattern of paths. Upper and lower case of ASCII letters are the same, as on FAT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct FilePattern(String);

impl FilePattern {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a file's absolute path, in bytes, is meant.
    #[must_use]
    pub fn fits(&self, path: &[u8]) -> bool {
        fits(&self.parts(), &parts_of(path), false)
    }

    /// Whether a file below this directory may be meant.
    #[must_use]
    pub fn leads_through(&self, directory: &[u8]) -> bool {
        fits(&self.parts(), &parts_of(directory), true)
    }

    fn parts(&self) -> Vec<&[u8]> {
        parts_of(self.0.as_bytes())
    }
}

fn parts_of(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect()
}

/// `below`: `names` are a directory, and something below it is to fit.
fn fits(parts: &[&[u8]], names: &[&[u8]], below: bool) -> bool {
    // `reach` holds after how many parts one may be; each name moves it on, so it is bounded by both lengths.
    let mut reach: Vec<bool> = vec![false; parts.len() + 1];
    reach[0] = true;
    // `/srv/**` means every file below, not `/srv` itself: the last part is never skipped.
    let last = parts.len().saturating_sub(1);
    let skip = |reach: &mut Vec<bool>| {
        for at in 0..last {
            if reach[at] && parts[at] == b"**" {
                reach[at + 1] = true;
            }
        }
    };
    for name in names {
        skip(&mut reach);
        let mut next = vec![false; parts.len() + 1];
        for at in 0..parts.len() {
            if !reach[at] {
                continue;
            }
            match parts[at] {
                b"**" => {
                    next[at] = true;
                    next[at + 1] |= at == last;
                }
                part if name_fits(part, name) => next[at + 1] = true,
                _ => {}
            }
        }
        reach = next;
    }
    match below {
        // Something of the pattern must be left for what is below.
        true => reach[..parts.len()].iter().any(|reached| *reached),
        false => reach[parts.len()],
    }
}

/// One name against one part; the usual walk with one place to come back to.
fn name_fits(part: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match part.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(letter) if letter.eq_ignore_ascii_case(&name[n]) => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    part[p..].iter().all(|letter| *letter == b'*')
}

impl TryFrom<String> for FilePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        let why = if !text.starts_with('/') {
            "does not begin with `/`"
        } else if text.len() > LEN_MOST {
            "is longer than 256 bytes"
        } else if text.chars().any(char::is_control) {
            "has a control character"
        } else if parts_of(text.as_bytes()).is_empty() || text.ends_with('/') {
            "names no file"
        } else if text.split('/').any(|part| part == "." || part == "..") {
            "has `.` or `..` in it"
        } else if text.split('/').any(|part| part.contains("**") && part != "**") {
            "has `**` beside other letters"
        } else {
            return Ok(Self(text));
        };
        Err(PatternError { text, why })
    }
}

impl From<FilePattern> for String {
    fn from(pattern: FilePattern) -> Self {
        pattern.0
    }
}

impl std::str::FromStr for FilePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> FilePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_means_what_a_person_expects() {
        for (text, path, wanted) in [
            ("/etc/hostname", "/etc/hostname", true),
            ("/etc/hostname", "/etc/hostname2", false),
            ("/etc/hostname", "/srv/etc/hostname", false),
            ("/EFI/boot/*.efi", "/efi/BOOT/BOOTX64.EFI", true),
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/apt/a.log", false),
            ("/var/log/*", "/var/log", false),
            ("/var/log/**", "/var/log/apt/history.log", true),
            ("/var/log/**", "/var/log", false),
            ("/var/**/x", "/var/x", true),
            ("/var/**/x", "/var/a/b/x", true),
            ("/var/**/x", "/var/a/b/y", false),
            ("/home/*/.bash_history", "/home/anna/.bash_history", true),
        ] {
            assert_eq!(pattern(text).fits(path.as_bytes()), wanted, "{text} {path}");
        }
        for (text, directory, wanted) in [
            ("/etc/hostname", "/etc", true),
            ("/etc/hostname", "/etc/ssh", false),
            ("/etc/hostname", "/etc/hostname", false),
            ("/var/log/**", "/var", true),
            ("/var/log/**", "/var/log/apt/x", true),
            ("/var/log/*", "/var/log/apt", false),
            ("/home/*/.ssh/*", "/home/anna", true),
        ] {
            assert_eq!(pattern(text).leads_through(directory.as_bytes()), wanted, "{text} {directory}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said_with_what_to_write() {
        for text in [
            "",
            "etc/x",
            "/",
            "/etc/",
            "/a/../b",
            "/a/./b",
            "/a/b**",
            "/a\nb",
            &format!("/{}", "x".repeat(300)),
        ] {
            let why = text.parse::<FilePattern>().unwrap_err().to_string();
            assert!(why.contains("write it as"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn a_file_that_is_meant_lies_only_in_directories_that_are_entered(
            parts in proptest::collection::vec("[ab*]{1,3}|\\*\\*", 1..5), names in proptest::collection::vec("[ab]{1,3}", 1..6),
        ) {
            let text = format!("/{}", parts.join("/"));
            let Ok(pattern) = text.parse::<FilePattern>() else { return Ok(()) };
            let path = format!("/{}", names.join("/"));
            if pattern.fits(path.as_bytes()) {
                for until in 1..names.len() {
                    let directory = format!("/{}", names[..until].join("/"));
                    prop_assert!(pattern.leads_through(directory.as_bytes()), "{text} {path} {directory}");
                }
            }
        }
    }
}
