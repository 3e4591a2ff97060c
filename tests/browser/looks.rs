//! Every page on every screen, in every language, for every pair of eyes and hands.
//!
//! Pages are found as a person finds them: by the links of those that were found before. A page that is added is looked at by itself.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::axe;
use tests::chromium::{Look, Tab};

use crate::Tale;
use crate::floor::{DESKTOP, Floor, KIOSK, NARROW, PHONE, press};

pub const TALES: &[Tale] = &[
    Tale { name: "no_page_breaks_a_rule_of_wcag_on_a_desk", tell: |floor| whole(floor, &[DESKTOP]) },
    Tale {
        name: "no_page_breaks_a_rule_of_wcag_in_the_dark",
        tell: |floor| whole(floor, &[Look { name: "dark", dark: true, ..DESKTOP }]),
    },
    Tale { name: "no_page_breaks_a_rule_of_wcag_on_a_phone", tell: |floor| whole(floor, &[PHONE]) },
    Tale { name: "every_page_fits_small_phones_kiosks_and_forced_colours", tell: screens },
    Tale { name: "every_page_fits_its_words_in_every_language", tell: languages },
    Tale { name: "the_first_stop_of_the_tab_key_leads_to_the_content", tell: skip_link },
    Tale { name: "the_first_page_is_light", tell: light },
];

/// Of one kind of page so many are looked at: one, as `cargo verify` has it, or with `--all` three, which may be in other states.
fn of_a_kind() -> usize {
    if std::env::args().any(|word| word == "--all") { 3 } else { 1 }
}
/// What a first visit may cost.
const REQUESTS_MOST: usize = 5;
const BYTES_MOST: u64 = 100_000;
/// What has no link for who has signed in.
const DOORS: &[&str] = &["/login", "/kiosk"];

/// The links of a page to others of the console.
const LINKS: &str = "[...document.querySelectorAll('a[href]')]
    .filter((link) => link.origin === location.origin && !link.hasAttribute('download'))
    .map((link) => link.pathname + link.search)";

/// Every page that can be reached by links from the first one, as this person sees it: some of each kind.
pub fn pages(tab: &Tab) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut to_see = VecDeque::from(["/".to_owned()]);
    while let Some(path) = to_see.pop_front() {
        let count = kinds.entry(kind(&path)).or_default();
        if *count == of_a_kind() || found.contains(&path) {
            continue;
        }
        *count += 1;
        let status = tab.go(&path)?;
        ensure!(status == 200, "a link leads to {path}, which answers {status}");
        let links: Vec<String> = serde_json::from_value(tab.js(LINKS)?)?;
        // Documents are for other programs: reports, exports, metrics.
        let is_page =
            |path: &String| !["/api/", "/assets/", "/metrics"].iter().any(|begin| path.starts_with(begin));
        to_see.extend(links.into_iter().filter(is_page));
        found.push(path);
    }
    ensure!(found.len() > 5, "the first page leads nowhere: {found:?}");
    Ok(found)
}

/// Pages of one kind differ in names, numbers and questions alone.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let name = |part: &str| part.contains(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    let parts: Vec<&str> = path.split('/').map(|part| if name(part) { "*" } else { part }).collect();
    let keys: Vec<&str> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    format!("{}?{}", parts.join("/"), keys.join("&"))
}

/// Opens what is folded. A drawer that lies over the page when it is open stays closed: on a narrow screen it is a part of the page and is seen there.
const OPEN: &str = "document.querySelectorAll('details').forEach((details) => {
    const inside = details.lastElementChild;
    details.open = !inside || getComputedStyle(inside).position !== 'absolute';
})";

/// All of them, for whoever may see everything and for strangers.
fn everywhere(
    floor: &Floor,
    look: Look,
    see: impl Fn(&Tab, &str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let tab = floor.tab(look, "ada")?;
    let pages = pages(&tab)?;
    let mut wrong = Vec::new();
    let stranger = floor.tab(look, "")?;
    let all =
        pages.iter().map(|page| (&tab, page.as_str())).chain(DOORS.iter().map(|door| (&stranger, *door)));
    let mut count = 0;
    for (tab, page) in all {
        tab.go(page)?;
        // What is folded away is looked at, too.
        tab.js(OPEN)?;
        let mut found = see(tab, page)?;
        found.extend(tab.faults());
        wrong.extend(found.into_iter().map(|what| format!("{} {page}: {what}", look_name(look))));
        count += 1;
    }
    println!("  {}: {count} pages", look_name(look));
    Ok(wrong)
}

fn look_name(look: Look) -> String {
    if look.language.is_empty() { look.name.to_owned() } else { format!("{} {}", look.name, look.language) }
}

fn verdict(mut wrong: Vec<String>) -> Result<()> {
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { bail!("{} faults:\n  {}", wrong.len(), wrong.join("\n  ")) }
}

/// Everything that is looked for, with axe.
fn whole(floor: &Floor, looks: &[Look]) -> Result<()> {
    let mut wrong = Vec::new();
    for look in looks {
        wrong.extend(everywhere(floor, *look, |tab, page| {
            let mut wrong = fits(tab, page)?;
            wrong.extend(against_wcag(floor, tab)?);
            Ok(wrong)
        })?);
    }
    verdict(wrong)
}

/// Lines of what axe found on the page that is shown.
pub fn against_wcag(floor: &Floor, tab: &Tab) -> Result<Vec<String>> {
    tab.js(&floor.axe).context("axe-core")?;
    serde_json::from_value(tab.js(axe::RUN)?).context("axe-core's answer")
}

fn screens(floor: &Floor) -> Result<()> {
    let forced = Look { name: "forced colours", forced_colours: true, ..DESKTOP };
    let mut wrong = Vec::new();
    for look in [NARROW, KIOSK, forced] {
        wrong.extend(everywhere(floor, look, fits)?);
    }
    verdict(wrong)
}

/// Those that people may choose, and the two that only tests know: long, and from right to left.
const LANGUAGES: &[&str] = &["de", "fr", "es", "zh", "en-XA", "ar-XB"];

fn languages(floor: &Floor) -> Result<()> {
    let mut wrong = Vec::new();
    for language in LANGUAGES {
        wrong.extend(everywhere(floor, Look { language, ..NARROW }, |tab, page| {
            let mut wrong = fits(tab, page)?;
            let said = tab.js("document.documentElement.lang")?;
            if said != *language {
                wrong.push(format!("the page says it is in {said}"));
            }
            Ok(wrong)
        })?);
    }
    verdict(wrong)
}

/// What a person runs into whose screen is small, whose finger is large, or whose words are long. One line each.
const FITS: &str = r#"(() => {
  const wrong = [];
  const words = (element) => (element.getAttribute("aria-label") ?? element.textContent).trim().replace(/\s+/g, " ").slice(0, 40);
  const say = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> "${words(element)}"`;
  const shown = (element) => {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    return box.width > 1 && box.height > 1 && style.visibility !== "hidden" && box.right > 0 && box.left < innerWidth + 9000;
  };
  if (!document.documentElement.lang) wrong.push("the page says no language");
  const root = document.scrollingElement;
  if (root.scrollWidth > root.clientWidth) {
    const out = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > root.clientWidth + 0.5);
    const inmost = out.filter((element) => !out.some((other) => other !== element && element.contains(other)));
    wrong.push(`the page is ${root.scrollWidth} px wide on a screen of ${root.clientWidth}: ${inmost.slice(0, 3).map(say).join(", ")}`);
  }
  // Targets: 44 px each way, a label counting with its field; a link within a sentence is as high as its line.
  for (const target of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (!shown(target) || target.closest(".skip")) continue;
    const inSentence = target.tagName === "A" && getComputedStyle(target).display === "inline"
      && [...target.parentElement.childNodes].some((other) => other !== target && other.textContent.trim().length > 1);
    if (inSentence) continue;
    let { width, height } = target.getBoundingClientRect();
    if (["checkbox", "radio"].includes(target.type)) {
      for (const label of target.labels) ({ width, height } = label.getBoundingClientRect());
    }
    if (width < 43.5 || height < 43.5) wrong.push(`a target of ${Math.round(width)} × ${Math.round(height)} px: ${say(target)}`);
  }
  // Text: within the screen, and within the box that it stands in, unless that scrolls.
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, parent = text.parentElement;
    if (!text.textContent.trim() || !shown(parent) || parent.closest("noscript, script, .skip, .quiet-live")) continue;
    let box = parent, scrolls = false;
    for (let over = parent; over; over = over.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(over).overflowX)) scrolls = true;
    }
    while (getComputedStyle(box).display.startsWith("inline") && !["BUTTON", "A"].includes(box.tagName)) box = box.parentElement;
    const range = document.createRange();
    range.selectNodeContents(text);
    const outer = box.getBoundingClientRect();
    for (const { left, right, width } of range.getClientRects()) {
      if (width < 1) continue;
      if (!scrolls && (right > innerWidth + 1 || left < -1)) { wrong.push(`text leaves the screen: ${say(parent)}`); break; }
      if (!scrolls && getComputedStyle(box).display !== "inline" && (right > outer.right + 2 || left < outer.left - 2)) {
        wrong.push(`text leaves its box ${say(box)}`);
        break;
      }
    }
  }
  return [...new Set(wrong)];
})()"#;

fn fits(tab: &Tab, _page: &str) -> Result<Vec<String>> {
    serde_json::from_value(tab.js(FITS)?).context("what does not fit")
}

/// By keyboard alone: the first stop skips what every page repeats, and what has the focus can be seen.
fn skip_link(floor: &Floor) -> Result<()> {
    let tab = floor.tab(DESKTOP, "eva")?;
    let mut wrong = Vec::new();
    // A card is a sheet to print, with nothing to skip.
    for page in pages(&tab)?.into_iter().filter(|page| !page.ends_with("/card")) {
        tab.go(&page)?;
        // Where a field has the focus from the start, for a scanner that types, the way begins behind it.
        if tab.js("document.querySelector('[autofocus]') !== null")? == Value::Bool(true) {
            continue;
        }
        tab.type_key("Tab")?;
        let first = tab.focused()?;
        if (first.role.as_str(), first.name.as_str()) != ("link", "Skip to content") {
            wrong.push(format!("{page}: the first stop is {} {:?}", first.role, first.name));
            continue;
        }
        let seen = tab.js("(({ left, top, width, height }) => left >= 0 && top >= 0 && width > 40 && height > 20)(document.activeElement.getBoundingClientRect())")?;
        if seen != Value::Bool(true) {
            wrong.push(format!("{page}: the skip link has the focus and cannot be seen"));
        }
        tab.type_key("Enter")?;
        if tab.js("location.hash")? != "#content" {
            wrong.push(format!("{page}: the skip link leads to {}", tab.js("location.hash")?));
        }
    }
    verdict(wrong)
}

/// When a page is drawn, its script has run and no long task is left, in milliseconds since it was asked for.
const INTERACTIVE: &str = "new Promise((resolve) => {
    const { domContentLoadedEventEnd } = performance.getEntriesByType('navigation')[0];
    const { startTime } = performance.getEntriesByName('first-contentful-paint')[0] ?? { startTime: 0 };
    const tasks = new PerformanceObserver(() => {});
    tasks.observe({ type: 'longtask', buffered: true });
    setTimeout(() => {
        const ends = tasks.takeRecords().map((task) => task.startTime + task.duration);
        resolve(Math.round(Math.max(domContentLoadedEventEnd, startTime, ...ends)));
    }, 500);
})";

/// A first visit costs few requests and few bytes. How long it takes a processor that is four times slower is said, and not judged here.
fn light(floor: &Floor) -> Result<()> {
    for page in ["/", &format!("/endpoints/{}", press(11))] {
        let tab = floor.tab(DESKTOP, "eva")?;
        tab.go(page)?;
        tab.until("the page to be live", |tab| Ok(tab.traffic().0 >= REQUESTS_MOST))?;
        let (requests, bytes) = tab.traffic();
        let slow = floor.tab(PHONE, "eva")?;
        slow.call("Emulation.setCPUThrottlingRate", json!({ "rate": 4 }))?;
        slow.go(page)?;
        let interactive = slow.js(INTERACTIVE)?;
        println!(
            "  {page}: {requests} requests, {bytes} bytes; interactive after {interactive} ms on a processor slowed four times"
        );
        ensure!(
            requests <= REQUESTS_MOST && bytes <= BYTES_MOST,
            "{page} costs {requests} requests and {bytes} bytes"
        );
    }
    Ok(())
}
