//! `groundstate image depot …`: the object store behind the image store. It is named by the table `[images] depot` of a
//! configuration file; no appliance is needed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use images::{
    ImageId, Store,
    depot::{self, CollectRules, Depot as _, DepotError, Inventory, PushRules},
    manifest::Header,
};
use indicatif::ProgressBar;

use super::{
    Place, bar,
    find::{find, is_called},
    now_unix_ms, open, open_if_there, open_or_make, ring,
    upkeep::Pace,
};
use crate::cli::{Output, say};
use recovery_protocol::operator::ImageView;

use crate::chain::chain;
use crate::cli::{
    fault::{Code, Fault},
    show,
};
use crate::depot::{
    Answer, Capabilities, Limits, Needs, Order, S3Depot, Setting, SettingError, pinned, shortfall,
};

/// What to do with the depot.
#[derive(Debug, clap::Subcommand)]
pub enum DepotVerb {
    /// Try what the object store can do, on an object made for it
    Probe {
        #[command(flatten)]
        at: At,
    },
    /// Put images of the store into the depot
    Push(Push),
    /// Bring images of the depot into the store
    Pull(Pull),
    /// List the images of the depot
    List {
        #[command(flatten)]
        at: At,
    },
    /// Take an image out of the depot; `gc` removes what only it needs
    Withdraw {
        /// Id, name or name:version
        image: String,
        /// Say what would be withdrawn, and change nothing
        #[arg(long)]
        plan: bool,
        #[command(flatten)]
        at: At,
    },
    /// Remove from the depot what no image needs
    Gc(Gc),
    /// Make room here: let images go that the depot has and no recovery would use, those first that were not used for longest. What the
    /// blueprints of the configuration file ask for stays
    Evict(Evict),
}

/// Where the depot is.
#[derive(Debug, clap::Args)]
pub struct At {
    /// Configuration file with `depot` in its table `[images]`
    #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
}

/// What to push.
#[derive(Debug, clap::Args)]
pub struct Push {
    /// Id, name or name:version; default: all
    pub images: Vec<String>,
    /// Read whole, and mend, also what the depot has already
    #[arg(long)]
    pub verify: bool,
    /// Say what would be put, and put nothing
    #[arg(long)]
    pub plan: bool,
    /// Move at most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
    #[command(flatten)]
    pub at: At,
}

/// What to pull.
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Id, name or name:version; default: all
    pub images: Vec<String>,
    /// Take images that the trust root does not vouch for; they stay untrusted until they are signed
    #[arg(long)]
    pub untrusted: bool,
    /// Say what would come, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Move at most so many MiB a second
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
    #[command(flatten)]
    pub at: At,
}

/// How to collect.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Say what would go, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Spare what nothing needs for so many hours after a first `gc` has seen it
    #[arg(long, default_value_t = 48, value_name = "HOURS")]
    pub grace_hours: u64,
    #[command(flatten)]
    pub at: At,
}

/// How to make room.
#[derive(Debug, clap::Args)]
pub struct Evict {
    /// MiB that the store may have; default: `store_gib_max` of the configuration
    #[arg(long, value_name = "MIB")]
    pub store_mib_max: Option<u64>,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Move at most so many MiB a second: what goes is read in the depot first
    #[arg(long, value_name = "MIB")]
    pub rate_mib: Option<u64>,
    #[command(flatten)]
    pub at: At,
}

/// Act.
pub fn act(place: &Place, data_dir: &Path, verb: &DepotVerb, output: Output) -> Result<(), Fault> {
    match verb {
        DepotVerb::Probe { at } => probe(&at.open()?, output),
        DepotVerb::Push(order) => push(place, data_dir, order, output),
        DepotVerb::Pull(order) => pull(place, data_dir, order, output),
        DepotVerb::List { at } => list(place, data_dir, at, output),
        DepotVerb::Withdraw { image, plan, at } => withdraw(&at.open()?, image, *plan, output),
        DepotVerb::Gc(order) => gc(order, output),
        DepotVerb::Evict(order) => evict(place, data_dir, order, output),
    }
}

impl At {
    fn open(&self) -> Result<S3Depot, Fault> {
        open_depot(&self.config)
    }

    fn setting(&self) -> Result<Setting, Fault> {
        Setting::load(&self.config).map_err(|error| no_depot(&error))
    }
}

/// The depot that a configuration file names.
pub fn open_depot(config: &Path) -> Result<S3Depot, Fault> {
    ready(&Setting::load(config).map_err(|error| no_depot(&error))?, Limits::default())
}

fn evict(place: &Place, data_dir: &Path, order: &Evict, output: Output) -> Result<(), Fault> {
    let setting = order.at.setting()?;
    let said = order.store_mib_max.map(|mib| mib.saturating_mul(1 << 20));
    let bytes_max = said.or(setting.store_bytes_max()).ok_or_else(|| {
        let now = "add store_gib_max to the depot of the configuration, or say --store-mib-max";
        Fault::new(Code::Usage, "nothing says how large the store may be", "", now)
    })?;
    let pinned = pinned(&order.at.config).map_err(|error| {
        Fault::of("which images the blueprints ask for cannot be read", &error, "").with(Code::Usage)
    })?;
    let needs = Needs::of_versions(pinned);
    let (depot, store) = (ready(&setting, Limits::default())?, open(&place.store(data_dir))?);
    let ring = ring(&place.trust_root(data_dir))?;
    let done = under_a_bar("reading what may go", order.rate_mib, |progress| {
        let room = Order { bytes_max, now_unix_ms: now_unix_ms(), plan: order.plan };
        needs.evict(&depot, &store, &ring, room, progress)
    });
    let done = done.map_err(|error| fault(&depot, &error))?;
    if output.is_data() {
        say(output, &serde_json::json!({ "plan": order.plan, "bytes_max": bytes_max, "evicted": done }))?;
    } else {
        let (verb, left) = if order.plan { ("would go", "would be left") } else { ("went", "are left") };
        done.images
            .iter()
            .for_each(|image| println!("{image} {verb}; `groundstate image depot pull` brings it back"));
        println!("{} of {} {left}", show::bytes(done.bytes_after), show::bytes(bytes_max));
        if done.waiting > 0 {
            println!("{} packs wait for a writer to end; the next eviction takes them", done.waiting);
        }
    }
    match shortfall(&done, bytes_max) {
        Some(why) => Err(Fault::new(Code::Failed, "the store is larger than it may be", why, "")),
        None => Ok(()),
    }
}

fn no_depot(error: &SettingError) -> Fault {
    let code = if matches!(error, SettingError::None { .. }) { Code::NotFound } else { Code::Usage };
    Fault::of("there is no depot", error, "").with(code)
}

fn ready(setting: &Setting, limits: Limits) -> Result<S3Depot, Fault> {
    S3Depot::open(setting, limits)
        .map_err(|error| Fault::of("the depot cannot be used", &error, "").with(Code::Usage))
}

/// What the depot has besides what is known; none where the file names no depot. Who looks at a list does not wait for long.
pub fn elsewhere(config: &Path, known: &HashSet<ImageId>) -> Result<Option<Vec<ImageView>>, Fault> {
    let setting = match Setting::load(config) {
        Err(SettingError::None { .. }) => return Ok(None),
        other => other.map_err(|error| no_depot(&error))?,
    };
    let limits =
        Limits { connect: Duration::from_secs(2), answer: Duration::from_secs(10), ..Limits::default() };
    let depot = ready(&setting, limits)?;
    let inventory = Inventory::read(&depot).map_err(|error| fault(&depot, &error))?;
    let unknown = inventory.images().filter(|image| !known.contains(image));
    let view = |There { image, header }| {
        let why = match &header {
            Ok(_) => {
                "in the depot only, and not judged yet; `groundstate image depot pull` brings it".to_owned()
            }
            Err(error) => format!("in the depot only, and not as it should be: {}", chain(error)),
        };
        ImageView::new(image, header.as_ref().ok(), Some(why))
    };
    Ok(Some(all(&depot, unknown)?.into_iter().map(view).collect()))
}

/// What went wrong, with the exit code of its kind.
pub fn fault(depot: &S3Depot, error: &DepotError) -> Fault {
    let code = match error {
        DepotError::Gone(_) | DepotError::Slow { .. } => Code::Unavailable,
        DepotError::Forbidden { .. } => Code::Forbidden,
        DepotError::NoImage { .. } => Code::NotFound,
        DepotError::Altered { .. }
        | DepotError::NotKept { .. }
        | DepotError::Untrusted { .. }
        | DepotError::Manifest { .. }
        | DepotError::Incomplete { .. } => Code::Integrity,
        DepotError::Absent { .. }
        | DepotError::Refused { .. }
        | DepotError::NoPackList { .. }
        | DepotError::Store(_) => Code::Failed,
    };
    let now = "mend the cause and run it again: it goes on where it was";
    Fault::of(&format!("the depot {} failed", depot.place()), error, now).with(code)
}

fn push(place: &Place, data_dir: &Path, order: &Push, output: Output) -> Result<(), Fault> {
    let (depot, store) = (order.at.open()?, open(&place.store(data_dir))?);
    let images = match order.images.is_empty() {
        true => store.list().map_err(|error| super::store_fault(&error))?,
        false => order.images.iter().map(|image| find(&store, image)).collect::<Result<_, _>>()?,
    };
    let rules = PushRules { verify: order.verify, plan: order.plan };
    let done = under_a_bar("pushing", order.rate_mib, |progress| {
        depot::push(&store, &depot, &images, rules, progress)
    });
    let done = done.map_err(|error| fault(&depot, &error))?;
    if output.is_data() {
        return say(output, &done);
    }
    println!(
        "{}{} images, {} packs, {}, {} signatures, {} statements",
        if order.plan { "would push " } else { "pushed " },
        done.images.len(),
        done.packs,
        show::bytes(done.bytes),
        done.signatures,
        done.statements
    );
    for pack in &done.mended {
        println!("pack {pack} was there and not as it should be: put once more, and read back right");
    }
    Ok(())
}

fn pull(place: &Place, data_dir: &Path, order: &Pull, output: Output) -> Result<(), Fault> {
    let (depot, directory) = (order.at.open()?, place.store(data_dir));
    let ring = if order.untrusted { None } else { Some(ring(&place.trust_root(data_dir))?) };
    let images = wanted(&depot, &order.images)?;
    let done = match order.plan {
        true => depot::plan_pull(&depot, open_if_there(&directory)?.as_ref(), &images, ring.as_ref()),
        false => {
            let store = open_or_make(&directory)?;
            under_a_bar("pulling", order.rate_mib, |progress| {
                depot::pull(&depot, &store, &images, ring.as_ref(), progress)
            })
        }
    };
    let done = done.map_err(|error| fault(&depot, &error))?;
    for name in &done.altered {
        eprintln!("warning: the depot gives something else for {name}; it was not used");
    }
    if output.is_data() {
        return say(output, &done);
    }
    println!(
        "{}{} images, {} chunks, {}, {} statements",
        if order.plan { "would pull " } else { "pulled " },
        done.images.len(),
        done.chunks,
        show::bytes(done.bytes),
        done.statements
    );
    Ok(())
}

/// Work under a bar that counts bytes, at most so many MiB a second.
fn under_a_bar<T>(doing: &'static str, rate: Option<u64>, work: impl FnOnce(&mut dyn FnMut(u64)) -> T) -> T {
    let (bar, mut pace): (ProgressBar, Pace) = (bar(doing), Pace::new(rate));
    let done = work(&mut |bytes| {
        bar.inc(bytes);
        pace.moved(bytes);
    });
    bar.finish_and_clear();
    done
}

/// An image of the depot with what it is called; none where its header was altered.
struct There {
    image: ImageId,
    header: Result<Header, DepotError>,
}

fn all(depot: &S3Depot, images: impl Iterator<Item = ImageId>) -> Result<Vec<There>, Fault> {
    let mut all = Vec::new();
    for image in images {
        let header = depot::header(depot, &image);
        if let Err(error @ (DepotError::Gone(_) | DepotError::Slow { .. } | DepotError::Forbidden { .. })) =
            &header
        {
            return Err(fault(depot, error));
        }
        all.push(There { image, header });
    }
    Ok(all)
}

/// Images of the depot by id, name or name:version; of several the one with the highest epoch. No word: all.
fn wanted(depot: &S3Depot, words: &[String]) -> Result<Vec<ImageId>, Fault> {
    let ids: Vec<ImageId> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if !words.is_empty() && ids.len() == words.len() {
        return Ok(ids);
    }
    let inventory = Inventory::read(depot).map_err(|error| fault(depot, &error))?;
    if words.is_empty() {
        return Ok(inventory.images().collect());
    }
    let all = all(depot, inventory.images())?;
    let find = |word: &String| {
        let fits = |header: &&Header| is_called(&header.identity.name, &header.identity.version, word);
        let known = all.iter().filter_map(|there| Some((there.image, there.header.as_ref().ok()?)));
        let found = known.filter(|(_, header)| fits(header)).max_by_key(|(_, header)| header.identity.epoch);
        found.map(|(image, _)| image).or_else(|| word.parse().ok()).ok_or_else(|| {
            let now = "name it as in `groundstate image depot list`: id, name or name:version";
            Fault::new(Code::NotFound, format!("there is no image `{word}` in the depot"), "", now)
        })
    };
    words.iter().map(find).collect()
}

fn list(place: &Place, data_dir: &Path, at: &At, output: Output) -> Result<(), Fault> {
    let setting = at.setting()?;
    let depot = &ready(&setting, Limits::default())?;
    let failed = |error| fault(depot, &error);
    let inventory = Inventory::read(depot).map_err(failed)?;
    let (here, here_bytes) = here(place, data_dir)?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for There { image, header } in all(depot, inventory.images())? {
        let whole = inventory.is_whole(depot, &image).map_err(failed)?;
        let identity = header.as_ref().ok().map(|header| &header.identity);
        let (name, version) = identity
            .map_or(("(altered)", ""), |identity| (identity.name.as_str(), identity.version.as_str()));
        let epoch = identity.map_or(0, |identity| identity.epoch);
        let is_here = here.contains(&image);
        lines.push(serde_json::json!({
            "image": image, "name": identity.map(|i| &i.name), "version": version, "epoch": epoch,
            "here": is_here, "whole": whole,
        }));
        rows.push(vec![
            name.to_owned(),
            version.to_owned(),
            epoch.to_string(),
            if is_here { "here too" } else { "depot only" }.to_owned(),
            if whole { "whole" } else { "not whole" }.to_owned(),
            image.to_string(),
        ]);
    }
    let (packs, bytes) = inventory.packs();
    if output.is_data() {
        return say(
            output,
            &serde_json::json!({
                "images": lines, "packs": packs, "bytes": bytes, "foreign": inventory.foreign,
                "store": { "bytes": here_bytes, "bytes_max": setting.store_bytes_max() },
            }),
        );
    }
    println!("{}", show::table(&["NAME", "VERSION", "EPOCH", "WHERE", "STATE", "IMAGE"], &rows));
    println!("{packs} packs, {}", show::bytes(bytes));
    match setting.store_bytes_max() {
        Some(most) => println!("here: {} of {}", show::bytes(here_bytes), show::bytes(most)),
        None => println!("here: {}, without a bound (store_gib_max)", show::bytes(here_bytes)),
    }
    if inventory.foreign > 0 {
        println!("{} objects are not ours and are left alone", inventory.foreign);
    }
    Ok(())
}

/// The images of the local store and its bytes, if there is one: to look is not to make one.
fn here(place: &Place, data_dir: &Path) -> Result<(HashSet<ImageId>, u64), Fault> {
    let path = place.store(data_dir);
    if !path.join("format").is_file() {
        return Ok(Default::default());
    }
    let look = |store: Store| Ok((store.list()?.into_iter().collect(), store.bytes()?));
    open(&path).and_then(|store| look(store).map_err(|error| super::store_fault(&error)))
}

fn withdraw(depot: &S3Depot, image: &str, plan: bool, output: Output) -> Result<(), Fault> {
    let failed = |error| fault(depot, &error);
    let id = match wanted(depot, &[image.to_owned()])?.as_slice() {
        [id] => *id,
        _ => return Err(Fault::new(Code::Usage, "one image at a time", "", "name one image")),
    };
    if plan {
        let name = depot::Name::Manifest(id).to_string();
        if depot.len(&name).map_err(failed)?.is_none() {
            return Err(failed(DepotError::NoImage { image: id }));
        }
        eprintln!("would withdraw {id}");
    } else {
        depot::withdraw(depot, &id).map_err(failed)?;
        eprintln!(
            "withdrew {id}; until it is collected, `groundstate image depot push {id}` puts it back at no cost"
        );
    }
    if output.is_data() { say(output, &serde_json::json!({ "image": id, "plan": plan })) } else { Ok(()) }
}

fn gc(order: &Gc, output: Output) -> Result<(), Fault> {
    let depot = order.at.open()?;
    let grace = Duration::from_secs(order.grace_hours.saturating_mul(3600));
    let rules = CollectRules { now_unix_ms: now_unix_ms(), grace, plan: order.plan };
    let done = depot::collect(&depot, &rules).map_err(|error| fault(&depot, &error))?;
    if output.is_data() {
        say(output, &done)?;
    } else {
        println!(
            "{} images; {}{} objects ({} of packs), {} newly seen as needed by nothing, {} wait, {} needed again",
            done.images,
            if order.plan { "would remove " } else { "removed " },
            done.removed,
            show::bytes(done.bytes),
            done.condemned,
            done.waiting,
            done.pardoned
        );
    }
    if done.broken.is_empty() {
        return Ok(());
    }
    let broken: Vec<String> = done.broken.iter().map(ToString::to_string).collect();
    let now = "push them again from a site that has them: `groundstate image depot push`";
    Err(Fault::new(
        Code::Integrity,
        "images were pushed while their packs were removed",
        broken.join(", "),
        now,
    ))
}

fn probe(depot: &S3Depot, output: Output) -> Result<(), Fault> {
    let found = depot.probe(jiff::Timestamp::now()).map_err(|error| fault(depot, &error))?;
    if output.is_data() {
        return say(output, &serde_json::json!({ "depot": depot.place(), "capabilities": found }));
    }
    println!(
        "{}\n{}",
        depot.place(),
        show::table(&["CAPABILITY", "HERE", "WHAT IT MEANS"], &probe_rows(&found))
    );
    println!("whatever stands here, all that is put is read back, and all that is read is hashed");
    Ok(())
}

fn probe_rows(found: &Capabilities) -> Vec<Vec<String>> {
    let rows: [(&str, &Answer, &str); 7] = [
        (
            "conditional put",
            &found.conditional_put,
            "without it the same bytes may be written twice, which does no harm",
        ),
        (
            "checksum",
            &found.checksum,
            "without it what is spoiled on the way is found only when it is read back",
        ),
        ("signed digest", &found.signed_digest, "without it the same, also where somebody alters it"),
        ("ranges", &found.ranges, "without them nothing can be pulled"),
        ("list", &found.list, "without it a push may put what is there, and a pull miss what is new"),
        ("versions", &found.versions, "without them what the access key removes or overwrites is gone"),
        ("object lock (WORM)", &found.object_lock, "without it the access key can remove every image"),
    ];
    let row = |(name, answer, means): (&str, &Answer, &str)| {
        let here = match answer {
            Answer::Yes => "yes".to_owned(),
            Answer::No(why) => format!("no: {why}"),
            Answer::Unknown(why) => format!("not known: {why}"),
        };
        vec![name.to_owned(), here, means.to_owned()]
    };
    rows.into_iter().map(row).collect()
}
