//! `groundstate image promote|history`: which image a channel means, said by a person and signed.

use std::path::{Path, PathBuf};

use images::{
    Role,
    keys::{ChannelStatement, Signed, Stage},
    store::History,
};

use super::{Place, find, key_file, now_unix_ms, open, ring, say_json, store_fault, unlock};
use crate::cli::fault::{Code, Fault};

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
    /// File with the key's passphrase; default: asked for
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// Sign a channel statement and keep it in the store.
pub fn promote(place: &Place, data_dir: &Path, order: &Promote, json: bool) -> Result<(), Fault> {
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
        store.put_statement(&statement).map_err(|error| store_fault(&error))?;
        if let Err(error) = ring.verify_statement(&statement, 0) {
            eprintln!("not valid yet: {error}");
        }
    }
    if json {
        return say_json(&body);
    }
    let would = if order.plan { "would say: " } else { "" };
    println!("{would}{} means {id} from epoch {} on, by order of {}", body.channel, body.epoch, body.author);
    Ok(())
}

/// What was said about the images of a name.
pub fn history(place: &Place, data_dir: &Path, name: &str, json: bool) -> Result<(), Fault> {
    let store = open(&place.store(data_dir))?;
    let History(said) = store.history(name).map_err(|error| store_fault(&error))?;
    if json {
        return say_json(&said);
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
