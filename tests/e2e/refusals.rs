//! Stories of bad input: each is refused by its own name, at the console, on the endpoint's screen and in evidence, and the disk is as
//! it was, or does not boot.
//!
//! ```text
//!   press-01   four disks, two of them twins    no such disk ─► twins ─► failing ─► too small   never written
//!   press-02   an appliance that was taken over  foreign signature ─► (signed) ─► altered chunk ─► does not boot ─► no ticket
//!   press-03   never switched on                 unsigned ─► foreign ─► altered manifest       never started
//!   press-04   somebody's ticket on its disk     foreign enrolment ticket
//!   press-05   a stranger with a recovery stick  unknown ─► (approved) ─► no boot ticket       never written
//! ```
//!
//! What needs no endpoint is tested where it is read; `tests/DESIGN.md` has the table.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::job::{HoldReason, JobState};
use recovery_protocol::trust::EnrolmentTicket;
use recovery_protocol::{JobId, evidence::Entry};
use tests::bmc::Bmc;
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::golden::{self, CheckIn, DISK_LEN};
use tests::plant::{APPLIANCE, Plant};
use tests::programs::Programs;
use tests::qemu::{Spec, Stick};
use tests::site::{Appliance, Record, Site};
use tests::tool;

use crate::{Length, Needs, SITE, Story, screen};

/// Under emulation on a loaded computer; an idle one needs seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// Another image of the site, which nobody has signed.
const OTHER: &str = "other-panel";

/// Serial number of a disk that says that it is failing.
const FAILING: &str = "GSFAILING";

/// Goes behind the lab's own configuration.
const MORE: &str = "\n[blueprints.other-panel]\nimage = \"other-panel\"\n";

pub const STORIES: &[Story] = &[Story {
    name: "refusals_have_a_name_at_the_console_on_the_screen_and_in_evidence",
    needs: Needs::Site,
    length: Length::Short,
    tell: everything_bad,
}];

fn everything_bad(plant: &Plant) -> Result<()> {
    let programs = Programs::built()?;
    let site = Site::at(&plant.dir().join(SITE), &programs);
    unknown_key_starts_nothing(&site)?;
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Agent(programs.agent.clone()))?;
    let image = ["image", "import", &golden.display().to_string(), "--name", OTHER, "--version", "1"];
    site.say(&image)?;
    let plot = Plot { appliance: site.start()?, lab: programs.lab };
    plot.in_evidence("refusal.config", |entry| entry.facts["why"].to_string().contains("colour"))?;

    let never = Endpoint::new(plant, Spec::press(3), &Content::Blank(DISK_LEN))?;
    plot.appliance.put(&never, None, &Record { blueprint: Some(OTHER), ..Record::default() })?;
    plot.unsigned_then_signed_by_others(&never)?;
    plot.take_over()?;

    let disks = plot.disks(plant)?;
    let robbed = plot.robbed(plant)?;
    let ticketed = plot.ticketed(plant, &golden)?;
    plot.disks_that_do_not_fit(&disks)?;
    plot.foreign_manifest(&robbed.0)?;
    disks.0.power_off();
    plot.altered_chunk_then_no_ticket(&robbed.0)?;
    plot.foreign_ticket(&ticketed)?;
    drop((disks, robbed, ticketed));

    plot.stranger(plant)?;
    plot.altered_manifest(&never)?;
    plot.malformed_http()?;
    plot.appliance.site().say(&["evidence", "verify"]).map(drop)
}

/// A key that the appliance does not know is named with its line; nothing is started on a guess.
fn unknown_key_starts_nothing(site: &Site) -> Result<()> {
    site.write_config(&format!("{MORE}colour = \"red\"\n"))?;
    let refused = site.command(&["serve"]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(2), "{:?}: {said}", refused.status);
    ensure!(said.contains("colour") && said.contains("groundstate.toml") && said.contains("line"), "{said}");
    site.write_config(MORE)
}

/// The appliance and whoever plays with it.
struct Plot {
    appliance: Appliance,
    lab: PathBuf,
}

impl Plot {
    fn say(&self, words: &[&str]) -> Result<String> {
        self.appliance.site().say(words)
    }

    fn recover(&self, name: &str) -> Result<()> {
        self.say(&["recover", name, "--reason", "a story of bad input", "--no-wait"]).map(drop)
    }

    /// Waits until the endpoint's job is held for `reason`, and that the operator reads it: at the command line, at the console, in
    /// evidence.
    fn held(&self, endpoint: &Endpoint, reason: HoldReason) -> Result<JobId> {
        let name = &endpoint.spec().name;
        let what = format!("the job of {name} to be held: {}", reason.code());
        let job = self
            .appliance
            .log()
            .until(&what, LIMIT, || {
                let job = self.appliance.newest_job(name)?.context("there is no job")?;
                match &job.state {
                    JobState::Held { reason: found, .. } if *found == reason => Ok(Some(job)),
                    JobState::Working { .. } => Ok(None),
                    other => bail!("{other:?}: {} {}", job.what, job.what_now),
                }
            })
            .with_context(|| {
                let (serial, log) = (endpoint.serial().tail(20), self.appliance.log().tail(15));
                format!("serial line:\n  {}\nappliance:\n  {}\n", serial.join("\n  "), log.join("\n  "))
            })?;
        let shown = self.say(&["job", "show", &job.job.to_string()])?;
        let page = self.page(&format!("/endpoints/{name}"))?;
        for (place, text) in [("command line", &shown), ("console", &page)] {
            ensure!(text.contains(reason.code()), "{place}, {}: {text}", reason.code());
        }
        ensure!(shown.contains(reason.what()) && shown.contains(reason.what_now()), "{shown}");
        self.in_evidence(&format!("held: {}", reason.code()), |entry| {
            entry.kind == "transition"
                && entry.job == Some(job.job)
                && entry.facts["to"]["reason"] == reason.code()
        })?;
        Ok(job.job)
    }

    /// Waits until evidence has such an entry; `what` is its kind, or what it is in words.
    fn in_evidence(&self, what: &str, is: impl Fn(&Entry) -> bool) -> Result<Entry> {
        self.appliance.log().until(&format!("evidence: {what}"), LIMIT, || {
            Ok(self.appliance.evidence()?.into_iter().find(|entry| {
                let named = entry.kind == what || what.starts_with("held");
                named && is(entry)
            }))
        })
    }

    /// A refusal of the agent's door, by its code.
    fn refused(&self, code: &str) -> Result<Entry> {
        self.in_evidence("refusal.agent", |entry| entry.facts["code"] == code)
    }

    /// A page of the console, as a browser gets it that was opened by a link.
    fn page(&self, path: &str) -> Result<String> {
        let link = self.say(&["console-link"])?;
        let code = link.trim().rsplit("code=").next().context("the link has no code")?.to_owned();
        let jar = self.appliance.site().path("cookies");
        let base = format!("https://{APPLIANCE}");
        let curl = |words: &[&str]| {
            let common =
                ["--silent", "--show-error", "--fail", "--insecure", "--cookie", &jar, "--cookie-jar", &jar];
            tool::run(Command::new("curl").args(common).args(words))
        };
        let origin = format!("Origin: {base}");
        curl(&[
            "--header",
            &origin,
            "--data-urlencode",
            &format!("secret={code}"),
            &format!("{base}/login"),
        ])?;
        curl(&[&format!("{base}{path}")])
    }

    fn resume(&self, job: JobId) -> Result<()> {
        self.say(&["job", "resume", &job.to_string(), "--reason", "mended"]).map(drop)
    }

    fn bmc(&self, plant: &Plant, endpoint: &Endpoint) -> Result<Bmc> {
        Bmc::attach(plant, endpoint, &self.lab)
    }

    // --- an image that is not what it should be, where the appliance sees it: no endpoint is started for it ---

    fn unsigned_then_signed_by_others(&self, never: &Endpoint) -> Result<()> {
        self.recover(&never.spec().name)?;
        let job = self.held(never, HoldReason::ManifestUnsigned)?;
        let site = self.appliance.site();
        for (key, role) in [("thief-root", "root"), ("thief", "image")] {
            let out = site.path(&format!("keys/{key}.key"));
            self.say(&[
                "image",
                "key",
                "new",
                "--role",
                role,
                "--name",
                key,
                "--out",
                &out,
                "--unprotected",
            ])?;
        }
        self.say(&["image", "sign", OTHER, "--key", &site.path("keys/thief.key")])?;
        self.resume(job)?;
        self.held(never, HoldReason::ManifestForeign)?;
        ensure!(never.boots() == 0, "an endpoint was started for an image that nobody trusts");
        Ok(())
    }

    /// Somebody who has the appliance makes it trust his key, too. The endpoints' recovery system knows nothing of that.
    fn take_over(&self) -> Result<()> {
        let site = self.appliance.site();
        let key = |name: &str| site.path(&format!("keys/{name}.key"));
        let root = site.path("thief-root.json");
        let words = ["image", "root", "new", "--root", &key("thief-root"), "--signer", &key("thief")];
        self.say(&[&words[..], &["--signer", &key("release"), "--out", &root]].concat())?;
        fs::copy(root, site.path("root.json"))?;
        Ok(())
    }

    fn altered_manifest(&self, never: &Endpoint) -> Result<()> {
        let job = self.appliance.newest_job(&never.spec().name)?.context("there is no job")?;
        let file = self.appliance.site().path(&format!("store/manifests/{}.gsi", job.image));
        let length = fs::metadata(&file)?.len();
        flip(file.as_ref(), length - 1)?;
        self.resume(job.job)?;
        self.held(never, HoldReason::ManifestAltered)?;
        let listed = self.say(&["image", "list"])?;
        ensure!(listed.contains("hmi-panel") && listed.contains("not trusted"), "{listed}");
        ensure!(never.boots() == 0, "an endpoint was started for an altered image");
        Ok(())
    }

    // --- disks ---

    fn disks(&self, plant: &Plant) -> Result<(Endpoint, Bmc)> {
        let twins = vec!["GSTWIN".to_owned(), "GSTWIN".to_owned()];
        let spec = Spec {
            more_disks: twins,
            failing_disk: Some(FAILING.to_owned()),
            screen: true,
            ..Spec::press(1)
        };
        let press = Endpoint::new(plant, spec, &Content::Blank(DISK_LEN / 2))?;
        let bmc = self.bmc(plant, &press)?;
        let record = Record { disk_serial: Some("NOSUCHDISK"), ..Record::default() };
        self.appliance.put(&press, Some(&bmc), &record)?;
        self.recover("press-01")?;
        Ok((press, bmc))
    }

    fn disks_that_do_not_fit(&self, (press, bmc): &(Endpoint, Bmc)) -> Result<()> {
        let blank = press.fingerprint()?;
        let own = press.spec().disk_serial();
        let next = [
            (HoldReason::DiskNotFound, Some("GSTWIN")),
            (HoldReason::DiskAmbiguous, Some(FAILING)),
            (HoldReason::DiskFailing, Some(own.as_str())),
            (HoldReason::DiskUnfit, None),
        ];
        for (reason, serial) in next {
            let job = self.held(press, reason)?;
            on_screen(press, reason)?;
            ensure!(press.fingerprint()? == blank, "{}: a disk was written", reason.code());
            let Some(disk_serial) = serial else { return Ok(()) };
            self.appliance.put(
                press,
                Some(bmc),
                &Record { disk_serial: Some(disk_serial), ..Record::default() },
            )?;
            self.resume(job)?;
        }
        Ok(())
    }

    // --- what only the endpoint can tell ---

    fn robbed(&self, plant: &Plant) -> Result<(Endpoint, Bmc)> {
        let press = Endpoint::new(plant, Spec::press(2), &Content::Blank(DISK_LEN))?;
        let bmc = self.bmc(plant, &press)?;
        self.appliance.put(&press, Some(&bmc), &Record { blueprint: Some(OTHER), ..Record::default() })?;
        self.recover("press-02")?;
        Ok((press, bmc))
    }

    fn foreign_manifest(&self, press: &Endpoint) -> Result<()> {
        let blank = press.fingerprint()?;
        self.held(press, HoldReason::ManifestForeign)?;
        on_screen(press, HoldReason::ManifestForeign)?;
        ensure!(press.fingerprint()? == blank, "the disk was written for an image that the endpoint refused");
        Ok(())
    }

    fn altered_chunk_then_no_ticket(&self, press: &Endpoint) -> Result<()> {
        let job = self.appliance.newest_job("press-02")?.context("there is no job")?.job;
        let site = self.appliance.site();
        let pack = largest(Path::new(&site.path("store/packs")))?;
        flip(&pack, fs::metadata(&pack)?.len() / 2)?;
        self.say(&["image", "sign", OTHER, "--key", &site.path("keys/release.key")])?;
        self.resume(job)?;
        self.held(press, HoldReason::ChunkCorrupt)?;
        on_screen(press, HoldReason::ChunkCorrupt)?;
        let mut head = [0; 1024];
        File::open(press.disk())?.read_exact(&mut head)?;
        ensure!(head == [0; 1024], "writing had begun, and the disk has a boot region");

        // Given up, it starts again: not from half an image, and not from the network either, since its ticket is spent.
        let (from, boots) = (press.serial().mark(), press.boots());
        self.say(&["job", "cancel", &job.to_string()])?;
        press.serial().wait_for(from, "Start PXE over IPv4", LIMIT)?;
        // All that can be said on a firmware's screen is the name of the file that it is told to load.
        press.serial().wait_for(from, "NBP filename is no-boot-ticket", LIMIT)?;
        self.in_evidence("refusal.boot", |entry| {
            let ours = entry.endpoint.as_ref().is_some_and(|endpoint| endpoint.as_str() == "press-02");
            ours && entry.facts["code"].as_str().is_some_and(|code| code.ends_with("no-ticket"))
        })?;
        let shown = self.say(&["endpoint", "show", "press-02"])?;
        ensure!(shown.contains("no-boot-ticket"), "{shown}");
        ensure!(self.page("/endpoints/press-02")?.contains("no-boot-ticket"), "the console does not say so");
        let boot = self.appliance.boot("press-02")?;
        let diagnosis = &boot.diagnosis;
        ensure!(diagnosis.code == "no-ticket" && diagnosis.level == "fine" && !boot.ticket, "{boot:#?}");
        ensure!(press.boots() > boots, "it did not start again");
        let again = press.serial().wait_for(from, "GROUNDSTATE recovery system", Duration::ZERO);
        ensure!(again.is_err(), "the recovery system was started without a ticket");
        Ok(())
    }

    /// A golden system with a ticket on its disk that this appliance did not issue.
    fn ticketed(&self, plant: &Plant, golden: &Path) -> Result<Endpoint> {
        let press = Endpoint::new(plant, Spec::press(4), &Content::Image(golden.to_owned()))?;
        self.appliance.put(&press, None, &Record::default())?;
        let trust: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(self.appliance.site().path("trust.json"))?)?;
        let job = self.appliance.newest_job("press-03")?.context("there is no job")?.job;
        let ticket = EnrolmentTicket {
            job,
            endpoint: "press-04".to_owned(),
            appliance: format!("{APPLIANCE}:8443"),
            appliance_spki_sha256: trust["appliance_spki_sha256"].as_str().unwrap_or_default().to_owned(),
            secret: "made up by somebody".to_owned(),
        };
        let file = plant.dir().join("ticket.json");
        fs::write(&file, serde_json::to_vec(&ticket)?)?;
        let place = format!("::{}", EnrolmentTicket::ESP_PATH);
        tool::run(Command::new("mcopy").args(["-i", &golden::esp(press.disk())]).arg(&file).arg(place))?;
        press.power_on();
        Ok(press)
    }

    fn foreign_ticket(&self, press: &Endpoint) -> Result<()> {
        press.serial().wait_for(0, "[ticket-foreign]", LIMIT)?;
        self.refused("ticket-foreign")?;
        let view = self.appliance.endpoint("press-04")?;
        ensure!(view.certificate_serial.is_none() && view.proven_unix_ms.is_none(), "{view:?}");
        ensure!(view.refusal.as_deref().is_some_and(|why| why.contains("ticket-foreign")), "{view:?}");
        ensure!(self.say(&["endpoint", "show", "press-04"])?.contains("ticket-foreign"));
        ensure!(self.page("/endpoints/press-04")?.contains("ticket-foreign"), "the console does not say so");
        Ok(())
    }

    fn stranger(&self, plant: &Plant) -> Result<()> {
        let stick = Some(Stick::Usb(self.appliance.site().stick()?));
        let spec = Spec { stick, ..Spec::press(5) };
        let press = Endpoint::new(plant, spec, &Content::Blank(DISK_LEN))?;
        let blank = press.fingerprint()?;
        press.arm_network();
        press.power_on();
        press.serial().wait_for(0, "[endpoint-unknown]", LIMIT)?;
        self.refused("endpoint-unknown")?;
        let name = format!("seen-{}", hex::encode(press.spec().mac));
        ensure!(self.say(&["endpoint", "show", &name])?.contains("endpoint-unknown"));
        ensure!(self.page(&format!("/endpoints/{name}"))?.contains("endpoint-unknown"));
        // Approved, it still gets nothing: nobody ordered a recovery.
        self.appliance.put(&press, None, &Record::default())?;
        press.serial().wait_for(0, "[no-boot-ticket]", LIMIT)?;
        self.refused("no-boot-ticket")?;
        ensure!(press.fingerprint()? == blank, "a stranger's disk was written");
        Ok(())
    }

    /// What is no HTTP at all is counted, shown and written down in summary, however often it comes.
    fn malformed_http(&self) -> Result<()> {
        for _ in 0..200 {
            let mut stream = TcpStream::connect((APPLIANCE, 80))?;
            stream.write_all(b"\x16\x03\x01\x02\0\x01\0\r\n\r\n")?;
            let _ = stream.read_to_end(&mut Vec::new());
        }
        self.in_evidence("refusal.boot", |entry| entry.facts["code"] == "http-malformed")?;
        let status = self.say(&["status"])?;
        ensure!(status.contains("http-malformed 200 times"), "{status}");
        ensure!(self.page("/")?.contains("http-malformed"), "the console does not show it");
        let entries = self.appliance.evidence()?;
        let written =
            entries.iter().filter(|entry| entry.facts.get("code").is_some_and(|c| c == "http-malformed"));
        ensure!(written.count() <= 2, "a flood fills the log");
        Ok(())
    }
}

/// What happened, by its name, and what to do now stand on the endpoint's screen.
fn on_screen(endpoint: &Endpoint, reason: HoldReason) -> Result<()> {
    let serial = endpoint.serial();
    serial.wait_for(0, &format!("{} [{}]", reason.what(), reason.code()), LIMIT)?;
    serial.wait_for(0, reason.what_now(), LIMIT)?;
    match endpoint.spec().screen {
        true => screen::shows_refusal(endpoint, reason, LIMIT),
        false => Ok(()),
    }
}

/// Changes one bit of a file.
fn flip(path: &Path, at: u64) -> Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[byte[0] ^ 1])?;
    Ok(())
}

/// The largest file of a directory.
fn largest(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    let sizes = entries.iter().filter_map(|entry| Some((entry.metadata().ok()?.len(), entry.path())));
    sizes.max().map(|(_, path)| path).with_context(|| format!("{} is empty", dir.display()))
}
