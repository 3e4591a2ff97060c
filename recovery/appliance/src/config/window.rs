//! Weekly windows: `Mon-Fri 22:00-05:00`, `Sat,Sun 00:00-24:00`, `daily 02:00-04:00`. One that ends at or before its beginning ends on
//! the next day; it belongs to the day on which it begins.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Deserializer};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u32 = 24 * 60;

/// A window of a week, in the site's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From Monday.
    days: [bool; 7],
    /// Minutes of the day on which it begins.
    from: u32,
    /// Minutes after that day's midnight; beyond 1440 on the next day.
    to: u32,
}

impl Window {
    /// One that never opens.
    pub const NEVER: Self = Self { days: [false; 7], from: 0, to: 0 };

    /// Milliseconds until it closes, where it is open at this time (milliseconds since 1970).
    #[must_use]
    pub fn left(&self, at_unix_ms: u64, zone: &TimeZone) -> Option<u64> {
        let at = Timestamp::from_millisecond(i64::try_from(at_unix_ms).ok()?).ok()?;
        let today = at.to_zoned(zone.clone()).date();
        // It may have begun yesterday.
        [Some(today), today.yesterday().ok()].into_iter().flatten().find_map(|day| {
            let on = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
            if !self.days.get(on).copied().unwrap_or(false) {
                return None;
            }
            let (from, to) = (moment(day, self.from, zone)?, moment(day, self.to, zone)?);
            let left = to.as_millisecond().checked_sub(at.as_millisecond())?;
            (from <= at && left > 0).then(|| u64::try_from(left).unwrap_or_default())
        })
    }

    /// From its text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no window; write it like `Mon-Fri 22:00-05:00` or `daily 02:00-04:00`");
        let (days, times) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let (from, to) = times.trim().split_once('-').ok_or_else(wrong)?;
        let (from, mut to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
        if from >= DAY_MINUTES {
            return Err(wrong());
        }
        if to <= from {
            to += DAY_MINUTES;
        }
        Ok(Self { days: weekdays(days).ok_or_else(wrong)?, from, to })
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Minutes after midnight of a day as a moment; where clocks are set, the one that a clock on the wall shows.
fn moment(day: Date, minutes: u32, zone: &TimeZone) -> Option<Timestamp> {
    let (day, minutes) =
        if minutes >= DAY_MINUTES { (day.tomorrow().ok()?, minutes - DAY_MINUTES) } else { (day, minutes) };
    let time = Time::new(i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?, 0, 0).ok()?;
    Some(day.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp())
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY_MINUTES).then_some(all)
}

fn weekdays(text: &str) -> Option<[bool; 7]> {
    let text = text.to_ascii_lowercase();
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |word: &str| DAYS.iter().position(|known| *known == word);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // `Sat-Mon` goes over the week's end.
        let mut at = first;
        loop {
            *days.get_mut(at)? = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

/// A zone of the tz database, which is inside this program.
///
/// # Errors
/// What is wrong with it.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| format!("`{name}` is no time zone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_beginning_until_its_end() {
        let window = Window::parse("Mon-Fri 22:00-05:00").unwrap();
        let left = |text: &str| window.left(at(text), &TimeZone::UTC).map(|ms| ms / 60_000);
        // 2026-11-27 is a Friday.
        assert_eq!(left("2026-11-27T21:59:59Z"), None);
        assert_eq!(left("2026-11-27T22:00:00Z"), Some(7 * 60));
        assert_eq!(left("2026-11-28T04:59:00Z"), Some(1), "Friday's goes on into Saturday");
        assert_eq!(left("2026-11-28T05:00:00Z"), None);
        assert_eq!(left("2026-11-28T23:00:00Z"), None, "Saturday has none");
        assert_eq!(left("2026-11-30T04:00:00Z"), None, "Sunday's would be Monday's morning");
        let whole = Window::parse("Sat,Sun 00:00-24:00").unwrap();
        assert_eq!(whole.left(at("2026-11-29T23:59:00Z"), &TimeZone::UTC), Some(60_000));
        assert_eq!(whole.left(at("2026-11-30T00:00:00Z"), &TimeZone::UTC), None);
        let over = Window::parse("Sat-Mon 10:00-11:00").unwrap();
        assert!(over.left(at("2026-11-30T10:30:00Z"), &TimeZone::UTC).is_some());
        assert!(over.left(at("2026-12-01T10:30:00Z"), &TimeZone::UTC).is_none());
    }

    #[test]
    fn it_is_the_clock_on_the_wall_of_the_site() {
        let window = Window::parse("daily 01:00-04:00").unwrap();
        let berlin = zone("Europe/Berlin").unwrap();
        // In the night in which clocks are set back, the window is an hour longer; set forward, an hour shorter.
        assert_eq!(window.left(at("2026-10-24T23:00:00Z"), &berlin), Some(4 * 3_600_000));
        assert_eq!(window.left(at("2026-03-29T00:00:00Z"), &berlin), Some(2 * 3_600_000));
        assert!(zone("Mars/Olympus").is_err());
    }

    #[test]
    fn what_is_no_window_is_refused_with_an_example() {
        for text in [
            "",
            "daily",
            "Mon 25:00-26:00",
            "Mon 22-23",
            "Mon 22:00",
            "Foo 22:00-23:00",
            "Mon 22:60-23:00",
            "Mon- 22:00-23:00",
            "daily 24:00-25:00",
            "daily +1:00-02:00",
            "Mon,,Tue 01:00-02:00",
        ] {
            assert!(Window::parse(text).unwrap_err().contains("like `Mon-Fri"), "{text}");
        }
    }
}
