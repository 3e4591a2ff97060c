//! A configuration tried against what was reported before, by the guard rails themselves.

use recovery_protocol::policy::{PolicyTried, PolicyTry, Would};

use super::*;
use crate::db::trigger::Delivery;

const HOUR: u64 = 3_600_000;
/// Sunday 2026-11-01, noon.
const NOON: u64 = 1_793_534_400_000;

/// Reports of `soc`: hours after noon, which endpoint, class, confirmed.
async fn reported(bench: &Bench, reports: &[(u64, u32, &str, bool)]) {
    let mut tx = bench.journal.begin().await.unwrap();
    for (number, (hours, endpoint, class, confirmed)) in reports.iter().enumerate() {
        let delivery = Delivery {
            source: "soc",
            delivery: &format!("d{number}"),
            endpoint: &id(*endpoint),
            named: "it",
            class,
            reason: "",
            confirmed: *confirmed,
            received: NOON + hours * HOUR,
            raw_sha256: "",
            outcome: "\"quarantined\"",
        };
        db::trigger::put(tx.conn(), &delivery).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn tried(bench: &Bench, group: &str) -> PolicyTried {
    let config = format!(
        "{}[hooks.soc]\nsecret_file = \"soc.secret\"\nendpoints = [\"*\"]\n[groups.line]\n{group}\n",
        crate::testing::CONFIG
    );
    let wanted = || PolicyTry { config: config.clone(), since_unix_ms: NOON };
    let tried = bench.service.try_policy(wanted()).await.unwrap();
    assert_eq!(bench.service.try_policy(wanted()).await.unwrap(), tried, "the same past, another answer");
    tried
}

fn would(tried: &PolicyTried) -> Vec<(Would, &str)> {
    tried.replayed.iter().map(|one| (one.would, one.rule.as_str())).collect()
}

#[tokio::test]
async fn what_would_have_begun_is_told_and_each_rule_that_would_have_stopped_the_rest() {
    let (bench, _) = bench("mode = \"observe\"").await;
    reported(
        &bench,
        &[
            (0, 1, "integrity", true),
            // It is being recovered.
            (0, 1, "alert", false),
            // It was recovered an hour ago.
            (1, 1, "integrity", true),
            (8, 2, "alert", false),
            (9, 3, "unreachable", false),
            (20, 4, "integrity", false),
            (30, 1, "integrity", true),
            (30, 2, "integrity", true),
            // The third within a quarter of an hour.
            (30, 3, "integrity", true),
            (31, 3, "resolved", false),
        ],
    )
    .await;
    let before = bench.evidence(None).await;
    let seen = tried(&bench, "mode = \"auto\"").await;
    let seen = would(&seen);
    assert_eq!(seen.len(), 9, "what is over is no report: {seen:?}");
    let kinds: Vec<Would> = seen.iter().map(|(would, _)| *would).collect();
    use Would::{Ask, Begin, Join, Observe};
    assert_eq!(kinds, [Begin, Join, Observe, Ask, Observe, Observe, Begin, Begin, Observe], "{seen:?}");
    for (at, rule) in [(2, "cool_down_s"), (4, "unreachable"), (5, "not confirmed"), (8, "common_mode")] {
        assert!(seen[at].1.contains(rule), "{rule}: {:?}", seen[at]);
    }
    // Less cautious, and more: the same past.
    let eager = tried(&bench, "mode = \"auto\"\ncool_down_s = 0\ncommon_mode = 0").await;
    assert_eq!(eager.counts[&Begin], 5, "{:?}", would(&eager));
    let narrow = tried(&bench, "mode = \"auto\"\nmax_concurrent = 1\ncommon_mode = 0").await;
    assert!(would(&narrow)[7].1.contains("max_concurrent"), "{:?}", would(&narrow));
    let shut = tried(&bench, "mode = \"auto\"\nwindows = [\"Sun 10:00-14:00\"]").await;
    assert_eq!((would(&shut)[0].0, would(&shut)[6].0), (Begin, Ask));
    assert!(would(&shut)[6].1.contains("windows"), "{:?}", would(&shut)[6]);
    let observing = tried(&bench, "mode = \"observe\"").await;
    assert_eq!(observing.counts[&Observe], 9);

    assert_eq!(bench.evidence(None).await, before, "nothing was written");
    assert!(bench.service.jobs(None).await.unwrap().is_empty());
    // One at a time; what a crash has left is in nobody's way, and in no backup.
    let scratch = bench.journal.config.data_dir.join("policy-try.new");
    std::fs::create_dir(&scratch).unwrap();
    std::fs::write(scratch.join("past.db"), "half").unwrap();
    let other = std::fs::File::open(&scratch).unwrap();
    other.lock().unwrap();
    let busy = PolicyTry { config: crate::testing::CONFIG.to_owned(), since_unix_ms: 0 };
    let busy = bench.service.try_policy(busy).await.unwrap_err();
    assert_eq!((busy.status, busy.code.as_str()), (429, "policy-busy"));
    drop(other);
    assert_eq!(tried(&bench, "mode = \"observe\"").await.counts[&Observe], 9);
    let left = std::fs::read_dir(&bench.journal.config.data_dir).unwrap();
    let left =
        left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("policy-try"));
    assert_eq!(left.count(), 0, "the scratch database stayed");
}

#[tokio::test]
async fn a_persons_recovery_counts_as_it_was_and_a_wrong_file_says_where() {
    let (bench, runner) = bench("mode = \"observe\"").await;
    let job = bench.recover("press-01").await;
    runner.settle().await.unwrap();
    let at = job.asked_unix_ms + 1_000;
    let hours = (at - NOON) / HOUR + 1;
    reported(&bench, &[(hours, 1, "integrity", true), (hours, 2, "integrity", true)]).await;
    let seen = tried(&bench, "mode = \"auto\"\nmax_concurrent = 1").await;
    assert_eq!(would(&seen)[0].0, Would::Join, "{:?}", would(&seen));
    assert!(would(&seen)[1].1.contains("max_concurrent"), "{:?}", would(&seen));

    let wanted = PolicyTry { config: "[groups.line]\nmode = \"always\"\n".to_owned(), since_unix_ms: 0 };
    let refused = bench.service.try_policy(wanted).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (422, "config-wrong"));
    assert!(refused.detail.contains("always"), "{refused}");
}
