//! Who is told what happens, and how it stands with each of them.

use serde::{Deserialize, Serialize};

/// How it stands with one channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChannelView {
    /// Its name in the configuration; who follows the evidence log has the name that `sinks` of the status gives it.
    pub name: String,
    /// `email`, `webhook`, `syslog` or `mqtt`.
    pub kind: String,
    /// It follows the evidence log, entry by entry; else it is told what the rules say.
    pub evidence: bool,
    /// Where it leads, without secrets.
    pub to: String,
    /// When it took the last message, milliseconds since 1970.
    pub delivered_unix_ms: Option<u64>,
    /// When it failed to take one, milliseconds since 1970.
    pub failed_unix_ms: Option<u64>,
    /// Why, in a sentence; empty: it took what came after.
    pub failure: String,
    /// Messages that wait.
    pub waiting: u64,
    /// When what the oldest of them tells of happened, milliseconds since 1970.
    pub oldest_unix_ms: Option<u64>,
    /// Messages that were given up.
    pub dead: u64,
    /// The last of them, in a sentence; empty: none.
    pub last_dead: String,
}

/// What came of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChannelTested {
    /// The channel, which took it.
    pub channel: ChannelView,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// Another configuration that was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reloaded {
    /// Tables and keys at the top of the file that changed; empty: it is the one that was in force.
    pub changed: Vec<String>,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
}
