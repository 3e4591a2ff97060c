//! Erasing a disk before it is restored: what a blueprint demands, the ways there are, and what came of one. Data only.
//!
//! ```text
//!   blueprint: ErasePolicy ──► the first of its ways that the disk offers ──► EraseFacts
//!                                 none ──► held, and nothing was written
//! ```
//!
//! Clear and purge are those of NIST SP 800-88: clearing defeats who reads through the disk's own interface, purging who takes it
//! apart. Which command counts as which follows IEEE 2883: NVMe's formatting of user data clears and does not purge. Discarding is
//! neither: it promises nothing of what is read afterwards, and nothing of spare blocks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way. Sanitizing reaches spare and worn out blocks and goes on after a reset; formatting reaches what users can address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EraseMethod {
    /// Sanitize: the key of the medium is changed.
    SanitizeCrypto,
    /// Sanitize: all blocks are erased.
    SanitizeBlock,
    /// Sanitize: all blocks are overwritten.
    SanitizeOverwrite,
    /// NVMe Format NVM: the key of the medium is changed.
    FormatCrypto,
    /// NVMe Format NVM: user data are erased.
    FormatUserData,
    /// ATA SECURITY ERASE UNIT, enhanced: also replaced sectors.
    SecurityEnhanced,
    /// ATA SECURITY ERASE UNIT.
    Security,
    /// Zeros written to every sector that users can address. Any disk takes that, so none offers it.
    Overwrite,
    /// Every sector is told to be free. No erasure, and offered as none.
    Discard,
}

impl EraseMethod {
    /// Every way, the most thorough first.
    pub const ALL: [Self; 9] = [
        Self::SanitizeCrypto,
        Self::SanitizeBlock,
        Self::SanitizeOverwrite,
        Self::FormatCrypto,
        Self::FormatUserData,
        Self::SecurityEnhanced,
        Self::Security,
        Self::Overwrite,
        Self::Discard,
    ];

    /// As people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::SanitizeCrypto => "sanitize crypto",
            Self::SanitizeBlock => "sanitize block",
            Self::SanitizeOverwrite => "sanitize overwrite",
            Self::FormatCrypto => "format crypto",
            Self::FormatUserData => "format user data",
            Self::SecurityEnhanced => "security erase enhanced",
            Self::Security => "security erase",
            Self::Overwrite => "overwrite",
            Self::Discard => "discard",
        }
    }

    /// What a person must know of one that the disk does by itself once it has begun: nobody stops it. `None`: we write, and stop when told.
    #[must_use]
    pub fn goes_on(self) -> Option<&'static str> {
        match self {
            Self::SanitizeCrypto | Self::SanitizeBlock | Self::SanitizeOverwrite => Some(
                "the disk does this by itself and no command stops it; switched off, it goes on when it has power again",
            ),
            Self::FormatCrypto | Self::FormatUserData => Some(
                "the disk does this by itself and no command stops it; switched off in the midst, it must be formatted again",
            ),
            Self::SecurityEnhanced | Self::Security => Some(
                "the disk does this by itself and no command stops it; switched off in the midst, it stays locked until it is erased again",
            ),
            Self::Overwrite | Self::Discard => None,
        }
    }
}

/// What becomes of a disk's old content before it is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErasePolicy {
    /// What is right stays, and what differs is written.
    #[default]
    None,
    /// All is discarded: the disk knows that it is free. No erasure.
    Discard,
    /// Cleared: nothing of it can be read through the disk's interface.
    Clear,
    /// Purged: nor out of its spare and worn out blocks. A disk that cannot is not restored.
    Purge,
}

impl ErasePolicy {
    /// The ways that satisfy it, the one to be taken first in front.
    #[must_use]
    pub fn methods(self) -> &'static [EraseMethod] {
        use EraseMethod::{
            Discard, FormatCrypto, FormatUserData, Overwrite, SanitizeBlock, SanitizeCrypto,
            SanitizeOverwrite,
        };
        match self {
            Self::None => &[],
            Self::Discard => &[Discard],
            // What takes minutes before what takes hours.
            Self::Clear => {
                &[SanitizeCrypto, SanitizeBlock, FormatCrypto, FormatUserData, SanitizeOverwrite, Overwrite]
            }
            Self::Purge => &[SanitizeCrypto, SanitizeBlock, FormatCrypto, SanitizeOverwrite],
        }
    }

    /// As it stands in a blueprint.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Discard => "discard",
            Self::Clear => "clear",
            Self::Purge => "purge",
        }
    }
}

/// How an erasure came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EraseFound {
    /// Begun by this order.
    #[default]
    Nothing,
    /// The disk was at it, since an earlier attempt: it was waited for.
    Running,
    /// The disk had done it since an earlier attempt, and said that nothing was written to it since.
    Done,
}

/// An erasure in facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EraseFacts {
    /// What was demanded.
    pub policy: ErasePolicy,
    /// What was done.
    pub method: EraseMethod,
    /// Whether it had to be begun.
    pub found: EraseFound,
    /// What the disk said of it, line by line, with the values of its registers and log pages.
    pub reported: Vec<String>,
    /// Seconds from the command to its end, as far as they were seen.
    pub seconds: u64,
    /// What was read afterwards.
    pub samples: EraseSamples,
}

/// Blocks of 4096 bytes, spread over the disk at random, read before and after it was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EraseSamples {
    /// Read afterwards.
    pub read: u32,
    /// Of these, nothing but zeros.
    pub zero: u32,
    /// Of these, those that held something before, so that they can tell; 0 where nothing could be read before.
    pub telling: u32,
    /// Of these, what read as it did before; anything but 0 fails an erasure, and says nothing of a discard.
    pub unchanged: u32,
}

/// In one line, for people: `purge by sanitize block in 12 s; of 1002 samples 1002 read as zeros, 0 of 310 as before`.
impl fmt::Display for EraseFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, method, found, seconds, samples, .. } = self;
        let EraseSamples { read, zero, telling, unchanged } = samples;
        write!(f, "{} by {} in {seconds} s", policy.label(), method.label())?;
        f.write_str(match found {
            EraseFound::Nothing => "",
            EraseFound::Running => ", begun by an earlier attempt",
            EraseFound::Done => ", done since an earlier attempt",
        })?;
        write!(f, "; of {read} samples {zero} read as zeros, {unchanged} of {telling} as before")
    }
}

/// What one disk offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EraseOffer {
    /// The ways that it would take now, the most thorough first.
    #[serde(default)]
    pub methods: Vec<EraseMethod>,
    /// What stands against others that it has, in words; each begins in lower case and ends without a stop.
    #[serde(default)]
    pub against: Vec<String>,
}

/// In one line: `sanitize crypto, format crypto` or `none known: its security commands are frozen until it is switched off`.
impl fmt::Display for EraseOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<&str> = self.methods.iter().map(|method| method.label()).collect();
        f.write_str(if methods.is_empty() { "none known" } else { "" })?;
        f.write_str(&methods.join(", "))?;
        for (at, why) in self.against.iter().enumerate() {
            write!(f, "{} {why}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_one_line_for_people() {
        let mut offer = EraseOffer::default();
        assert_eq!(offer.to_string(), "none known");
        offer.against.push("its security commands are frozen".to_owned());
        assert_eq!(offer.to_string(), "none known: its security commands are frozen");
        offer.methods = vec![EraseMethod::SanitizeCrypto, EraseMethod::FormatCrypto];
        assert_eq!(offer.to_string(), "sanitize crypto, format crypto: its security commands are frozen");
    }

    #[test]
    fn a_purge_is_never_less_than_a_purge() {
        use EraseMethod::{Discard, FormatUserData, Overwrite, Security};
        for weak in [FormatUserData, Overwrite, Discard, Security] {
            assert!(!ErasePolicy::Purge.methods().contains(&weak), "{weak:?}");
        }
        assert!(!ErasePolicy::Clear.methods().contains(&Discard));
        assert!(ErasePolicy::Purge.methods().iter().all(|way| ErasePolicy::Clear.methods().contains(way)));
        assert!(ErasePolicy::default().methods().is_empty());
    }

    #[test]
    fn an_erasure_is_one_line_for_people() {
        let facts = EraseFacts {
            policy: ErasePolicy::Purge,
            method: EraseMethod::SanitizeBlock,
            found: EraseFound::Running,
            reported: Vec::new(),
            seconds: 12,
            samples: EraseSamples { read: 1002, zero: 1000, telling: 310, unchanged: 0 },
        };
        let line = "purge by sanitize block in 12 s, begun by an earlier attempt; \
                    of 1002 samples 1000 read as zeros, 0 of 310 as before";
        assert_eq!(facts.to_string(), line);
    }
}
