//! The command line: noun, verb. Parsing does nothing; acting happens once, in [`run`]. Data goes to stdout, talk to stderr.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 waited too long, 8 a person must
//! decide, 9 the appliance does not answer, 10 integrity failure.
//!
//! It speaks REST with `protocol` types, or works on an image store; it touches nothing else of the appliance.

mod client;
mod evidence;
mod fault;
mod follow;
mod image;
mod pinned;
mod restore;
mod show;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use images::Role;
use recovery_protocol::{
    EndpointId, JobId, MacAddr,
    agent::Base64,
    job::JobState,
    operator::{
        Chain, ConsoleLink, Decision, DrillView, EndpointView, JobView, NewDrill, NewEndpoint, PairRequest, Power,
        RecoverRequest, StatusView,
    },
    trust::RecoveryTrust,
};

use self::{
    client::{Client, Reach},
    fault::Code,
    follow::Look,
};
pub use self::fault::Fault;

/// Recover endpoints to a known-good state, and prove it
#[derive(Debug, Parser)]
#[command(name = "groundstate", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Look at the appliance
    Status,
    /// Print a link that opens the console once
    ConsoleLink,
    /// Bring an endpoint back to its golden image
    Recover(Recover),
    /// Endpoints on record
    #[command(subcommand)]
    Endpoint(EndpointVerb),
    /// Recovery jobs
    #[command(subcommand)]
    Job(JobVerb),
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
    /// The evidence log
    #[command(subcommand)]
    Evidence(EvidenceVerb),
}

#[derive(Debug, Args)]
pub struct Recover {
    /// The endpoint
    endpoint: EndpointId,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
struct Wait {
    /// Follow it to its end
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after so many seconds (exit 6); the job goes on
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum EndpointVerb {
    /// Put an endpoint on record, or approve a discovered one
    Add(Add),
    /// List endpoints
    List,
    /// Show one endpoint
    Show {
        /// The endpoint
        endpoint: EndpointId,
    },
    /// Confirm the code on an endpoint's screen
    Pair {
        /// The endpoint
        endpoint: EndpointId,
        /// The six digits on its screen
        code: String,
    },
}

#[derive(Debug, Args)]
pub struct Add {
    /// Its name
    endpoint: EndpointId,
    /// Ethernet address; give it several times
    #[arg(long = "mac", required = true)]
    macs: Vec<MacAddr>,
    /// Blueprint from the configuration
    #[arg(long)]
    blueprint: String,
    /// Group whose guard rails apply
    #[arg(long, default_value = "default")]
    group: String,
    /// Boot chain: `shim` where Secure Boot is on
    #[arg(long, value_enum, default_value_t = ChainWord::Auto)]
    chain: ChainWord,
    /// Serial number of its disk, where more than one could be meant
    #[arg(long)]
    disk_serial: Option<String>,
    /// It may be the target of a drill
    #[arg(long)]
    drill_safe: bool,
    /// BMC that switches it on and off: host, or host:port (IPMI 2.0)
    #[arg(long, requires_all = ["ipmi_user", "ipmi_password_file"])]
    ipmi: Option<String>,
    /// User of the BMC
    #[arg(long)]
    ipmi_user: Option<String>,
    /// File on the appliance with the BMC's password
    #[arg(long)]
    ipmi_password_file: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChainWord {
    Auto,
    Shim,
}

#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// List jobs, newest first
    List {
        /// Of this endpoint only
        #[arg(long)]
        endpoint: Option<EndpointId>,
    },
    /// Show one job
    Show {
        /// The job
        job: JobId,
        #[command(flatten)]
        wait: WaitFlag,
    },
    /// Approve what a held job asks for
    Approve(Decide),
    /// Let a held job go on
    Resume(Decide),
    /// Stop a job
    Cancel(Decide),
}

#[derive(Debug, Args)]
pub struct WaitFlag {
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub struct Decide {
    /// The job
    job: JobId,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Import a raw disk
    Import(image::Import),
    /// Sign an image
    Sign {
        /// Id, name or name:version
        image: String,
        /// Signer's key file
        #[arg(long)]
        key: PathBuf,
        /// File with the key's passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// List images
    List,
    /// Show an image's header
    Show {
        /// Id, name or name:version
        image: String,
    },
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
    /// Signers' keys
    #[command(subcommand)]
    Key(KeyVerb),
    /// The trust root: which keys have which role
    #[command(subcommand)]
    Root(RootVerb),
}

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
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleWord {
    /// Trust roots
    Root,
    /// Golden images
    Image,
}

#[derive(Debug, Subcommand)]
pub enum RootVerb {
    /// Make the first trust root
    New {
        #[command(flatten)]
        new: image::RootNew,
        /// File with the keys' passphrase; default: asked for
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
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

#[derive(Debug, Subcommand)]
pub enum DrillVerb {
    /// Run a runbook on drill-safe endpoints
    Run {
        /// Name of the runbook
        runbook: String,
        /// Target; give it several times
        #[arg(long = "endpoint", required = true)]
        endpoints: Vec<EndpointId>,
        #[command(flatten)]
        wait: Wait,
    },
    /// List drills
    List,
    /// Write a drill's report
    Report {
        /// The drill
        drill: String,
        /// HTML file to write
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum EvidenceVerb {
    /// Check the log: the appliance's, or an export
    Verify {
        /// An export
        #[arg(long, requires = "key")]
        file: Option<PathBuf>,
        /// The evidence key that was kept apart (64 hex digits)
        #[arg(long)]
        key: Option<String>,
    },
    /// Export the whole log
    Export {
        /// File to write; default: stdout
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

impl Cli {
    /// The data directory that was named.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.reach.data_dir
    }
}

/// Act. `init` and `serve` are the binary's, not the command line's.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn run(cli: Cli) -> Result<(), Fault> {
    let Cli { command, reach, json } = cli;
    match command {
        Command::Init { .. } | Command::Serve { .. } => Ok(()),
        Command::Image { place, verb } => image_verb(&place, &reach, verb, json),
        Command::Trust(TrustVerb::Export { out, site, trust_root, min_image_epoch }) => {
            let place = image::Place { store: None, trust_root };
            trust_export(&reach, &place, &out, site, min_image_epoch)
        }
        Command::Evidence(EvidenceVerb::Verify { file: Some(file), key: Some(key) }) => evidence::verify_file(&file, &key),
        Command::Evidence(EvidenceVerb::Verify { .. }) => evidence::verify_appliance(&reach.client()?),
        Command::Evidence(EvidenceVerb::Export { out }) => evidence::export(&reach.client()?, out.as_deref()),
        Command::Status => {
            let view: StatusView = reach.client()?.get("/api/v1/status")?;
            print(json, &view, |view| show::status(view, &reach.pin().unwrap_or_default()))
        }
        Command::ConsoleLink => {
            let client = reach.client()?;
            let link: ConsoleLink = client.post("/api/v1/console-links", &serde_json::json!({}))?;
            println!("{}{}", client.url(), link.path);
            eprintln!("works once, for {} minutes", link.valid_s / 60);
            Ok(())
        }
        Command::Recover(recover) => self::recover(&reach.client()?, recover, json),
        Command::Endpoint(verb) => endpoint_verb(&reach.client()?, verb, json),
        Command::Job(verb) => job_verb(&reach.client()?, verb, json),
        Command::Drill(verb) => drill_verb(&reach.client()?, verb, json),
    }
}

fn print<T: serde::Serialize>(json: bool, value: &T, text: impl Fn(&T) -> String) -> Result<(), Fault> {
    if json {
        let line = serde_json::to_string(value).map_err(|error| Fault::of("it cannot be printed", &error, ""))?;
        println!("{line}");
    } else {
        println!("{}", text(value));
    }
    Ok(())
}

fn recover(client: &Client, recover: Recover, json: bool) -> Result<(), Fault> {
    let key = hex::encode(crate_random()?);
    let path = format!("/api/v1/endpoints/{}/recover", recover.endpoint);
    let request = RecoverRequest { reason: recover.reason };
    let job: JobView = client.post_with(&path, &request, &[("idempotency-key", &key)])?;
    follow_or_print(client, job, &recover.wait, json)
}

fn crate_random() -> Result<[u8; 16], Fault> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Fault::new(Code::Failed, "the system gives no random bytes", "", "try again"))?;
    Ok(bytes)
}

fn follow_or_print(client: &Client, job: JobView, wait: &Wait, json: bool) -> Result<(), Fault> {
    if !wait.wait {
        if !json {
            eprintln!("follow it with `groundstate job show {} --wait`", job.job);
        }
        return print(json, &job, show::job);
    }
    let look = Look::choose(json);
    if look != Look::Json {
        eprintln!("job {} on {}: {}", job.job, job.endpoint, job.image_name);
    }
    let last = follow::to_the_end(client, job, look, wait.timeout.map(Duration::from_secs))?;
    if look != Look::Json {
        println!("{}", show::job(&last));
    }
    Ok(())
}

fn endpoint_verb(client: &Client, verb: EndpointVerb, json: bool) -> Result<(), Fault> {
    match verb {
        EndpointVerb::List => {
            let views: Vec<EndpointView> = client.get("/api/v1/endpoints")?;
            print(json, &views, |views| show::endpoints(views))
        }
        EndpointVerb::Show { endpoint } => {
            let view: EndpointView = client.get(&format!("/api/v1/endpoints/{endpoint}"))?;
            print(json, &view, show::endpoint)
        }
        EndpointVerb::Pair { endpoint, code } => {
            let view: EndpointView = client.post(&format!("/api/v1/endpoints/{endpoint}/pair"), &PairRequest { code })?;
            print(json, &view, show::endpoint)
        }
        EndpointVerb::Add(add) => {
            let view: EndpointView = client.post("/api/v1/endpoints", &add.into_new()?)?;
            print(json, &view, show::endpoint)
        }
    }
}

impl Add {
    fn into_new(self) -> Result<NewEndpoint, Fault> {
        let power = match (self.ipmi, self.ipmi_user, self.ipmi_password_file) {
            (Some(address), Some(user), Some(password_file)) => {
                let (host, port) = address.rsplit_once(':').unwrap_or((&address, "623"));
                let port = port.parse().map_err(|_| {
                    Fault::new(Code::Usage, format!("`{address}` is no BMC address"), "", "write host or host:port")
                })?;
                Power::Ipmi { host: host.to_owned(), port, user, password_file }
            }
            _ => Power::Person,
        };
        Ok(NewEndpoint {
            endpoint: self.endpoint,
            macs: self.macs,
            blueprint: self.blueprint,
            group: self.group,
            chain: match self.chain {
                ChainWord::Auto => Chain::Auto,
                ChainWord::Shim => Chain::Shim,
            },
            disk_serial: self.disk_serial,
            drill_safe: self.drill_safe,
            power,
        })
    }
}

fn job_verb(client: &Client, verb: JobVerb, json: bool) -> Result<(), Fault> {
    let decide = |action: &str, decide: Decide| {
        let path = format!("/api/v1/jobs/{}/{action}", decide.job);
        let job: JobView = client.post(&path, &Decision { reason: decide.reason })?;
        follow_or_print(client, job, &decide.wait, json)
    };
    match verb {
        JobVerb::List { endpoint } => {
            let filter = endpoint.map(|endpoint| format!("?endpoint={endpoint}")).unwrap_or_default();
            let views: Vec<JobView> = client.get(&format!("/api/v1/jobs{filter}"))?;
            print(json, &views, |views| show::jobs(views))
        }
        JobVerb::Show { job, wait } => {
            let view: JobView = client.get(&format!("/api/v1/jobs/{job}"))?;
            if wait.wait.wait { follow_or_print(client, view, &wait.wait, json) } else { print(json, &view, show::job) }
        }
        JobVerb::Approve(given) => decide("approve", given),
        JobVerb::Resume(given) => decide("resume", given),
        JobVerb::Cancel(given) => decide("cancel", given),
    }
}

fn image_verb(place: &image::Place, reach: &Reach, verb: ImageVerb, json: bool) -> Result<(), Fault> {
    let data_dir = &reach.data_dir;
    match verb {
        ImageVerb::Import(import) => image::import(place, data_dir, &import, json),
        ImageVerb::Sign { image, key, passphrase_file } => {
            image::sign(place, data_dir, &image, &key, passphrase_file.as_deref())
        }
        ImageVerb::List => image::list(place, data_dir, json),
        ImageVerb::Show { image } => image::show(place, data_dir, &image),
        ImageVerb::Restore(restore) => image::restore(place, data_dir, &restore, json),
        ImageVerb::Verify { image, .. } => image::verify(place, data_dir, image.as_deref()),
        ImageVerb::Key(KeyVerb::New { role, name, out, unprotected, passphrase_file }) => {
            let role = match role {
                RoleWord::Root => Role::Root,
                RoleWord::Image => Role::Image,
            };
            image::key_new(role, &name, &out, unprotected, passphrase_file.as_deref())
        }
        ImageVerb::Root(RootVerb::New { new, passphrase_file }) => {
            image::root_new(place, data_dir, &new, passphrase_file.as_deref())
        }
        ImageVerb::Root(RootVerb::Sign { file, key, passphrase_file }) => {
            image::root_sign(&file, &key, passphrase_file.as_deref())
        }
        ImageVerb::Root(RootVerb::Show { file }) => image::root_show(&file.unwrap_or_else(|| place.trust_root(data_dir))),
    }
}

fn trust_export(reach: &Reach, place: &image::Place, out: &std::path::Path, site: String, floor: u64) -> Result<(), Fault> {
    let path = place.trust_root(&reach.data_dir);
    let root = image::read_root(&path)?;
    root.check().map_err(|error| {
        let now = "have it signed: `groundstate image root sign`";
        Fault::new(Code::Integrity, "the image trust root is not complete", error.to_string(), now)
    })?;
    let document = serde_json::to_vec(&root).map_err(|error| Fault::of("the trust root cannot be written", &error, ""))?;
    let trust = RecoveryTrust {
        site,
        appliance_spki_sha256: reach.pin()?,
        image_trust_root: Base64(document),
        min_image_epoch: floor.max(root.root.epoch_floor),
    };
    let text = serde_json::to_vec_pretty(&trust).map_err(|error| Fault::of("it cannot be written", &error, ""))?;
    image::write_new(out, 0o644, &text)?;
    eprintln!("wrote {}: build it into the boot kit", out.display());
    Ok(())
}

fn drill_verb(client: &Client, verb: DrillVerb, json: bool) -> Result<(), Fault> {
    match verb {
        DrillVerb::List => {
            let views: Vec<DrillView> = client.get("/api/v1/drills")?;
            print(json, &views, |views| views.iter().map(show::drill).collect::<Vec<_>>().join("\n\n"))
        }
        DrillVerb::Report { drill, out } => {
            let html = client.get_text(&format!("/api/v1/drills/{drill}/report"))?;
            image::write_new(&out, 0o644, html.as_bytes())?;
            eprintln!("wrote {}", out.display());
            Ok(())
        }
        DrillVerb::Run { runbook, endpoints, wait } => {
            let view: DrillView = client.post("/api/v1/drills", &NewDrill { runbook, endpoints })?;
            let view = if wait.wait { drill_to_the_end(client, view, &wait, json)? } else { view };
            print(json, &view, show::drill)?;
            match view.state.as_str() {
                "failed" | "partly" | "aborted" => {
                    let now = format!("read its report: `groundstate drill report {} --out report.html`", view.drill);
                    Err(Fault::new(Code::Failed, format!("the drill ended {}", view.state), "", now))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Follow a drill by its steps; while one of its recoveries runs, that is shown.
fn drill_to_the_end(client: &Client, mut view: DrillView, wait: &Wait, json: bool) -> Result<DrillView, Fault> {
    let begun = std::time::Instant::now();
    let look = Look::choose(json);
    let mut said = std::collections::BTreeSet::new();
    loop {
        for step in view.steps.iter().filter(|step| !matches!(step.state.as_str(), "pending" | "running")) {
            let endpoint = step.endpoint.as_ref().map(|endpoint| format!(" {endpoint}")).unwrap_or_default();
            if said.insert(format!("{}{endpoint}", step.step)) && !json {
                eprintln!("{:<8}{}{endpoint}: {}", step.state, step.step, step.what);
            }
        }
        if !matches!(view.state.as_str(), "running" | "waiting_person") {
            return Ok(view);
        }
        if wait.timeout.is_some_and(|limit| begun.elapsed().as_secs() > limit) {
            return Err(Fault::new(Code::TimedOut, "the drill is not over in time", "", "it goes on by itself"));
        }
        if let Some(job) = view.jobs.last() {
            let job: JobView = client.get(&format!("/api/v1/jobs/{job}"))?;
            if matches!(job.state, JobState::Working { .. }) {
                // A held or failed recovery is the drill's to judge, not ours.
                let _ = follow::to_the_end(client, job, look, wait.timeout.map(Duration::from_secs));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        view = client.get(&format!("/api/v1/drills/{}", view.drill))?;
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_manual_parse() {
        for line in [
            "serve --config /etc/groundstate/groundstate.toml",
            "recover press-01 --wait --timeout 600",
            "recover press-01 --reason broken --json",
            "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --drill-safe",
            "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --ipmi 10.0.0.9:623 --ipmi-user a --ipmi-password-file /f",
            "image import disk.raw --name hmi-panel --version 1",
            "image sign hmi-panel --key signer.key",
            "image key new --role image --name alice --out alice.key",
            "image root new --root a --root b --root c --threshold 2 --signer s",
            "image root show",
            "image verify --all",
            "image --store /s list",
            "trust export --out trust.json",
            "drill run quarterly-hmi-drill --endpoint press-01 --wait",
            "drill report 00ff --out report.html",
            "evidence verify",
            "evidence verify --file log.jsonl --key 00",
            "job approve 0193a3c8-0000-7000-8000-000000000000",
            "console-link",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in ["recover PRESS", "endpoint add x --mac zz --blueprint b", "image verify", "job show x", "evidence verify --file f"] {
            assert!(Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' '))).is_err(), "{wrong}");
        }
        let bmc = "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --ipmi 10.0.0.9";
        assert!(Cli::try_parse_from(["groundstate"].into_iter().chain(bmc.split(' '))).is_err());
    }
}
