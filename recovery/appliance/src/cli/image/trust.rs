//! `groundstate image key|root`: signers' keys, and the trust root that says who they are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use images::{KeyFile, Role, SignedTrustRoot, SigningKey, TrustRoot, keys::RoleKeys};

use super::{
    Place, file_fault, key_file, new_secret, pretty, public_key_for, read_root, travel::install_root, unlock,
    write_new,
};
use crate::cli::fault::{Code, Fault};
use crate::cli::{Output, say};

/// Make a key file.
pub fn key_new(
    role: Role,
    name: &str,
    out: &Path,
    unprotected: bool,
    passphrase: Option<&Path>,
) -> Result<(), Fault> {
    let failed = |error: &dyn std::error::Error| Fault::of("no key was made", error, "try again");
    let key = SigningKey::generate().map_err(|error| failed(&error))?;
    let file = if unprotected {
        eprintln!("warning: {} is not protected by a passphrase; use it for tests only", out.display());
        KeyFile::open_for_tests(&key, role, name).map_err(|error| failed(&error))?
    } else {
        let passphrase = new_secret("Passphrase for the new key: ", passphrase)?;
        if passphrase.chars().count() < 8 {
            return Err(Fault::new(
                Code::Usage,
                "the passphrase is too short",
                "",
                "use at least 8 characters",
            ));
        }
        KeyFile::seal(&key, role, name, &passphrase).map_err(|error| failed(&error))?
    };
    write_new(out, 0o600, file.to_json().as_bytes())?;
    eprintln!("wrote {}: keep it off the appliance", out.display());
    println!("{}", serde_json::json!(file.public_file()));
    Ok(())
}

/// What a new trust root holds.
#[derive(Debug, clap::Args)]
pub struct RootNew {
    /// Root key (key file or public half); give it several times
    #[arg(long = "root", required = true, value_name = "FILE")]
    pub roots: Vec<PathBuf>,
    /// How many root keys must sign a trust root; default: more than half
    #[arg(long)]
    pub threshold: Option<u16>,
    /// Image signer's key (key file or public half); give it several times
    #[arg(long = "signer", required = true, value_name = "FILE")]
    pub signers: Vec<PathBuf>,
    /// How many of them must sign an image
    #[arg(long, default_value_t = 1)]
    pub signer_threshold: u16,
    /// Channel key (key file or public half): promotes images; give it several times
    #[arg(long = "channel", value_name = "FILE")]
    pub channels: Vec<PathBuf>,
    /// How many of them must sign a channel statement
    #[arg(long, default_value_t = 1)]
    pub channel_threshold: u16,
    /// Freshness key (key file or public half): the appliance's; give it several times
    #[arg(long = "freshness", value_name = "FILE")]
    pub freshness: Vec<PathBuf>,
    /// After this day (UTC) the appliance and the command line follow it no more; default: never
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub expires: Option<jiff::civil::Date>,
    /// Images below this epoch are refused
    #[arg(long, default_value_t = 0)]
    pub epoch_floor: u64,
    /// File to write; default: the trust root's place
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl RootNew {
    /// The document, as the successor of another where there is one.
    fn root(&self, before: Option<&TrustRoot>) -> Result<TrustRoot, Fault> {
        let publics = |role, files: &[PathBuf]| {
            files.iter().map(|file| public_key_for(role, file)).collect::<Result<Vec<_>, _>>()
        };
        let (roots, signers) = (publics(Role::Root, &self.roots)?, publics(Role::Image, &self.signers)?);
        let half = u16::try_from(roots.len() / 2 + 1).unwrap_or(u16::MAX);
        let threshold = self.threshold.unwrap_or(half);
        let mut roles = BTreeMap::from([
            (Role::Root, RoleKeys { threshold, keys: roots }),
            (Role::Image, RoleKeys { threshold: self.signer_threshold, keys: signers }),
        ]);
        let (channels, freshness) =
            (publics(Role::Channel, &self.channels)?, publics(Role::Freshness, &self.freshness)?);
        if !channels.is_empty() {
            roles.insert(Role::Channel, RoleKeys { threshold: self.channel_threshold, keys: channels });
        }
        if !freshness.is_empty() {
            roles.insert(Role::Freshness, RoleKeys { threshold: 1, keys: freshness });
        }
        let root = TrustRoot {
            version: before.map_or(1, |before| before.version + 1),
            epoch_floor: self.epoch_floor.max(before.map_or(0, |before| before.epoch_floor)),
            expires_unix_ms: self.expires.map(day_unix_ms).transpose()?.unwrap_or(0),
            roles,
        };
        root.check().map_err(|error| {
            Fault::of("this cannot be a trust root", &error, "correct keys and thresholds")
        })?;
        Ok(root)
    }
}

/// A day's start in milliseconds since 1970 UTC.
pub fn day_unix_ms(day: jiff::civil::Date) -> Result<u64, Fault> {
    let zoned =
        day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| Fault::usage("this is no day", &error))?;
    Ok(u64::try_from(zoned.timestamp().as_millisecond()).unwrap_or(0))
}

/// Make the first trust root, signed with every root key whose secret half is here.
pub fn root_new(
    place: &Place,
    data_dir: &Path,
    new: &RootNew,
    passphrase: Option<&Path>,
    output: Output,
) -> Result<(), Fault> {
    let out = new.out.clone().unwrap_or_else(|| place.trust_root(data_dir));
    write_signed(new.root(None)?, &new.roots, &out, passphrase, output)
}

/// Make the successor of the trust root in use. It takes effect by [`root_rotate`], when enough old keys have signed it.
pub fn root_next(
    place: &Place,
    data_dir: &Path,
    new: &RootNew,
    passphrase: Option<&Path>,
    output: Output,
) -> Result<(), Fault> {
    let Some(out) = &new.out else {
        let why = "the trust root in use stays in its place until its key holders have signed the next one";
        return Err(Fault::new(Code::Usage, "where shall it be written?", why, "name a file with --out"));
    };
    let current = read_root(&place.trust_root(data_dir))?;
    write_signed(new.root(Some(&current.root))?, &new.roots, out, passphrase, output)?;
    eprintln!(
        "have it signed by the old key holders too (`groundstate image root sign`), then `groundstate image root rotate`"
    );
    Ok(())
}

fn write_signed(
    root: TrustRoot,
    keys: &[PathBuf],
    out: &Path,
    passphrase: Option<&Path>,
    output: Output,
) -> Result<(), Fault> {
    let mut signed = SignedTrustRoot::unsigned(root);
    for path in keys {
        if let Ok(file) = key_file(path) {
            sign(&mut signed, &unlock(&file, path, passphrase)?)?;
        }
    }
    write_new(out, 0o644, pretty(&signed)?.as_bytes())?;
    say_root(&signed, out, output)
}

/// Put the next trust root in the place of the one in use.
pub fn root_rotate(
    place: &Place,
    data_dir: &Path,
    next: &Path,
    plan: bool,
    output: Output,
) -> Result<(), Fault> {
    let (path, next) = (place.trust_root(data_dir), read_root(next)?);
    let now_in_use = read_root(&path)?;
    now_in_use.check_next(&next).map_err(|error| {
        let now = match next.root.version == now_in_use.root.version + 1 {
            true => "have it signed by the threshold of the old and of the new root keys: `groundstate image root sign`",
            false => "make the one that follows with `groundstate image root next`",
        };
        Fault::new(Code::Integrity, "this trust root cannot follow", error.to_string(), now)
    })?;
    if plan {
        eprintln!("nothing was changed; trust root {} can follow", next.root.version);
        return if output.is_data() { say_root(&next, &path, output) } else { Ok(()) };
    }
    install_root(&path, &next)?;
    eprintln!(
        "trust root {} is in use; build it into the boot kit: `groundstate trust export`",
        next.root.version
    );
    if output.is_data() { say_root(&next, &path, output) } else { Ok(()) }
}

/// Add a root key's signature to a trust root.
pub fn root_sign(path: &Path, key: &Path, passphrase: Option<&Path>, output: Output) -> Result<(), Fault> {
    let mut signed = read_root(path)?;
    let file = key_file(key)?;
    sign(&mut signed, &unlock(&file, key, passphrase)?)?;
    fs::write(path, pretty(&signed)?).map_err(|error| file_fault(path, &error))?;
    say_root(&signed, path, output)
}

fn sign(root: &mut SignedTrustRoot, key: &SigningKey) -> Result<(), Fault> {
    root.sign(key).map_err(|error| Fault::of("the trust root was not signed", &error, "try again"))
}

/// Show a trust root.
pub fn root_show(path: &Path) -> Result<(), Fault> {
    let signed = read_root(path)?;
    println!("{}", pretty(&signed)?);
    say_root(&signed, path, Output::Table)
}

fn say_root(signed: &SignedTrustRoot, path: &Path, output: Output) -> Result<(), Fault> {
    let check = signed.check();
    match &check {
        Ok(()) => eprintln!("trust root {} in {} is complete", signed.root.version, path.display()),
        Err(error) => eprintln!("{}: {error} (`groundstate image root sign`)", path.display()),
    }
    if !output.is_data() {
        return Ok(());
    }
    say(
        output,
        &serde_json::json!({
            "file": path.display().to_string(), "version": signed.root.version, "complete": check.is_ok(),
        }),
    )
}
