//! `groundstate image …`: work on the image store and the signers' keys. No appliance is needed: images are made and signed
//! where the signers are, which is best not the appliance.

pub mod capture;
pub mod channel;
pub mod depot;
mod find;
pub mod look;
pub mod token;
pub mod travel;
pub mod trust;
pub mod upkeep;

use std::{
    error::Error,
    fs,
    io::{IsTerminal as _, Read as _, Write as _, stderr, stdin},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use images::{
    ImportRequest, KeyFile, KeyRing, PublicKey, Role, SignedManifest, SignedTrustRoot, SigningKey, Source,
    Store, StoreError,
    filesystem::KeepWhole,
    import::{Counted, ImportProgress, read_disk},
    keys::PublicKeyFile,
    manifest::name,
    source::{Format, Wanted},
};
use indicatif::{ProgressBar, ProgressStyle};
use recovery_protocol::operator::ImageView;

use crate::chain::chain;
use crate::cli::{Output, say};

use super::{
    fault::{Code, Fault},
    show,
};
use find::find;

/// Where images and the trust root lie.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Image store; default: `images` in the data directory
    #[arg(long, global = true, env = "GROUNDSTATE_STORE", value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Image trust root; default: `trust-root.json` in the data directory
    #[arg(long, global = true, env = "GROUNDSTATE_TRUST_ROOT", value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
}

impl Place {
    /// The store's directory.
    #[must_use]
    pub fn store(&self, data_dir: &Path) -> PathBuf {
        self.store.clone().unwrap_or_else(|| data_dir.join("images"))
    }

    /// The trust root's file.
    #[must_use]
    pub fn trust_root(&self, data_dir: &Path) -> PathBuf {
        self.trust_root.clone().unwrap_or_else(|| data_dir.join("trust-root.json"))
    }
}

/// What to import.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Disk to import: raw, qcow2, VHD, VHDX, VMDK, hybrid ISO; raw may be compressed with zstd, gzip or xz; or a block device
    pub disk: PathBuf,
    /// Format that the disk must have (raw, iso, qcow2, vhd, vhdx, vmdk); `raw` takes any bytes as they are; default: what the
    /// content says
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// How large a compressed disk may become; default: as large as the file system of the store
    #[arg(long, value_name = "GIB")]
    pub unpacked_max_gib: Option<u64>,
    /// Name of the golden image: at most 64 letters, digits, `.`, `_`, `-`
    #[arg(long, value_parser = name::name)]
    pub name: String,
    /// Version of the golden image: the same, and `+`, `~`
    #[arg(long, value_parser = name::version)]
    pub version: String,
    /// Epoch: counts up with each release, never back; default: one more than the highest of this name
    #[arg(long)]
    pub epoch: Option<u64>,
    /// Hardware class that it fits
    #[arg(long, default_value = "")]
    pub hardware_class: String,
    /// What changed, in a sentence
    #[arg(long, default_value = "")]
    pub note: String,
    /// Store also what no filesystem uses, byte for byte
    #[arg(long)]
    pub keep_free_space: bool,
    /// Leave this partition as the endpoint has it: its number, its name or a GUID (its own or its type's); may be repeated. A
    /// blank disk gets what the image has there
    #[arg(long, value_name = "PARTITION")]
    pub preserve: Vec<String>,
    /// Give the last partition the rest of a larger disk; its filesystem grows when the restored system grows it
    #[arg(long)]
    pub grow_last_partition: bool,
    /// Say what the disk holds and what would be new in the store, and keep nothing
    #[arg(long)]
    pub plan: bool,
}

/// Import a disk.
pub fn import(place: &Place, data_dir: &Path, import: &Import, output: Output) -> Result<(), Fault> {
    let directory = place.store(data_dir);
    let store = match import.plan {
        true => open_if_there(&directory)?,
        false => Some(open_or_make(&directory)?),
    };
    let known = store.as_ref().map(|store| views(store, None)).transpose()?.unwrap_or_default();
    let newest = known.iter().filter(|view| view.name == import.name).max_by_key(|view| view.epoch);
    let request = ImportRequest {
        name: import.name.clone(),
        version: import.version.clone(),
        epoch: import.epoch.unwrap_or_else(|| newest.map_or(1, |view| view.epoch + 1)),
        hardware_class: import.hardware_class.clone(),
        note: import.note.clone(),
        created_unix_ms: now_unix_ms(),
        previous: newest.map(|view| view.image),
        keep_free_space: import.keep_free_space,
        preserve: import.preserve.clone(),
        grow_last_partition: import.grow_last_partition,
        ..ImportRequest::default()
    };
    let temp = store.as_ref().map_or_else(|| nearest(&directory), Store::temp_dir);
    let source = source(import, &temp)?;
    let imported = with_bar("importing", |progress| match &store {
        Some(store) if !import.plan => images::import_disk(&source, &request, store, progress),
        store => read_disk(source.path(), source.disk(), &request, &Counted(store.as_ref()), progress),
    })
    .map_err(|error| not_imported(&error))?;
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    // What was not unmounted is among the warnings.
    for kept in imported.kept.iter().filter(|kept| !matches!(kept.why, KeepWhole::Unclean(_))) {
        eprintln!("note: {}", chain(kept));
    }
    let (id, stats) = (imported.manifest.id(), imported.stats);
    eprintln!(
        "{} {} {}: {} of disk, {} of it data, {} free and left out, {} new in the store{}",
        if import.plan { "would import" } else { "imported" },
        request.name,
        request.version,
        show::bytes(stats.disk_bytes),
        show::bytes(stats.data_bytes),
        show::bytes(stats.free_bytes),
        show::bytes(stats.new_stored_bytes),
        if import.plan { "" } else { "; now sign it" },
    );
    if output.is_data() {
        let warnings: Vec<String> = imported.warnings.iter().map(ToString::to_string).collect();
        return say(
            output,
            &serde_json::json!({
                "image": id.to_string(), "plan": import.plan, "stats": stats, "warnings": warnings,
            }),
        );
    }
    // What was not kept has no name that anybody could use.
    if !import.plan {
        println!("{id}");
    }
    Ok(())
}

/// The directory that is there and in which this one would be made: a packed disk is unpacked there for a plan, into a file without
/// a name, on the file system that the store would be on.
fn nearest(directory: &Path) -> PathBuf {
    let above = directory.ancestors().find(|above| above.is_dir());
    above.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Open what is to be imported, and say what it is.
fn source(import: &Import, temp: &Path) -> Result<Source, Fault> {
    let unpacked_max = import.unpacked_max_gib.map(|gib| gib.saturating_mul(1 << 30));
    let wanted = Wanted { format: import.format, temp, unpacked_max };
    let source = with_bar("unpacking", |progress| Source::open(&import.disk, &wanted, progress))
        .map_err(|error| not_imported(&error))?;
    match source.packing {
        Some(packing) => eprintln!("{}: a {} in {packing}", import.disk.display(), source.format),
        None => eprintln!("{}: a {}", import.disk.display(), source.format),
    }
    for note in &source.notes {
        eprintln!("note: {note}");
    }
    Ok(source)
}

fn not_imported(error: &dyn Error) -> Fault {
    Fault::of("the disk was not imported", error, "mend the cause and import again")
}

/// Work under a bar that goes away with it.
fn with_bar<T>(doing: &'static str, work: impl FnOnce(&mut dyn FnMut(ImportProgress)) -> T) -> T {
    let bar = bar(doing);
    let done = work(&mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    done
}

/// What to sign.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// Id, name or name:version; or the file of an exported manifest
    pub image: String,
    /// Signer's key file
    #[arg(long)]
    pub key: PathBuf,
    /// Say what would be signed, and sign nothing
    #[arg(long)]
    pub plan: bool,
    /// File with the key's passphrase; default: asked for
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Sign an image with a key file: in the store, or a manifest that was exported, on a machine without a store.
pub fn sign(place: &Place, data_dir: &Path, order: &Sign, output: Output) -> Result<(), Fault> {
    let (image, key) = (order.image.as_str(), order.key.as_path());
    let file = key_file(key)?;
    if file.role != Role::Image {
        let why = format!("{} is a {} key", key.display(), file.role);
        return Err(Fault::new(
            Code::Usage,
            "this key signs no images",
            why,
            "give a key made with `--role image`",
        ));
    }
    let at = Path::new(image);
    let store = if at.is_file() { None } else { Some(open(&place.store(data_dir))?) };
    let mut signed = match &store {
        Some(store) => store.get_manifest(&find(store, image)?).map_err(|error| store_fault(&error))?,
        None => {
            let bytes = fs::read(at).map_err(|error| file_fault(at, &error))?;
            let what = format!("{image} is not the manifest of an image");
            SignedManifest::decode(&bytes).map_err(|error| {
                Fault::of(&what, &error, "give a file made by `groundstate image export --manifest`")
            })?
        }
    };
    say_what_is_signed(&signed)?;
    if !order.plan {
        let signing = unlock(&file, key, order.passphrase_file.as_deref())?;
        signing.sign_image(&mut signed).map_err(|error| {
            Fault::of("the image was not signed", &error, "mend the cause and sign it again")
        })?;
        match &store {
            Some(store) => drop(store.put_manifest(&signed).map_err(|error| store_fault(&error))?),
            None => fs::write(at, signed.encode()).map_err(|error| file_fault(at, &error))?,
        }
    }
    let (id, signatures) = (signed.id(), signed.signatures.len());
    let signed_or = if order.plan { "would sign" } else { "signed" };
    eprintln!("{signed_or} {id} with `{}`: {signatures} signature(s) now", file.name);
    let verdict = ring(&place.trust_root(data_dir)).ok().map(|ring| ring.verify(signed).map(drop));
    match &verdict {
        Some(Ok(())) => eprintln!("it is trusted now"),
        Some(Err(error)) => eprintln!("not trusted yet: {error}"),
        None => {}
    }
    if !output.is_data() {
        return Ok(());
    }
    let trusted = verdict.map(|verdict| verdict.is_ok());
    say(
        output,
        &serde_json::json!({
            "image": id, "key": file.name, "plan": order.plan, "signatures": signatures, "trusted": trusted,
        }),
    )
}

/// Nobody signs what they have not been shown.
fn say_what_is_signed(signed: &SignedManifest) -> Result<(), Fault> {
    let manifest =
        signed.parse().map_err(|error| Fault::of("this cannot be signed", &error, "export it again"))?;
    let identity = &manifest.header().identity;
    eprintln!(
        "{} {} (epoch {}), {} of disk, b3sum {}",
        identity.name,
        identity.version,
        identity.epoch,
        show::bytes(manifest.header().disk.size),
        manifest.content_root()
    );
    if !identity.note.is_empty() {
        eprintln!("note: {}", identity.note);
    }
    Ok(())
}

/// What to list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Configuration file; where it names a depot, what only the depot has is listed too
    #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// An image as the list has it.
#[derive(serde::Serialize)]
struct Listed {
    #[serde(flatten)]
    view: ImageView,
    /// It is not in the store.
    depot_only: bool,
}

/// List the images of a store, and those that only the depot has.
pub fn list(place: &Place, data_dir: &Path, order: &List, output: Output) -> Result<(), Fault> {
    let path = place.store(data_dir);
    // Where there is a depot, an appliance that holds nothing yet is no error.
    let store = if order.config.is_some() { open_if_there(&path)? } else { Some(open(&path)?) };
    let ring = ring(&place.trust_root(data_dir)).ok();
    let here = store.as_ref().map(|store| views(store, ring.as_ref())).transpose()?.unwrap_or_default();
    let known = here.iter().map(|view| view.image).collect();
    let elsewhere = order.config.as_deref().map(|config| depot::elsewhere(config, &known));
    let elsewhere = elsewhere.transpose().unwrap_or_else(|fault| {
        eprintln!("note: {fault}\nwhat only the depot has is not listed");
        None
    });
    let elsewhere = match elsewhere.flatten() {
        Some(elsewhere) => elsewhere,
        None if store.is_none() => return open(&path).map(drop),
        None => Vec::new(),
    };
    let mark = |depot_only| move |view| Listed { view, depot_only };
    let mut all: Vec<Listed> =
        here.into_iter().map(mark(false)).chain(elsewhere.into_iter().map(mark(true))).collect();
    all.sort_by(|a, b| in_order(&a.view, &b.view));
    if output.is_data() {
        return say(output, &all);
    }
    println!("{}", show::images(&all.iter().map(|one| (&one.view, one.depot_only)).collect::<Vec<_>>()));
    Ok(())
}

/// By name, the newest last.
fn in_order(a: &ImageView, b: &ImageView) -> std::cmp::Ordering {
    (&a.name, a.epoch, &a.version).cmp(&(&b.name, b.epoch, &b.version))
}

/// Restore an image onto a file.
pub fn restore(
    place: &Place,
    data_dir: &Path,
    wanted: &super::restore::Restore,
    output: Output,
) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let ring = ring(&place.trust_root(data_dir))?;
    let id = find(&store, &wanted.image)?;
    let signed = store.get_manifest(&id).map_err(|error| store_fault(&error))?;
    super::restore::restore(&store, &ring, signed, &wanted.to, wanted.plan, output, &bar("restoring"))
}

/// A trust root's document, as it stands in its file.
pub fn read_root(path: &Path) -> Result<SignedTrustRoot, Fault> {
    let text = fs::read(path).map_err(|error| {
        let now = "make one with `groundstate image root new`, or name it with --trust-root";
        Fault::new(
            Code::NotFound,
            "there is no image trust root",
            format!("{}: {error}", path.display()),
            now,
        )
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        Fault::of(&format!("{} is no trust root", path.display()), &error, "give the right file")
    })
}

fn ring(path: &Path) -> Result<KeyRing, Fault> {
    let root = read_root(path)?;
    let refused = |error: images::TrustRootError| {
        let now = "have it signed: `groundstate image root sign`";
        Fault::new(Code::Integrity, "the image trust root cannot be trusted", error.to_string(), now)
    };
    root.check_time(now_unix_ms()).map_err(refused)?;
    KeyRing::pin(root).map_err(refused)
}

fn views(store: &Store, ring: Option<&KeyRing>) -> Result<Vec<ImageView>, Fault> {
    let histories = store.histories().map_err(|error| store_fault(&error))?;
    let mut views = Vec::new();
    for id in store.list().map_err(|error| store_fault(&error))? {
        // One that was altered is in the list and says so: it takes no other image with it.
        let signed = store.get_manifest(&id);
        let header = signed.as_ref().ok().and_then(|signed| signed.parse_header().ok());
        let why_not = match (signed, ring) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(signed), Some(ring)) => ring.verify(signed).err().map(|error| error.to_string()),
            (Ok(_), None) => Some("there is no image trust root".to_owned()),
        };
        let mut view = ImageView::new(id, header.as_ref(), why_not);
        if let Some(history) = histories.get(&view.name) {
            let history = ring.map_or_else(|| history.clone(), |ring| history.clone().believed(ring).0);
            view.stage = history.stage_of(&id).map(|stage| stage.to_string()).unwrap_or_default();
        }
        views.push(view);
    }
    views.sort_by(in_order);
    Ok(views)
}

/// A store that is there: a wrong path is not to become an empty store.
fn open(directory: &Path) -> Result<Store, Fault> {
    if directory.join("format").is_file() {
        return Store::open(directory).map_err(|error| store_fault(&error));
    }
    let now = "name the directory of a store with --store; a first import makes one";
    Err(Fault::new(Code::NotFound, "there is no image store", directory.display().to_string(), now))
}

/// The same, for a plan: what is not there is looked at as empty, and not made.
fn open_if_there(directory: &Path) -> Result<Option<Store>, Fault> {
    let empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    // What is there and is no store is refused in the plan already.
    if empty { Ok(None) } else { Store::open(directory).map(Some).map_err(|error| store_fault(&error)) }
}

/// The same, for what adds to it: it is made when there is none.
fn open_or_make(directory: &Path) -> Result<Store, Fault> {
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    Store::open(directory).map_err(|error| store_fault(&error))
}

/// A directory that only its owner reads, as the appliance wants its own to be.
fn make_dir(path: &Path) -> Result<(), Fault> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| file_fault(path, &error))
}

fn store_fault(error: &StoreError) -> Fault {
    Fault::of("the image store refused", error, "run `groundstate image verify --all`; check --store")
}

fn key_file(path: &Path) -> Result<KeyFile, Fault> {
    let text = fs::read_to_string(path).map_err(|error| file_fault(path, &error))?;
    KeyFile::from_json(&text)
        .map_err(|error| Fault::of(&format!("{} gives no key", path.display()), &error, ""))
}

fn public_key(path: &Path) -> Result<PublicKey, Fault> {
    if let Ok(file) = key_file(path) {
        return Ok(file.public);
    }
    let text = fs::read(path).map_err(|error| file_fault(path, &error))?;
    serde_json::from_slice::<PublicKeyFile>(&text).map(|file| file.public).map_err(|error| {
        Fault::of(
            &format!("{} is neither a key file nor its public half", path.display()),
            &error,
            "give the right file",
        )
    })
}

fn unlock(file: &KeyFile, path: &Path, passphrase: Option<&Path>) -> Result<SigningKey, Fault> {
    if let Some(place) = file.token() {
        let pin = secret(&format!("PIN of the token {}: ", place.token), passphrase)?;
        return token::unlock(file.public, place, &pin).map_err(|error| token::fault(&error));
    }
    let given = if file.is_sealed() {
        Some(secret(&format!("Passphrase of {}: ", path.display()), passphrase)?)
    } else {
        None
    };
    file.unlock(given.as_deref()).map_err(|error| {
        let what = format!("{} could not be opened", path.display());
        Fault::new(Code::Forbidden, what, error.to_string(), "give the right passphrase")
    })
}

/// A passphrase from a file, or typed without being shown.
pub fn secret(prompt: &str, file: Option<&Path>) -> Result<String, Fault> {
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    if let Some(path) = file {
        return fs::read_to_string(path).map(first_line).map_err(|error| file_fault(path, &error));
    }
    let mut text = String::new();
    if !stdin().is_terminal() {
        stdin()
            .take(4096)
            .read_to_string(&mut text)
            .map_err(|error| file_fault(Path::new("stdin"), &error))?;
        return match first_line(text) {
            text if text.is_empty() => Err(Fault::new(
                Code::Usage,
                "no passphrase was given",
                "there is no terminal to ask at, and nothing came on stdin",
                "run it at a terminal, or name a file with --passphrase-file",
            )),
            text => Ok(text),
        };
    }
    eprint!("{prompt}");
    let _ = stderr().flush();
    let echo = |on: &str| std::process::Command::new("stty").arg(on).status();
    let _ = echo("-echo");
    let read = stdin().read_line(&mut text);
    let _ = echo("echo");
    eprintln!();
    read.map(|_| first_line(text)).map_err(|error| file_fault(Path::new("stdin"), &error))
}

/// A new passphrase: at a terminal it is asked for twice, since a slip would lose what it seals for good.
pub fn new_secret(prompt: &str, file: Option<&Path>) -> Result<String, Fault> {
    let passphrase = secret(prompt, file)?;
    if file.is_none() && stdin().is_terminal() && secret("The same once more: ", None)? != passphrase {
        return Err(Fault::new(Code::Usage, "the two passphrases differ", "", "try again; nothing was made"));
    }
    Ok(passphrase)
}

/// A signer's key, which must be for this role.
fn public_key_for(role: Role, path: &Path) -> Result<PublicKey, Fault> {
    let made_for = match key_file(path) {
        Ok(file) => Some(file.role),
        Err(_) => fs::read(path)
            .ok()
            .and_then(|text| serde_json::from_slice::<PublicKeyFile>(&text).ok())
            .map(|file| file.role),
    };
    match made_for {
        Some(other) if other != role => Err(Fault::new(
            Code::Usage,
            format!("{} is no {role} key", path.display()),
            format!("it was made for the role {other}, and a key has one role"),
            "give each key for its own role",
        )),
        _ => public_key(path),
    }
}

fn pretty(signed: &SignedTrustRoot) -> Result<String, Fault> {
    serde_json::to_string_pretty(signed)
        .map(|text| text + "\n")
        .map_err(|error| Fault::of("it cannot be written", &error, ""))
}

/// Write a file that was not there before.
pub fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Fault> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| file_fault(path, &error))
}

fn file_fault(path: &Path, error: &std::io::Error) -> Fault {
    let now = if error.kind() == std::io::ErrorKind::AlreadyExists {
        "choose another file: it is not overwritten"
    } else {
        "check the path"
    };
    Fault::new(Code::Failed, format!("{} cannot be used", path.display()), error.to_string(), now)
}

fn now_unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn bar(doing: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg:<12} {bytes:>10} of {total_bytes:<10} {binary_bytes_per_sec:>12}  {wide_bar}",
    );
    ProgressBar::new(0)
        .with_message(doing)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
}
