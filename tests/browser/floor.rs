//! The floor: a site as people meet it on a bad day, made by the commands a person would type and the words an endpoint would say.
//!
//! ```text
//!   line 3   hmi-press-01 …        recover by themselves when asked
//!   gateways gw-01 …               a second person approves
//!   bench    bench-01              may be drilled
//!   before the first tale: one recovered, one writing, one held, one waiting for approval, one seen and unknown
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use recovery_protocol::agent::Reported;
use recovery_protocol::job::{HoldReason, JobState, Stage};
use recovery_protocol::operator::{ImportPlan, JobView};
use serde_json::Value;
use tests::axe;
use tests::cache::Cache;
use tests::chromium::{Chromium, LIMIT, Look, Tab};
use tests::plant::{APPLIANCE, BRIDGE, Plant};
use tests::programs::{self, Programs};
use tests::simulated::Simulated;
use tests::site::{Appliance, IMAGE, Site};
use tests::tool;

/// Everyone's password here; the appliance and its people end with the run.
pub const PASSWORD: &str = "rivets hum under cobalt rain";
/// The technician's badge and its PIN.
pub const BADGE: &str = "04A2245B117280";
pub const PIN: &str = "738201";

/// The people: name and role.
pub const PEOPLE: &[(&str, &str)] =
    &[("tom", "technician"), ("eva", "engineer"), ("ann", "approver"), ("otto", "auditor"), ("ada", "admin")];

/// Endpoints that recover when asked; each tale has its own.
const PRESSES: usize = 12;
/// The cookie of a session.
const SESSION: &str = "__Host-groundstate";
/// Where the longest name stands that an operator would give.
pub const LONG_NAME: &str = "packaging-line-3-palletiser-operator-terminal-west-hall";

/// A desk on the office network.
pub const DESKTOP: Look = Look {
    name: "desktop",
    width: 1280,
    height: 900,
    touch: false,
    script: true,
    forced_colours: false,
    dark: false,
    language: "",
};
/// A technician's phone.
pub const PHONE: Look = Look { name: "phone", width: 390, height: 844, touch: true, ..DESKTOP };
/// The smallest phone that is promised.
pub const NARROW: Look = Look { name: "narrow", width: 360, height: 740, touch: true, ..DESKTOP };
/// The tablet on a pillar.
pub const KIOSK: Look = Look { name: "kiosk", width: 1280, height: 800, touch: true, ..DESKTOP };

/// The site and the browser.
pub struct Floor {
    /// Opens tabs.
    pub browser: Chromium,
    /// The appliance.
    pub appliance: Appliance,
    /// Where people reach it.
    pub origin: String,
    /// The script that finds what a page does against WCAG.
    pub axe: String,
    /// Where pictures go.
    pub pictures: PathBuf,
    /// Where endpoints reach it.
    endpoints: String,
    cookies: RefCell<HashMap<String, String>>,
}

impl Floor {
    /// Makes it, inside a plant.
    pub fn lay(plant: &Plant) -> Result<Self> {
        let site = Site::at(&plant.dir().join("site"), &Programs::built()?);
        prepare(&site)?;
        let appliance = site.start()?;
        let listening: Value =
            serde_json::from_slice(&fs::read(Path::new(&site.path("data")).join("listening.json"))?)?;
        let key = hex::decode(listening["spki_sha256"].as_str().context("it names no key")?)?;
        let browser = Chromium::start(&plant.dir().join("chromium"), &key)?;
        let pictures = programs::target_dir()?.join("browser");
        fs::create_dir_all(&pictures)?;
        let floor = Self {
            browser,
            appliance,
            origin: format!("https://{APPLIANCE}"),
            axe: fs::read_to_string(axe::script(&Cache::open()?)?)?,
            pictures,
            endpoints: format!("{APPLIANCE}:8443"),
            cookies: RefCell::default(),
        };
        floor.people().context("the people of the site")?;
        floor.endpoints().context("the endpoints of the site")?;
        floor.bad_day().context("what happened before the first tale")?;
        Ok(floor)
    }

    /// The command line of the site.
    pub fn say(&self, words: &[&str]) -> Result<String> {
        self.appliance.site().say(words)
    }

    /// A tab of a person who has signed in, or of a stranger (`""`).
    pub fn tab(&self, look: Look, who: &str) -> Result<Tab> {
        self.tab_at(&self.origin, look, who)
    }

    /// The same by another way to the console.
    pub fn tab_at(&self, origin: &str, look: Look, who: &str) -> Result<Tab> {
        let tab = Tab::open(&self.browser, origin, look)?;
        if who.is_empty() {
            return Ok(tab);
        }
        let key = format!("{origin} {who}");
        let known = self.cookies.borrow().get(&key).cloned();
        match known {
            Some(cookie) => tab.cookie(SESSION, &cookie)?,
            None => {
                let door = Tab::open(&self.browser, origin, DESKTOP)?;
                sign_in(&door, who)?;
                let cookie = door.cookie_value(SESSION)?.context("no session was opened")?;
                tab.cookie(SESSION, &cookie)?;
                self.cookies.borrow_mut().insert(key, cookie);
            }
        }
        Ok(tab)
    }

    /// An endpoint's half of a recovery.
    pub fn simulated(&self, name: &str) -> Result<Simulated> {
        Simulated::new(&self.endpoints, &mac(name))
    }

    /// Orders a recovery by the command line, does not wait for it.
    pub fn recover(&self, name: &str) -> Result<()> {
        self.say(&["recover", name, "--reason", "the screen stays black", "--no-wait"]).map(drop)
    }

    /// Waits until it may boot: its job has a ticket out.
    pub fn until_ticket(&self, name: &str) -> Result<()> {
        let waits = |job: &JobView| job.state == JobState::Working { stage: Stage::AgentWait };
        self.appliance.log().until(&format!("a boot ticket for {name}"), LIMIT, || {
            Ok(self.appliance.newest_job(name)?.filter(waits).map(drop))
        })
    }

    /// Its recovery system comes up, a person confirms its code by the command line, and it has its order.
    pub fn ordered(&self, name: &str) -> Result<Simulated> {
        self.until_ticket(name)?;
        let mut endpoint = self.simulated(name)?;
        let code = endpoint.boots()?;
        self.say(&["endpoint", "pair", name, &code])?;
        self.until_ordered(&mut endpoint)?;
        Ok(endpoint)
    }

    /// Waits until it has its order.
    pub fn until_ordered(&self, endpoint: &mut Simulated) -> Result<()> {
        let log = self.appliance.log();
        log.until("an order", LIMIT, || Ok(endpoint.asks()?.then_some(())))
    }

    fn people(&self) -> Result<()> {
        let site = self.appliance.site();
        for (file, text) in [("password", PASSWORD), ("badge", BADGE), ("pin", PIN)] {
            fs::write(site.path(file), format!("{text}\n"))?;
        }
        for (name, role) in PEOPLE {
            self.say(&[
                "person",
                "add",
                name,
                "--role",
                role,
                "--token-out",
                &site.path(&format!("{name}.token")),
            ])?;
            self.say(&["person", "passwd", name, "--password-file", &site.path("password")])?;
        }
        self.say(&[
            "person",
            "badge",
            "tom",
            "--badge-file",
            &site.path("badge"),
            "--pin-file",
            &site.path("pin"),
        ])
        .map(drop)
    }

    fn endpoints(&self) -> Result<()> {
        let mut sheet = "name,macs,blueprint,group,kind,site,line,cell,drill_safe\n".to_owned();
        let mut row = |name: &str, blueprint: &str, group: &str, kind: &str, safe: bool| {
            let drill_safe = if safe { "yes" } else { "" };
            let _ =
                writeln!(sheet, "{name},{},{blueprint},{group},{kind},works-7,3,b,{drill_safe}", mac(name));
        };
        for n in 1..=PRESSES {
            row(&press(n), IMAGE, "line-3", "hmi", false);
        }
        row(LONG_NAME, IMAGE, "line-3", "hmi", false);
        for name in ["gw-01", "gw-02", "gw-03"] {
            row(name, IMAGE, "gateways", "server", false);
        }
        for name in ["bench-01", "bench-02"] {
            row(name, "bench", "bench", "hmi", true);
        }
        let file = self.appliance.site().path("sheet.csv");
        fs::write(&file, sheet)?;
        let plan: ImportPlan = self.appliance.read(&["endpoint", "import", &file, "--plan", "--json"])?;
        self.say(&["endpoint", "import", &file, "--approve-plan", &plan.plan]).map(drop)
    }

    fn bad_day(&self) -> Result<()> {
        self.recover(&press(1))?;
        let done = self.ordered(&press(1))?;
        done.plans()?;
        done.finishes()?;

        self.recover(&press(2))?;
        let writing = self.ordered(&press(2))?;
        writing.plans()?;
        writing.writes(41)?;

        self.recover(LONG_NAME)?;
        let held = self.ordered(LONG_NAME)?;
        held.says(Reported::Refused {
            reason: HoldReason::DiskNotFound,
            detail: "nothing with serial S5GXNX0R; found: SSD 64 GB, serial S5GXNX0T".to_owned(),
        })?;

        self.recover("gw-01")?;
        let stranger = Simulated::new(&self.endpoints, "02:00:00:00:07:99")?.boots();
        ensure!(stranger.is_err(), "an endpoint that nobody knows was let in");
        Ok(())
    }
}

/// Names of the endpoints that recover when asked, from 1.
pub fn press(number: usize) -> String {
    format!("hmi-press-{number:02}")
}

/// Signs in by name and password, as everybody does.
pub fn sign_in(tab: &Tab, who: &str) -> Result<()> {
    tab.go("/login")?;
    tab.fill("textbox", "Your name", who)?;
    tab.fill("textbox", "Your password", PASSWORD)?;
    let status = tab.leads(|| tab.click("button", "Sign in"))?;
    ensure!(status == 200, "{who} could not sign in: {status}");
    Ok(())
}

/// An Ethernet address for each name.
fn mac(name: &str) -> String {
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let [_, a, b, c] = sum.to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

/// Keys, an image, the configuration.
fn prepare(site: &Site) -> Result<()> {
    let dir = PathBuf::from(site.path(""));
    fs::create_dir_all(dir.join("keys"))?;
    let at = dir.display();
    let text = format!(
        r#"site = "works-7"
data_dir = "{at}/data"
image_store_dir = "{at}/store"
trust_root_file = "{at}/root.json"

[[interfaces]]
name = "{BRIDGE}"

[groups.line-3]
mode = "auto"
cool_down_s = 0
max_concurrent = 50
max_per_hour = 200
common_mode = 0
breaker_failures = 0

[groups.gateways]
mode = "approve"
safety_class = 2

[groups.bench]
mode = "auto"
drill_zone = true

[blueprints.{IMAGE}]
image = "{IMAGE}"
hardware_class = "ipc427e"
enrolment = "none"

[blueprints.bench]
image = "{IMAGE}"
place = "bench"
enrolment = "none"
"#
    );
    fs::write(site.path("groundstate.toml"), text)?;
    site.make_keys()?;
    let disk = site.path("disk.raw");
    small_disk(&disk)?;
    for version in ["2026.10", "2026.11"] {
        site.say(&["image", "import", &disk, "--format", "raw", "--name", IMAGE, "--version", version])?;
        site.say(&["image", "sign", IMAGE, "--key", &site.key("release")])?;
    }
    Ok(())
}

/// A disk with an EFI system partition and nothing on it: what an image holds is of no matter to people; that it is signed is.
fn small_disk(disk: &str) -> Result<()> {
    fs::File::create(disk)?.set_len(8 << 20)?;
    let partitions = format!("{disk}.partitions");
    fs::write(&partitions, "label: gpt\nstart=2048, size=8192, type=U\n")?;
    tool::run_on(Command::new("sfdisk").args(["--quiet", disk]), fs::File::open(partitions)?)?;
    tool::run(Command::new("mformat").args([
        "-i",
        &format!("{disk}@@1M"),
        "-T",
        "8192",
        "-h",
        "8",
        "-s",
        "32",
        "::",
    ]))
    .map(drop)
}
