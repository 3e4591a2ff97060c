//! The story of a relay: endpoints on a switch of their own, whose only way to the appliance is an idle endpoint that passes chunks on.
//!
//! ```text
//!   appliance ─ plant0 ─ idle endpoint: groundstate-agent relay ─ line1 ─ two endpoints that restore
//! ```
//!
//! Endpoints are network namespaces here, and their disks are files: what is told is who gives whom which bytes, and that needs no firmware.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::bench::Server;
use tests::cache::Cache;
use tests::golden::{self, CheckIn};
use tests::plant::{APPLIANCE, Neighbour, Plant};
use tests::programs::Programs;
use tests::site::{IMAGE, Site};
use tests::tool;

use crate::{Length, Needs, SITE, Story};

pub const STORIES: &[Story] = &[Story {
    name: "relay_restores_a_line_whose_switch_does_not_reach_the_appliance_for_one_image_on_the_wire",
    needs: Needs::Site,
    length: Length::Short,
    tell: a_line_behind_a_relay,
}];

const LINE: &str = "line1";
const PORT: u16 = 8480;
const ON_PLANT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);
const ON_LINE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 20);

fn a_line_behind_a_relay(plant: &Plant) -> Result<()> {
    let programs = Programs::built()?;
    let golden = golden::image(&Cache::open()?, 1, &CheckIn::Agent(programs.agent.clone()))?;
    let appliance = Site::at(&plant.dir().join(SITE), &programs).start()?;
    let shown = appliance.site().say(&["image", "show", &format!("{IMAGE}:1"), "--json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let line = Line {
        plant,
        programs: &programs,
        trust: appliance.site().path("trust.json"),
        image: shown["image"].as_str().context("an image has an id")?.to_owned(),
    };

    plant.switch(LINE)?;
    let idle = plant.neighbour(ON_PLANT)?;
    plant.plug(&idle, "eth1", LINE, ON_LINE)?;
    let mut relay = idle.command(&programs.agent.display().to_string());
    relay.args(["relay", "--upstream", &format!("http://{APPLIANCE}"), "--memory-mib", "2048"]);
    let relay = Server::start(&mut relay, "relays for", plant.dir().join("relay.log"))?;
    let presses = [line.endpoint(21)?, line.endpoint(22)?];
    for press in &presses {
        let route = tool::run(press.command("ip").args(["route", "get", &APPLIANCE.to_string()]));
        ensure!(route.is_err(), "an endpoint of the line reaches the appliance by itself: {route:?}");
    }

    let (by_relay, before) = (format!("http://{ON_LINE}:{PORT}"), received(&idle)?);
    let restored: Vec<(PathBuf, Value)> = std::thread::scope(|scope| {
        let one = |(number, press)| line.restore(press, number, &[&by_relay]);
        let running: Vec<_> =
            presses.iter().zip(1..).map(|(p, n)| scope.spawn(move || one((n, p)))).collect();
        let ended = running.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("it died"))?);
        ended.collect::<Result<_>>()
    })?;
    let on_the_wire = received(&idle)? - before;
    let mut fetched = 0;
    for (disk, done) in &restored {
        same(&golden, disk)?;
        fetched = done["fetched_stored"].as_u64().context("the agent says what came over")?;
        ensure!(done["sources"][0]["wire_bytes"].as_u64() >= Some(fetched), "not by the relay: {done}");
    }
    // Heads of frames, of segments and of packets come on top.
    ensure!(on_the_wire > fetched && on_the_wire < fetched + fetched / 8, "{on_the_wire} of {fetched} bytes");

    // A relay that is gone costs its neighbours nothing but the look.
    drop(relay);
    let near = plant.neighbour(Ipv4Addr::new(10, 77, 0, 23))?;
    let urls = [format!("http://{ON_PLANT}:{PORT}"), format!("http://{APPLIANCE}")];
    let (disk, done) = line.restore(&near, 3, &[&urls[0], &urls[1]])?;
    same(&golden, &disk)?;
    let chunks = |source: usize| done["sources"][source]["chunks"].as_u64();
    ensure!(chunks(0) == Some(0) && chunks(1) > Some(0), "{done}");
    Ok(())
}

struct Line<'a> {
    plant: &'a Plant,
    programs: &'a Programs,
    trust: String,
    image: String,
}

impl Line<'_> {
    /// An endpoint with a cable to the line's switch only.
    fn endpoint(&self, last: u8) -> Result<Neighbour> {
        let endpoint = self.plant.neighbour(Ipv4Addr::new(10, 77, 0, last))?;
        self.plant.unplug(&endpoint, "eth0")?;
        self.plant.plug(&endpoint, "eth0", LINE, Ipv4Addr::new(10, 78, 0, last))?;
        Ok(endpoint)
    }

    /// Restores a new disk from these; the disk, and what the agent says it did.
    fn restore(&self, endpoint: &Neighbour, number: u32, from: &[&str]) -> Result<(PathBuf, Value)> {
        let disk = self.plant.dir().join(format!("disk-{number}.raw"));
        let mut agent = endpoint.command(&self.programs.agent.display().to_string());
        agent.args(["restore", "--trust", &self.trust, "--image", &self.image, "--disk"]).arg(&disk);
        let done = tool::run(agent.args(from))?;
        Ok((disk, serde_json::from_str(&done)?))
    }
}

/// Bytes that have come in over the cable to the plant's switch.
fn received(idle: &Neighbour) -> Result<u64> {
    let text = tool::run(idle.command("cat").arg("/proc/self/net/dev"))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let bytes = line.and_then(|line| line.split_whitespace().next()).context("there is no eth0")?;
    Ok(bytes.parse()?)
}

fn same(golden: &Path, disk: &Path) -> Result<()> {
    tool::run(Command::new("cmp").arg(golden).arg(disk)).map(drop).context("it is not the golden image")
}
