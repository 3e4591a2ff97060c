//! Golden images as people judge them: who signed one, where it is used, and what its channels mean.

use serde::{Deserialize, Serialize};

use crate::operator::ImageView;

/// A golden image with who signed it and where it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImageDetail {
    /// The image as in lists.
    #[serde(flatten)]
    pub view: ImageView,
    /// When it was made, milliseconds since 1970; 0: its manifest cannot be read.
    pub created_unix_ms: u64,
    /// What its maker wrote about it.
    pub note: String,
    /// The hardware that it is for, as its maker wrote; may be empty.
    pub hardware_class: String,
    /// Bytes of data on its disk: what an empty disk would be sent before compression; absent: its manifest cannot be read.
    pub data_bytes: Option<u64>,
    /// Signatures that it carries.
    pub signatures: Vec<SignatureView>,
    /// Blueprints that mean it now, with how many endpoints follow each.
    pub used_by: Vec<UseView>,
    /// Endpoints that were recovered to it last.
    pub runs_on: Vec<crate::EndpointId>,
}

/// A signature of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignatureView {
    /// The key, 64 hexadecimal digits.
    pub key: String,
    /// The trust root lists the key for images, and the signature is good.
    pub counts: bool,
}

/// A blueprint that means an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UseView {
    /// Its name.
    pub blueprint: String,
    /// How many endpoints follow it.
    pub endpoints: u64,
}

/// What was said about the images of one name, and what its channels mean now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChannelView {
    /// The name.
    pub name: String,
    /// Epoch of the last statement; 0: there is none. It is the `ETag`.
    pub epoch: u64,
    /// The trust root lists keys that promote images; without, no channel is in use.
    pub in_use: bool,
    /// The statements, oldest first.
    pub statements: Vec<StatementView>,
}

/// A channel statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatementView {
    /// Its epoch: later ones are above it.
    pub epoch: u64,
    /// `candidate`, `approved` or `retired`.
    pub stage: String,
    /// The image, by its digest.
    pub image: String,
    /// Who ordered it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, as its author's clock said, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Why it does not count; empty: it does.
    pub why_not: String,
}

/// A promotion that somebody signed elsewhere: no key that promotes images lies on the appliance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// The signed statement, as `groundstate image promote --out` writes it.
    pub statement: serde_json::Value,
}
