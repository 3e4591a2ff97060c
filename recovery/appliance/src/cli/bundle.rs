//! What is typed behind `groundstate support`. Parsing does nothing.

use std::path::PathBuf;

use clap::Args;

/// For whom the bundle is.
#[derive(Debug, Args)]
pub struct Support {
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Who alone can open it: a public key `age1…` of age; several times
    #[arg(long = "recipient", value_name = "AGE1…", required_unless_present = "plain")]
    pub recipients: Vec<String>,
    /// Do not encrypt it
    #[arg(long, conflicts_with = "recipients")]
    pub plain: bool,
    /// Configuration file; a copy without secrets is packed
    #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}
