//! What a technician reads on the endpoint's own screen, seen as they see it: QEMU's picture of the frame buffer, letter for letter.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use recovery_protocol::job::HoldReason;
use tests::endpoint::Endpoint;
use tests::screen::Screen;

/// Letters of whatever must be read, at least, in thousandths of the screen's height; and of what is to be read from two metres.
const LETTER_LEAST: usize = 33;
const LETTER_LARGE: usize = 66;
/// How long nothing need be said before the screen is looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until all of these stand on it, each in one line and in letters that can be read.
///
/// # Errors
/// With what is missing when that takes longer than `limit`, or when there is no screen.
pub fn wait_for(endpoint: &Endpoint, texts: &[&str], limit: Duration) -> Result<Screen> {
    let end = Instant::now() + limit;
    loop {
        let mark = endpoint.serial().mark();
        let screen = endpoint.screen()?;
        let missing: Vec<&&str> =
            texts.iter().filter(|text| screen.shows(text).is_none_or(|high| high < LETTER_LEAST)).collect();
        if missing.is_empty() {
            return Ok(screen);
        }
        if Instant::now() > end {
            bail!("{missing:?} is not on the screen of {}; screen.ppm shows it", endpoint.spec().name);
        }
        endpoint.serial().wait_line(mark, LOOK);
    }
}

/// The work goes on by itself: who it is, how far it is, and that nobody need stay.
pub fn shows_work(endpoint: &Endpoint, limit: Duration) -> Result<()> {
    let name = &endpoint.spec().name;
    let words = ["WORKING", name, " %", "You may walk away"];
    let screen = wait_for(endpoint, &words, limit)?;
    large(&screen, &["WORKING", name, " %"])
}

/// It did not work: what happened, what now, and the short code, each word of them.
pub fn shows_refusal(endpoint: &Endpoint, reason: HoldReason, limit: Duration) -> Result<()> {
    let (name, code) = (&endpoint.spec().name, format!("CODE {}", reason.code()));
    let mut words = vec!["STOPPED", name, &code];
    words.extend(reason.what().split_whitespace());
    words.extend(reason.what_now().split_whitespace());
    let screen = wait_for(endpoint, &words, limit)?;
    ensure!(screen.shows("You may walk away").is_none(), "nobody is told to stay");
    large(&screen, &["STOPPED", name])?;
    // What happened is said no smaller than all else.
    let first = reason.what().split_whitespace().next().unwrap_or_default();
    large(&screen, &[first])
}

fn large(screen: &Screen, texts: &[&str]) -> Result<()> {
    for text in texts {
        let high = screen.shows(text).unwrap_or_default();
        ensure!(high >= LETTER_LARGE, "{text:?} has letters of {high} thousandths of the screen");
    }
    Ok(())
}
