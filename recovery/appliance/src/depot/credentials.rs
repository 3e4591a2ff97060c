//! The depot's access key, from a shared credentials file as AWS tools keep it.
//!
//! ```text
//!   [default]
//!   aws_access_key_id = …
//!   aws_secret_access_key = …
//!   aws_session_token = …          (only for keys that are lent)
//! ```
//!
//! Only the profile `default` is read. A file that everybody may read is refused: it is a secret no more.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use object_store::aws::AwsCredential;

use crate::seal;

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("the credentials file {path} cannot be read; create it with the depot's access key, mode 0600", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Everybody can read it.
    #[error("everybody may read the credentials file {path}; `chmod 600` it, and give the depot a new key", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// A key is missing.
    #[error("the credentials file {path} has no `{key}` in its profile [default]; add it", path = path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
}

/// Read the file.
pub fn read(path: &Path) -> Result<AwsCredential, CredentialsError> {
    let unreadable = |source| CredentialsError::Unreadable { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(CredentialsError::Open { path: path.to_owned() });
    }
    let text = seal::secret(path).map_err(unreadable)?;
    let value = |wanted: &'static str| {
        let value = default_profile(&text).find(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned());
        value.ok_or(CredentialsError::Missing { path: path.to_owned(), key: wanted })
    };
    Ok(AwsCredential {
        key_id: value("aws_access_key_id")?,
        secret_key: value("aws_secret_access_key")?,
        token: value("aws_session_token").ok(),
    })
}

/// Keys and values of the profile; lines before any profile belong to it.
fn default_profile(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut profile = "default";
    text.lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            profile = name.trim();
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        (profile == "default" && !line.starts_with(['#', ';']) && !value.is_empty())
            .then(|| (key.trim(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> Result<AwsCredential, CredentialsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(&path)
    }

    const OTHER: &str = "[other]\naws_access_key_id = x\naws_secret_access_key = y\n";

    #[test]
    fn the_default_profile_is_read_and_no_other() {
        let text =
            format!("{OTHER}[default]\n# a note = 1\naws_access_key_id=key\naws_secret_access_key = a=b/+\n");
        let read = file(&text, 0o600).unwrap();
        assert_eq!((read.key_id.as_str(), read.secret_key.as_str(), read.token), ("key", "a=b/+", None));
        let lent =
            file("aws_access_key_id = k\naws_secret_access_key = s\naws_session_token = t\n", 0o640).unwrap();
        assert_eq!(lent.token.as_deref(), Some("t"));
    }

    #[test]
    fn what_is_missing_or_open_has_its_own_error_and_shows_no_secret() {
        assert!(matches!(
            file(OTHER, 0o600),
            Err(CredentialsError::Missing { key: "aws_access_key_id", .. })
        ));
        let half = file("[default]\naws_access_key_id = k\naws_secret_access_key =\n", 0o600);
        assert!(matches!(half, Err(CredentialsError::Missing { key: "aws_secret_access_key", .. })));
        let open = file("[default]\naws_secret_access_key = hunter2\n", 0o644).unwrap_err();
        assert!(matches!(open, CredentialsError::Open { .. }) && !format!("{open:?}").contains("hunter2"));
        assert!(matches!(read(Path::new("/no/such")), Err(CredentialsError::Unreadable { .. })));
    }
}
