//! 10,000 triggers in a minute: what was answered 2xx is on record, the rest is refused by name, and everybody else is served meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::*;
use crate::db;

const TRIGGERS: usize = 10_000;
/// At once.
const WAVE: usize = 200;
/// Each tenth one is sent again at once, as a source does that had no answer.
const AGAIN: usize = 10;
const MOST: u64 = 300;
const KEPT: usize = 50;
/// For one request of somebody else, on a loaded computer without optimisation.
const SERVED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_triggers_lose_nothing_that_was_taken_and_keep_nobody_waiting() {
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let bench = Bench::new(&format!(
        "[hooks.storm]\nsecret_file = {file:?}\nendpoints = [\"press-01\"]\nmax_per_hour = {MOST}\nkeep_messages = {KEPT}\n\
         [hooks.quiet]\nsecret_file = {file:?}\nendpoints = [\"press-02\"]\n"
    ))
    .await;
    for at in 1..=2 {
        bench.add(&format!("press-0{at}"), &format!("52:54:00:12:34:0{at}"), json!({})).await;
    }
    let now = unix_seconds();
    let mut answers: BTreeMap<String, Vec<StatusCode>> = BTreeMap::new();
    let mut codes = BTreeSet::new();
    for wave in 0..TRIGGERS / WAVE {
        let ids: Vec<String> = (0..WAVE)
            .map(|at| wave * WAVE + at)
            .map(|at| format!("msg_{}", if at % AGAIN == AGAIN - 1 { at - 1 } else { at }))
            .collect();
        let sent = ids.iter().map(|id| post(&bench, "/hooks/v1/storm", id, now, SECRET, BODY));
        for (id, (status, told)) in ids.iter().zip(join_all(sent).await) {
            answers.entry(id.clone()).or_default().push(status);
            codes.extend(told["code"].as_str().map(str::to_owned));
        }
        if wave % 10 == 9 {
            let begun = Instant::now();
            let theirs = BODY.replace("press-01", "press-02");
            let id = format!("quiet_{wave}");
            let (status, told) = post(&bench, "/hooks/v1/quiet", &id, now, SECRET, &theirs).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{told}");
            let (status, shown) = bench.ask("GET", "/api/v1/endpoints/press-02", Value::Null).await;
            assert_eq!(status, StatusCode::OK, "{shown}");
            assert!(begun.elapsed() < SERVED_WITHIN, "somebody else waited {:?}", begun.elapsed());
        }
    }

    let all: Vec<StatusCode> = answers.values().flatten().copied().collect();
    assert_eq!(all.len(), TRIGGERS);
    assert!(
        all.iter().all(|status| [202, 429].contains(&status.as_u16())),
        "{:?}",
        all.iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(codes, BTreeSet::from(["too-many-triggers".to_owned()]), "each refusal has its name");
    // Whoever was told "taken" is on record, and nobody else.
    let mut conn = bench.journal.db.read().await.unwrap();
    let mut taken = 0;
    for (id, statuses) in &answers {
        let seen = db::trigger::seen(&mut conn, "storm", id).await.unwrap().is_some();
        let accepted = statuses.contains(&StatusCode::ACCEPTED);
        assert_eq!(seen, accepted, "{id}: {statuses:?}");
        taken += u64::from(accepted);
    }
    assert_eq!(taken, MOST, "as much as the source may, and no more");
    // What a flood may leave behind is bounded: messages as they came, evidence of refusals, notes in memory.
    assert!(db::trigger::raw_of(&mut conn, "storm").await.unwrap().len() <= KEPT);
    drop(conn);
    let entries = bench.evidence(None).await;
    let refusals = entries.iter().filter(|kind| *kind == "refusal.webhook").count();
    assert!((1..=20).contains(&refusals), "{refusals} entries for {} refusals", TRIGGERS as u64 - taken);
    let noted = bench.people.hooks.noted.lock().unwrap().len();
    assert_eq!(noted, 1, "one note a source");
    assert_eq!(jobs(&bench).await, 0, "nothing was begun: the group only observes");
}
