//! What the appliance stands on, said at each start: how it encrypts and signs (`crypto.inventory`), and what listens on its computer (`surface.scan`), its
//! own and what is not. An auditor holds the one against a policy and the other against the table of ports in README.
//!
//! It must never: say what it did not look at, or name a key's bytes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Fact;
use crate::{config::Config, jobs::journal::Journal, passwords, seal};

/// Ports that are listed.
const LISTED_MOST: usize = 200;

/// Write both down. What cannot be written is in the log of the appliance: a start does not fail by it.
pub async fn write_down(journal: &Journal) {
    let surface = surface(Path::new("/proc/self"));
    for (kind, facts) in [("crypto.inventory", crypto(&journal.config)), ("surface.scan", surface)] {
        if let Err(error) = journal.note(Fact::new(kind, "appliance", facts)).await {
            tracing::error!(kind, %error, "not in evidence");
        }
    }
}

fn crypto(config: &Config) -> Value {
    let ring = rustls::crypto::ring::default_provider();
    let suites: Vec<String> = ring.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    let groups: Vec<String> = ring.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
    let keys: Vec<Value> = seal::at_rest(&config.data_dir)
        .into_iter()
        .map(|(key, sealed)| {
            let algorithm = match key.as_str() {
                "evidence.key" => "Ed25519",
                "boot-ca/root.key" | "boot-ca/server.key" => "RSA",
                other if other.starts_with("secrets/") => "a secret of another's",
                _ => "ECDSA P-256",
            };
            json!({ "key": key, "algorithm": algorithm, "sealed": sealed })
        })
        .collect();
    json!({
        "tls": { "versions": ["TLS 1.3", "TLS 1.2"], "suites": suites, "groups": groups },
        "keys": keys,
        "seal": config.secrets.as_ref().map(|secrets| secrets.seal.name()),
        "passwords": passwords::how(),
        "tokens": "SHA-256 of 256 random bits",
        "log": "SHA-256 Merkle tree (RFC 6962), Ed25519 checkpoints",
        "images": "BLAKE3, Ed25519 signatures",
        "backup": "age: scrypt, ChaCha20-Poly1305",
    })
}

/// A socket that listens.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listens {
    protocol: &'static str,
    port: u16,
    /// On this computer alone.
    inside: bool,
    ours: bool,
}

fn surface(process: &Path) -> Value {
    let own = own_sockets(process);
    let (mut found, mut unread) = (BTreeSet::new(), Vec::new());
    for (table, protocol) in [("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")] {
        match fs::read_to_string(process.join("net").join(table)) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(|line| listens(line, protocol, &own))),
            Err(error) => unread.push(format!("{table}: {error}")),
        }
    }
    let shown = found.iter().take(LISTED_MOST).map(|one| {
        json!({ "protocol": one.protocol, "port": one.port, "inside_only": one.inside, "ours": one.ours })
    });
    let shown: Vec<Value> = shown.collect();
    json!({ "listening": shown, "sockets": found.len(), "unread": unread })
}

/// Numbers of this process' sockets.
fn own_sockets(process: &Path) -> BTreeSet<u64> {
    let links = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let number = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    links.filter_map(number).collect()
}

/// A line of the kernel's table (proc(5)), where it is a socket that waits for others.
fn listens(line: &str, protocol: &'static str, own: &BTreeSet<u64>) -> Option<Listens> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(1)?.rsplit_once(':')?;
    // TCP_LISTEN, and of UDP a socket that is nobody's alone (TCP_CLOSE).
    if *words.get(3)? != (if protocol == "tcp" { "0A" } else { "07" }) {
        return None;
    }
    let inside =
        address.len() == 8 && address.ends_with("7F") || address == "00000000000000000000000001000000";
    let inode: u64 = words.get(9)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listens { protocol, port, inside, ours: own.contains(&inode) })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn what_listens_is_listed_with_whose_it_is() {
        let inside = TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
        let _open = TcpStream::connect(inside.local_addr().unwrap()).unwrap();
        let facts = surface(Path::new("/proc/self"));
        let one = |protocol: &str, port: u16| {
            let all = facts["listening"].as_array().unwrap();
            let all = all.iter().filter(|one| one["protocol"] == protocol && one["port"] == port);
            all.cloned().collect::<Vec<Value>>()
        };
        let tcp = inside.local_addr().unwrap().port();
        let expected = |protocol: &str, port: u16, inside: bool| {
            vec![json!({ "protocol": protocol, "port": port, "inside_only": inside, "ours": true })]
        };
        // A machine with more than are listed shows the lowest ones.
        if facts["sockets"].as_u64().unwrap() <= LISTED_MOST as u64 {
            assert_eq!(one("tcp", tcp), expected("tcp", tcp, true), "once, though somebody is connected");
            let udp = everywhere.local_addr().unwrap().port();
            assert_eq!(one("udp", udp), expected("udp", udp, false));
        }
        let other = surface(Path::new("/proc/no such process"));
        assert_eq!(
            (other["listening"].as_array().unwrap().len(), other["unread"].as_array().unwrap().len()),
            (0, 4)
        );
    }

    #[test]
    fn a_line_of_the_kernels_table_is_read_as_it_is_written() {
        let own = BTreeSet::from([4242]);
        let ssh = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0 100 0 0 10 0";
        assert_eq!(
            listens(ssh, "tcp", &own),
            Some(Listens { protocol: "tcp", port: 22, inside: false, ours: false })
        );
        let ours = ssh.replace("00000000:0016", "0100007F:01BB").replace(" 17 1", " 4242 1");
        assert_eq!(
            listens(&ours, "tcp", &own),
            Some(Listens { protocol: "tcp", port: 443, inside: true, ours: true })
        );
        assert_eq!(listens(&ssh.replace(" 0A ", " 01 "), "tcp", &own), None);
        assert_eq!(listens("  sl  local_address", "tcp", &own), None);
    }

    #[test]
    fn how_it_encrypts_is_what_the_libraries_say_and_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys = crate::keys::Keys::open(&dir.path().join("state"), &["a".to_owned()], &[]).unwrap();
        let config = Config::parse("data_dir = \"state\"", &dir.path().join("g.toml")).unwrap();
        let facts = crypto(&config);
        assert_eq!(
            facts["keys"][0],
            json!({ "key": "tls.key", "algorithm": "ECDSA P-256", "sealed": false })
        );
        assert_eq!(facts["keys"].as_array().unwrap().len(), 2, "those that are there");
        assert!(
            facts["tls"]["suites"]
                .as_array()
                .unwrap()
                .iter()
                .any(|suite| suite == "TLS13_AES_256_GCM_SHA384"),
            "{facts}"
        );
        assert!(facts["passwords"].as_str().unwrap().starts_with("Argon2id"), "{facts}");
        assert!(!facts.to_string().contains(&keys.tls_key_pem[40..80]));
    }
}
