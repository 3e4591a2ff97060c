//! Where the depot is: the table `[images] depot` of the configuration, the only setting there is about it.
//!
//! ```toml
//! [images]
//! depot = { endpoint = "https://s3.plant-7.example", bucket = "golden", credentials_file = "depot.credentials" }
//! ```
//!
//! The command line reads the same table of the same file, so that a signer's computer needs a file with this table and
//! nothing else. Secrets stand in the file that it names.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

/// The depot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Address of the S3 service, without the bucket.
    pub endpoint: String,
    /// The bucket; it is there already.
    pub bucket: String,
    /// Part of the bucket that is the depot; default: all of it.
    #[serde(default)]
    pub prefix: String,
    /// Region, where the service has any.
    #[serde(default = "usual_region")]
    pub region: String,
    /// The access key: a shared credentials file of AWS.
    pub credentials_file: PathBuf,
    /// Certificate authorities for the address, PEM; default: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Speak plain HTTP: whoever listens sees the images, and cannot alter them.
    #[serde(default)]
    pub plain_http: bool,
    /// Minutes between two looks for newly approved images, which the appliance then pulls by itself; 0: it never does.
    #[serde(default = "usual_follow")]
    pub follow_minutes: u64,
    /// GiB that the image store may have: beyond, images go that the depot has and no recovery would use, those first that were not used
    /// for longest. Default: nothing goes.
    #[serde(default)]
    pub store_gib_max: Option<u64>,
}

fn usual_follow() -> u64 {
    10
}

fn usual_region() -> String {
    "us-east-1".to_owned()
}

/// Part of a configuration file: what is about images.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// The object store behind the image store. None: images are here only.
    pub depot: Option<Setting>,
}

/// Why a file names no depot.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The file.
    #[error("{path} cannot be read; name the configuration with --config", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its text.
    #[error("{path} is wrong", path = path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Line, column and key.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value that cannot work.
    #[error("{path}: `images.depot.{key}` {why}; {now}", path = path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
        /// What to write instead.
        now: &'static str,
    },
    /// No depot in it.
    #[error(
        "{path} has no depot; add `depot = {{ endpoint = \"https://…\", bucket = \"…\", credentials_file = \"…\" }}` to its table [images]",
        path = path.display()
    )]
    None {
        /// Which file.
        path: PathBuf,
    },
}

impl Setting {
    /// The depot that a configuration file names; what else stands there is for the daemon to judge.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn load(path: &Path) -> Result<Self, SettingError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            images: Images,
        }
        let path_of = || path.to_owned();
        let file: File = read(path)?;
        let mut setting = file.images.depot.ok_or_else(|| SettingError::None { path: path_of() })?;
        setting.resolve(path.parent().unwrap_or(Path::new(".")));
        match setting.wrong() {
            None => Ok(setting),
            Some((key, why, now)) => Err(SettingError::Value { path: path_of(), key, why, now }),
        }
    }

    /// Take relative paths from this directory.
    pub fn resolve(&mut self, base: &Path) {
        for path in [Some(&mut self.credentials_file), self.ca_file.as_mut()].into_iter().flatten() {
            *path = base.join(&*path);
        }
    }

    /// As [`Setting::store_gib_max`], in bytes.
    #[must_use]
    pub fn store_bytes_max(&self) -> Option<u64> {
        self.store_gib_max.map(|gib| gib.saturating_mul(1 << 30))
    }

    /// A key whose value cannot work, what is wrong with it, and what to write instead.
    #[must_use]
    pub fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let plain = match self.endpoint.split_once("://") {
            Some(("https", _)) => false,
            Some(("http", _)) => true,
            _ => {
                return Some((
                    "endpoint",
                    format!("is {}, no https address", self.endpoint),
                    "write https://HOST[:PORT]",
                ));
            }
        };
        let rest = self.endpoint.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
        if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
            let now = "write https://HOST[:PORT]; bucket, prefix and key have keys of their own";
            return Some(("endpoint", format!("is {}, more or less than an address", self.endpoint), now));
        }
        if plain && !self.plain_http {
            let now = "write https, or add plain_http = true: whoever listens sees the images then";
            return Some(("endpoint", "is plain http".to_owned(), now));
        }
        if self.store_gib_max == Some(0) {
            let now = "write how many GiB of disk the images may have, or leave it out: then none goes";
            return Some(("store_gib_max", "is 0, so no image could be here".to_owned(), now));
        }
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.chars().all(good) {
            let now = "write 3 to 63 characters a-z, 0-9, `-`, `.`";
            return Some(("bucket", format!("is `{}`, no bucket's name", self.bucket), now));
        }
        let good = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if !self.prefix.is_empty() && !self.prefix.split('/').all(good) {
            return Some((
                "prefix",
                format!("is `{}`", self.prefix),
                "write names of a-z, 0-9, `-`, `_`, `.` with `/` between them",
            ));
        }
        None
    }
}

/// Names and versions of images that the blueprints of a configuration file ask for by both; none where it has no blueprints.
///
/// # Errors
/// [`SettingError`], also where one of them does not say its image: what it needs is not known then.
pub fn pinned(path: &Path) -> Result<HashSet<(String, String)>, SettingError> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        blueprints: BTreeMap<String, Pin>,
    }
    /// Part of a [`crate::config::Blueprint`].
    #[derive(Deserialize)]
    struct Pin {
        image: String,
        version: Option<String>,
    }
    let file: File = read(path)?;
    Ok(file.blueprints.into_values().filter_map(|pin| Some((pin.image, pin.version?))).collect())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, SettingError> {
    let path_of = || path.to_owned();
    let text =
        fs::read_to_string(path).map_err(|source| SettingError::Unreadable { path: path_of(), source })?;
    toml::from_str(&text).map_err(|source| SettingError::Syntax { path: path_of(), source: Box::new(source) })
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint.trim_end_matches('/'), self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(table: &str) -> Result<Setting, SettingError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groundstate.toml");
        fs::write(&path, table).unwrap();
        Setting::load(&path).map(|mut setting| {
            setting.credentials_file = setting.credentials_file.strip_prefix(dir.path()).unwrap().to_owned();
            setting
        })
    }

    fn depot(more: &str) -> String {
        format!(
            "site = \"a\"\n[images]\ndepot = {{ bucket = \"golden\", credentials_file = \"c\", {more} }}\n"
        )
    }

    #[test]
    fn one_table_is_enough_and_paths_are_taken_from_its_file() {
        let setting = load(&depot("endpoint = \"https://s3.example:9000/\"")).unwrap();
        assert_eq!(setting.credentials_file, Path::new("c"));
        assert_eq!(
            (setting.to_string().as_str(), setting.region.as_str()),
            ("https://s3.example:9000/golden", "us-east-1")
        );
        let plain =
            load(&depot("endpoint = \"http://127.0.0.1:1\", plain_http = true, prefix = \"a/b\"")).unwrap();
        assert_eq!(plain.to_string(), "http://127.0.0.1:1/golden/a/b");
    }

    #[test]
    fn the_versions_that_blueprints_ask_for_are_read_from_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groundstate.toml");
        let text =
            "[blueprints.a]\nimage = \"hmi\"\nversion = \"2\"\nrto_s = 60\n[blueprints.b]\nimage = \"plc\"\n";
        fs::write(&path, depot("endpoint = \"https://a\"") + text).unwrap();
        assert_eq!(pinned(&path).unwrap(), HashSet::from([("hmi".to_owned(), "2".to_owned())]));
        fs::write(&path, depot("endpoint = \"https://a\"")).unwrap();
        assert_eq!(pinned(&path).unwrap(), HashSet::new());
        fs::write(&path, "[blueprints.a]\nversion = \"2\"\n").unwrap();
        assert!(matches!(pinned(&path), Err(SettingError::Syntax { .. })));
    }

    #[test]
    fn what_cannot_work_is_named_with_its_key_and_the_remedy() {
        let refused = |table: &str| load(table).unwrap_err();
        assert!(matches!(refused("site = \"a\""), SettingError::None { .. }));
        assert!(matches!(refused("[images"), SettingError::Syntax { .. }));
        assert!(matches!(
            refused(&depot("endpoint = \"https://a\", secret = \"x\"")),
            SettingError::Syntax { .. }
        ));
        assert!(matches!(Setting::load(Path::new("/no/such/file")), Err(SettingError::Unreadable { .. })));
        for (wrong, key) in [
            ("endpoint = \"s3.example\"", "endpoint"),
            ("endpoint = \"ftp://a\"", "endpoint"),
            ("endpoint = \"http://a\"", "endpoint"),
            ("endpoint = \"https://a/bucket\"", "endpoint"),
            ("endpoint = \"https://user:word@a\"", "endpoint"),
            ("endpoint = \"https://\"", "endpoint"),
            ("endpoint = \"https://a\", prefix = \"/a\"", "prefix"),
            ("endpoint = \"https://a\", prefix = \"a/../b\"", "prefix"),
            ("endpoint = \"https://a\", store_gib_max = 0", "store_gib_max"),
        ] {
            assert!(
                matches!(refused(&depot(wrong)), SettingError::Value { key: found, .. } if found == key),
                "{wrong}"
            );
        }
        let bucket = depot("endpoint = \"https://a\"").replace("golden", "No Bucket");
        assert!(matches!(refused(&bucket), SettingError::Value { key: "bucket", .. }));
    }
}
