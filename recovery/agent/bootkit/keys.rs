//! `groundstate-bootkit key`: the site's keys and the files that enrol them, in one directory.
//!
//! Always: `db`, which signs recovery systems, with what a firmware's setup takes of it. With `--platform`, for a site that owns its
//! endpoints' firmware (and for a lab): `PK` and `KEK` too, and the updates that they sign.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::boot_key::{self, Keep, Signer};
use crate::enrol_files::{Time, Update, Variable, signature_list, signed_update};

/// The site's Secure Boot keys
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make the key that signs recovery systems, and the files that enrol it in firmware
    New(New),
}

/// What `key new` is told.
#[derive(Debug, Args)]
pub struct New {
    /// Directory to write to; made when missing, for its owner only
    #[arg(long)]
    out: PathBuf,
    /// Name of the site; stands in the certificates
    #[arg(long)]
    site: String,
    /// Also PK and KEK, for endpoints whose firmware is the site's own
    #[arg(long)]
    platform: bool,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Without a passphrase: who can read the file can sign
    #[arg(long, conflicts_with = "passphrase_file")]
    unprotected: bool,
}

/// Where a key's passphrase is.
#[derive(Debug, Args)]
pub struct Passphrase {
    /// File whose first line is the key's passphrase
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase, where a file was named.
    ///
    /// # Errors
    /// When it cannot be read or is empty.
    pub fn read(&self) -> Result<Option<Zeroizing<String>>> {
        let Some(file) = &self.passphrase_file else { return Ok(None) };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let text = Zeroizing::new(text);
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(Zeroizing::new(line.to_owned()))),
            _ => bail!("{} has no passphrase in its first line", file.display()),
        }
    }
}

/// Makes the keys and says what each file is for.
pub fn new(order: &New) -> Result<String> {
    let passphrase = order.passphrase.read()?;
    let keep = match (&passphrase, order.unprotected) {
        (Some(passphrase), _) => Keep::Sealed(passphrase),
        (None, true) => Keep::Open,
        (None, false) => bail!("name a file with a passphrase with --passphrase-file, or say --unprotected"),
    };
    let dir = &order.out;
    private_dir(dir)?;
    let make = |variable: Variable, purpose: &str| -> Result<(Signer, Vec<u8>)> {
        let at = dir.join(variable.name());
        let signer = boot_key::make(&at, &format!("{}: {purpose}", order.site), keep)?;
        let list = signature_list(signer.certificate())?;
        put(&at.with_extension("esl"), &list)?;
        Ok((signer, list))
    };
    let (_, db) = make(Variable::Db, "recovery systems")?;
    let mut said = format!(
        "db.key          signs recovery systems: `groundstate-bootkit build --key {}`; keep it where no endpoint can reach it\n\
         db.cer, db.crt  its certificate (DER, PEM): enrol one of them in `db`, by the firmware's setup or BMC\n\
         db.esl          the same as a signature list\n",
        dir.join("db.key").display()
    );
    if order.platform {
        let (pk, pk_list) = make(Variable::Pk, "platform key")?;
        let (kek, kek_list) = make(Variable::Kek, "key exchange key")?;
        let time = Time { unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() };
        for (name, variable, list, update, by) in [
            ("PK.auth", Variable::Pk, &pk_list, Update::Replace, &pk),
            ("KEK.auth", Variable::Kek, &kek_list, Update::Replace, &pk),
            ("db.auth", Variable::Db, &db, Update::Replace, &kek),
            ("db-append.auth", Variable::Db, &db, Update::Append, &kek),
        ] {
            put(&dir.join(name), &signed_update(variable, list, update, time, by)?)?;
        }
        said += "PK.*, KEK.*     who may change what starts; enrol in the order db, KEK, PK in setup mode\n\
                 *.auth          updates signed by them: db.auth takes the place of what is there, also of Microsoft's\n\
                 \u{20}               authorities; db-append.auth is added to it\n";
    }
    Ok(said)
}

/// Makes a directory that only its owner may enter, unless it is there.
fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("making {}", dir.display()))
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    boot_key::write_new(path, content, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(out: &Path, platform: bool) -> New {
        let passphrase = Passphrase { passphrase_file: None };
        New { out: out.to_owned(), site: "plant-7".to_owned(), platform, passphrase, unprotected: true }
    }

    #[test]
    fn the_key_of_a_site_comes_with_what_enrols_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keys");
        new(&order(&out, false)).unwrap();
        let names = |dir: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&out), ["db.cer", "db.crt", "db.esl", "db.key"]);
        assert!(Signer::open(&out.join("db.key"), None).is_ok());
        assert!(new(&order(&out, false)).is_err(), "a key was replaced");

        let whole = dir.path().join("platform");
        assert!(new(&order(&whole, true)).unwrap().contains("setup mode"));
        assert_eq!(names(&whole).len(), 16);
    }

    #[test]
    fn protection_is_said_one_way_or_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut order = order(dir.path(), false);
        order.unprotected = false;
        assert!(format!("{:#}", new(&order).unwrap_err()).contains("--unprotected"));
        let file = dir.path().join("passphrase");
        fs::write(&file, "\n").unwrap();
        order.passphrase.passphrase_file = Some(file.clone());
        assert!(format!("{:#}", new(&order).unwrap_err()).contains("no passphrase"));
        fs::write(&file, "correct horse\nsecond line\n").unwrap();
        new(&order).unwrap();
        assert!(Signer::open(&dir.path().join("db.key"), Some("correct horse")).is_ok());
    }
}
