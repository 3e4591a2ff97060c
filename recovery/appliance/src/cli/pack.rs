//! `groundstate evidence verify pack.gsp`: is a pack what the log says? No appliance is asked.

use std::path::Path;

use recovery_protocol::evidence::{Origin, pack};

use super::fault::{Code, Fault};
use crate::cli::{Output, say};

/// The largest pack that is read.
const PACK_BYTES_MAX: u64 = 1 << 30;

/// Look at a pack, with the evidence key that was kept apart from it.
///
/// # Errors
/// Integrity, with the file that was altered.
pub fn verify(path: &Path, key: [u8; 32], output: Output) -> Result<(), Fault> {
    let unreadable = |error: std::io::Error| {
        let what = format!("{} cannot be read", path.display());
        Fault::new(Code::NotFound, what, error.to_string(), "check the path")
    };
    let len = std::fs::metadata(path).map_err(unreadable)?.len();
    if len > PACK_BYTES_MAX {
        let now = "name a pack that `groundstate drill pack` wrote";
        return Err(Fault::new(
            Code::Integrity,
            "this is no evidence pack",
            format!("it has {len} bytes"),
            now,
        ));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let seen = pack::verify(&bytes, &Origin::of(key)).map_err(|why| {
        let now = "ask for it again, and keep this one: it shows that somebody changed it. Check also that the key is the appliance's";
        Fault::new(Code::Integrity, format!("{} does not count", path.display()), why.to_string(), now)
    })?;
    let (files, entry) = (seen.files.len(), &seen.entry);
    if output.is_data() {
        let seen = serde_json::json!({
            "good": true, "files": files, "entry": entry.seq, "of_entries": seen.of_entries, "proven_entries": seen.proven, "facts": entry.facts,
        });
        return say(output, &seen);
    }
    println!("good: {files} files, as entry {} of the {} that were signed says", entry.seq, seen.of_entries);
    println!("it proves {} more entries of the log; {} made it", seen.proven, entry.actor);
    Ok(())
}
