//! Names that must not be mixed up: a [`JobId`] does not fit where an [`EndpointId`] goes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not one of our identifiers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a usable endpoint name.
    #[error(
        "`{0}` is not an endpoint name: use 1 to 63 characters a-z, 0-9 and `-`, not starting or ending with `-`"
    )]
    Endpoint(String),
    /// Not a job id.
    #[error("`{0}` is not a job id: copy it from `groundstate job list`")]
    Job(String),
    /// Not a MAC address.
    #[error("`{0}` is not a MAC address: write it as 52:54:00:12:34:56")]
    Mac(String),
}

/// The name of an endpoint on this site: a DNS label (RFC 1123 §2.1), so that it also fits a certificate and a host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointId(String);

impl EndpointId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(label)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if fits { Ok(Self(text.to_owned())) } else { Err(IdError::Endpoint(text.to_owned())) }
    }
}

impl TryFrom<String> for EndpointId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<EndpointId> for String {
    fn from(id: EndpointId) -> Self {
        id.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One recovery job: a UUID v7 (RFC 9562 §5.7), so that ids sort by the time they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(Uuid);

impl JobId {
    /// A fresh id. `unix_ms` is the appliance's time in milliseconds since 1970; `random` fills the rest.
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(Self).map_err(|_| IdError::Job(text.to_owned()))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Ethernet address. It selects a boot ticket; it proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl FromStr for MacAddr {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError::Mac(text.to_owned());
        // Six pairs, as Linux and Windows write them; three groups of four, as Cisco does; or all in a row.
        let group = match text.len() {
            17 => 2,
            14 => 4,
            _ => 12,
        };
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let separators = text.bytes().enumerate().filter(|(_, c)| !c.is_ascii_hexdigit());
        let fits = |(at, c): (usize, u8)| {
            at % (group + 1) == group
                && if group == 2 { c == b':' || c == b'-' } else { c == b'.' || c == b'-' }
        };
        if digits.len() != 12 || text.len() != 12 + 12 / group - 1 || !separators.into_iter().all(fits) {
            return Err(wrong());
        }
        let mut bytes = [0_u8; 6];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_names_are_dns_labels() {
        for good in ["a", "press-01", &"x".repeat(63)] {
            assert!(good.parse::<EndpointId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Press", "a_b", "a.b", "../x", &"x".repeat(64)] {
            assert!(bad.parse::<EndpointId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mac_addresses_read_every_usual_spelling_and_write_one() {
        for spelling in
            ["52-54-00-AB-cd-01", "52:54:00:ab:cd:01", "5254.00ab.cd01", "5254-00AB-CD01", "525400abCD01"]
        {
            let mac: MacAddr = spelling.parse().unwrap();
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
        }
        for bad in [
            "52540.0abcd.01",
            "5254:00ab:cd01",
            "52.54.00.ab.cd.01",
            "525400abcd0",
            "525400abcd012",
            "52:54:00:ab:cd:0é",
            "52:5400:ab:cd:01:",
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:01:02",
            "5:54:00:ab:cd:01",
            "zz:54:00:ab:cd:01",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn job_ids_sort_by_time() {
        assert!(JobId::new(1, [255; 10]) < JobId::new(2, [0; 10]));
    }
}
