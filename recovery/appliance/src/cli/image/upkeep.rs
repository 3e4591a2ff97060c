//! `groundstate image gc|scrub|delete|keep|replicate`: what keeps a store small, whole and in two places.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use images::{
    ChunkId, ImageId, Store, StoreError,
    depot::{Mended, mend},
    replicate::{self, Replicated, replicate},
    store::{CollectPlan, CollectRules, KeepChange, LegalHold, Replica, Scrubbed},
};

use super::{
    Place, bar, depot,
    find::{find, find_held},
    now_unix_ms, open, open_if_there, open_or_make, store_fault,
    trust::day_unix_ms,
};
use crate::cli::{
    Output,
    fault::{Code, Fault},
    say, show,
};
use crate::depot::S3Depot;

/// How to collect.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Say what would go, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Spare stopped imports and deleted images for so many hours
    #[arg(long, default_value_t = 48, value_name = "HOURS")]
    pub grace_hours: u64,
}

/// Remove what no image needs.
pub fn gc(place: &Place, data_dir: &Path, gc: &Gc, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let grace = Duration::from_secs(gc.grace_hours.saturating_mul(3600));
    let rules = CollectRules { grace, ..CollectRules::usual(now_unix_ms()) };
    if gc.plan {
        let plan = store.plan_collection(&rules).map_err(|error| store_fault(&error))?;
        if output.is_data() {
            return say(output, &plan);
        }
        println!("{}", plan_text(&plan));
        return Ok(());
    }
    let done = store.collect(&rules).map_err(|error| store_fault(&error))?;
    if output.is_data() {
        return say(output, &done);
    }
    println!(
        "{} images keep {} chunks; {} packs removed, {} freed",
        done.plan.images,
        done.plan.live_chunks,
        done.packs_removed,
        show::bytes(done.bytes_freed)
    );
    if done.waiting > 0 {
        println!("{} packs wait until a writer has ended; collect again then", done.waiting);
    }
    for pack in &done.damaged {
        println!(
            "pack {pack} holds a damaged chunk and was left alone: run `groundstate image scrub`, with --from or --from-depot"
        );
    }
    Ok(())
}

fn plan_text(plan: &CollectPlan) -> String {
    format!(
        "{} images need {} chunks\nwould remove {} packs and rewrite {}: {} go, {} are written again\nspared as too young: {} packs\ndeleted images that would be forgotten: {}",
        plan.images,
        plan.live_chunks,
        plan.remove.len(),
        plan.rewrite.len(),
        show::bytes(plan.bytes_removed),
        show::bytes(plan.bytes_rewritten),
        plan.spared,
        plan.forget.len()
    )
}

/// How to scrub.
#[derive(Debug, clap::Args)]
pub struct Scrub {
    /// Repair from this store
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Repair from the depot that the configuration names
    #[arg(long, conflicts_with = "from", requires = "config")]
    pub from_depot: bool,
    /// Configuration file with `depot` in its table `[images]`, for --from-depot
    #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what is damaged, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Read at most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
}

/// In the store: when every byte of it was read and compared last, and was whole.
pub const SCRUBBED: &str = "scrubbed.json";

/// What stands there.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct ReadWhole {
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// Keep that it was. Not to be able to is said, and is no fault of the store.
fn keep_that_it_was(store: &Path) {
    let mark = ReadWhole { at_unix_ms: now_unix_ms() };
    let path = store.join(SCRUBBED);
    let fresh = path.with_extension("new");
    let text = serde_json::to_vec(&mark).unwrap_or_default();
    if let Err(error) = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path)) {
        eprintln!("warning: {}: {error}; `groundstate doctor` will not know of this", path.display());
    }
}

/// Read everything, find bit rot, repair it.
pub fn scrub(place: &Place, data_dir: &Path, scrub: &Scrub, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let replica = scrub.from.as_deref().map(open).transpose()?;
    // `requires`: where the flag stands there is a configuration.
    let config = scrub.config.as_deref().filter(|_| scrub.from_depot);
    let depot = config.map(depot::open_depot).transpose()?;
    let (bar, mut pace, mut seen) = (bar("scrubbing"), Pace::new(scrub.rate_mib), 0);
    let mut progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
        pace.moved(done.saturating_sub(seen));
        seen = done;
    };
    let found = match (&depot, scrub.plan) {
        (Some(depot), false) => mended(&store, depot, scrub.rate_mib, &mut progress),
        (_, true) => whole(store.scrub(&mut progress)),
        (None, false) => {
            whole(store.repair(replica.as_ref().map(|store| store as &dyn Replica), &mut progress))
        }
    };
    bar.finish_and_clear();
    let found = found?;
    for name in &found.altered {
        eprintln!("warning: the depot gives something else for {name}; it was not used");
    }
    if output.is_data() {
        say(output, &found)?;
    } else {
        println!("{}", scrub_text(&found.scrubbed, scrub.plan));
    }
    let found = found.scrubbed;
    let damaged = !found.damaged_packs.is_empty() || !found.damaged_manifests.is_empty();
    if found.broken.is_empty() && !(scrub.plan && damaged) {
        keep_that_it_was(&place.store(data_dir));
        return Ok(());
    }
    let broken: Vec<String> = found.broken.iter().map(|(image, _)| image.to_string()).collect();
    let now = match (&replica, &depot, scrub.plan) {
        (Some(_), _, true) => "run it without --plan: what the replica has whole is taken from there",
        (_, Some(_), true) => "run it without --plan: what the depot has whole is taken from there",
        (_, Some(_), false) => {
            "the depot lacks it too: push it with --verify from a site that has it and run this again, or import the image again"
        }
        _ => {
            "repair it: `groundstate image scrub --from REPLICA` or `--from-depot`, or import the image again"
        }
    };
    Err(Fault::new(Code::Integrity, "the store is damaged", broken.join(", "), now))
}

fn whole(scrubbed: Result<Scrubbed, StoreError>) -> Result<Mended, Fault> {
    let scrubbed = scrubbed.map_err(|error| store_fault(&error))?;
    Ok(Mended { scrubbed, altered: Vec::new() })
}

/// Repair from the depot.
fn mended(
    store: &Store,
    depot: &S3Depot,
    rate_mib: Option<u64>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Mended, Fault> {
    // Begun when something comes: the rate has no credit for the time in which the store was read.
    let mut fetched = None;
    let mut fetching = |bytes| fetched.get_or_insert_with(|| Pace::new(rate_mib)).moved(bytes);
    mend(depot, store, progress, &mut fetching).map_err(|error| depot::fault(depot, &error))
}

fn scrub_text(found: &Scrubbed, plan: bool) -> String {
    let mut text = format!("read {} packs, {}", found.packs, show::bytes(found.bytes));
    for pack in &found.damaged_packs {
        let chunks: Vec<String> = pack.damaged.iter().map(ToString::to_string).collect();
        text += &format!(
            "\ndamaged: pack {}, {} chunks right, damaged ones: {}",
            pack.pack,
            pack.whole_chunks,
            chunks.join(" ")
        );
    }
    for image in &found.damaged_manifests {
        text += &format!("\ndamaged: manifest of {image}");
    }
    if !plan {
        text +=
            &format!("\nrepaired: {} chunks, {} manifests", found.repaired_chunks, found.repaired_manifests);
    }
    for (image, missing) in &found.broken {
        text += &format!("\nnot whole: {image}, {missing} chunks missing");
    }
    text
}

/// What to delete.
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// Id, name or name:version
    pub image: String,
    /// Take a deleted image back, by its id
    #[arg(long)]
    pub undo: bool,
    /// Say what would go, and change nothing
    #[arg(long, conflicts_with = "undo")]
    pub plan: bool,
}

/// Delete an image, or take it back.
pub fn delete(place: &Place, data_dir: &Path, delete: &Delete, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let refused = |error: &images::StoreError| {
        Fault::of("nothing was changed", error, "look at it with `groundstate image list`")
            .with(Code::Conflict)
    };
    if delete.undo {
        let id: ImageId =
            delete.image.parse().map_err(|error| Fault::usage("give the image's id", &error))?;
        store.undelete(&id).map_err(|error| refused(&error))?;
        eprintln!("{id} is back");
        return if output.is_data() {
            say(output, &serde_json::json!({ "image": id, "undone": true }))
        } else {
            Ok(())
        };
    }
    let id = find(&store, &delete.image)?;
    if delete.plan {
        let (chunks, bytes) = only_in(&store, &id)?;
        let refusal = store.may_delete(&id, now_unix_ms()).err().map(|error| error.to_string());
        match &refusal {
            Some(why) => eprintln!("would be refused: {why}"),
            None => eprintln!(
                "would delete {id}; collected, {chunks} chunks ({}) go that no other image needs",
                show::bytes(bytes)
            ),
        }
        return match output.is_data() {
            true => say(
                output,
                &serde_json::json!({
                    "image": id, "plan": true, "chunks": chunks, "stored_bytes": bytes, "refused": refusal,
                }),
            ),
            false => Ok(()),
        };
    }
    store.delete(&id, now_unix_ms()).map_err(|error| refused(&error))?;
    eprintln!("deleted {id}; until it is collected, `groundstate image delete --undo {id}` takes it back");
    match output.is_data() {
        true => say(output, &serde_json::json!({ "image": id, "deleted": true })),
        false => Ok(()),
    }
}

/// How many chunks no other image needs, and their stored bytes.
fn only_in(store: &Store, id: &ImageId) -> Result<(usize, u64), Fault> {
    let chunks = |id: &ImageId| -> Result<HashSet<ChunkId>, Fault> {
        let signed = store.get_manifest(id).map_err(|error| store_fault(&error))?;
        Ok(signed.parse().map_err(|error| store_fault(&error.into()))?.chunk_ids().collect())
    };
    let mut only = chunks(id)?;
    for other in store.list().map_err(|error| store_fault(&error))?.iter().filter(|other| *other != id) {
        let others = chunks(other)?;
        only.retain(|chunk| !others.contains(chunk));
    }
    let lens = only.iter().map(|chunk| store.stored_len(chunk).map(u64::from));
    Ok((only.len(), lens.sum::<Result<u64, _>>().map_err(|error| store_fault(&error))?))
}

/// How an image is kept.
#[derive(Debug, clap::Args)]
pub struct KeepOrder {
    /// Id, name or name:version
    pub image: String,
    /// Not to be deleted before this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub until: Option<jiff::civil::Date>,
    /// Put it under a legal hold, with the reason
    #[arg(long, value_name = "WHY", requires = "by")]
    pub legal_hold: Option<String>,
    /// Who ordered the hold
    #[arg(long, value_name = "WHO")]
    pub by: Option<String>,
    /// Lift the legal hold: by name, of the one image of that name that is under one
    #[arg(long, conflicts_with = "legal_hold")]
    pub lift: bool,
    /// Say what would stand, and change nothing
    #[arg(long)]
    pub plan: bool,
}

/// Retention and legal hold; without a flag, say what stands.
pub fn keep(place: &Place, data_dir: &Path, keep: &KeepOrder, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let id = if keep.lift { find_held(&store, &keep.image)? } else { find(&store, &keep.image)? };
    let until = keep.until.map(day_unix_ms).transpose()?;
    if until.is_some_and(|until| until <= now_unix_ms()) {
        let why = "it would keep nothing from being deleted";
        return Err(Fault::new(Code::Usage, "that day is over", why, "name a day to come with --until"));
    }
    let hold = |(why, by): (&String, &String)| LegalHold {
        by: by.clone(),
        why: why.clone(),
        since_unix_ms: now_unix_ms(),
    };
    let change = KeepChange {
        until_unix_ms: until,
        legal_hold: match keep.lift {
            true => Some(None),
            false => keep.legal_hold.as_ref().zip(keep.by.as_ref()).map(|both| Some(hold(both))),
        },
    };
    let stands = match change == KeepChange::default() {
        true => store.keep_of(&id),
        false => store.keep(&id, &change, keep.plan),
    };
    let stands = stands.map_err(|error| store_fault(&error))?;
    if output.is_data() {
        return say(output, &stands);
    }
    if keep.plan {
        eprintln!("nothing was changed; it would stand so:");
    }
    match stands.until_unix_ms {
        0 => println!("{id} has no retention"),
        until => {
            let at = jiff::Timestamp::from_millisecond(until.cast_signed()).unwrap_or_default();
            println!("{id} is kept until {at}");
        }
    }
    match stands.legal_hold {
        Some(hold) => println!("legal hold of {}: {}", hold.by, hold.why),
        None if keep.lift => println!("{id} is under no legal hold"),
        None => {}
    }
    Ok(())
}

/// What to replicate.
#[derive(Debug, clap::Args)]
pub struct Replicate {
    /// Store to read
    pub from: PathBuf,
    /// Store to fill; made when it is not there
    pub to: PathBuf,
    /// This image; give it several times; default: all
    #[arg(long = "image")]
    pub images: Vec<String>,
    /// Say what would be copied, and copy and make nothing
    #[arg(long)]
    pub plan: bool,
    /// Move at most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
}

/// Copy images from one store to another.
pub fn copy(order: &Replicate, output: Output) -> Result<(), Fault> {
    let from = open(&order.from)?;
    let images = match order.images.is_empty() {
        true => from.list().map_err(|error| store_fault(&error))?,
        false => order.images.iter().map(|image| find(&from, image)).collect::<Result<_, _>>()?,
    };
    let done = match order.plan {
        true => replicate::plan(&from, open_if_there(&order.to)?.as_ref(), &images),
        false => {
            let to = open_or_make(&order.to)?;
            let (bar, mut pace) = (bar("replicating"), Pace::new(order.rate_mib));
            let done = replicate(&from, &to, &images, &mut |step| {
                bar.inc(step.bytes);
                pace.moved(step.bytes);
            });
            bar.finish_and_clear();
            done
        }
    };
    let done: Replicated = done.map_err(|error| {
        Fault::of("not everything was replicated", &error, "mend the cause and run it again: it goes on")
    })?;
    if output.is_data() {
        return say(output, &done);
    }
    println!(
        "{}{} images, {} chunks, {}, {} statements",
        if order.plan { "would copy " } else { "copied " },
        done.images.len(),
        done.chunks,
        show::bytes(done.bytes),
        done.statements
    );
    Ok(())
}

/// Waits so that no more than a rate goes through.
pub struct Pace {
    bytes_per_s: Option<f64>,
    begun: Instant,
    bytes: f64,
}

impl Pace {
    /// At most so many MiB a second.
    pub fn new(mib_per_s: Option<u64>) -> Self {
        let bytes_per_s = mib_per_s.map(|mib| mib.max(1) as f64 * f64::from(1 << 20));
        Self { bytes_per_s, begun: Instant::now(), bytes: 0.0 }
    }

    /// So many bytes went through.
    pub fn moved(&mut self, bytes: u64) {
        self.bytes += bytes as f64;
        let Some(rate) = self.bytes_per_s else { return };
        let due = Duration::from_secs_f64(self.bytes / rate);
        if let Some(early) = due.checked_sub(self.begun.elapsed()) {
            std::thread::sleep(early);
        }
    }
}
