//! The command line: noun, verb. Parsing does nothing; acting happens once, in [`run`]. Data goes to stdout, talk to stderr.
//!
//! Exit codes are one closed type, [`Code`]; what is printed has one of the forms of [`Output`].
//!
//! It speaks REST with `protocol` types, or works on an image store; it touches nothing else of the appliance.

mod args;
mod bundle;
#[cfg(test)]
pub mod by_hand;
mod calendar;
mod client;
mod drill;
mod endpoint;
mod entries;
mod evidence;
mod exhibit;
mod fault;
mod follow;
mod image;
mod job;
mod kiosk;
mod machine;
mod manual;
mod names;
mod net;
mod notify;
mod output;
mod pack;
mod pages;
mod person;
mod pinned;
mod plan;
mod policy;
mod power;
mod recover;
mod report;
mod restore;
mod run;
mod runbook;
mod show;
mod topics;
mod zone;

use std::time::Duration;

use recovery_protocol::{
    agent::Base64,
    operator::{Approval, Decision, JobView, StatusView},
    people::{ConsoleLink, NewReview, ReviewView, SetupCode},
    stop::StopAnswer,
    trust::RecoveryTrust,
};

use self::{
    args::{Approve, Decide, ImageVerb, JobVerb, KeyVerb, ReviewOrder, RootVerb, StopVerb, TrustVerb, Wait},
    follow::Look,
};
pub use self::{
    args::{Cli, Command, ConfigVerb, State},
    bundle::Support,
    client::{Client, Reach},
    evidence::verified_log,
    fault::{Code, Fault},
    image::{
        new_secret, secret,
        upkeep::{ReadWhole, SCRUBBED},
    },
    output::{Output, print, say},
    show::table,
    topics::{START, near},
};

/// Act. `init`, `setup`, `serve`, `backup`, `restore-state`, `takeover`, `upgrade`, `migrate`, `doctor`, `explain` and `support` are the binary's, not the command line's.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn run(cli: Cli) -> Result<(), Fault> {
    let output = cli.form();
    let Cli { command, reach, .. } = cli;
    match command {
        Command::Init { .. }
        | Command::Serve { .. }
        | Command::Setup { .. }
        | Command::Backup { .. }
        | Command::RestoreState { .. }
        | Command::Takeover { .. }
        | Command::Upgrade { .. }
        | Command::Doctor { .. }
        | Command::Explain { .. }
        | Command::Support(_)
        | Command::Config(ConfigVerb::Check { .. } | ConfigVerb::Reference)
        | Command::Migrate { .. } => Ok(()),
        Command::Config(ConfigVerb::Reload) => notify::reload(&reach.client()?, output),
        Command::Version { sbom } => version(sbom),
        Command::Help { words } => {
            print!("{}", topics::help(&words)?);
            Ok(())
        }
        Command::Completions { shell } => {
            manual::completions(shell);
            Ok(())
        }
        Command::CompleteNames { words } => {
            names::print(&reach, &words);
            Ok(())
        }
        Command::Manual { dir } => manual::pages(&dir),
        Command::Image { place, verb } => image_verb(&place, &reach, verb, output),
        Command::Trust(TrustVerb::Export { out, site, trust_root, min_image_epoch }) => {
            let place = image::Place { store: None, trust_root };
            trust_export(&reach, &place, &out, site, min_image_epoch)
        }
        Command::Evidence(verb) => evidence::run(verb, &reach, output),
        Command::Status => {
            let view: StatusView = reach.client()?.get("/api/v1/status")?;
            print(output, &view, |view| show::status(view, &reach.pin().unwrap_or_default()))
        }
        Command::ConsoleLink => {
            let client = reach.client()?;
            let link: ConsoleLink = client.post("/api/v1/console-links", &serde_json::json!({}))?;
            println!("{}{}", client.url(), link.path);
            eprintln!("works once, for {} minutes", link.valid_s / 60);
            Ok(())
        }
        Command::SetupCode => setup_code(&reach.client()?),
        Command::Recover(order) => recover::act(&reach.client()?, order, output),
        Command::Endpoint(verb) => endpoint::act(&reach.client()?, verb, output),
        Command::Job(verb) => job_verb(&reach.client()?, verb, output),
        Command::Exhibit(verb) => exhibit::act(&reach.client()?, verb, output),
        Command::Net(verb) => net::act(&reach.client()?, verb, output),
        Command::Notify(verb) => notify::act(&reach.client()?, verb, output),
        Command::Zone(verb) => zone::act(verb, &reach, output),
        Command::Csms(verb) => report::csms(&reach.client()?, verb),
        Command::Runbook(runbook::RunbookVerb::Run(order)) => run::act(&reach.client()?, *order, output),
        Command::Runbook(verb) => runbook::act(verb, output),
        Command::Drill(verb) => drill::act(&reach.client()?, verb, output),
        Command::Person(verb) => person::act(&reach.client()?, verb, output),
        Command::Kiosk(verb) => kiosk::act(&reach.client()?, verb, output),
        Command::Plan(verb) => plan::act(&reach.client()?, verb, output),
        Command::Policy(verb) => policy::act(&reach.client()?, verb, output),
        Command::Stop(verb) => stop_verb(&reach.client()?, verb, output),
    }
}

fn setup_code(client: &Client) -> Result<(), Fault> {
    let made: SetupCode = client.post("/api/v1/setup-codes", &serde_json::json!({}))?;
    println!("{}", made.code);
    eprintln!("open {}{}; it works once, for {} minutes", client.url(), made.path, made.valid_s / 60);
    Ok(())
}

/// Where the package puts the bill of materials.
const BILL: &str = "/usr/share/groundstate/groundstate.cdx.json";

fn version(sbom: bool) -> Result<(), Fault> {
    if !sbom {
        println!("{}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let bill = std::fs::read_to_string(BILL).map_err(|error| {
        let now = "install the package, or make it with `cargo programs --deb DIR`";
        Fault::new(Code::NotFound, format!("{BILL} cannot be read"), error.to_string(), now)
    })?;
    print!("{bill}");
    Ok(())
}

pub(crate) fn follow_or_print(
    client: &Client,
    job: JobView,
    wait: &Wait,
    output: Output,
) -> Result<(), Fault> {
    if !wait.wait {
        if !output.is_data() {
            eprintln!("follow it with `groundstate job show {} --wait`", job.job);
        }
        return print(output, &job, show::job);
    }
    let look = Look::choose(output);
    if look != Look::Json {
        eprintln!("job {} on {}: {}", job.job, job.endpoint, job.image_name);
    }
    let last = follow::to_the_end(client, job, look, wait.timeout.map(Duration::from_secs))?;
    match look {
        Look::Json => Ok(()),
        Look::Lines | Look::Live => print(output, &last, show::job),
    }
}

fn job_verb(client: &Client, verb: JobVerb, output: Output) -> Result<(), Fault> {
    let decide = |action: &str, decide: Decide| {
        let path = format!("/api/v1/jobs/{}/{action}", decide.job);
        let job: JobView = client.post(&path, &Decision { reason: decide.reason })?;
        follow_or_print(client, job, &decide.wait, output)
    };
    match verb {
        JobVerb::List(list) => job::list(client, &list, output),
        JobVerb::Log { job } => job::log(client, job, output),
        JobVerb::Show { job, wait } => {
            let view: JobView = client.get(&format!("/api/v1/jobs/{job}"))?;
            if wait.wait.wait {
                follow_or_print(client, view, &wait.wait, output)
            } else {
                print(output, &view, show::job)
            }
        }
        JobVerb::Approve(Approve { seen, decide }) => {
            let path = format!("/api/v1/jobs/{}", decide.job);
            let seen = match seen {
                Some(seen) => seen,
                // What is shown here is what is said yes to.
                None => {
                    let view: JobView = client.get(&path)?;
                    eprintln!("{}", show::job(&view));
                    view.approves.unwrap_or_default()
                }
            };
            let approval = Approval { seen, reason: decide.reason };
            follow_or_print(client, client.post(&format!("{path}/approve"), &approval)?, &decide.wait, output)
        }
        JobVerb::Review(ReviewOrder { job, justified, note, .. }) => {
            let reviews: Vec<ReviewView> = match job {
                None => client.get("/api/v1/reviews")?,
                Some(job) => {
                    client.post(&format!("/api/v1/reviews/{job}"), &NewReview { justified, note })?
                }
            };
            print(output, &reviews, |reviews| show::reviews(reviews))
        }
        JobVerb::Resume(given) => decide("resume", given),
        JobVerb::Cancel(given) => decide("cancel", given),
        JobVerb::Retry(given) => decide("retry", given),
        JobVerb::Report(report::OfJob { job, how }) => {
            how.fetch(client, &format!("/api/v1/jobs/{job}/report"), "")
        }
        JobVerb::Accept(said) => machine::accept(client, said, output),
    }
}

fn stop_verb(client: &Client, verb: StopVerb, output: Output) -> Result<(), Fault> {
    let answer: StopAnswer = match verb {
        StopVerb::Press { reason } => client.post("/api/v1/stop", &Decision { reason })?,
        StopVerb::Release { reason } => client.post("/api/v1/stop/release", &Decision { reason })?,
        StopVerb::Show => client.get("/api/v1/stop")?,
    };
    print(output, &answer, |answer| show::stop(answer.stop.as_ref()))
}

fn image_verb(place: &image::Place, reach: &Reach, verb: ImageVerb, output: Output) -> Result<(), Fault> {
    let data_dir = &reach.data_dir;
    match verb {
        ImageVerb::Import(import) => image::import(place, data_dir, &import, output),
        ImageVerb::Sign(order) => image::sign(place, data_dir, &order, output),
        ImageVerb::List(order) => image::list(place, data_dir, &order, output),
        ImageVerb::Show { image } => image::look::show(place, data_dir, &image, output),
        ImageVerb::Diff(order) => image::look::compare(place, data_dir, &order, output),
        ImageVerb::Restore(restore) => image::restore(place, data_dir, &restore, output),
        ImageVerb::Verify { image, .. } => image::look::verify(place, data_dir, image.as_deref(), output),
        ImageVerb::Capture(order) => image::capture::capture(&reach.client()?, order, output),
        ImageVerb::Promote(order) => image::channel::promote(place, data_dir, &order, output),
        ImageVerb::HandIn(order) => image::channel::hand_in(&reach.client()?, &order, output),
        ImageVerb::Channels { name } => image::channel::channels(&reach.client()?, name.as_deref(), output),
        ImageVerb::History { name } => image::channel::history(place, data_dir, &name, output),
        ImageVerb::Export(order) => image::travel::export(place, data_dir, &order, output),
        ImageVerb::ImportBundle(order) => image::travel::import_bundle(place, data_dir, &order, output),
        ImageVerb::Replicate(order) => image::upkeep::copy(&order, output),
        ImageVerb::Gc(order) => image::upkeep::gc(place, data_dir, &order, output),
        ImageVerb::Scrub(order) => image::upkeep::scrub(place, data_dir, &order, output),
        ImageVerb::Delete(order) => image::upkeep::delete(place, data_dir, &order, output),
        ImageVerb::Keep(order) => image::upkeep::keep(place, data_dir, &order, output),
        ImageVerb::Depot(verb) => image::depot::act(place, data_dir, &verb, output),
        ImageVerb::Key(KeyVerb::New { role, name, out, unprotected, passphrase_file }) => {
            image::trust::key_new(role.into(), &name, &out, unprotected, passphrase_file.as_deref())
        }
        ImageVerb::Key(KeyVerb::Token(order)) => image::token::key_on_token(order.role.into(), &order),
        ImageVerb::Root(RootVerb::New { new, passphrase_file }) => {
            image::trust::root_new(place, data_dir, &new, passphrase_file.as_deref(), output)
        }
        ImageVerb::Root(RootVerb::Next { new, passphrase_file }) => {
            image::trust::root_next(place, data_dir, &new, passphrase_file.as_deref(), output)
        }
        ImageVerb::Root(RootVerb::Rotate { file, plan }) => {
            image::trust::root_rotate(place, data_dir, &file, plan, output)
        }
        ImageVerb::Root(RootVerb::Sign { file, key, passphrase_file }) => {
            image::trust::root_sign(&file, &key, passphrase_file.as_deref(), output)
        }
        ImageVerb::Root(RootVerb::Show { file }) => {
            image::trust::root_show(&file.unwrap_or_else(|| place.trust_root(data_dir)))
        }
    }
}

fn trust_export(
    reach: &Reach,
    place: &image::Place,
    out: &std::path::Path,
    site: String,
    floor: u64,
) -> Result<(), Fault> {
    let path = place.trust_root(&reach.data_dir);
    let root = image::read_root(&path)?;
    root.check().map_err(|error| {
        let now = "have it signed: `groundstate image root sign`";
        Fault::new(Code::Integrity, "the image trust root is not complete", error.to_string(), now)
    })?;
    let document = serde_json::to_vec(&root)
        .map_err(|error| Fault::of("the trust root cannot be written", &error, ""))?;
    let trust = RecoveryTrust {
        site,
        appliance_spki_sha256: reach.pin()?,
        image_trust_root: Base64(document),
        min_image_epoch: floor.max(root.root.epoch_floor),
    };
    let text =
        serde_json::to_vec_pretty(&trust).map_err(|error| Fault::of("it cannot be written", &error, ""))?;
    image::write_new(out, 0o644, &text)?;
    eprintln!("wrote {}: build it into the boot kit", out.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_about_endpoints_and_the_boot_network_parse() {
        for line in [
            "net doctor",
            "notify list --json",
            "notify test webhook:fleet",
            "net doctor press-01 --json",
            "net doctor --probe",
            "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --drill-safe",
            "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --ipmi 10.0.0.9:623 --ipmi-user a --ipmi-password-file /f",
            "endpoint set press-01 --mac 52:54:00:12:34:57 --mac 52-54-00-12-34-58 --group line-3 --reason moved",
            "endpoint set press-01 --drill-safe false --no-power --revision 3",
            "endpoint remove press-01 --reason scrapped",
            "endpoint resolve press-01 --keep",
            "endpoint resolve press-01 --replace --reason repaired",
            "endpoint list --unknown",
            "endpoint import plant.csv --plan",
            "endpoint import plant.csv --approve-plan 00",
            "endpoint export --out plant.csv",
            "endpoint list --selector line=3,kind!=historian",
            "recover --selector line=3 --plan",
            "recover press-01 --plan",
            "recover press-01 --approve-plan 00 --reason drift",
            "recover --selector line=3 --approve-plan 00 --reason drift",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in [
            "recover --selector line=3",
            "recover press-01 --plan --break-glass --reason x",
            "recover press-01 --plan --approve-plan 00",
            "recover press-01 --selector line=3 --plan",
            "recover",
            "endpoint list --selector line=",
            "endpoint resolve press-01",
            "endpoint resolve press-01 --keep --replace",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' ')));
            assert!(parsed.is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_commands_about_people_parse() {
        for line in [
            "setup-code",
            "plan list",
            "plan make night --selector line=3 --image hmi:7 --trigger attestation --window daily --most-per-day 4 --valid-days 30",
            "plan approve night --reason agreed",
            "plan withdraw night",
            "recover press-01 --break-glass --reason the-line-stands-still",
            "job review",
            "job review 0193a3c8-0000-7000-8000-000000000000 --not-justified --note asked-around",
            "person passwd",
            "person set robot --client-certificate robot.crt",
            "person badge tom --pin-file tom.pin",
            "person badge tom --none",
            "person unlock tom",
            "job list --state held --trigger webhook --words press --sort oldest --limit 20",
            "job log 0193a3c8-0000-7000-8000-000000000000 --json",
            "job retry 0193a3c8-0000-7000-8000-000000000000 --reason mended",
            "evidence list --kind order --by anna --endpoint press-01 --limit 20",
            "evidence verify --by-appliance",
            "image promote hmi:2 --key c.key --out promotion.json",
            "image hand-in promotion.json --revision 3",
            "image channels hmi",
            "kiosk list",
            "kiosk pair panel-3",
            "kiosk end panel-3",
            "person passwd anna --password-file anna.pass",
            "person passwd anna --none",
            "person sessions --json",
            "person sessions --end 00ff",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in [
            "recover press-01 --break-glass",
            "job review 0193a3c8-0000-7000-8000-000000000000",
            "person passwd anna secret",
            "person passwd --none",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' ')));
            assert!(parsed.is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_commands_of_rehearsal_parse() {
        for line in [
            "drill run quarterly-hmi-drill --endpoint press-01 --wait",
            "drill run quarterly-hmi-drill --endpoint press-01 --plan",
            "drill run quarterly-hmi-drill --endpoint press-01 --approve-plan 00 --wait",
            "drill report 00ff --out report.html",
            "doctor -o yaml",
            "explain guard-rail --language de",
            "explain",
            "support --out b.age --recipient age1x",
            "support --out b.tar.zst --plain",
            "help",
            "help exit-codes",
            "help endpoint add",
            "drill answer 00ff --step go --person ada --role drill-lead --no",
            "drill abort 00ff",
            "runbook list --json",
            "runbook lint mine.yaml single-hmi-failed",
            "runbook print single-hmi-failed --sheet card --language de --out card.html",
            "runbook plan line-hmi-mass-recovery --count 18 --people 2 --mode real --over-link 3",
            "runbook plan mine.yaml --endpoints e.json --measured a.json --measured b.json",
            "zone assess --zones zones.yaml --log log.jsonl --key 00 --form html --out zones.html",
            "drill pack 00ff --out drill.gsp",
            "zone readiness --zones zones.yaml --log log.jsonl --key 00 --json",
            "runbook schema",
            "runbook blueprints",
            "runbook show single-hmi-failed",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in [
            "support --out b",
            "support --out b --plain --recipient age1x",
            "runbook plan x",
            "runbook lint",
            "zone assess --zones z",
            "drill pack 00ff",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' ')));
            assert!(parsed.is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_commands_of_the_manual_parse() {
        for line in [
            "serve --config /etc/groundstate/groundstate.toml",
            "config check /etc/groundstate/groundstate.toml",
            "config reference",
            "config reload",
            "version --sbom",
            "upgrade groundstate_0.2.0_amd64.deb --passphrase-file word --limit 60",
            "recover press-01 --timeout 600",
            "recover press-01 --reason broken --no-wait --json",
            "image import disk.raw --name hmi-panel --version 1",
            "image import disk.qcow2.zst --name hmi-panel --version 1 --format qcow2 --unpacked-max-gib 500",
            "image sign hmi-panel --key signer.key",
            "image key new --role image --name alice --out alice.key",
            "image root new --root a --root b --root c --threshold 2 --signer s",
            "image root show",
            "image root next --root a --signer s --channel c --expires 2030-01-01 --out next.json",
            "image root rotate next.json",
            "image key new --role channel --name bob --out bob.key",
            "image sign hmi.gsi --key signer.key",
            "image promote hmi-panel --key channel.key --reason tested",
            "image promote hmi-panel:1 --to retired --key channel.key --plan",
            "image history hmi-panel",
            "image export hmi-panel --out hmi.bundle --without hmi-panel:1 --rate-mib 20",
            "image export hmi-panel --manifest --out hmi.gsi",
            "image export hmi-panel --minisign --out signatures",
            "image import-bundle hmi.bundle",
            "image replicate /a /b --image hmi-panel --plan",
            "image gc --plan --grace-hours 0",
            "image scrub --from /replica --rate-mib 100",
            "image scrub --from-depot --config g.toml --rate-mib 100",
            "image delete hmi-panel:1",
            "image keep hmi-panel --until 2030-01-01 --legal-hold case --by counsel",
            "image depot probe --config /etc/groundstate/groundstate.toml --json",
            "image depot push hmi-panel --config g.toml --plan --rate-mib 20",
            "image depot push --config g.toml --verify",
            "image depot pull hmi-panel:2 --config g.toml --untrusted",
            "image depot list --config g.toml",
            "image depot withdraw hmi-panel:1 --config g.toml --plan",
            "image depot gc --config g.toml --plan --grace-hours 0",
            "image verify --all",
            "image diff hmi-panel:1 hmi-panel:2 --all --json",
            "image sign hmi-panel --key signer.key --plan",
            "image delete hmi-panel:1 --plan",
            "image import-bundle hmi.bundle --plan",
            "image --store /s list",
            "image list --config /etc/groundstate/groundstate.toml --json",
            "trust export --out trust.json",
            "evidence verify",
            "job approve 0193a3c8-0000-7000-8000-000000000000",
            "console-link",
        ] {
            let parsed = Cli::try_parse_from(["groundstate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for wrong in ["recover PRESS", "endpoint add x --mac zz --blueprint b", "image verify", "job show x"]
        {
            assert!(
                Cli::try_parse_from(["groundstate"].into_iter().chain(wrong.split(' '))).is_err(),
                "{wrong}"
            );
        }
        let bmc = "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --ipmi 10.0.0.9";
        assert!(Cli::try_parse_from(["groundstate"].into_iter().chain(bmc.split(' '))).is_err());
    }
}
