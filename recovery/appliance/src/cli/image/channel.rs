//! `groundstate image promote|history`: which image a channel means, said by a person and signed.

use std::path::{Path, PathBuf};

use images::{
    Role,
    keys::{ChannelStatement, Signed, Stage},
    store::History,
};

use recovery_protocol::channel::{ChannelView, Promotion, StatementView};

use super::{Place, find, key_file, now_unix_ms, open, ring, store_fault, unlock, write_new};
use crate::cli::{Output, say};
use crate::cli::{
    client::Client,
    fault::{Code, Fault},
    person::under,
    show,
};

/// A stage on the command line.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum StageWord {
    /// To be tried
    Candidate,
    /// What endpoints are restored to
    Approved,
    /// Not to be restored any more
    Retired,
}

impl From<StageWord> for Stage {
    fn from(word: StageWord) -> Self {
        match word {
            StageWord::Candidate => Self::Candidate,
            StageWord::Approved => Self::Approved,
            StageWord::Retired => Self::Retired,
        }
    }
}

/// What to promote.
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// Id, name or name:version
    pub image: String,
    /// Where it shall stand
    #[arg(long, value_enum, default_value_t = StageWord::Approved)]
    pub to: StageWord,
    /// Channel key file
    #[arg(long)]
    pub key: PathBuf,
    /// Who orders it; default: the key's name
    #[arg(long)]
    pub author: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Say what would be signed, and sign nothing
    #[arg(long)]
    pub plan: bool,
    /// Write the signed promotion into this file, and nothing into the store: `image hand-in` gives it to the appliance
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub out: Option<PathBuf>,
    /// File with the key's passphrase; default: asked for
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Sign a channel statement and keep it in the store.
pub fn promote(place: &Place, data_dir: &Path, order: &Promote, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let (id, stage) = (find(&store, &order.image)?, Stage::from(order.to));
    let ring = ring(&place.trust_root(data_dir))?;
    let file = key_file(&order.key)?;
    if !ring.root().root.roles.get(&Role::Channel).is_some_and(|keys| keys.keys.contains(&file.public)) {
        let why = format!(
            "{} is a {} key that the trust root does not list for channels",
            order.key.display(),
            file.role
        );
        let now = "give a key made with `--role channel` that the trust root lists (`groundstate image root next --channel`)";
        return Err(Fault::new(Code::Forbidden, "this key promotes no images", why, now));
    }
    let signed = store.get_manifest(&id).map_err(|error| store_fault(&error))?;
    let name = signed.parse().map_err(|error| store_fault(&error.into()))?.header().identity.name.clone();
    if stage == Stage::Approved {
        let refused = |error: images::VerifyError| {
            let now = "have it signed by those whom the trust root lists, then promote it";
            Fault::new(
                Code::Integrity,
                "an image that is not trusted is not approved",
                error.to_string(),
                now,
            )
        };
        ring.verify(signed).map_err(refused)?;
    }
    let history = store.history(&name).map_err(|error| store_fault(&error))?;
    let body = ChannelStatement {
        channel: stage.channel(&name),
        epoch: history.next_epoch().max(ring.root().root.epoch_floor),
        image: id,
        author: order.author.clone().unwrap_or_else(|| file.name.clone()),
        reason: order.reason.clone(),
        at_unix_ms: now_unix_ms(),
    };
    if !order.plan {
        let key = unlock(&file, &order.key, order.passphrase_file.as_deref())?;
        let statement = Signed::new(body.clone(), &key)
            .map_err(|error| Fault::of("nothing was promoted", &error, "try again"))?;
        match &order.out {
            Some(out) => write_out(out, &statement)?,
            None => store.put_statement(&statement).map_err(|error| store_fault(&error))?,
        }
        if let Err(error) = ring.verify_statement(&statement, 0) {
            eprintln!("not valid yet: {error}");
        }
    }
    if output.is_data() {
        return say(output, &body);
    }
    let would = if order.plan { "would say: " } else { "" };
    println!("{would}{} means {id} from epoch {} on, by order of {}", body.channel, body.epoch, body.author);
    Ok(())
}

fn write_out(out: &Path, statement: &Signed<ChannelStatement>) -> Result<(), Fault> {
    let text = serde_json::to_vec_pretty(statement)
        .map_err(|error| Fault::of("the promotion cannot be written", &error, "try again"))?;
    write_new(out, 0o644, &text)
}

/// A promotion that somebody signed, for the appliance.
#[derive(Debug, clap::Args)]
pub struct HandIn {
    /// What `image promote --out` wrote
    pub file: PathBuf,
    /// The epoch at which its channel stood when it was looked at; where it stands elsewhere by then, nothing is done
    #[arg(long, value_name = "EPOCH")]
    pub revision: Option<u64>,
}

/// Hand a promotion in.
pub fn hand_in(client: &Client, order: &HandIn, output: Output) -> Result<(), Fault> {
    let now = "give the file that `groundstate image promote --out` wrote";
    let text = std::fs::read(&order.file).map_err(|error| {
        let what = format!("{} cannot be read", order.file.display());
        Fault::new(Code::NotFound, what, error.to_string(), "check the path")
    })?;
    let wrong = |why: String| Fault::new(Code::Usage, "this is no signed promotion", why, now);
    let statement: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let signed: Signed<ChannelStatement> =
        serde_json::from_value(statement.clone()).map_err(|error| wrong(error.to_string()))?;
    let name = signed.body.about().map(|(name, _)| name.to_owned());
    let name = name.ok_or_else(|| wrong(format!("`{}` is no channel", signed.body.channel)))?;
    let path = under("/api/v1/channels", &name, "groundstate image list")?;
    let revision = order.revision.map(|epoch| format!("\"{epoch}\""));
    let headers: Vec<(&str, &str)> =
        revision.iter().map(|revision| ("if-match", revision.as_str())).collect();
    let channel: ChannelView = client.post_with(&path, &Promotion { statement }, &headers)?;
    if output.is_data() {
        return say(output, &channel);
    }
    println!("{}", channel_page(&channel));
    Ok(())
}

/// What the appliance knows of the channels of a name, or of all.
pub fn channels(client: &Client, name: Option<&str>, output: Output) -> Result<(), Fault> {
    let found: Vec<ChannelView> = match name {
        Some(name) => vec![client.get(&under("/api/v1/channels", name, "groundstate image list")?)?],
        None => client.get("/api/v1/channels")?,
    };
    if output.is_data() {
        return say(output, &found);
    }
    let pages: Vec<String> = found.iter().map(channel_page).collect();
    println!("{}", pages.join("\n\n"));
    Ok(())
}

fn channel_page(channel: &ChannelView) -> String {
    let row = |said: &StatementView| {
        let counts =
            if said.why_not.is_empty() { String::new() } else { format!("does not count: {}", said.why_not) };
        let at = show::moment(said.at_unix_ms);
        vec![
            said.epoch.to_string(),
            said.stage.clone(),
            said.image.clone(),
            said.author.clone(),
            at,
            said.reason.clone(),
            counts,
        ]
    };
    let rows: Vec<Vec<String>> = channel.statements.iter().map(row).collect();
    let head = format!(
        "{} at epoch {}{}",
        channel.name,
        channel.epoch,
        if channel.in_use { "" } else { " (no key promotes images here)" }
    );
    format!("{head}\n{}", show::table(&["EPOCH", "STAGE", "IMAGE", "BY", "AT", "WHY", ""], &rows))
}

/// What was said about the images of a name.
pub fn history(place: &Place, data_dir: &Path, name: &str, output: Output) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let History(said) = store.history(name).map_err(|error| store_fault(&error))?;
    if output.is_data() {
        return say(output, &said);
    }
    let ring = ring(&place.trust_root(data_dir)).ok();
    for signed in said {
        let body = &signed.body;
        let at = jiff::Timestamp::from_millisecond(body.at_unix_ms.cast_signed()).unwrap_or_default();
        println!(
            "{:>6}  {at}  {} means {}, by {}: {}",
            body.epoch, body.channel, body.image, body.author, body.reason
        );
        if let Some(Err(error)) = ring.as_ref().map(|ring| ring.verify_statement(&signed, 0)) {
            println!("        not believed: {error}");
        }
    }
    Ok(())
}
