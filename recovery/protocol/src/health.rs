//! What a disk says of its own health: a state, why, and the figures it was read from.
//!
//! A figure that the disk does not give is absent, never zero; a disk that says nothing is `unknown`, which stops nobody. Temperature
//! and hours change with each reading, so none of this is part of a disk's identity ([`crate::agent::DiskFacts`]).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a disk is, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It answered and has nothing to say.
    Good,
    /// It works, and somebody should look at it: worn out, sectors replaced, too hot. Nothing is held for it.
    Worn,
    /// It says that it is failing. Nothing is written to it.
    Failing,
    /// It did not answer, or there is no way to ask.
    #[default]
    Unknown,
}

impl HealthState {
    /// As people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Worn => "worn",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

/// One reading of a disk's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskHealth {
    /// What it comes to.
    pub state: HealthState,
    /// Why it is not simply good, in words; each begins in lower case and ends without a stop.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What it was read from.
    #[serde(default)]
    pub figures: HealthFigures,
}

/// The figures of one reading, as far as the disk gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct HealthFigures {
    /// NVMe: the critical warning bits (NVM Express base specification 2.0, figure 207, byte 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_warning: Option<u8>,
    /// Endurance used, in percent of what the maker promises; above 100 it works on borrowed time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u8>,
    /// NVMe: spare blocks left, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spare_percent: Option<u8>,
    /// NVMe: spare below this is critical, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spare_percent_min: Option<u8>,
    /// NVMe: times that data could not be read or was found damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_errors: Option<u64>,
    /// ATA attribute 5: sectors replaced by spare ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reallocated_sectors: Option<u64>,
    /// ATA attribute 197: sectors that could not be read and wait for a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_sectors: Option<u64>,
    /// ATA attribute 198: sectors that the disk's own test could not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncorrectable_sectors: Option<u64>,
    /// Hours with power.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_on_hours: Option<u64>,
    /// Temperature in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<i16>,
}

/// In one line: `worn: 3 sectors were replaced (31 °C, 4213 hours)`.
impl fmt::Display for DiskHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state.label())?;
        for (at, reason) in self.reasons.iter().enumerate() {
            write!(f, "{} {reason}", if at == 0 { ":" } else { "," })?;
        }
        let figures = &self.figures;
        let parts: Vec<String> = [
            figures.used_percent.map(|percent| format!("{percent} % of its endurance used")),
            figures.spare_percent.map(|percent| format!("{percent} % spare")),
            figures.temperature_celsius.map(|celsius| format!("{celsius} °C")),
            figures.power_on_hours.map(|hours| format!("{hours} hours")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_one_line_for_people() {
        let figures = HealthFigures {
            temperature_celsius: Some(31),
            power_on_hours: Some(4213),
            ..HealthFigures::default()
        };
        let reasons = vec!["3 sectors were replaced".to_owned(), "1 sector cannot be read".to_owned()];
        let health = DiskHealth { state: HealthState::Worn, reasons, figures };
        let line = "worn: 3 sectors were replaced, 1 sector cannot be read (31 °C, 4213 hours)";
        assert_eq!(health.to_string(), line);
        assert_eq!(DiskHealth::default().to_string(), "unknown");
    }

    #[test]
    fn a_figure_that_is_absent_is_not_sent_and_not_zero() {
        let json = serde_json::to_value(DiskHealth::default()).unwrap();
        assert_eq!(json, serde_json::json!({ "state": "unknown", "reasons": [], "figures": {} }));
        let read: DiskHealth = serde_json::from_value(serde_json::json!({ "state": "good" })).unwrap();
        assert_eq!(read.figures.pending_sectors, None);
    }
}
