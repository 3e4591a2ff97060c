//! The plant as a picture: boxes by line and cell with how their endpoints are, and how long recoveries took since when. Each picture has a table
//! that says the same; what is too much for one page is drawn by line.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use maud::{Markup, html};
use recovery_protocol::{
    operator::EndpointState,
    plant::{ClassTimes, Spot, Took},
};

use super::{
    super::{
        Failed, Part,
        page::Tab,
        texts::Texts,
        words::{Tone, duration, endpoint_state, moment},
    },
    query::link,
};
use crate::api::People;

/// Boxes of a picture, at most.
const BOXES_MOST: usize = 100;
/// A box and its row.
const BOX_W: usize = 180;
const BOX_H: usize = 72;
const PER_ROW: usize = 5;
/// Width and height of a chart, and where its axes are.
const CHART: (u64, u64) = (900, 220);
const LEFT: u64 = 90;
const BOTTOM: u64 = 190;
/// Recoveries in the table beside a chart.
const TOLD: usize = 20;
/// Who needs somebody first.
const STATES: [EndpointState; 6] = [
    EndpointState::Held,
    EndpointState::Suspect,
    EndpointState::Recovering,
    EndpointState::Discovered,
    EndpointState::Known,
    EndpointState::Trusted,
];

/// `GET /map`.
pub async fn page(State(people): State<People>) -> Result<Response, Failed> {
    let (spots, times) = (people.service.spots().await?, people.service.times().await?);
    Part::still(&people, Tab::Map, &Texts::here().tab_map(), content(&spots, &times)).await
}

/// Endpoints of one place: how many in each of [`STATES`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Place {
    line: String,
    cell: String,
    count: [usize; 6],
}

impl Place {
    fn all(&self) -> usize {
        self.count.iter().sum()
    }

    /// How the one is that needs somebody most.
    fn worst(&self) -> EndpointState {
        self.count.iter().position(|count| *count > 0).map_or(EndpointState::Known, |at| STATES[at])
    }

    fn name(&self) -> String {
        let t = Texts::here();
        match (self.line.as_str(), self.cell.as_str()) {
            ("", "") => t.map_elsewhere(),
            (line, "") => line.to_owned(),
            ("", cell) => cell.to_owned(),
            (line, cell) => format!("{line} / {cell}"),
        }
    }

    /// Its list.
    fn list(&self) -> String {
        let term = |key: &str, value: &str| {
            if value.is_empty() { format!("!{key}") } else { format!("{key}={value}") }
        };
        let selector = if self.cell.is_empty() {
            term("line", &self.line)
        } else {
            format!("{},{}", term("line", &self.line), term("cell", &self.cell))
        };
        link("/endpoints", &[("selector", &selector)])
    }

    /// Each state that is there, with how many.
    fn states(&self) -> impl Iterator<Item = (EndpointState, usize)> + '_ {
        STATES.into_iter().zip(self.count).filter(|(_, count)| *count > 0)
    }
}

/// By cell; by line where the cells are too many for a picture.
fn places(spots: &[Spot]) -> Vec<Place> {
    let by = |cells: bool| {
        let mut places: BTreeMap<(&str, &str), Place> = BTreeMap::new();
        for spot in spots {
            let cell = if cells { spot.cell.as_str() } else { "" };
            let place = places.entry((&spot.line, cell)).or_insert_with(|| Place {
                line: spot.line.clone(),
                cell: cell.to_owned(),
                count: [0; 6],
            });
            let at = STATES.iter().position(|state| *state == spot.state).unwrap_or_default();
            place.count[at] += 1;
        }
        places.into_values().collect::<Vec<_>>()
    };
    let cells = by(true);
    if cells.len() <= BOXES_MOST { cells } else { by(false) }
}

fn content(spots: &[Spot], times: &[ClassTimes]) -> Markup {
    let t = Texts::here();
    let mut places = places(spots);
    let left_out = places.len().saturating_sub(BOXES_MOST);
    if left_out > 0 {
        // Who needs somebody is not left out.
        places.sort_by_key(|place| STATES.iter().position(|state| *state == place.worst()));
        places.truncate(BOXES_MOST);
    }
    html! {
        h1 { (t.tab_map()) }
        @if spots.is_empty() { p { (t.none_yet()) } } @else { (fleet(&places, spots.len(), left_out)) }
        h2 { (t.map_times()) }
        @if times.is_empty() { p { (t.map_times_none()) } }
        @for (at, class) in times.iter().enumerate() { (chart(class, at)) }
    }
}

fn fleet(places: &[Place], count: usize, left_out: usize) -> Markup {
    let t = Texts::here();
    let rows = places.len().div_ceil(PER_ROW);
    html! {
        section class="card" id="fleet" {
            div class="scroll" {
                svg class="map" viewBox={ "0 0 " (BOX_W * PER_ROW) " " (BOX_H * rows) } role="img" aria-labelledby="map-name" {
                    title id="map-name" { (t.map_picture(count, places.len())) }
                    // Each shape once: a box means it by its name.
                    defs { @for tone in [Tone::Good, Tone::Busy, Tone::Attention, Tone::Bad, Tone::Quiet] {
                        symbol id={ "shape-" (tone.class()) } viewBox="0 0 20 20" { (tone.shape()) }
                    } }
                    @for (at, place) in places.iter().enumerate() { (one(place, BOX_W * (at % PER_ROW), BOX_H * (at / PER_ROW))) }
                }
            }
            @if left_out > 0 { p class="small" { (t.network_more(left_out)) } }
            div class="scroll" { table {
                caption { (t.trace_table()) }
                thead { tr { th scope="col" { (t.map_place()) } th scope="col" class="num" { (t.tab_endpoints()) } th scope="col" { (t.image_state()) } } }
                tbody { @for place in places {
                    tr {
                        th scope="row" { a class="tap" href=(place.list()) { (place.name()) } }
                        td class="num" { (place.all()) }
                        td { @for (state, count) in place.states() { span class="count" { (count) " " (endpoint_state(state).1) } " " } }
                    }
                } }
            } }
        }
    }
}

/// A box: its name, how many, the shape of the one that needs somebody most, and a bar of all states.
fn one(place: &Place, x: usize, y: usize) -> Markup {
    let (tone, word) = endpoint_state(place.worst());
    let (all, width) = (place.all().max(1), BOX_W - 28);
    let mut from = x + 14;
    let parts: Vec<(Tone, usize, usize)> = place
        .states()
        .map(|(state, count)| {
            let (at, wide) = (from, (count * width / all).max(2));
            from += wide;
            (endpoint_state(state).0, at, wide)
        })
        .collect();
    html! {
        g class=(tone.class()) {
            rect class="cell" x=(x + 4) y=(y + 4) width=(BOX_W - 8) height=(BOX_H - 8) rx="8" {
                title { (place.name()) ": " (place.all()) ", " (word) }
            }
            use class="cell-shape" href={ "#shape-" (tone.class()) } x=(x + 12) y=(y + 12) width="20" height="20" {}
            text x=(x + 38) y=(y + 28) { (shortened(&place.name(), 13)) }
            text class="tick" x=(x + BOX_W - 14) y=(y + 28) text-anchor="end" { (place.all()) }
            @for (tone, at, wide) in parts { rect class={ "part " (tone.class()) } x=(at) y=(y + 44) width=(wide) height="12" {} }
        }
    }
}

/// So many letters at most.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

/// How long recoveries of a class took: a dot for each, drills hollow, the median as a line.
fn chart(class: &ClassTimes, at: usize) -> Markup {
    let t = Texts::here();
    let name = format!("{} · {}", class.group, class.image);
    let drills = class.recoveries.iter().filter(|one| one.drill).count();
    let usual = class.usual.map(|usual| (duration(usual.p50_ms), duration(usual.p90_ms)));
    html! {
        section class="card" id={ "times-" (at) } {
            h3 { (name) }
            p { (t.map_count(drills, class.recoveries.len())) " "
                @match &usual { Some((p50, p90)) => (t.map_usual(p50.clone(), p90.clone())), None => (t.map_too_few()) } }
            div class="scroll" { (dots(class, at)) }
            details class="facts" {
                summary { (t.trace_table()) }
                table {
                    thead { tr { th scope="col" { (t.steps_when()) } th scope="col" class="num" { (t.col_time()) } th scope="col" { (t.approvals_mode()) } } }
                    tbody { @for one in class.recoveries.iter().rev().take(TOLD) {
                        tr { td { (moment(one.ended_unix_ms)) } td class="num" { (duration(one.took_ms)) }
                            td { @if one.drill { (t.approvals_drill()) } @else { (t.approvals_real()) } } }
                    } }
                }
            }
        }
    }
}

fn dots(class: &ClassTimes, at: usize) -> Markup {
    let t = Texts::here();
    let all = &class.recoveries;
    let (first, last) =
        (all.first().map_or(0, |one| one.ended_unix_ms), all.last().map_or(0, |one| one.ended_unix_ms));
    let longest = all.iter().map(|one| one.took_ms).max().unwrap_or_default().max(1);
    let (width, height) = (CHART.0 - LEFT - 20, BOTTOM - 20);
    let scaled = |value: u64, whole: u64, length: u64| {
        u64::try_from(u128::from(value) * u128::from(length) / u128::from(whole.max(1))).unwrap_or(length)
    };
    let x = |one: &Took| {
        if last > first {
            LEFT + 5 + scaled(one.ended_unix_ms - first, last - first, width - 10)
        } else {
            LEFT + width / 2
        }
    };
    let y = |took: u64| BOTTOM - scaled(took, longest, height);
    let id = format!("chart-{at}");
    html! {
        svg class="chart" viewBox={ "0 0 " (CHART.0) " " (CHART.1) } role="img" aria-labelledby=(id) {
            title id=(id) { (t.map_chart(duration(longest), all.len())) }
            line class="axis" x1=(LEFT) x2=(CHART.0 - 20) y1=(BOTTOM) y2=(BOTTOM) {}
            line class="axis" x1=(LEFT) x2=(LEFT) y1="20" y2=(BOTTOM) {}
            text class="tick" x=(LEFT - 8) y="26" text-anchor="end" { (duration(longest)) }
            text class="tick" x=(LEFT - 8) y=(BOTTOM) text-anchor="end" { "0" }
            @if let Some(usual) = class.usual {
                line class="median" x1=(LEFT) x2=(CHART.0 - 20) y1=(y(usual.p50_ms)) y2=(y(usual.p50_ms)) {}
            }
            @for one in all { circle class={ "dot" @if one.drill { " drill" } } cx=(x(one)) cy=(y(one.took_ms)) r="5" {} }
        }
        p class="small" { @if first > 0 { (moment(first)) " – " (moment(last)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(lines: usize, cells: usize, count: usize) -> Vec<Spot> {
        let spot = |n: usize| Spot {
            line: format!("{}", n % lines),
            cell: format!("c{}", n / lines % cells),
            endpoint: format!("press-{n:05}").parse().unwrap(),
            state: STATES[if n == 4_321 { 0 } else { 5 - n % 3 }],
        };
        (0..count).map(spot).collect()
    }

    #[test]
    fn five_thousand_endpoints_are_one_page_and_none_is_left_out() {
        for (lines, cells, boxes) in [(8, 12, 96), (40, 25, 40), (500, 1, 100)] {
            let spots = plant(lines, cells, 5_000);
            let page = content(&spots, &[]).into_string();
            assert!(page.len() < 90 * 1024, "{lines} lines of {cells}: {} bytes", page.len());
            assert_eq!(page.matches("class=\"cell\"").count(), boxes, "{lines} lines of {cells}");
            assert!(page.contains("role=\"img\"") && page.contains("<caption>") && !page.contains(" style="));
            assert!(page.contains("1 Needs you"), "who needs somebody is there: {lines} lines of {cells}");
            let told: usize = places(&spots).iter().map(Place::all).sum();
            assert_eq!(told, 5_000);
        }
    }

    #[test]
    fn a_chart_says_how_many_it_is_of_and_names_drills() {
        let took = |n: u64| Took { ended_unix_ms: 1_000 * n, took_ms: 60_000 * n, drill: n == 3 };
        let recoveries: Vec<Took> = (1..=6).map(took).collect();
        let usual = recovery_protocol::machine::Usual::of(recoveries.iter().map(|one| one.took_ms).collect());
        let class = ClassTimes { group: "line".into(), image: "hmi<1>".into(), recoveries, usual };
        let page = content(&[], &[class]).into_string();
        assert_eq!(page.matches("class=\"dot").count(), 6);
        assert_eq!(page.matches("class=\"dot drill\"").count(), 1);
        assert!(
            page.contains("6 recoveries, 1 of them drills") && page.contains("class=\"median\""),
            "{page}"
        );
        assert!(page.contains("hmi&lt;1&gt;") && page.contains("6 min 00 s"), "{page}");
    }
}
