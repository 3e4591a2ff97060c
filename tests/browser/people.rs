//! Who gets in, and what each of them can press.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::Tale;
use crate::floor::{BADGE, DESKTOP, Floor, KIOSK, PASSWORD, PEOPLE, PIN};
use crate::looks::pages;

pub const TALES: &[Tale] = &[
    Tale { name: "a_person_signs_in_by_name_and_password_and_out", tell: by_password },
    Tale { name: "a_technician_signs_in_at_a_kiosk_by_badge_and_pin", tell: by_badge },
    Tale { name: "each_role_sees_alive_only_what_it_may_do", tell: roles },
];

fn by_password(floor: &Floor) -> Result<()> {
    let tab = floor.tab(DESKTOP, "")?;
    ensure!(
        tab.go("/drills")? == 200 && tab.path()?.starts_with("/login"),
        "a stranger was shown {}",
        tab.path()?
    );
    tab.fill("textbox", "Your name", "eva")?;
    tab.fill("textbox", "Your password", "not her password at all")?;
    tab.leads(|| tab.click("button", "Sign in"))?;
    tab.find("alert", "*")?;
    ensure!(tab.path()? == "/login", "a wrong password led to {}", tab.path()?);
    tab.fill("textbox", "Your name", "eva")?;
    tab.fill("textbox", "Your password", PASSWORD)?;
    tab.leads(|| tab.click("button", "Sign in"))?;
    tab.find("button", "Sign out")?;
    tab.leads(|| tab.click("button", "Sign out"))?;
    tab.go("/")?;
    ensure!(tab.path()?.starts_with("/login"), "who signed out still sees {}", tab.path()?);
    Ok(())
}

fn by_badge(floor: &Floor) -> Result<()> {
    let tab = floor.tab(KIOSK, "")?;
    tab.go("/kiosk")?;
    let code = floor.say(&["kiosk", "pair", "pillar-3"])?;
    tab.fill("textbox", "Pairing code", code.trim())?;
    tab.leads(|| tab.click("button", "Pair it"))?;
    // The badge reader types, and ends with Enter as readers do; nobody touches the screen for that.
    tab.fill("textbox", "Badge", BADGE)?;
    tab.fill("textbox", "PIN", PIN)?;
    tab.leads(|| tab.type_key("Enter"))?;
    tab.find("button", "Sign out")?;
    let faults = tab.faults();
    ensure!(faults.is_empty(), "{faults:?}");
    Ok(())
}

/// A form on a page, and whether it can be sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Form {
    action: String,
    body: String,
    alive: bool,
}

/// The forms in the page's own part: each with a button that works or none.
const FORMS: &str = "[...document.querySelectorAll('main form[method=post]')].map((form) => ({
    action: form.getAttribute('action'),
    body: new URLSearchParams(new FormData(form)).toString(),
    alive: [...form.querySelectorAll('button')].some((button) => !button.disabled),
}))";

/// What no role has: pages that only the open door has, and what belongs to everyone's own account.
const EVERYONES: &[&str] = &["/account/password", "/account/sessions/end", "/logout", "/language"];

/// A form of the kind that this one is: its path with names left out.
fn kind(action: &str) -> String {
    let parts: Vec<&str> = action.split('/').collect();
    let kept =
        |at: usize, part: &&str| if at == 2 && parts.len() > 3 { "*".to_owned() } else { (*part).to_owned() };
    parts.iter().enumerate().map(|(at, part)| kept(at, part)).collect::<Vec<_>>().join("/")
}

/// What an admin can press anywhere, each other role finds dead or not at all unless it may; sent all the same, it is refused with 403.
fn roles(floor: &Floor) -> Result<()> {
    let admin = floor.tab(DESKTOP, "ada")?;
    let pages = pages(&admin)?;
    let mut everything: Vec<(String, Form)> = Vec::new();
    for page in &pages {
        admin.go(page)?;
        everything.extend(forms(&admin)?.into_iter().map(|form| (page.clone(), form)));
    }
    let live = everything.iter().filter(|(_, form)| form.alive && !EVERYONES.contains(&form.action.as_str()));
    let kinds: BTreeSet<String> = live.clone().map(|(_, form)| kind(&form.action)).collect();
    // A page on which nobody can press anything says nothing here.
    let pages: Vec<&String> = pages.iter().filter(|page| live.clone().any(|(on, _)| on == *page)).collect();
    ensure!(kinds.len() >= 5, "an admin finds next to nothing to press: {kinds:?}");
    let mut wrong = Vec::new();
    for (name, role) in PEOPLE.iter().filter(|(_, role)| *role != "admin") {
        let tab = floor.tab(DESKTOP, name)?;
        let mut tried = BTreeSet::new();
        for page in &pages {
            let status = tab.go(page)?;
            let theirs = if status == 200 { forms(&tab)? } else { Vec::new() };
            if status != 200 && status != 403 {
                wrong.push(format!("{role} is answered {status} on {page}"));
            }
            for (_, form) in everything.iter().filter(|(on, form)| on == *page && form.alive) {
                let alive = theirs.iter().any(|own| own.action == form.action && own.alive);
                if alive || EVERYONES.contains(&form.action.as_str()) || !tried.insert(kind(&form.action)) {
                    continue;
                }
                let answer = send(&tab, form)?;
                // What is dead for another reason than the role (a second person is wanted) says so with 409; of another's session nobody
                // learns whether there is one.
                let unknown = answer == 404 && form.action == "/people/sessions/end";
                if answer != 403 && answer != 409 && !unknown {
                    wrong.push(format!(
                        "{role} finds {} dead on {page}, and sending it is answered {answer}",
                        form.action
                    ));
                }
            }
        }
        println!("  {role}: {} kinds of forms are dead and refused", tried.len());
        if *role == "auditor" {
            // STOP is everyone's; a policy that is tried and a log that is verified change nothing.
            let free = ["/stop", "/policy", "/evidence/verify"];
            let theirs = |kind: &String| tried.contains(kind) || free.contains(&kind.as_str());
            let left: Vec<&String> = kinds.iter().filter(|kind| !theirs(kind)).collect();
            if !left.is_empty() {
                wrong.push(format!("an auditor finds alive: {left:?}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n  ")) }
}

fn forms(tab: &tests::chromium::Tab) -> Result<Vec<Form>> {
    serde_json::from_value(tab.js(FORMS)?).context("the forms of a page")
}

/// Sends a form from the page, as a script in their browser could. The status of the answer; 0 for a redirect, which is a yes.
fn send(tab: &tests::chromium::Tab, form: &Form) -> Result<u64> {
    let (action, body) = (Value::from(form.action.as_str()), Value::from(form.body.as_str()));
    let order = format!(
        "fetch({action}, {{ method: 'POST', redirect: 'manual', body: {body}, \
         headers: {{ 'content-type': 'application/x-www-form-urlencoded' }} }}).then((answer) => answer.status)"
    );
    let status = tab.js(&order)?.as_u64().context("no status")?;
    // The refusal stands on the browser's console, as it should.
    let _ = tab.faults();
    Ok(status)
}
