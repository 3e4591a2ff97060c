//! What must not leave the site is taken out of a text: what is known to be secret here, and what looks like it.
//!
//! Known is what the secret files hold: of the data directory, and those that configuration and endpoints name. What looks like it: tokens of
//! ours, private keys, passwords in addresses, values of keys that are called so. It must never: keep a text because it is not sure.

use std::{fs, path::Path};

use serde_json::Value;

/// What stands in the place of it.
pub const INSTEAD: &str = "[redacted]";
/// A secret that is shorter is not looked for by its bytes: half of the text would be gone.
const SHORTEST: usize = 6;
/// A file of secrets is small.
const FILE_MAX: u64 = 64 * 1024;
/// Parts of names of keys whose values are secret.
const CALLED: &[&str] =
    &["password", "passphrase", "secret", "token", "credential", "community", "pin", "private"];

/// What is known to be secret.
#[derive(Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// Know what is in a file: all of it, and each of its lines.
    pub fn learn_file(&mut self, path: &Path) {
        let fits = fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() <= FILE_MAX);
        let Some(bytes) = fits.then(|| fs::read(path).ok()).flatten() else { return };
        let text = String::from_utf8_lossy(&bytes);
        // What everybody may see is no secret, and would black out half of the bundle.
        let shown = text.contains("BEGIN CERTIFICATE") || text.contains("BEGIN PUBLIC KEY");
        if shown && !text.contains("PRIVATE KEY-----") {
            return;
        }
        self.learn(&text);
        // `key = value`, as credentials of object stores and passwords of services are written.
        for line in text.lines().filter(|line| !line.starts_with("-----")) {
            if let Some((_, value)) = line.split_once(['=', ':']) {
                self.learn(value.trim().trim_matches(['"', '\'']));
            }
        }
        if let Ok(table) = text.parse::<toml::Table>() {
            self.learn_values(&serde_json::to_value(table).unwrap_or_default());
        }
    }

    /// Know a text, and each line of it.
    pub fn learn(&mut self, text: &str) {
        for piece in std::iter::once(text.trim()).chain(text.lines().map(str::trim)) {
            // What frames a key is known to everybody.
            if piece.len() >= SHORTEST
                && !piece.starts_with("-----")
                && !self.known.iter().any(|known| known == piece)
            {
                self.known.push(piece.to_owned());
            }
        }
        // What holds another one goes first.
        self.known.sort_by_key(|known| std::cmp::Reverse(known.len()));
    }

    /// Know the passwords in a text's addresses.
    pub fn learn_addresses(&mut self, text: &str) {
        for found in text.split("://").skip(1) {
            let end = found.find(|letter: char| letter.is_whitespace() || "\"'<>/?".contains(letter));
            let authority = &found[..end.unwrap_or(found.len())];
            let password =
                authority.rsplit_once('@').and_then(|(who, _)| Some(who.split_once(':')?.1.to_owned()));
            if let Some(password) = password {
                self.learn(&password);
            }
        }
    }

    /// Know the values that are called secret, and what is in the files that are named as secrets.
    pub fn learn_values(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(text) if key.ends_with("_file") || key == "file" => {
                            if is_called(key) || key == "key_file" {
                                self.learn_file(Path::new(text));
                            }
                        }
                        Value::String(text) if is_called(key) => self.learn(text),
                        other => self.learn_values(other),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_values(item)),
            _ => {}
        }
    }

    /// The text without what is secret.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for known in &self.known {
            if text.contains(known.as_str()) {
                text = text.replace(known.as_str(), INSTEAD);
            }
            // As JSON writes it.
            let escaped = serde_json::to_string(known).unwrap_or_default();
            let escaped = escaped.trim_matches('"');
            if escaped != known && text.contains(escaped) {
                text = text.replace(escaped, INSTEAD);
            }
        }
        let text = keys(&text);
        text.split_inclusive('\n').map(line).collect()
    }
}

/// Whether a key's name says that its value is secret; what names a file only says where.
fn is_called(key: &str) -> bool {
    let key = key.to_lowercase();
    let parts = |word: &str| {
        key.split(['_', '-', '.']).any(|part| part == word || part.strip_suffix('s') == Some(word))
    };
    CALLED.iter().any(|word| if *word == "pin" { parts(word) } else { key.contains(word) })
}

/// Private keys in PEM, and those of age.
fn keys(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let (before, block) = rest.split_at(begin);
        kept.push_str(before);
        let head_end = block.find('\n').unwrap_or(block.len());
        let is_private = block[..head_end].contains("PRIVATE");
        let end = block
            .find("-----END ")
            .map_or(block.len(), |at| block[at..].find('\n').map_or(block.len(), |line| at + line));
        kept.push_str(if is_private { INSTEAD } else { &block[..end] });
        rest = &block[end..];
    }
    kept + rest
}

/// One line: tokens, bearers, passwords in addresses, and `key = value` where the key is called so.
fn line(line: &str) -> String {
    let mut text = line.to_owned();
    for begin in ["gs_", "AGE-SECRET-KEY-", "Bearer ", "bearer ", "Basic ", "whsec_"] {
        text = after(&text, begin);
    }
    text = addresses(&text);
    let Some((key, value)) = text.split_once(['=', ':']) else { return text };
    let name = key.trim().trim_start_matches(['#', '"', '{', ',', '-', ' ']).trim_matches(['"', '\'', ' ']);
    let plain = !name.contains(' ') && is_called(name) && !name.ends_with("_file") && !name.ends_with("_dir");
    let value = value.trim();
    match plain && value.len() > 2 && !value.starts_with(['{', '[']) {
        true => {
            let end = if text.ends_with('\n') { "\n" } else { "" };
            let end = if value.ends_with(',') { format!(",{end}") } else { end.to_owned() };
            let sign = text[key.len()..].chars().next().unwrap_or('=');
            format!("{key}{sign} \"{INSTEAD}\"{end}")
        }
        false => text,
    }
}

/// What follows a mark, as far as it looks like a secret.
fn after(text: &str, mark: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, found) = rest.split_at(at + mark.len());
        kept.push_str(before);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-+/=.~".contains(letter);
        let end = found.find(|letter| !is_part(letter)).unwrap_or(found.len());
        if end >= SHORTEST {
            kept.push_str(INSTEAD);
        } else {
            kept.push_str(&found[..end]);
        }
        rest = &found[end..];
    }
    kept + rest
}

/// `scheme://user:password@host` without what stands before the `@`, and secrets among what is asked.
fn addresses(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, found) = rest.split_at(at + 3);
        kept.push_str(before);
        let end = found
            .find(|letter: char| letter.is_whitespace() || "\"'<>/?".contains(letter))
            .unwrap_or(found.len());
        let (authority, behind) = found.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                kept.push_str(INSTEAD);
                kept.push('@');
                kept.push_str(host);
            }
            None => kept.push_str(authority),
        }
        rest = behind;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers like to have both in one file.
    #[test]
    fn a_key_beside_its_certificate_is_known_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let both = dir.path().join("both.pem");
        let certificate = "-----BEGIN CERTIFICATE-----\nMIICshown\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEcanary\n-----END PRIVATE KEY-----\n";
        std::fs::write(&both, format!("{certificate}{key}")).unwrap();
        let mut redactor = Redactor::default();
        redactor.learn_file(&both);
        assert_eq!(redactor.text("it read MIIEcanary"), "it read [redacted]");
        std::fs::write(&both, certificate).unwrap();
        let mut redactor = Redactor::default();
        redactor.learn_file(&both);
        assert_eq!(redactor.text("it read MIICshown"), "it read MIICshown");
    }

    #[test]
    fn what_is_known_and_what_looks_like_it_is_taken_out() {
        let mut redactor = Redactor::default();
        redactor.learn("canary-known-01\n");
        redactor.learn("two\"quoted\\canary-02");
        for (text, wanted) in [
            ("it said canary-known-01 twice: canary-known-01", "it said [redacted] twice: [redacted]"),
            ("{\"x\":\"two\\\"quoted\\\\canary-02\"}", "{\"x\":\"[redacted]\"}"),
            ("authorization: Bearer abcdef123456", "authorization: Bearer [redacted]"),
            ("token gs_0123456789abcdef of anna", "token gs_[redacted] of anna"),
            (
                "database = \"postgres://gs:hunter2@db.plant/gs\"",
                "database = \"postgres://[redacted]@db.plant/gs\"",
            ),
            ("client_secret = \"hunter2\"\n", "client_secret = \"[redacted]\"\n"),
            ("password_file = \"/etc/x\"\n", "password_file = \"/etc/x\"\n"),
            ("site = \"plant-7\"\n", "site = \"plant-7\"\n"),
            ("  \"password\": \"hunter2\",\n", "  \"password\": \"[redacted]\",\n"),
            ("  \"tokens\": [\n", "  \"tokens\": [\n"),
            ("spinning = \"yes\"\n", "spinning = \"yes\"\n"),
        ] {
            assert_eq!(redactor.text(text), wanted, "{text}");
        }
        let pem = "a\n-----BEGIN PRIVATE KEY-----\nMIIEcanary\n-----END PRIVATE KEY-----\nb\n-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n";
        let said = redactor.text(pem);
        assert!(
            !said.contains("canary")
                && said.contains("MIIC")
                && said.starts_with("a\n")
                && said.contains("\nb\n"),
            "{said}"
        );
    }
}
