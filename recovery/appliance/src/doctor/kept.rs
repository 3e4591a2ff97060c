//! What lies in the data directory, and what the configuration names: database, certificates, keys, boot kit, image store.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

use recovery_protocol::kit::BootKit;
use ring::digest;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{AS_ROOT, DAY_MS, Finding, Scene, Severity, ago, seen};
use crate::{boot::Kit, config::Config, db};

/// All of it.
pub fn look(scene: &Scene<'_>) -> Vec<Finding> {
    let config = scene.config;
    let mut found = Vec::new();
    if config.database.is_none() {
        found.extend(database(&config.data_dir.join(db::FILE)));
    }
    found.extend(certificate(scene));
    found.push(authority(scene));
    found.push(keys(&config.data_dir));
    found.extend(kit(config, scene.now_unix_ms));
    found.push(trust(config));
    found.push(scrubbed(&config.image_store(), scene.now_unix_ms));
    found.extend(refused(&config.data_dir));
    found
}

/// The file, its pages, its log of writes, its schema.
fn database(path: &Path) -> Vec<Finding> {
    const CHECK: &str = "database";
    if let Err(finding) = seen(CHECK, path) {
        return vec![finding];
    }
    let examined = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(db::examine::file(path)).map_err(|error| error.chain()));
    let examined = match examined {
        Ok(examined) => examined,
        Err(why) => {
            return vec![Finding::failure(
                CHECK,
                format!("{}: {why}", path.display()),
                "stop the appliance, keep the file, and restore the newest backup (`groundstate restore-state`)",
            )];
        }
    };
    let mib = |bytes: u64| bytes >> 20;
    let pages = Finding::ok(CHECK, format!("every page fits; {} MiB", mib(examined.bytes)));
    let severity = match mib(examined.wal_bytes) {
        0..64 => Severity::Ok,
        64..1024 => Severity::Warning,
        _ => Severity::Failure,
    };
    let wal = Finding::of(
        "database-wal",
        severity,
        format!("{} MiB are not in the database's file yet", mib(examined.wal_bytes)),
        "restart the appliance; if it grows again, something reads the database without an end",
    );
    let known = db::known();
    let schema = match examined.schema.cmp(&known) {
        std::cmp::Ordering::Equal => Finding::ok("schema", format!("{known}, which this program knows")),
        std::cmp::Ordering::Less => Finding::warning(
            "schema",
            format!("{} in the file, {known} in this program", examined.schema),
            "restart the appliance: it brings the database to its own schema",
        ),
        std::cmp::Ordering::Greater => Finding::failure(
            "schema",
            format!("{} in the file, {known} in this program", examined.schema),
            "this program is older than the appliance that wrote it: install that version again",
        ),
    };
    vec![pages, wal, schema]
}

/// The certificate that people's browsers and agents are shown: when it ends, whom it names.
fn certificate(scene: &Scene<'_>) -> Vec<Finding> {
    const ENDS: &str = "tls-expiry";
    let path = scene.config.data_dir.join("tls.crt");
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(error) => return vec![Finding::unknown(ENDS, format!("{}: {error}", path.display()), AS_ROOT)],
    };
    let parsed = x509_parser::pem::parse_x509_pem(&pem).ok().map(|(_, pem)| pem.contents);
    let Some(der) = parsed else {
        let remedy = "restart the appliance: it makes a new one for the same key";
        return vec![Finding::failure(ENDS, format!("{} holds no certificate", path.display()), remedy)];
    };
    match X509Certificate::from_der(&der) {
        Err(error) => {
            vec![Finding::failure(ENDS, format!("{}: {error}", path.display()), "restart the appliance")]
        }
        Ok((_, certificate)) => {
            let remedy = "restart the appliance: it makes a new one for the same key, and every pin stays";
            vec![ends(ENDS, &certificate, scene.now_unix_ms, remedy), names(&certificate, scene)]
        }
    }
}

/// When a certificate ends.
fn ends(check: &'static str, certificate: &X509Certificate<'_>, now_ms: u64, remedy: &str) -> Finding {
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let day = i64::try_from(DAY_MS / 1000).unwrap_or(1);
    let evidence = format!("good until {}, {} days", validity.not_after, (to - now) / day);
    match to - now {
        _ if now < from => {
            Finding::failure(check, format!("not good before {}", validity.not_before), "set the clock")
        }
        left if left <= 0 => Finding::failure(check, evidence, remedy),
        left if left < 14 * day => Finding::warning(check, evidence, remedy),
        _ => Finding::ok(check, evidence),
    }
}

/// The names by which the appliance is asked, against those of its certificate.
fn names(certificate: &X509Certificate<'_>, scene: &Scene<'_>) -> Finding {
    const CHECK: &str = "tls-names";
    let mut named = BTreeSet::new();
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => {
                named.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| std::net::IpAddr::from(octets).to_string());
                let v6 =
                    <[u8; 16]>::try_from(*bytes).map(|octets| std::net::IpAddr::from(octets).to_string());
                named.extend(v4.or(v6).ok());
            }
            _ => {}
        }
    }
    let mut wanted: Vec<String> = named_by(&scene.reach.url).into_iter().collect();
    wanted.extend(scene.config.provider.as_ref().and_then(|provider| named_by(&provider.address)));
    let list = named.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let missing: Vec<String> = wanted.into_iter().filter(|name| !named.contains(name)).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("it names {list}"));
    }
    let evidence = format!("asked by {}, and the certificate names {list}", missing.join(", "));
    Finding::warning(
        CHECK,
        evidence,
        "ask for the appliance by a name of its certificate; restart it after its addresses changed",
    )
}

/// The name in a URL, without port and brackets.
fn named_by(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// The embedded authority, whose certificates endpoints carry.
fn authority(scene: &Scene<'_>) -> Finding {
    const CHECK: &str = "authority";
    let path = scene.config.data_dir.join("ca/root.crt");
    let der = match fs::read(&path) {
        Ok(der) => der,
        Err(error) => return Finding::unknown(CHECK, format!("{}: {error}", path.display()), AS_ROOT),
    };
    match X509Certificate::from_der(&der) {
        Ok((_, certificate)) => {
            let remedy = "plan its successor: endpoints enrolled by it are enrolled anew by a recovery";
            ends(CHECK, &certificate, scene.now_unix_ms, remedy)
        }
        Err(error) => {
            Finding::failure(CHECK, format!("{}: {error}", path.display()), "restore it from a backup")
        }
    }
}

/// Whether others on this computer can read what is secret.
fn keys(data_dir: &Path) -> Finding {
    const CHECK: &str = "key-files";
    let files = ["operator.token", "tls.key", "evidence.key", "ca/root.key", db::FILE];
    let (mut open, mut looked) = (Vec::new(), 0);
    for name in files {
        match fs::metadata(data_dir.join(name)) {
            Ok(about) => {
                looked += 1;
                let mode = about.permissions().mode() & 0o7777;
                // The database is guarded by its directory where it is readable itself.
                if mode & 0o077 != 0 && name != db::FILE {
                    open.push(format!("{name} has mode {mode:04o}"));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Finding::unknown(CHECK, format!("{name}: {error}"), AS_ROOT),
        }
    }
    match (looked, open.is_empty()) {
        (0, _) => Finding::unknown(
            CHECK,
            format!("{} holds no keys", data_dir.display()),
            "name the data directory with --data-dir or --config",
        ),
        (_, true) => Finding::ok(CHECK, format!("{looked} files are for their owner alone")),
        (_, false) => Finding::failure(
            CHECK,
            open.join("; "),
            "`chmod 600` them, and make new ones where others use this computer: what could be read may be known",
        ),
    }
}

/// The boot kit: every file against its table of contents, who made its agent, and by whom it is signed.
fn kit(config: &Config, now_ms: u64) -> Vec<Finding> {
    const CHECK: &str = "boot-kit";
    let build = "build it: `groundstate-bootkit build`, and name it as `boot_kit_dir`";
    let Some(dir) = &config.boot_kit_dir else {
        return vec![Finding::unknown(
            CHECK,
            "no `boot_kit_dir` is named, or no configuration was (--config)",
            build,
        )];
    };
    let kit = match Kit::read(dir) {
        Ok(kit) => kit,
        Err(error) => return vec![Finding::failure(CHECK, error.to_string(), build)],
    };
    let files = kit.contents.files.len();
    let ours = env!("CARGO_PKG_VERSION");
    let agent = &kit.contents.agent_version;
    let age = match agent == ours {
        true => Finding::ok("agent-version", format!("{agent}, as this program")),
        false => Finding::warning(
            "agent-version",
            format!("{agent} in the kit, {ours} is this program"),
            "build the boot kit again",
        ),
    };
    vec![
        Finding::ok(
            CHECK,
            format!("{files} files are what kit.json lists; kernel {}", kit.contents.kernel_release),
        ),
        age,
        signing(dir, &kit, now_ms),
    ]
}

/// The certificate by which the kit's recovery system is signed for Secure Boot.
fn signing(dir: &Path, kit: &Kit, now_ms: u64) -> Finding {
    const CHECK: &str = "boot-signing";
    let remedy = "sign the kit with a certificate that the firmware has: `groundstate-bootkit build --help`";
    let Some(signer) = kit.signer() else {
        return Finding::warning(
            CHECK,
            "the recovery system is signed by nobody: endpoints with Secure Boot take the longer way by Debian's shim",
            remedy,
        );
    };
    let path = dir.join(BootKit::CERTIFICATE);
    let der = match fs::read(&path) {
        Ok(der) => der,
        Err(error) => return Finding::unknown(CHECK, format!("{}: {error}", path.display()), AS_ROOT),
    };
    if hex::encode(digest::digest(&digest::SHA256, &der)) != signer {
        return Finding::failure(
            CHECK,
            format!("{} is not the certificate that kit.json names", path.display()),
            remedy,
        );
    }
    match X509Certificate::from_der(&der) {
        Ok((_, certificate)) => ends(CHECK, &certificate, now_ms, remedy),
        Err(error) => Finding::failure(CHECK, format!("{}: {error}", path.display()), remedy),
    }
}

/// Whom endpoints trust for images.
fn trust(config: &Config) -> Finding {
    const CHECK: &str = "image-trust";
    let path = config.trust_root();
    let remedy = "make it, or carry it here: `groundstate image root new`";
    match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::failure(CHECK, format!("there is no {}: no image is trusted", path.display()), remedy)
        }
        Err(error) => Finding::unknown(CHECK, format!("{}: {error}", path.display()), AS_ROOT),
        Ok(bytes) => match serde_json::from_slice::<images::SignedTrustRoot>(&bytes) {
            Err(error) => Finding::failure(CHECK, format!("{}: {error}", path.display()), remedy),
            Ok(root) => match root.check() {
                Ok(()) => Finding::ok(CHECK, format!("{} is signed by enough of its keys", path.display())),
                Err(error) => Finding::failure(
                    CHECK,
                    format!("{}: {error}", path.display()),
                    "have it signed: `groundstate image root sign`",
                ),
            },
        },
    }
}

/// When every byte of the image store was read and compared last.
fn scrubbed(store: &Path, now_ms: u64) -> Finding {
    const CHECK: &str = "image-scrub";
    let remedy = "read it all, once a month: `groundstate image scrub`";
    if let Err(finding) = seen(CHECK, store) {
        return finding;
    }
    let path = store.join(crate::cli::SCRUBBED);
    let at = match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice::<crate::cli::ReadWhole>(&bytes).map_err(|error| error.to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::warning(CHECK, "it was never read whole", remedy);
        }
        Err(error) => Err(error.to_string()),
    };
    match at {
        Err(why) => Finding::unknown(CHECK, format!("{}: {why}", path.display()), AS_ROOT),
        Ok(mark) => {
            let age = now_ms.saturating_sub(mark.at_unix_ms);
            let evidence = format!("every byte was read and compared {}", ago(age));
            match age {
                0..=2_764_800_000 => Finding::ok(CHECK, evidence),
                _ => Finding::warning(CHECK, evidence, remedy),
            }
        }
    }
}

/// A configuration that kept the appliance from starting.
fn refused(data_dir: &Path) -> Option<Finding> {
    let text = fs::read(data_dir.join("refused-start.json")).ok()?;
    let refused: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let evidence = format!("{} was refused {} times: {}", refused["file"], refused["count"], refused["why"]);
    Some(Finding::failure("refused-start", evidence, "`groundstate config check` names what to mend"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_out_of_an_address() {
        assert_eq!(named_by("https://Appliance.plant:8443/x").as_deref(), Some("appliance.plant"));
        assert_eq!(named_by("https://[fe80::1]:443").as_deref(), Some("fe80::1"));
        assert_eq!(named_by("https://127.0.0.1").as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn a_key_that_others_can_read_is_a_failure_and_none_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(keys(dir.path()).severity, Severity::Unknown);
        let key = dir.path().join("tls.key");
        fs::write(&key, "x").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(keys(dir.path()).severity, Severity::Ok);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let finding = keys(dir.path());
        assert!(finding.severity == Severity::Failure && finding.evidence.contains("0644"), "{finding:?}");
    }

    #[test]
    fn a_store_says_when_it_was_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let now = 100 * DAY_MS;
        assert_eq!(scrubbed(&dir.path().join("none"), now).severity, Severity::Unknown);
        assert_eq!(scrubbed(dir.path(), now).severity, Severity::Warning);
        for (at, wanted) in [(now - DAY_MS, Severity::Ok), (now - 60 * DAY_MS, Severity::Warning)] {
            fs::write(dir.path().join(crate::cli::SCRUBBED), format!("{{\"at_unix_ms\":{at}}}")).unwrap();
            assert_eq!(scrubbed(dir.path(), now).severity, wanted);
        }
        fs::write(dir.path().join(crate::cli::SCRUBBED), "x").unwrap();
        assert_eq!(scrubbed(dir.path(), now).severity, Severity::Unknown);
    }

    #[test]
    fn a_database_that_is_damaged_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        fs::write(&path, [7_u8; 8192]).unwrap();
        let found = database(&path);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Failure), "{found:?}");
        assert_eq!(database(&dir.path().join("none"))[0].severity, Severity::Unknown);
    }
}
