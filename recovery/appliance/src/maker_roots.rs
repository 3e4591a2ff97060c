//! The certificates of TPM makers that this site trusts: the files of `tpm_roots_dir`, read once at the start.
//!
//! Makers publish them (Infineon, STMicroelectronics, Nuvoton, Intel, AMD …); none is shipped, since whose TPMs stand in a
//! plant is the plant's to say. It must never: pass over a file that cannot be used.

use std::path::{Path, PathBuf};

use crate::attest::{MakerRoots, RootError};

/// Why the roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MakerRootsError {
    /// The directory or a file cannot be read.
    #[error("cannot read {path}: {why}; correct tpm_roots_dir, or leave it out")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// A file is not what belongs there.
    #[error(
        "{path} cannot be used as a TPM maker's root: {why}; take it out of tpm_roots_dir, or put the right file there"
    )]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: RootError,
    },
}

/// Read every file of the directory; without one no maker counts. Blocking.
///
/// # Errors
/// [`MakerRootsError`] names the file.
pub fn read(dir: Option<&Path>) -> Result<MakerRoots, MakerRootsError> {
    let mut roots = MakerRoots::default();
    let Some(dir) = dir else { return Ok(roots) };
    let unreadable = |path: &Path, why: std::io::Error| MakerRootsError::Unreadable {
        path: path.to_owned(),
        why: why.to_string(),
    };
    let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(|why| unreadable(dir, why))?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let file = std::fs::read(&path).map_err(|why| unreadable(&path, why))?;
        roots.add(&file).map_err(|why| MakerRootsError::Unfit { path, why })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_or_is_named() {
        assert_eq!(read(None).unwrap().len(), 0);
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(Some(&dir.path().join("none"))), Err(MakerRootsError::Unreadable { .. })));
        let certificate = || {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::default().self_signed(&key).unwrap()
        };
        let (one, two) = (certificate(), certificate());
        std::fs::write(dir.path().join("a.der"), one.der()).unwrap();
        std::fs::write(dir.path().join("b.pem"), format!("{}{}", one.pem(), two.pem())).unwrap();
        assert_eq!(read(Some(dir.path())).unwrap().len(), 3);
        for junk in [
            &b"notes about roots"[..],
            b"",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(dir.path().join("c.pem"), junk).unwrap();
            let error = read(Some(dir.path())).unwrap_err();
            assert!(
                matches!(&error, MakerRootsError::Unfit { path, .. } if path.ends_with("c.pem")),
                "{error}"
            );
        }
    }
}
