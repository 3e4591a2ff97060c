//! What people come for: recover, with hand, finger, key or no script at all; approve; STOP.

use anyhow::{Result, ensure};
use recovery_protocol::operator::EndpointView;
use tests::chromium::{LIMIT, Look, Press, Tab};

use crate::Tale;
use crate::floor::{DESKTOP, Floor, PHONE, press};

pub const TALES: &[Tale] = &[
    Tale { name: "a_recovery_by_mouse_runs_to_its_end", tell: by_mouse },
    Tale { name: "a_recovery_begins_by_touch", tell: |floor| begins(floor, PHONE, Press::Finger, &press(4)) },
    Tale { name: "a_recovery_begins_by_keyboard_alone", tell: by_keyboard },
    Tale { name: "a_button_that_is_let_go_recovers_nothing", tell: let_go },
    Tale { name: "a_recovery_begins_without_a_script", tell: without_script },
    Tale { name: "a_second_person_approves_what_another_asked_for", tell: approve },
    Tale { name: "an_auditor_has_the_log_checked_and_reads_it_to_its_beginning", tell: evidence },
    Tale { name: "an_engineer_finds_a_job_by_its_state_and_sees_each_step", tell: jobs },
];

/// What the other tales would be stopped by.
pub const LAST: &[Tale] = &[Tale { name: "stop_holds_the_site_until_two_people_release_it", tell: stop }];

/// The button.
const HOLD: &str = "Hold to recover";
/// What leads to it, for a technician: yes to the machine, then the tick of the safety card.
const THIS: &str = "Yes, this machine";
const SAFE: &str = "The machine is stopped or safe without it";

/// An endpoint's own page, for engineers.
fn page(name: &str) -> String {
    format!("/endpoints/{name}")
}

/// The page of the machine before which a technician stands, where the code on it leads.
fn machine(name: &str) -> String {
    format!("/m/{name}")
}

/// From that page to the button: two touches.
fn to_button(tab: &Tab, name: &str) -> Result<()> {
    tab.go(&machine(name))?;
    tab.leads(|| tab.click("link", THIS))?;
    tab.click("checkbox", SAFE)
}

fn view(floor: &Floor, name: &str) -> Result<EndpointView> {
    floor.appliance.endpoint(name)
}

/// Waits until the appliance says so of an endpoint.
fn until(floor: &Floor, name: &str, what: &str, is: impl Fn(&EndpointView) -> bool) -> Result<()> {
    floor.appliance.log().until(what, LIMIT, || Ok(is(&view(floor, name)?).then_some(())))
}

/// Opens the page, holds the button until it leads on; a job is there.
fn begins(floor: &Floor, look: Look, press: Press, name: &str) -> Result<()> {
    let tab = floor.tab(look, "tom")?;
    to_button(&tab, name)?;
    held(&tab, press)?;
    ensure!(tab.path()? == machine(name), "the order led to {}", tab.path()?);
    ensure!(view(floor, name)?.job.is_some(), "nothing was ordered");
    quiet(&tab)
}

fn held(tab: &Tab, press: Press) -> Result<()> {
    tab.find("button", HOLD)?;
    let status = tab.leads(|| tab.begin(HOLD, press))?;
    tab.end(press)?;
    ensure!(status == 200, "the order was answered {status}");
    Ok(())
}

/// The whole log by one button; then page after page, with a script and without.
fn evidence(floor: &Floor) -> Result<()> {
    let scriptless = Look { name: "no script", script: false, ..DESKTOP };
    for look in [DESKTOP, scriptless] {
        let tab = floor.tab(look, "otto")?;
        tab.go("/evidence")?;
        let status = tab.leads(|| tab.click("button", "Verify"))?;
        ensure!(status == 200, "Verify was answered {status}");
        tab.go("/evidence?limit=25")?;
        tab.find("heading", "Evidence")?;
        let mut pages = 1;
        while tab.has("link", "Next page") {
            tab.leads(|| tab.click("link", "Next page"))?;
            tab.find("link", "First page")?;
            pages += 1;
            ensure!(pages < 200, "the log has no beginning");
        }
        ensure!(pages >= 3, "a site in use has more than {pages} pages of 25 entries");
        quiet(&tab)?;
    }
    Ok(())
}

/// By state in the address, from there to the job, and what happened in it.
fn jobs(floor: &Floor) -> Result<()> {
    let tab = floor.tab(PHONE, "eva")?;
    tab.go("/jobs?state=held")?;
    tab.find("button", "Show")?;
    let job = floor.appliance.newest_job(crate::floor::LONG_NAME)?;
    let job = job.ok_or_else(|| anyhow::anyhow!("the held endpoint has no job"))?;
    tab.go(&format!("/jobs/{}#steps", job.job))?;
    tab.find("columnheader", "After")?;
    quiet(&tab)
}

fn quiet(tab: &Tab) -> Result<()> {
    let faults = tab.faults();
    ensure!(faults.is_empty(), "{}", faults.join("\n  "));
    Ok(())
}

/// From the button to the end, with an endpoint that does its half; the page follows by itself.
fn by_mouse(floor: &Floor) -> Result<()> {
    let name = press(3);
    let tab = floor.tab(DESKTOP, "tom")?;
    tab.go("/scan")?;
    tab.leads(|| tab.click("link", &format!("{name}*")))?;
    tab.leads(|| tab.click("link", THIS))?;
    tab.click("checkbox", SAFE)?;
    held(&tab, Press::Mouse)?;

    floor.until_ticket(&name)?;
    let mut endpoint = floor.simulated(&name)?;
    let code = endpoint.boots()?;
    tab.until("the code of the endpoint's screen", |tab| Ok(text(tab)?.contains(&code)))?;
    tab.leads(|| tab.click("button", "Yes, the codes are the same"))?;
    floor.until_ordered(&mut endpoint)?;
    endpoint.plans()?;
    endpoint.writes(60)?;
    tab.find("progressbar", "Writing")?;
    endpoint.finishes()?;
    until(floor, &name, "the endpoint to be recovered", |view| {
        view.job.as_ref().is_some_and(|job| job.over_unix_ms.is_some())
    })?;
    tab.find("heading", "Does the screen show live values?")?;
    tab.leads(|| tab.click("button", "Yes*"))?;
    tab.until("the page to say that all is done", |tab| Ok(text(tab)?.contains("works again")))?;
    ensure!(view(floor, &name)?.job.is_some_and(|job| job.accepted == Some(true)), "the answer went nowhere");
    quiet(&tab)
}

/// The words of the page.
pub fn text(tab: &Tab) -> Result<String> {
    Ok(tab.js("document.body.innerText")?.as_str().unwrap_or_default().to_owned())
}

/// No pointer at all: the Tab key finds each thing on the way, Enter follows the link, the space bar ticks and holds.
fn by_keyboard(floor: &Floor) -> Result<()> {
    let name = press(5);
    let tab = floor.tab(DESKTOP, "tom")?;
    tab.go(&machine(&name))?;
    let mut stops = tab_to(&tab, THIS)?;
    tab.leads(|| tab.type_key("Enter"))?;
    stops += tab_to(&tab, SAFE)?;
    tab.type_key("Space")?;
    stops += tab_to(&tab, HOLD)?;
    println!("  {stops} stops of the Tab key to the button");
    held(&tab, Press::Key)?;
    ensure!(view(floor, &name)?.job.is_some(), "nothing was ordered");
    quiet(&tab)
}

/// Presses Tab until the focus is there. How often.
fn tab_to(tab: &Tab, name: &str) -> Result<usize> {
    let mut stops = Vec::new();
    while stops.last().is_none_or(|last: &String| last != name) {
        ensure!(stops.len() < 40, "the Tab key does not come to {name:?}; it came by {stops:?}");
        tab.type_key("Tab")?;
        stops.push(tab.focused()?.name);
    }
    Ok(stops.len())
}

/// Half a second is no three.
fn let_go(floor: &Floor) -> Result<()> {
    let name = press(6);
    let tab = floor.tab(PHONE, "tom")?;
    to_button(&tab, &name)?;
    for press in [Press::Finger, Press::Key] {
        tab.begin(HOLD, press)?;
        tab.find("button", "Hold *")?;
        tab.end(press)?;
        tab.find("button", HOLD)?;
    }
    ensure!(view(floor, &name)?.job.is_none(), "a touch ordered a recovery");
    quiet(&tab)
}

/// Where no script runs, a page asks instead of the hold.
fn without_script(floor: &Floor) -> Result<()> {
    let name = press(7);
    let tab = floor.tab(Look { name: "no script", script: false, ..PHONE }, "tom")?;
    to_button(&tab, &name)?;
    tab.leads(|| tab.click("button", HOLD))?;
    tab.find("heading", &format!("Recover {name}?"))?;
    ensure!(view(floor, &name)?.job.is_none(), "the question was taken for an answer");
    tab.leads(|| tab.click("link", "No, go back"))?;
    to_button(&tab, &name)?;
    tab.leads(|| tab.click("button", HOLD))?;
    tab.leads(|| tab.click("button", &format!("Yes, recover {name}")))?;
    ensure!(view(floor, &name)?.job.is_some(), "nothing was ordered");
    quiet(&tab)
}

/// The one who asked finds the button dead, with the reason; another finds it alive.
fn approve(floor: &Floor) -> Result<()> {
    let name = "gw-02";
    let eva = floor.tab(DESKTOP, "eva")?;
    eva.go(&page(name))?;
    held(&eva, Press::Mouse)?;
    let dead = eva.find("button", "Approve")?;
    ensure!(dead.disabled, "who asked for a recovery may approve it");
    let said = text(&eva)?;
    ensure!(
        said.to_lowercase().contains("another person must approve"),
        "a dead button says nothing: {said}"
    );
    quiet(&eva)?;

    let ann = floor.tab(DESKTOP, "ann")?;
    ann.go(&page(name))?;
    ann.leads(|| ann.click("button", "Approve"))?;
    until(floor, name, "the approval", |view| view.job.as_ref().is_some_and(|job| job.approves.is_none()))?;
    eva.until("the one who asked to see it", |tab| Ok(!tab.has("button", "Approve")))?;
    quiet(&ann)
}

/// Pressed by whoever stands nearest, released by two others; while it stands every page says so and nothing begins.
fn stop(floor: &Floor) -> Result<()> {
    let tom = floor.tab(PHONE, "tom")?;
    tom.go("/")?;
    tom.leads(|| tom.click("link", "STOP"))?;
    tom.fill("textbox", "Why?*", "smoke at the palletiser")?;
    tom.leads(|| tom.click("button", "STOP"))?;
    tom.find("heading", "STOP stands")?;
    tom.go(&format!("{}/safety", machine(&press(8))))?;
    ensure!(text(&tom)?.contains("STOP stands"), "a page does not say that STOP stands");
    let dead = tom.find("button", HOLD)?;
    ensure!(dead.disabled, "a recovery could begin while STOP stands");
    tom.go("/")?;
    ensure!(text(&tom)?.contains("STOP stands"), "the first page does not say that STOP stands");
    for who in ["eva", "ann"] {
        let tab = floor.tab(DESKTOP, who)?;
        tab.go("/stop")?;
        tab.fill("textbox", "What was found*", "it was dust")?;
        tab.leads(|| tab.click("button", "Release STOP"))?;
        quiet(&tab)?;
    }
    tom.until("the pages to be free again", |tab| Ok(!text(tab)?.contains("STOP stands")))?;
    quiet(&tom)
}
