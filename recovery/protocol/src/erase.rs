//! The ways in which a disk can erase itself, as it offers them. Data only: nobody is told here to erase anything.
//!
//! Discarding is not among them: it promises nothing of what is read afterwards, and nothing of spare blocks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way. Sanitizing reaches spare and worn out blocks and goes on after a reset; formatting reaches what users can address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
}

impl EraseMethod {
    /// Every way, the most thorough first.
    pub const ALL: [Self; 7] = [
        Self::SanitizeCrypto,
        Self::SanitizeBlock,
        Self::SanitizeOverwrite,
        Self::FormatCrypto,
        Self::FormatUserData,
        Self::SecurityEnhanced,
        Self::Security,
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
        }
    }
}

/// What one disk offers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
}
