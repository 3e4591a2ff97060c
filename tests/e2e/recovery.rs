//! Stories of recovery: an endpoint with nothing on its disk, or the wrong thing, comes back and proves it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use recovery_protocol::agent::BootEntry;
use recovery_protocol::evidence::Entry;
use recovery_protocol::exhibit::ExhibitState;
use recovery_protocol::health::HealthState;
use recovery_protocol::job::{HoldReason, JobState, Stage};
use recovery_protocol::operator::{EndpointState, JobView};
use tests::bmc::Bmc;
use tests::cache::Cache;
use tests::endpoint::{Content, Endpoint};
use tests::fault;
use tests::golden::{self, CheckIn, DISK_LEN};
use tests::plant::Plant;
use tests::programs::Programs;
use tests::qemu::{Firmware, Spec};
use tests::site::{Appliance, IMAGE, Record, Site};
use tests::tool;

use crate::{Length, Needs, SITE, Story, screen};

/// Under emulation on a loaded computer; an idle one needs less than two minutes.
pub const RECOVERY: Duration = Duration::from_secs(600);

/// What an endpoint has on its data partition, and shall keep.
pub const RECIPES: &str = "recipes of the night shift";

pub const STORIES: &[Story] = &[
    story("recovery_of_a_blank_disk_then_of_the_same_disk", Length::Short, blank_disk_then_the_same_disk),
    story("recovery_with_secure_boot", Length::Short, with_secure_boot),
    story("capture_of_a_golden_machine_is_an_image_to_recover_from", Length::Short, captured_then_recovered),
    story("recovery_survives_the_appliances_death_while_imaging", Length::Long, appliance_dies_while_imaging),
    story("recovery_survives_a_pulled_cable_while_imaging", Length::Long, cable_pulled_while_imaging),
    story("recovery_survives_a_power_cut_while_imaging", Length::Long, power_cut_while_imaging),
    story("recovery_holds_an_endpoint_with_another_tpm", Length::Long, another_tpm_is_held),
    story("recovery_system_starts_on_bios", Length::Long, recovery_system_starts_on_bios),
];

const fn story(name: &'static str, length: Length, tell: fn(&Plant) -> Result<()>) -> Story {
    Story { name, needs: Needs::Site, length, tell }
}

/// An appliance that serves one endpoint.
pub struct Scene {
    pub appliance: Appliance,
    pub press: Endpoint,
    pub bmc: Bmc,
}

impl Scene {
    pub fn set(plant: &Plant, firmware: Firmware) -> Result<Self> {
        Self::with(plant, firmware, &Content::Blank(DISK_LEN))
    }

    fn with(plant: &Plant, firmware: Firmware, content: &Content) -> Result<Self> {
        Self::of(plant, Spec { firmware, ..Spec::press(1) }, content, &Record::default())
    }

    /// With an endpoint of this kind, and this on record of it.
    pub fn of(plant: &Plant, spec: Spec, content: &Content, record: &Record<'_>) -> Result<Self> {
        let programs = Programs::built()?;
        let appliance = Site::at(&plant.dir().join(SITE), &programs).start()?;
        let press = Endpoint::new(plant, spec, content)?;
        let bmc = Bmc::attach(plant, &press, env!("CARGO_BIN_EXE_lab").as_ref())?;
        appliance.put(&press, Some(&bmc), record)?;
        Ok(Self { appliance, press, bmc })
    }

    pub fn name(&self) -> &str {
        &self.press.spec().name
    }

    pub fn ask(&self) -> Result<()> {
        self.appliance.site().say(&["recover", self.name(), "--reason", "a story", "--no-wait"]).map(drop)
    }

    pub fn job(&self) -> Result<JobView> {
        self.appliance.newest_job(self.name())?.context("there is no job")
    }

    /// Waits until the newest job has come at least to `stage`.
    pub fn wait_stage(&self, stage: Stage) -> Result<JobView> {
        self.wait(&format!("the job to reach {stage:?}"), |job| match &job.state {
            JobState::Working { stage: now } => *now >= stage,
            JobState::Recovered | JobState::Captured => true,
            JobState::Held { .. } | JobState::Cancelled { .. } | JobState::Failed { .. } => false,
        })
    }

    pub fn wait_recovered(&self) -> Result<JobView> {
        self.wait("the job to be Recovered", |job| job.state == JobState::Recovered)
    }

    pub fn wait(&self, what: &str, done: impl Fn(&JobView) -> bool) -> Result<JobView> {
        self.appliance
            .log()
            .until(what, RECOVERY, || {
                if let Some(fault) = self.press.fault() {
                    bail!("{} could not start: {fault}", self.name());
                }
                let job = self.job()?;
                if done(&job) {
                    return Ok(Some(job));
                }
                match &job.state {
                    JobState::Working { .. } => Ok(None),
                    JobState::Held { .. }
                    | JobState::Cancelled { .. }
                    | JobState::Failed { .. }
                    | JobState::Recovered
                    | JobState::Captured => {
                        bail!("{:?}: {} {}", job.state, job.what, job.what_now)
                    }
                }
            })
            .with_context(|| {
                let (serial, log) =
                    (self.press.serial().tail(15).join("\n  "), self.appliance.log().tail(15).join("\n  "));
                format!("serial line:\n  {serial}\nappliance:\n  {log}\n")
            })
    }

    /// The restored system itself said so: a quote and a certificate of its own, since the endpoint was rebooted in `job`.
    pub fn ensure_proven(&self, job: &JobView) -> Result<()> {
        let view = self.appliance.endpoint(self.name())?;
        ensure!(view.state == EndpointState::Trusted, "{} is {:?}", self.name(), view.state);
        let waited = job.phases.iter().find(|phase| phase.stage == Stage::OsWait);
        let rebooted = waited.context("the job never waited for the restored system")?.from_unix_ms;
        ensure!(view.proven_unix_ms.is_some_and(|at| at >= rebooted), "no quote since the reboot");
        ensure!(view.certificate_serial.is_some(), "no certificate");
        let maker = view.ek_certificate.context("nothing is known of the TPM's maker")?;
        ensure!(maker.is_verified(), "the TPM's maker does not vouch for it: {maker}");
        self.appliance.is_itself(&self.press)?;
        self.appliance.site().say(&["evidence", "verify"]).map(drop)
    }
}

/// Every hop of a real boot stands in its trace, in order, with time, bytes and outcome.
fn boot_is_traced(scene: &Scene) -> Result<()> {
    scene.wait_stage(Stage::Imaging)?;
    let boot = scene.appliance.boot(scene.name())?;
    ensure!(boot.diagnosis.code == "booted" && boot.chain.as_deref() == Some("ipxe"), "{boot:?}");
    let mut hops = boot.hops.iter();
    for step in ["discover", "offer", "request", "options", "loader", "config", "kernel", "agent"] {
        let hop = hops.find(|hop| hop.step == step && hop.outcome == "done");
        let hop = hop.with_context(|| format!("no {step} in its place: {boot:#?}"))?;
        let file = ["loader", "config", "kernel"].contains(&step);
        ensure!(file == (hop.bytes > 0), "{hop:?}");
        ensure!(hop.at_unix_ms <= hop.until_unix_ms, "{hop:?}");
    }
    ensure!(boot.hops.iter().any(|hop| hop.outcome == "size-asked"), "EDK2 asks for sizes: {boot:#?}");
    let shown = scene.appliance.site().say(&["net", "doctor", scene.name()])?;
    ensure!(shown.contains("snponly.efi") && shown.contains("recovery.efi"), "{shown}");
    Ok(())
}

fn blank_disk_then_the_same_disk(plant: &Plant) -> Result<()> {
    let spec = Spec { screen: true, ..Spec::press(1) };
    let scene = Scene::of(plant, spec, &Content::Blank(DISK_LEN), &Record::default())?;
    scene.ask()?;
    boot_is_traced(&scene)?;
    screen::shows_work(&scene.press, RECOVERY)?;
    let first = scene.wait_recovered()?;
    scene.ensure_proven(&first)?;
    let plan = first.plan.context("the first job has no plan")?;
    ensure!(plan.fetch_bytes > 0 && plan.image_bytes == DISK_LEN, "{plan:?}");
    let health = first.disk_health.as_ref().map(|health| health.state);
    ensure!(health == Some(HealthState::Good), "{:?}", first.disk_health);

    // A blank disk has what the image has on its data partition. From now on it is the endpoint's own.
    let disk = scene.press.disk();
    ensure!(golden::read_data(disk)? == golden::AS_DELIVERED, "{:?}", golden::read_data(disk)?);
    scene.press.power_off();
    golden::write_data(disk, RECIPES)?;

    let keeping = ["recover", scene.name(), "--keep", "quick", "--reason", "a story", "--no-wait"];
    scene.appliance.site().say(&keeping)?;
    let second = scene.wait_recovered()?;
    old_system_is_kept(plant, &scene, &second)?;
    ensure!(second.job != first.job, "no second job was made");
    scene.ensure_proven(&second)?;
    ensure!(golden::read_data(disk)? == RECIPES, "{:?}", golden::read_data(disk)?);
    let stays = second.plan.map(|plan| plan.preserve_bytes);
    ensure!(stays == Some(golden::DATA_LEN) && plan.preserve_bytes == 0, "{stays:?}, {plan:?}");
    let kept = scene
        .appliance
        .evidence()?
        .into_iter()
        .find(|entry| entry.job == Some(second.job) && entry.kind == "report.preserved");
    let kept = kept.context("no evidence says what was preserved")?.facts;
    let mut partition = RECIPES.as_bytes().to_vec();
    partition.resize(golden::DATA_LEN as usize, 0);
    let hash = blake3::hash(&partition).to_hex().to_string();
    ensure!(kept["preserved"][0]["blake3"] == hash.as_str(), "{kept:?}, and it should be {hash}");
    let wrote =
        |job: &JobView| job.restore.map(|facts| facts.written_bytes).context("the job has no figures");
    let (all, changed) = (wrote(&first)?, wrote(&second)?);
    ensure!(changed * 4 < all, "the second recovery wrote {changed} bytes, the first {all}");
    // The firmware learned of the blank disk once, and its memory was left alone the second time.
    let entry = |job: &JobView| job.restore.map(|facts| facts.boot_entry);
    ensure!(entry(&first) == Some(BootEntry::Set), "{:?}", entry(&first));
    ensure!(entry(&second) == Some(BootEntry::Kept), "{:?}", entry(&second));
    Ok(())
}

/// What was to be kept of the old system was, before it was overwritten: its own name among it, and the TPM's word for who collected it.
fn old_system_is_kept(plant: &Plant, scene: &Scene, job: &JobView) -> Result<()> {
    let id = job.job.to_string();
    let job: JobView = scene.appliance.read(&["job", "show", &id, "--json"])?;
    let view = job.exhibit.as_ref().context("the job says nothing of what it kept")?;
    let kept = view.kept.as_ref().context("nothing was said of it")?;
    ensure!(view.state == ExhibitState::Kept && kept.files > 0, "{view:?}");
    ensure!(kept.took_ms <= u64::from(view.seconds) * 1000, "it took longer than it may: {kept:?}");
    let (tar, dir) = (plant.dir().join("exhibit.tar"), plant.dir().join("exhibit"));
    let out = tar.display().to_string();
    scene.appliance.site().say(&["exhibit", "export", &id, "--out", &out])?;
    std::fs::create_dir(&dir)?;
    tool::run(Command::new("tar").arg("-C").arg(&dir).arg("-xf").arg(&tar))?;
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("exhibit.json"))?)?;
    let files = index["files"].as_array().context("the index names no files")?;
    let name = files.iter().find(|file| file["path"] == "/etc/hostname");
    let name =
        name.and_then(|file| file["member"].as_str()).with_context(|| format!("no name in {index}"))?;
    let name = std::fs::read_to_string(dir.join(name))?;
    ensure!(name.trim() == "hmi-panel" || name.trim() == scene.name(), "{name:?}");
    ensure!(std::fs::metadata(dir.join("disk/first-mib.bin"))?.len() == 1 << 20, "the start of the disk");
    let quote = std::fs::read_to_string(dir.join("tpm/quote.json"))?;
    ensure!(quote.contains("not the old system"), "{quote}");
    ensure!(std::fs::metadata(dir.join("tpm/event-log.bin"))?.len() > 0, "the event log");
    let said = |kind: &str| {
        let mut entries = scene.appliance.evidence()?.into_iter();
        let found = entries.find(|entry| entry.job == Some(job.job) && entry.kind == kind);
        found.with_context(|| format!("no {kind} in evidence"))
    };
    ensure!(said("exhibit.kept")?.facts["kept"]["sha256"] == kept.sha256.as_str(), "{kept:?}");
    said("exhibit.read").map(drop)
}

/// An engineer set a machine up; it becomes an image, somebody signs that, and the machine comes back from it after it lost its disk.
fn captured_then_recovered(plant: &Plant) -> Result<()> {
    let programs = Programs::built()?;
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Agent(programs.agent.clone()))?;
    let scene = Scene::with(plant, Firmware::Ovmf, &Content::Image(golden))?;
    let note = plant.dir().join("set-up.txt");
    std::fs::write(&note, "as the line wants it\n".repeat(20_000))?;
    let copy = |press: &Endpoint| {
        tool::run(
            Command::new("mcopy").args(["-i", &golden::esp(press.disk())]).arg(&note).arg("::set-up.txt"),
        )
    };
    copy(&scene.press).context("the machine could not be set up")?;
    let (site, name) = (scene.appliance.site(), scene.name());
    site.say(&[
        "image",
        "capture",
        name,
        "--name",
        IMAGE,
        "--version",
        "2",
        "--reason",
        "a story",
        "--no-wait",
    ])?;
    let job = scene.wait("the job to be Captured", |job| job.state == JobState::Captured)?;
    let captured = job.captured.as_ref().context("the job does not say what was captured")?;
    ensure!(captured.disk_bytes == DISK_LEN && captured.new_chunks > 0, "{captured:?}");
    ensure!(captured.sent_bytes < 4 << 20, "what the store had was sent again: {captured:?}");
    ensure!(scene.appliance.endpoint(name)?.state == EndpointState::Known, "it is not as it was");

    let captured = job.image.to_string();
    let diff: serde_json::Value =
        scene.appliance.read(&["image", "diff", &format!("{IMAGE}:1"), &captured, "--json"])?;
    ensure!(diff.to_string().contains("set-up.txt"), "the two images differ otherwise: {diff}");
    site.say(&["image", "sign", &captured, "--key", &site.path("keys/release.key")])?;
    scene.press.power_off();
    scene.press.wait_off(Duration::from_secs(20))?;
    fault::break_disk(&scene.press, fault::Break::Wipe)?;
    scene.ask()?;
    let job = scene.wait_recovered()?;
    ensure!(job.image.to_string() == captured, "it came back from another image");
    scene.ensure_proven(&job)?;
    reboots_itself(&scene)
}

/// Without a BMC the system that was restored, and proves itself again and again, starts the recovery system by the firmware's own boot menu, once.
fn reboots_itself(scene: &Scene) -> Result<()> {
    let boots = scene.press.boots();
    scene.appliance.site().say(&["endpoint", "set", scene.name(), "--in-band"])?;
    scene.ask()?;
    let job = scene.wait_stage(Stage::Imaging)?;
    let order = format!("GROUNDSTATE: rebooting into the recovery system for job {}", job.job);
    let said = scene.press.serial().tail(usize::MAX);
    ensure!(said.iter().any(|line| line.contains(&order)), "nobody rebooted it");
    ensure!(scene.press.boots() == boots + 1, "it booted {} times", scene.press.boots() - boots);
    let told = |entry: &Entry| entry.job == Some(job.job) && entry.kind == "act.power";
    let told: Vec<Entry> = scene.appliance.evidence()?.into_iter().filter(told).collect();
    ensure!(told.iter().any(|entry| entry.facts["by"] == "in-band"), "{told:?}");
    Ok(())
}

/// A loader that nobody signed is refused by the firmware, which tells nobody: the trace does. The chain for Secure Boot goes through.
fn with_secure_boot(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::OvmfSecureBoot)?;
    let put = |chain| {
        let record = Record { chain: Some(chain), ..Record::default() };
        scene.appliance.put(&scene.press, Some(&scene.bmc), &record)
    };
    put("ipxe")?;
    scene.ask()?;
    let refused = scene.appliance.log().until("Secure Boot's refusal to be named", RECOVERY, || {
        let boot = scene.appliance.boot(scene.name())?;
        Ok((boot.diagnosis.code == "loader-refused").then_some(boot))
    })?;
    ensure!(refused.diagnosis.cause.contains("snponly.efi"), "{refused:#?}");
    ensure!(refused.diagnosis.remedy.contains("--chain shim"), "{refused:#?}");
    let job = scene.job()?;
    ensure!(job.what.contains("Secure Boot") && job.what_now.contains("--chain shim"), "{job:?}");
    put("shim")?;
    scene.press.power_off();
    scene.press.wait_off(Duration::from_secs(20))?;
    scene.press.power_on();
    let job = scene.wait_recovered()?;
    scene.ensure_proven(&job)?;
    let lesson = |entry: &Entry| entry.kind == "boot.chain" && entry.facts["chain"] == "shim";
    let entries = scene.appliance.evidence()?;
    let learned =
        entries.iter().find(|entry| lesson(entry)).context("no evidence says which chain it took")?;
    ensure!(learned.facts["outcome"] == "worked" && learned.facts["why"] == "a person set it", "{learned:?}");
    Ok(())
}

fn appliance_dies_while_imaging(plant: &Plant) -> Result<()> {
    let mut scene = Scene::set(plant, Firmware::Ovmf)?;
    scene.ask()?;
    let before = scene.wait_stage(Stage::Imaging)?;
    let site = scene.appliance.cut_power()?;
    scene.appliance = site.start()?;
    let after = scene.wait_recovered()?;
    ensure!(after.job == before.job, "the job was not finished but asked for again");
    scene.ensure_proven(&after)
}

fn cable_pulled_while_imaging(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::Ovmf)?;
    scene.ask()?;
    scene.wait_stage(Stage::Imaging)?;
    let serial = scene.press.serial();
    let mark = serial.mark();
    fault::cut_link(&scene.press)?;
    // Longer than a time-out of the agent, so that it must ask again and not just wait.
    serial.wait_for(mark, "The appliance does not answer.", RECOVERY)?;
    fault::mend_link(&scene.press)?;
    let job = scene.wait_recovered()?;
    scene.ensure_proven(&job)
}

fn power_cut_while_imaging(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::Ovmf)?;
    scene.ask()?;
    scene.wait_stage(Stage::Imaging)?;
    scene.press.power_off();
    // Half an image must not boot: what starts now is the firmware, and nothing from the disk.
    let from = scene.press.serial().mark();
    scene.press.power_on();
    scene.press.serial().wait_for(from, "Start PXE over IPv4", RECOVERY)?;
    let job = scene.wait_recovered()?;
    scene.ensure_proven(&job)
}

fn another_tpm_is_held(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::Ovmf)?;
    scene.ask()?;
    scene.wait_recovered()?;
    scene.press.power_off();
    scene.press.replace_board()?;
    scene.ask()?;
    let is_held =
        |job: &JobView| matches!(&job.state, JobState::Held { reason: HoldReason::IdentityChanged, .. });
    let job = scene.wait("the job to be held, as the TPM is another", is_held)?;
    ensure!(job.restore.is_none() && !job.what_now.is_empty(), "{job:?}");
    // Whoever brings a board to the network gets nothing written and nothing enrolled.
    let reached_imaging = job.phases.iter().any(|phase| phase.stage >= Stage::Imaging);
    ensure!(!reached_imaging, "the job went past the point of no return");
    Ok(())
}

fn recovery_system_starts_on_bios(plant: &Plant) -> Result<()> {
    let scene = Scene::set(plant, Firmware::SeaBios)?;
    scene.ask()?;
    // The golden test image boots by UEFI only, so this story ends when the agent has come and proven its TPM.
    scene.wait_stage(Stage::Proving).map(drop)
}
