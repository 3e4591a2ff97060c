//! What lies in an image's files that does not belong in a golden image: secrets, and what is one endpoint's own.
//!
//! ```text
//!   partitions ─ Files ─ list, in plausible places ─┬─ by path: host keys, machine id, seeds, leases, histories, credentials
//!                                                   └─ by content, up to 64 KiB: private keys
//! ```
//!
//! It only warns. It looks into /etc, /root, /home, /opt, /srv, /var/lib and /usr/local of a root filesystem, and into all of another
//! one; not into packages' own records and containers. Certificates are public, and so are keys that packages test themselves with.

use std::fmt;
use std::path::Path;

use super::{Examination, Warning};
use crate::disk::{ESP_TYPE, ReadDisk};
use crate::files::{Entry, Files, FilesError, Kind, Shown};

/// Files up to this length are read.
const READ_LEN_MAX: u64 = 64 << 10;
/// So many files of a partition are read at most.
const READ_FILES_MAX: usize = 50_000;
/// So many places are named.
const NAMED_MAX: usize = 3;
/// Where a root filesystem is looked into.
const PLACES: [&str; 7] = ["/etc", "/root", "/home", "/opt", "/srv", "/var/lib", "/usr/local"];
/// Large, and made by programs that keep no secrets of the site there.
const PASSED: [&str; 8] = [
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/lib/rpm",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/flatpak",
    "/var/lib/snapd",
];
/// Files with these endings are documents, pictures and compiled programs: what looks like a key there is an example.
const NO_KEYS: [&str; 20] = [
    "a", "c", "cpp", "css", "gif", "go", "h", "hpp", "html", "jpg", "md", "mo", "o", "png", "pyc", "rs",
    "rst", "so", "svg", "ttf",
];
/// A directory of this name holds keys that are published.
const PUBLISHED: [&str; 8] = ["test", "tests", "testdata", "fixtures", "example", "examples", "doc", "docs"];

/// What was found, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Private keys.
    #[error(
        "private keys lie in the image: {0}. Whoever gets the image gets them, and all endpoints share them; remove them when building it, and let each endpoint enrol for its own"
    )]
    PrivateKeys(Places),
    /// Passwords and tokens.
    #[error(
        "passwords or tokens lie in the image: {0}. Whoever gets the image gets them; remove them when building it, and give them to endpoints after a restore"
    )]
    Credentials(Places),
    /// Accounts with a password.
    #[error(
        "accounts have a password that all endpoints share, and whoever gets the image can try to guess it: {0}. Lock them when building the image (`passwd --lock`), or give passwords after a restore"
    )]
    Passwords(Places),
    /// Accounts with an empty password.
    #[error("accounts have an empty password: {0}. Lock them when building the image (`passwd --lock`)")]
    NoPasswords(Places),
    /// SSH host keys.
    #[error(
        "SSH host keys lie in the image: {0}. Each endpoint could pass for any other; remove them when building the image, and have them made at first boot (`ssh-keygen -A`)"
    )]
    HostKeys(Places),
    /// A machine id.
    #[error(
        "the image has a machine id: {0}. All endpoints would share it, and with it DHCP leases and journals; make the file empty when building the image, or write `uninitialized`"
    )]
    MachineId(Places),
    /// Seeds of random numbers.
    #[error(
        "seeds of random numbers lie in the image: {0}. All endpoints would start from the same one; remove them when building the image"
    )]
    RandomSeed(Places),
    /// Leases of an address.
    #[error(
        "leases of network addresses lie in the image: {0}. Endpoints would ask for one another's address; remove them when building the image"
    )]
    Leases(Places),
    /// cloud-init has run.
    #[error(
        "cloud-init has run in the image: {0}. It will not run again on endpoints; run `cloud-init clean --machine-id` when building the image"
    )]
    CloudInit(Places),
    /// Shell histories.
    #[error(
        "command histories lie in the image: {0}. They often hold passwords; remove them when building the image"
    )]
    Histories(Places),
    /// Files were not looked at.
    #[error("the files of partition {number} were not looked at for secrets: {why}")]
    NotLookedAt {
        /// The partition, from 1.
        number: u32,
        /// Why.
        why: String,
    },
    /// Some files were not looked at.
    #[error(
        "not looked at for secrets, since they cannot be read: {0}. Check the filesystem with fsck when building the image"
    )]
    Unread(Places),
}

/// Some places, and how many more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The first ones.
    pub named: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl Places {
    fn add(&mut self, place: String) {
        match self.named.len() < NAMED_MAX {
            true => self.named.push(place),
            false => self.more += 1,
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// What is looked for, in the order of the warnings.
#[derive(Clone, Copy)]
enum What {
    PrivateKeys,
    Credentials,
    Passwords,
    NoPasswords,
    HostKeys,
    MachineId,
    RandomSeed,
    Leases,
    CloudInit,
    Histories,
    Unread,
}

const MAKE: [fn(Places) -> Finding; 11] = [
    Finding::PrivateKeys,
    Finding::Credentials,
    Finding::Passwords,
    Finding::NoPasswords,
    Finding::HostKeys,
    Finding::MachineId,
    Finding::RandomSeed,
    Finding::Leases,
    Finding::CloudInit,
    Finding::Histories,
    Finding::Unread,
];

/// Look into every partition.
pub(super) fn look(disk: &dyn ReadDisk, examination: &Examination) -> Vec<Warning> {
    let sector = u64::from(examination.disk.sector_size);
    let (mut found, mut warnings) = (<[Places; 11]>::default(), Vec::new());
    for p in &examination.table.partitions {
        let range = p.first_lba * sector..(p.last_lba + 1) * sector;
        let number = p.index + 1;
        let looked = match Files::open(disk, range) {
            Ok(Some(files)) => Look { files: &files, number, found: &mut found }.all(),
            Ok(None) if ["xfs", "ntfs", "btrfs"].contains(&p.filesystem.as_str()) => {
                Err(format!("files in {} are not read here", p.filesystem))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(why(&error)),
        };
        // Of an EFI system partition the examination has said so.
        if let Err(why) = looked
            && p.type_guid != ESP_TYPE
        {
            warnings.push(Finding::NotLookedAt { number, why }.into());
        }
    }
    let found = MAKE.iter().zip(found).filter(|(_, places)| !places.named.is_empty());
    found.map(|(make, places)| make(places).into()).chain(warnings).collect()
}

fn why(error: &FilesError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

struct Look<'l, 'd> {
    files: &'l Files<'d>,
    number: u32,
    found: &'l mut [Places; 11],
}

impl Look<'_, '_> {
    fn all(&mut self) -> Result<(), String> {
        let top = self.files.list(&mut |_| false).map_err(|error| why(&error))?;
        let is_root = top.entries.iter().any(|e| e.path == Path::new("/etc") && e.kind == Kind::Directory);
        let listing = self.files.list(&mut |path| wanted(path, is_root)).map_err(|error| why(&error))?;
        for (path, error) in &listing.unread {
            if path == Path::new("/") {
                return Err(why(error));
            }
            self.add(What::Unread, path);
        }
        let mut read = 0;
        for entry in listing.entries.iter().filter(|e| e.kind == Kind::File && e.len > 0) {
            match self.by_path(entry) {
                Some(what) => self.add(what, &entry.path),
                None if entry.len > READ_LEN_MAX || is_published(&entry.path) => {}
                None if read >= READ_FILES_MAX => {
                    return Err(format!("all but the first {READ_FILES_MAX}, which are too many to look at"));
                }
                None => {
                    read += 1;
                    match self.files.read(entry, READ_LEN_MAX) {
                        Ok(bytes) => self.by_content(&entry.path, &bytes),
                        Err(_) => self.add(What::Unread, &entry.path),
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, what: What, path: &Path) {
        let place = format!("{} (partition {})", Shown(path), self.number);
        self.found[what as usize].add(place);
    }

    /// What a file is by its name alone; it is not empty.
    fn by_path(&self, entry: &Entry) -> Option<What> {
        let path = entry.path.to_str()?;
        let name = entry.path.file_name()?.to_str()?;
        let is_lease = name.ends_with(".lease") || name.ends_with(".leases");
        match () {
            () if path.contains("/ssh/ssh_host_") && name.ends_with("_key") => Some(What::HostKeys),
            () if name == "random-seed" => Some(What::RandomSeed),
            () if is_lease && path.contains("/lib/") => Some(What::Leases),
            () if path.ends_with("/cloud/data/instance-id") => Some(What::CloudInit),
            () if name.starts_with('.') && name.ends_with("_history") => Some(What::Histories),
            () if path.ends_with("/.config/gcloud/credentials.db") => Some(What::Credentials),
            () if is_published(&entry.path) => None,
            () if [".p12", ".pfx", ".jks"].iter().any(|end| name.ends_with(end)) => Some(What::PrivateKeys),
            () => None,
        }
    }

    fn by_content(&mut self, path: &Path, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let at = path.to_string_lossy();
        if at.ends_with("/etc/shadow") {
            return self.shadow(&text);
        }
        if ["/etc/machine-id", "/dbus/machine-id"].iter().any(|end| at.ends_with(end)) {
            return match text.trim() {
                "" | "uninitialized" => {}
                _ => self.add(What::MachineId, path),
            };
        }
        if has_private_key(&text) {
            self.add(What::PrivateKeys, path);
        } else if has_credentials(&at, &text) {
            self.add(What::Credentials, path);
        }
    }

    /// `shadow(5)`: name, hash, and more, between colons. What `crypt(3)` makes starts with `$` or `_`, or has 13 characters.
    fn shadow(&mut self, text: &str) {
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(account), Some(hash)) = (fields.next(), fields.next()) else { continue };
            let account: String = account.chars().filter(|char| !char.is_control()).collect();
            match hash {
                "" => self.found[What::NoPasswords as usize].add(account),
                hash if hash.starts_with(['$', '_']) || (hash.len() == 13 && !hash.contains(['!', '*'])) => {
                    self.found[What::Passwords as usize].add(account);
                }
                _ => {}
            }
        }
    }
}

/// Whether to look into a directory.
fn wanted(path: &Path, is_root: bool) -> bool {
    let on_the_way = PLACES.iter().any(|place| path.starts_with(place) || Path::new(place).starts_with(path));
    (!is_root || on_the_way) && !PASSED.iter().any(|passed| path.starts_with(passed))
}

fn is_published(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    NO_KEYS.iter().any(|no| ending == *no)
        || path.iter().any(|part| PUBLISHED.iter().any(|name| part == *name))
}

/// Whether there is a private key in a text: its first line alone is found in programs, too.
fn has_private_key(text: &str) -> bool {
    if text.starts_with("PuTTY-User-Key-File-") {
        return true;
    }
    text.split("-----BEGIN ").skip(1).any(|rest| {
        let Some((label, body)) = rest.split_once("-----") else { return false };
        let private = label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK");
        // In JSON, lines end with a backslash and an n.
        let mut lines = body.split(['\n', '\r']).flat_map(|line| line.split("\\n")).map(str::trim);
        // Some have header fields first (RFC 1421, section 4.6).
        let first = lines.find(|line| !line.is_empty() && !line.contains(": ")).unwrap_or_default();
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        private && first.len() >= 40 && first.bytes().all(is_base64)
    })
}

/// End of a path, without the last name's directory if it starts with a slash; and what one of its lines has.
const CREDENTIALS: [(&str, &[&str]); 15] = [
    ("/.netrc", &["password "]),
    ("/.pgpass", &[":"]),
    ("/.my.cnf", &["password="]),
    ("/.aws/credentials", &["aws_secret_access_key"]),
    ("/.azure/msal_token_cache.json", &["\"secret\""]),
    ("/.config/gcloud/application_default_credentials.json", &["\"refresh_token\"", "\"private_key\""]),
    ("/.docker/config.json", &["\"auth\"", "\"identitytoken\""]),
    ("/.kube/config", KUBE),
    ("/.git-credentials", &["://"]),
    ("/.npmrc", &["_authToken=", "_password="]),
    ("/.pypirc", &["password"]),
    ("/etc/rancher/k3s/k3s.yaml", KUBE),
    ("/etc/ppp/chap-secrets", &[" "]),
    ("/etc/ppp/pap-secrets", &[" "]),
    ("/etc/ipsec.secrets", &["PSK "]),
];
const KUBE: &[&str] = &["client-key-data:", "token:", "password:"];
/// Part of a path, and what one of its lines has.
const CREDENTIALS_IN: [(&str, &[&str]); 5] = [
    ("/NetworkManager/system-connections/", &["psk=", "password=", "wep-key0="]),
    ("/wpa_supplicant", &["psk=", "password=", "wep_key0="]),
    ("/etc/kubernetes/", KUBE),
    ("/etc/wireguard/", &["PrivateKey =", "PrivateKey=", "PresharedKey =", "PresharedKey="]),
    ("/etc/systemd/network/", &["PrivateKey=", "PresharedKey="]),
];

fn has_credentials(path: &str, text: &str) -> bool {
    let by_end = CREDENTIALS.iter().filter(|(end, _)| path.ends_with(end));
    let by_part = CREDENTIALS_IN.iter().filter(|(part, _)| path.contains(part));
    let mut marks = by_end.chain(by_part).flat_map(|(_, marks)| *marks);
    marks.any(|mark| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        // What is named and has no value is not set.
        lines.filter_map(|line| line.split_once(mark)).any(|(_, value)| !value.trim().is_empty())
    })
}

#[cfg(test)]
mod tests;
