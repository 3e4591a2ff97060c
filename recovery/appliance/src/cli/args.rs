//! What can be typed: nouns, verbs, flags, and their help. Parsing does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use recovery_protocol::{EndpointId, JobId, selector::Selector};

use super::{
    bundle::Support, client::Reach, drill::DrillVerb, endpoint::EndpointVerb, evidence::EvidenceVerb,
    exhibit::ExhibitVerb, image, kiosk::KioskVerb, notify::NotifyVerb, output::Output, person::PersonVerb,
    plan::PlanVerb, policy::PolicyVerb, report, restore, runbook::RunbookVerb, zone::ZoneVerb,
};

/// Recover endpoints to a known-good state, and prove it
#[derive(Debug, Parser)]
#[command(name = "groundstate", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub(super) reach: Reach,
    /// Form of what is printed; `groundstate help output` says more
    #[arg(short, long, global = true, value_enum, value_name = "FORM", default_value = "table")]
    pub(super) output: Output,
    /// The same as `-o json`
    #[arg(long, global = true, conflicts_with = "output")]
    pub(super) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask four things and write the configuration
    Setup {
        /// TOML file with the answers: site, interface, dhcp, images
        #[arg(long, value_name = "FILE")]
        answers: Option<PathBuf>,
        /// Configuration file to write
        #[arg(
            long,
            env = "GROUNDSTATE_CONFIG",
            value_name = "FILE",
            default_value = "/etc/groundstate/groundstate.toml"
        )]
        config: PathBuf,
    },
    /// Make the data directory with its keys
    Init {
        /// Configuration file
        #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Run the appliance
    Serve {
        /// Configuration file
        #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// The configuration: check it, put it in force
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Save the appliance's state into one encrypted file; it may run
    Backup {
        /// File to write
        file: PathBuf,
        #[command(flatten)]
        state: State,
    },
    /// Restore such a file onto a machine whose data directory is empty
    RestoreState {
        /// The backup
        file: PathBuf,
        /// Keys and settings only; the database server has the state already
        #[arg(long)]
        keep_database: bool,
        #[command(flatten)]
        state: State,
    },
    /// Be the appliance that writes; the other one on this database is fenced
    Takeover {
        /// Why, for the evidence log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Configuration file
        #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the schema that this program knows, or take the database back to an older one
    Migrate {
        /// The schema that the older program printed
        #[arg(long, value_name = "SCHEMA")]
        to: Option<i64>,
        /// Configuration file
        #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Install another version of the package; when it does not serve, the one before is brought back
    Upgrade {
        /// The package file (.deb)
        package: PathBuf,
        /// Give it up after so many seconds without an answer
        #[arg(long, value_name = "SECONDS", default_value_t = 180)]
        limit: u64,
        #[command(flatten)]
        state: State,
    },
    /// Print the version
    Version {
        /// Print what the programs are made of, as CycloneDX: the bill of materials that the package brings
        #[arg(long)]
        sbom: bool,
    },
    /// Print what a shell needs to complete what is typed
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print what can stand where the last word is: for completions
    #[command(hide = true)]
    CompleteNames {
        /// What was typed behind the program's name, the last word unfinished
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory
        dir: PathBuf,
    },
    /// Look at the appliance
    Status,
    /// Say whether the appliance is fit to recover something: measured here, and asked of it. Exit 0 all is well, 1 warnings, 2 failures
    Doctor {
        /// Configuration file, for what it names: boot kit, image store, interfaces
        #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say what a code means and what to do; no appliance is asked
    Explain {
        /// The code; without: list all
        code: Option<String>,
        /// In which language: en, de, fr, es, zh; default: that of the terminal
        #[arg(long, value_name = "LANGUAGE")]
        language: Option<String>,
    },
    /// Pack what somebody needs who helps from afar into one file, without secrets; nothing is sent
    Support(Support),
    /// Print the help on a command, or on a topic: exit-codes, output, selectors, plans, environment
    Help {
        /// A command, or a topic
        words: Vec<String>,
    },
    /// Print a link that opens the console once
    ConsoleLink,
    /// Print the code that makes the first admin in the console, while there is none
    SetupCode,
    /// Bring an endpoint back to its golden image
    Recover(Recover),
    /// Endpoints on record
    #[command(subcommand)]
    Endpoint(EndpointVerb),
    /// Recovery jobs
    #[command(subcommand)]
    Job(JobVerb),
    /// The boot network
    #[command(subcommand)]
    Net(NetVerb),
    /// Golden images and signers' keys, in a store directory
    Image {
        #[command(flatten)]
        place: image::Place,
        #[command(subcommand)]
        verb: ImageVerb,
    },
    /// What the recovery system must trust
    #[command(subcommand)]
    Trust(TrustVerb),
    /// Rehearsals
    #[command(subcommand)]
    Drill(DrillVerb),
    /// Security zones: what evidence and declarations show of each (IEC 62443)
    #[command(subcommand)]
    Zone(ZoneVerb),
    /// Months of the security programme: report and signed pack
    #[command(subcommand)]
    Csms(report::CsmsVerb),
    /// Runbooks: as files, without an appliance; and run by one
    #[command(subcommand)]
    Runbook(RunbookVerb),
    /// The evidence log
    #[command(subcommand)]
    Evidence(EvidenceVerb),
    /// Who may in, and what they may
    #[command(subcommand)]
    Person(PersonVerb),
    /// Tablets at which technicians show a badge
    #[command(subcommand)]
    Kiosk(KioskVerb),
    /// Who is told what happens
    #[command(subcommand)]
    Notify(NotifyVerb),
    /// What recoveries kept of old systems before they overwrote them
    #[command(subcommand)]
    Exhibit(ExhibitVerb),
    /// Standing plans: an approval that two people give beforehand
    #[command(subcommand)]
    Plan(PlanVerb),
    /// What another configuration would have done
    #[command(subcommand)]
    Policy(PolicyVerb),
    /// STOP for the whole site: anyone presses it, two people release it
    #[command(subcommand)]
    Stop(StopVerb),
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Check a file and the files that it names, before anything is started
    Check {
        /// The file
        #[arg(env = "GROUNDSTATE_CONFIG", default_value = "/etc/groundstate/groundstate.toml")]
        file: PathBuf,
    },
    /// Print every key with what it means, as a commented file
    Reference,
    /// Have the appliance put its file in force as it is now, without a restart
    Reload,
}

/// Whose state, and what locks it.
#[derive(Debug, Args)]
pub struct State {
    /// Configuration file; a backup holds it, too
    #[arg(long, env = "GROUNDSTATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the passphrase; default: asked for
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// What to recover.
#[derive(Debug, Args)]
pub struct Recover {
    /// The endpoint
    #[arg(required_unless_present = "selector", conflicts_with = "selector")]
    pub(super) endpoint: Option<EndpointId>,
    /// Each endpoint of which this is true, as in line=3,kind!=historian; --plan first
    #[arg(long, requires = "sure")]
    pub(super) selector: Option<Selector>,
    /// Say whom it means and what stands against it, and order nothing
    #[arg(long, group = "sure", conflicts_with_all = ["break_glass", "timeout"])]
    pub(super) plan: bool,
    /// Order what --plan said, if it is still that
    #[arg(long, group = "sure", value_name = "HASH", conflicts_with = "break_glass")]
    pub(super) approve_plan: Option<String>,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    pub(super) reason: String,
    /// Write partitions that the image preserves as the image has them; what they hold on the endpoint is lost
    #[arg(long)]
    pub(super) give_up_preserved: bool,
    #[command(flatten)]
    pub(super) keeps: super::exhibit::Keeps,
    /// Begin it without the second person that it wants: needs --reason, is an alarm, and another person reviews it
    #[arg(long, requires = "reason", conflicts_with_all = ["selector", "give_up_preserved"])]
    pub(super) break_glass: bool,
    /// Ask for it and leave; without this it is followed to its end
    #[arg(long)]
    pub(super) no_wait: bool,
    /// Give up following after so many seconds (exit 6); the job goes on
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    pub(super) timeout: Option<u64>,
}

/// Whether to wait.
#[derive(Debug, Args)]
pub struct Wait {
    /// Follow it to its end
    #[arg(long)]
    pub(super) wait: bool,
    /// With --wait: give up after so many seconds (exit 6); the job goes on
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
}

/// What to do with the boot network.
#[derive(Debug, Subcommand)]
pub enum NetVerb {
    /// Say who boots, who does not, and why; of one endpoint, hop by hop
    Doctor {
        /// The endpoint
        endpoint: Option<EndpointId>,
        /// Ask every interface first who else serves boots on it; takes some seconds
        #[arg(long, conflicts_with = "endpoint")]
        probe: bool,
    },
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// List jobs, newest first
    List(super::job::List),
    /// What happened in a job, step by step
    Log {
        /// The job
        job: JobId,
    },
    /// Order once more what a job was ordered for that was given up or failed
    Retry(Decide),
    /// Show one job
    Show {
        /// The job
        job: JobId,
        #[command(flatten)]
        wait: WaitFlag,
    },
    /// Approve what a held job asks for
    Approve(Approve),
    /// Let a held job go on
    Resume(Decide),
    /// Stop a job
    Cancel(Decide),
    /// Write a job's report: phases, what was written and proven, every entry about it
    Report(report::OfJob),
    /// Say whether the recovered endpoint's screen shows live values
    Accept(super::machine::Accept),
    /// Recoveries that somebody began without their approval; say what you think of one
    Review(ReviewOrder),
}

/// What somebody says of broken glass.
#[derive(Debug, Args)]
pub struct ReviewOrder {
    /// The job; without: list those that wait for a review
    #[arg(requires = "verdict")]
    pub(super) job: Option<JobId>,
    /// It was right to
    #[arg(long, group = "verdict", requires = "note")]
    pub(super) justified: bool,
    /// It was not
    #[arg(long, group = "verdict", requires = "note")]
    pub(super) not_justified: bool,
    /// What was found; goes into evidence
    #[arg(long, default_value = "")]
    pub(super) note: String,
}

/// Whether to wait.
#[derive(Debug, Args)]
pub struct WaitFlag {
    #[command(flatten)]
    pub(super) wait: Wait,
}

/// What to do with STOP.
#[derive(Debug, Subcommand)]
pub enum StopVerb {
    /// Hold every job that could still switch or write, and begin none
    Press {
        /// Why; goes into evidence
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give one of the two releases; the second is another person's
    Release {
        /// What was found, and why it may go on; goes into evidence
        #[arg(long)]
        reason: String,
    },
    /// Show whether it stands
    Show,
}

/// A yes to what a job asks for.
#[derive(Debug, Args)]
pub struct Approve {
    /// What was seen, as `job show --json` has it in `approves`; without: what is shown now. Something else by then is not approved
    #[arg(long, value_name = "HASH")]
    pub(super) seen: Option<String>,
    #[command(flatten)]
    pub(super) decide: Decide,
}

/// A decision on a job.
#[derive(Debug, Args)]
pub struct Decide {
    /// The job
    pub(super) job: JobId,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) wait: Wait,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Import a disk: raw, compressed, or of a virtual machine
    Import(image::Import),
    /// Sign an image, or a manifest that was exported
    Sign(image::Sign),
    /// List images: those of the store, and those that only the depot has
    List(image::List),
    /// Show an image's header
    Show {
        /// Id, name or name:version
        image: String,
    },
    /// Say what differs between two images, and what an endpoint would fetch
    Diff(image::look::Diff),
    /// Restore an image onto a file
    Restore(restore::Restore),
    /// Verify signatures and every chunk
    Verify {
        /// Id, name or name:version
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        image: Option<String>,
        /// Every image
        #[arg(long)]
        all: bool,
    },
    /// Make an image of an endpoint's disk: the appliance boots it into the recovery system, which reads it
    Capture(image::capture::Capture),
    /// Say which image a channel means
    Promote(image::channel::Promote),
    /// Hand the appliance a promotion that somebody signed elsewhere
    HandIn(image::channel::HandIn),
    /// What the appliance knows of channels: of a name, or of all
    Channels {
        /// Name of the images
        name: Option<String>,
    },
    /// What was said about the images of a name
    History {
        /// Name of the images
        name: String,
    },
    /// Write images into a bundle, or a manifest or signatures into files
    Export(image::travel::Export),
    /// Take in a bundle, or a manifest that was signed elsewhere
    ImportBundle(image::travel::ImportBundle),
    /// Copy images from one store to another
    Replicate(image::upkeep::Replicate),
    /// Remove what no image needs
    Gc(image::upkeep::Gc),
    /// Read everything, find bit rot, repair it
    Scrub(image::upkeep::Scrub),
    /// Delete an image
    Delete(image::upkeep::Delete),
    /// Retention and legal hold
    Keep(image::upkeep::KeepOrder),
    /// The object store behind the image store
    #[command(subcommand)]
    Depot(image::depot::DepotVerb),
    /// Signers' keys
    #[command(subcommand)]
    Key(KeyVerb),
    /// The trust root: which keys have which role
    #[command(subcommand)]
    Root(RootVerb),
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key
    New {
        /// What it signs
        #[arg(long, value_enum)]
        role: RoleWord,
        /// Whose it is
        #[arg(long)]
        name: String,
        /// File to write
        #[arg(long)]
        out: PathBuf,
        /// Without a passphrase; for tests only
        #[arg(long)]
        unprotected: bool,
        /// File with the passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Use a key that a token holds (PKCS #11)
    Token(image::token::OnToken),
}

/// What a key signs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleWord {
    /// Trust roots
    Root,
    /// Golden images
    Image,
    /// Which image a channel means
    Channel,
    /// That a statement is the latest
    Freshness,
}

impl From<RoleWord> for images::Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::Root => Self::Root,
            RoleWord::Image => Self::Image,
            RoleWord::Channel => Self::Channel,
            RoleWord::Freshness => Self::Freshness,
        }
    }
}

/// What to do with the trust root.
#[derive(Debug, Subcommand)]
pub enum RootVerb {
    /// Make the first trust root
    New {
        #[command(flatten)]
        new: image::trust::RootNew,
        /// File with the keys' passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make the successor of the trust root in use
    Next {
        #[command(flatten)]
        new: image::trust::RootNew,
        /// File with the keys' passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Put the next trust root in use
    Rotate {
        /// The next trust root, signed by the old and the new key holders
        file: PathBuf,
        /// Say whether it can follow, and change nothing
        #[arg(long)]
        plan: bool,
    },
    /// Add a root key's signature
    Sign {
        /// The trust root
        file: PathBuf,
        /// Root key file
        #[arg(long)]
        key: PathBuf,
        /// File with the key's passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Show the trust root
    Show {
        /// The trust root; default: the one in use
        file: Option<PathBuf>,
    },
}

/// What to do with trust.
#[derive(Debug, Subcommand)]
pub enum TrustVerb {
    /// Write trust.json for the boot kit: the appliance's pin and the image trust root
    Export {
        /// File to write
        #[arg(long)]
        out: PathBuf,
        /// The site's name, for the endpoint's screen
        #[arg(long, default_value = "groundstate")]
        site: String,
        /// Image trust root; default: `trust-root.json` in the data directory
        #[arg(long, env = "GROUNDSTATE_TRUST_ROOT", value_name = "FILE")]
        trust_root: Option<PathBuf>,
        /// Lowest image epoch that the recovery system accepts
        #[arg(long, default_value_t = 0)]
        min_image_epoch: u64,
    },
}

impl Cli {
    /// The form that was asked for.
    #[must_use]
    pub fn form(&self) -> Output {
        if self.json { Output::Json } else { self.output }
    }

    /// How to reach the appliance.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The data directory that was named.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.reach.data_dir
    }
}
