//! `groundstate image export|import-bundle`: images and signatures over a gap, in files.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use images::{
    ChunkId, ImageId, PublicKey, SignedManifest, Store, TrustRootError,
    bundle::{self, BundleReader, Contents, Exported},
    keys::minisign,
};

use super::{
    Place, bar, file_fault, find, open, open_if_there, open_or_make, pretty, read_root, ring, store_fault,
    upkeep::Pace, write_new,
};
use crate::chain::chain;
use crate::cli::{Output, say};
use crate::cli::{
    fault::{Code, Fault},
    show,
};

/// What to export.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Id, name or name:version; several go into one bundle
    #[arg(required = true)]
    pub images: Vec<String>,
    /// File to write; with --minisign a directory
    #[arg(long)]
    pub out: PathBuf,
    /// Only the manifest, to be signed elsewhere
    #[arg(long, conflicts_with = "minisign")]
    pub manifest: bool,
    /// Only what minisign needs to check the signatures
    #[arg(long)]
    pub minisign: bool,
    /// Leave out what this image holds: the other side has it; give it several times
    #[arg(long, value_name = "IMAGE")]
    pub without: Vec<String>,
    /// Write at most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
    /// Say what the bundle would hold, and write nothing
    #[arg(long, conflicts_with_all = ["manifest", "minisign"])]
    pub plan: bool,
}

/// Export images, a manifest, or signatures.
pub fn export(place: &Place, data_dir: &Path, order: &Export, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let ids = order.images.iter().map(|image| find(&store, image)).collect::<Result<Vec<_>, _>>()?;
    let manifest = |id: &ImageId| store.get_manifest(id).map_err(|error| store_fault(&error));
    if order.manifest || order.minisign {
        let [id] = ids.as_slice() else {
            return Err(Fault::new(Code::Usage, "one image at a time", "", "name one image"));
        };
        let signed = manifest(id)?;
        if order.minisign {
            return for_minisign(&signed, &order.out, output);
        }
        write_new(&order.out, 0o644, &signed.encode())?;
        eprintln!(
            "wrote {}: sign it with `groundstate image sign {0} --key KEY`, then import it",
            order.out.display()
        );
        return match output.is_data() {
            true => say(output, &serde_json::json!({ "image": id, "file": order.out.display().to_string() })),
            false => Ok(()),
        };
    }
    let root = place.trust_root(data_dir);
    let mut contents =
        Contents { trust_root: root.exists().then(|| read_root(&root)).transpose()?, ..Contents::default() };
    for id in &ids {
        contents.manifests.push(manifest(id)?);
    }
    let said = store.histories().map_err(|error| store_fault(&error))?;
    contents.statements =
        said.into_values().flat_map(|h| h.0).filter(|s| ids.contains(&s.body.image)).collect();
    let mut known: HashSet<ChunkId> = HashSet::new();
    for image in &order.without {
        let signed = manifest(&find(&store, image)?)?;
        known.extend(signed.parse().map_err(|error| store_fault(&error.into()))?.chunk_ids());
    }
    let exported = match order.plan {
        true => bundle::plan(&store, &contents, &known)
            .map_err(|error| Fault::of("this cannot be exported", &error, "scrub the store")),
        false => write_bundle(&store, &contents, &known, order),
    }?;
    if output.is_data() {
        return say(output, &exported);
    }
    println!(
        "{}{}: {} images, {} frames, {}",
        if order.plan { "would write " } else { "" },
        order.out.display(),
        ids.len(),
        exported.frames,
        show::bytes(exported.bytes)
    );
    Ok(())
}

/// Into a file beside it first: what has the bundle's name is whole.
fn write_bundle(
    store: &Store,
    contents: &Contents,
    known: &HashSet<ChunkId>,
    order: &Export,
) -> Result<Exported, Fault> {
    if order.out.exists() {
        let why = order.out.display().to_string();
        return Err(Fault::new(
            Code::Conflict,
            "the bundle is there already",
            why,
            "choose another file, or remove it",
        ));
    }
    let mut part = order.out.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&part)
        .map_err(|error| file_fault(&part, &error))?;
    let (bar, mut pace) = (bar("exporting"), Pace::new(order.rate_mib));
    let done = bundle::export(store, contents, known, &mut file, &mut |_, _, bytes| {
        bar.inc(bytes);
        pace.moved(bytes);
    });
    bar.finish_and_clear();
    let done = done.map_err(|error| {
        Fault::of(
            "the bundle was not finished",
            &error,
            "mend the cause and export again: it goes on where it was",
        )
    })?;
    fs::rename(&part, &order.out).map_err(|error| file_fault(&order.out, &error))?;
    Ok(done)
}

fn for_minisign(signed: &SignedManifest, dir: &Path, output: Output) -> Result<(), Fault> {
    let (id, mut commands) = (signed.id(), Vec::new());
    let header = dir.join(format!("{id}.header"));
    write_new(&header, 0o644, &signed.header)?;
    for signature in &signed.signatures {
        let key = PublicKey::from_bytes(signature.key);
        let short = hex::encode(key.short_id());
        let (public, file) =
            (dir.join(format!("{short}.pub")), dir.join(format!("{id}.header.{short}.minisig")));
        write_new(&public, 0o644, minisign::public_key_file(&key).as_bytes())?;
        write_new(&file, 0o644, minisign::signature_file(&id, signature).as_bytes())?;
        commands.push(format!(
            "minisign -V -p {} -m {} -x {}",
            public.display(),
            header.display(),
            file.display()
        ));
    }
    if output.is_data() {
        return say(output, &serde_json::json!({ "image": id, "commands": commands }));
    }
    commands.iter().for_each(|command| println!("{command}"));
    Ok(())
}

/// What to bring in.
#[derive(Debug, clap::Args)]
pub struct ImportBundle {
    /// Bundle, or a signed manifest
    pub file: PathBuf,
    /// Take images that the trust root does not vouch for; they stay untrusted until they are signed
    #[arg(long)]
    pub untrusted: bool,
    /// Say what is in it and what would be new, and change nothing
    #[arg(long)]
    pub plan: bool,
}

/// Bring in a bundle, or the signatures of a manifest that was signed elsewhere.
pub fn import_bundle(
    place: &Place,
    data_dir: &Path,
    order: &ImportBundle,
    output: Output,
) -> Result<(), Fault> {
    let failed = |error: &bundle::BundleError| {
        let now = "mend the cause and run it again: what came over is kept";
        Fault::of("the bundle was not taken in", error, now).with(Code::Integrity)
    };
    let file = File::open(&order.file).map_err(|error| file_fault(&order.file, &error))?;
    let reader = match BundleReader::open(BufReader::with_capacity(1 << 20, file)) {
        Err(bundle::BundleError::NotABundle) => return take_manifest(place, data_dir, order, output),
        other => other.map_err(|error| failed(&error))?,
    };
    if order.plan {
        return bundle_plan(place, data_dir, &reader.contents, output);
    }
    if let Some(offered) = &reader.contents.trust_root {
        follow(&place.trust_root(data_dir), offered)?;
    }
    if !order.untrusted {
        let ring = ring(&place.trust_root(data_dir))?;
        for signed in &reader.contents.manifests {
            vouched(&ring, signed)?;
        }
    }
    let store = open_or_make(&place.store(data_dir))?;
    let bar = bar("frames");
    let received = reader.receive(&store, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let received = received.map_err(|error| failed(&error))?;
    if output.is_data() {
        return say(output, &received);
    }
    println!(
        "{} images, {} new frames, {} known, {} statements",
        received.images.len(),
        received.new_frames,
        received.known_frames,
        received.statements
    );
    Ok(())
}

/// What is in a bundle. Its frames come last and are not read for this, nor is its trust root followed or a store made.
fn bundle_plan(place: &Place, data_dir: &Path, contents: &Contents, output: Output) -> Result<(), Fault> {
    let store = open_if_there(&place.store(data_dir))?;
    let has = |id: &ChunkId| store.as_ref().is_some_and(|store| store.has(id));
    let ring = ring(&place.trust_root(data_dir)).ok();
    let (mut rows, mut images) = (Vec::new(), Vec::new());
    for signed in &contents.manifests {
        let manifest = signed.parse().map_err(|error| store_fault(&error.into()))?;
        let identity = &manifest.header().identity;
        let known = store.as_ref().is_some_and(|store| store.get_manifest(&signed.id()).is_ok());
        let missing = manifest.chunk_ids().collect::<HashSet<_>>().iter().filter(|id| !has(id)).count();
        let trusted = ring.as_ref().is_some_and(|ring| ring.verify(signed.clone()).is_ok());
        images.push(serde_json::json!({
            "image": signed.id(), "name": identity.name, "version": identity.version, "known": known,
            "missing_chunks": missing, "trusted": trusted,
        }));
        let word = |yes, word: &str, other: &str| if yes { word.to_owned() } else { other.to_owned() };
        rows.push(vec![
            identity.name.clone(),
            identity.version.clone(),
            word(known, "known", "new"),
            word(trusted, "trusted", "not trusted"),
            missing.to_string(),
            signed.id().to_string(),
        ]);
    }
    let (statements, root) =
        (contents.statements.len(), contents.trust_root.as_ref().map(|root| root.root.version));
    if output.is_data() {
        return say(
            output,
            &serde_json::json!({
                "plan": true, "images": images, "statements": statements, "trust_root": root,
            }),
        );
    }
    println!("{}", show::table(&["NAME", "VERSION", "HERE", "TRUST", "MISSING CHUNKS", "IMAGE"], &rows));
    println!(
        "{statements} statements, {}",
        root.map_or_else(|| "no trust root".to_owned(), |v| format!("trust root {v}"))
    );
    Ok(())
}

fn vouched(ring: &images::KeyRing, signed: &SignedManifest) -> Result<(), Fault> {
    let refused = |error: images::VerifyError| {
        let now = "have it signed; or take it in as it is with --untrusted, and sign it here";
        Fault::new(Code::Integrity, "an image is not trusted", chain(&error), now)
    };
    ring.verify(signed.clone()).map(drop).map_err(refused)
}

/// Signatures that were made elsewhere, for an image that is here.
fn take_manifest(place: &Place, data_dir: &Path, order: &ImportBundle, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let bytes = fs::read(&order.file).map_err(|error| file_fault(&order.file, &error))?;
    let refused = |error: &dyn std::error::Error| {
        let what = format!("{} was not taken in", order.file.display());
        Fault::of(&what, error, "export it again and copy it again").with(Code::Integrity)
    };
    let signed = SignedManifest::decode(&bytes).map_err(|error| refused(&error))?;
    let id = signed.id();
    if order.plan {
        eprintln!(
            "would add the {} signature(s) of {} to {id}",
            signed.signatures.len(),
            order.file.display()
        );
    } else {
        store.put_manifest(&signed).map_err(|error| refused(&error))?;
    }
    let now = store.get_manifest(&id).map_err(|error| store_fault(&error))?;
    let signatures = now.signatures.len();
    eprintln!("{id} has {signatures} signature(s) now");
    let verdict = ring(&place.trust_root(data_dir)).ok().map(|ring| ring.verify(now).map(drop));
    match &verdict {
        Some(Ok(())) => eprintln!("it is trusted now"),
        Some(Err(error)) => eprintln!("not trusted yet: {error}"),
        None => eprintln!("there is no image trust root here to judge it by"),
    }
    if !output.is_data() {
        return Ok(());
    }
    let trusted = verdict.map(|verdict| verdict.is_ok());
    say(
        output,
        &serde_json::json!({ "image": id, "plan": order.plan, "signatures": signatures, "trusted": trusted }),
    )
}

/// Follow to a trust root that came along, if the one that is trusted here says so.
fn follow(path: &Path, offered: &images::SignedTrustRoot) -> Result<(), Fault> {
    let Ok(current) = read_root(path) else { return Ok(()) };
    if offered.root.version <= current.root.version {
        return Ok(());
    }
    match current.check_next(offered) {
        Ok(()) => {
            install_root(path, offered)?;
            eprintln!("followed to trust root {}", offered.root.version);
            Ok(())
        }
        Err(error @ TrustRootError::NotNext { .. }) => {
            let now = "bring the trust roots in between first: `groundstate image root rotate`";
            Err(Fault::new(
                Code::Integrity,
                "the bundle's trust root cannot be followed",
                error.to_string(),
                now,
            ))
        }
        Err(error) => {
            let now = "ask the root key holders whether this bundle is theirs";
            Err(Fault::new(
                Code::Integrity,
                "the bundle's trust root is not to be trusted",
                error.to_string(),
                now,
            ))
        }
    }
}

/// Put a trust root in its place, whole or not at all.
pub fn install_root(path: &Path, root: &images::SignedTrustRoot) -> Result<(), Fault> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    // Left by one that was stopped.
    let _ = fs::remove_file(&new);
    write_new(&new, 0o644, pretty(root)?.as_bytes())?;
    fs::rename(&new, path).map_err(|error| file_fault(path, &error))?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| file_fault(dir, &error))
}
