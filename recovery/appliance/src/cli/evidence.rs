//! `groundstate evidence …`: export the log, and check an export with no help from whoever made it.

use std::{fs, path::Path};

use recovery_protocol::{
    evidence::{Tampered, Verified, verify},
    operator::EvidenceKey,
};

use super::{
    client::Client,
    fault::{Code, Fault},
    image::write_new,
};

/// Write the whole log to a file, or to stdout. The key goes beside it, to be kept elsewhere.
pub fn export(client: &Client, out: Option<&Path>) -> Result<(), Fault> {
    let text = client.get_text("/api/v1/evidence")?;
    let key: EvidenceKey = client.get("/api/v1/evidence/key")?;
    match out {
        Some(path) => write_new(path, 0o644, text.as_bytes())?,
        None => print!("{text}"),
    }
    eprintln!("evidence key {}", key.ed25519);
    eprintln!(
        "keep the key apart from the export: `groundstate evidence verify --file … --key …` checks one with the other"
    );
    Ok(())
}

/// Check the appliance's own log.
pub fn verify_appliance(client: &Client, json: bool) -> Result<(), Fault> {
    let key: EvidenceKey = client.get("/api/v1/evidence/key")?;
    check(&client.get_text("/api/v1/evidence")?, &key.ed25519, json)
}

/// Check an export against a key that was kept apart.
pub fn verify_file(path: &Path, key: &str, json: bool) -> Result<(), Fault> {
    let text = fs::read_to_string(path).map_err(|error| {
        Fault::new(
            Code::NotFound,
            format!("{} cannot be read", path.display()),
            error.to_string(),
            "name an export",
        )
    })?;
    check(&text, key, json)
}

fn check(text: &str, key: &str, json: bool) -> Result<(), Fault> {
    let bytes = hex::decode(key).ok().filter(|bytes| bytes.len() == 32).ok_or_else(|| {
        Fault::new(
            Code::Usage,
            "this is no evidence key",
            "",
            "give the 64 hex digits that `groundstate evidence export` showed",
        )
    })?;
    if text.trim().is_empty() {
        let now = "name an export of `groundstate evidence export`";
        return Err(Fault::new(
            Code::Integrity,
            "there is nothing in it",
            "an evidence log is never empty",
            now,
        ));
    }
    match verify(text.lines(), &bytes) {
        Ok(seen) if seen.signed_up_to < seen.entries => Err(Fault::new(
            Code::Integrity,
            "the end of the evidence log is missing, or was never signed",
            format!("{} entries, and the signature covers {} of them", seen.entries, seen.signed_up_to),
            "export it again from the appliance: an export ends in a signature",
        )),
        Ok(Verified { entries, checkpoints, signed_up_to }) if json => {
            let seen = serde_json::json!({
                "good": true, "entries": entries, "checkpoints": checkpoints, "signed_up_to": signed_up_to,
            });
            println!("{seen}");
            Ok(())
        }
        Ok(Verified { entries, checkpoints, signed_up_to }) => {
            println!(
                "good: {entries} entries, {checkpoints} signed checkpoints, signed up to entry {signed_up_to}"
            );
            Ok(())
        }
        Err(tampered) => Err(found(&tampered)),
    }
}

fn found(tampered: &Tampered) -> Fault {
    let now =
        "keep this log as it is, export again from the appliance and compare; treat what follows as unproven";
    Fault::new(Code::Integrity, "the evidence log was tampered with or damaged", tampered.to_string(), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_altered_export_is_an_integrity_failure() {
        let line = r#"{"line":"entry","text":"{\"seq\":1,\"at_unix_ms\":1,\"kind\":\"x\",\"actor\":\"appliance\",\"mode\":\"real\",\"facts\":{}}","hash":"00"}"#;
        assert_eq!(check(line, &"0".repeat(64), false).unwrap_err().code, Code::Integrity);
        assert_eq!(check(line, "00", false).unwrap_err().code, Code::Usage);
        assert_eq!(check("", &"0".repeat(64), false).unwrap_err().code, Code::Integrity);
    }
}
