//! Debian's promtool reads what is scraped, and the rules and the dashboard that ship; whatever they name is exported.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::{
    body::Body,
    http::{Request, header},
};
use recovery_protocol::operator::Decision;
use serde_json::json;

use crate::{
    db,
    evidence::Fact,
    hooks::signature::tests::SECRET,
    service::Actor,
    testing::{Bench, not_looked_at, read},
};

fn package(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("package").join(file)
}

fn promtool(words: &[&str], given: &str) -> Option<String> {
    if !Path::new("/usr/bin/promtool").exists() {
        not_looked_at("promtool", "prometheus");
        return None;
    }
    let mut child = Command::new("/usr/bin/promtool")
        .args(words)
        .current_dir(package(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{words:?}: {said}");
    Some(said)
}

async fn scrape(bench: &Bench, accept: &str) -> String {
    let request = Request::get("/metrics")
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.token))
        .header(header::ACCEPT, accept);
    read(bench.send(request.body(Body::empty()).unwrap()).await).await.1
}

/// An appliance on which something of everything has happened.
async fn lived() -> (Bench, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    let secret = dir.path().join("secret");
    let config = format!(
        "[notify.channels.fleet]\nkind = \"webhook\"\nurl = \"https://127.0.0.1:9/in\"\nsecret_file = \"{0}\"\n\
         [[notify.rules]]\nevents = [\"cancelled\"]\nchannels = [\"fleet\"]\n\
         [evidence.webhooks.fleet]\nurl = \"https://127.0.0.1:9/in\"\nsecret_file = \"{0}\"\n[groups.line]\nsafety_class = 2\n",
        secret.display()
    );
    let mut bench = Bench::new(&config).await;
    let mut mind = bench.followers.take().unwrap().parts().mind();
    // A channel that is new is not told the past.
    mind.step().await.unwrap();
    for (n, more) in [(1, json!({})), (2, json!({ "group": "line" })), (3, json!({}))] {
        bench.add(&format!("press-0{n}"), &format!("52:54:00:00:00:0{n}"), more).await;
    }
    for n in 1..=3 {
        bench.recover(&format!("press-0{n}")).await;
    }
    let runner = bench.runner();
    runner.settle().await.unwrap();
    let jobs = bench.service.jobs(None).await.unwrap();
    let first = jobs.iter().find(|job| job.endpoint.as_str() == "press-01").unwrap().job;
    bench.service.cancel(&Actor::operator("anna"), first, Decision::default()).await.unwrap();
    for kind in ["session.opened", "login.failed", "state.saved"] {
        bench.journal.note(Fact::new(kind, "appliance", json!({}))).await.unwrap();
    }
    bench.service.inner().live.count("attestation", "golden-passed");
    bench.service.inner().live.count("refusal", "unknown-endpoint");
    while mind.step().await.unwrap() {}
    // What a listener counts, it counts once it has answered.
    drop(scrape(&bench, "text/plain").await);
    (bench, dir)
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_a_scrape() {
    let (bench, _dir) = lived().await;
    let text = scrape(&bench, "text/plain").await;
    if let Some(said) = promtool(&["check", "metrics"], &text) {
        assert_eq!(said, "", "{text}");
    }
    assert!(scrape(&bench, "application/openmetrics-text").await.ends_with("# EOF\n"));
    let figure = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} is missing in\n{text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(figure("groundstate_backup_last_success_timestamp_seconds ") > 1.7e9);
    assert!((figure("groundstate_drill_last_success_timestamp_seconds ")).abs() < f64::EPSILON);
    for (name, value) in [
        ("groundstate_login_total{result=\"opened\"}", 1.0),
        ("groundstate_notifications_total{channel=\"fleet\",result=\"taken\"}", 0.0),
        ("groundstate_job_duration_seconds_count{kind=\"recover\",phase=\"all\"}", 1.0),
        ("groundstate_jobs_total{result=\"cancelled\"}", 1.0),
        ("groundstate_approvals_pending", 1.0),
    ] {
        assert!((figure(name) - value).abs() < f64::EPSILON, "{name}\n{text}");
    }
    let mut conn = bench.journal.db.read().await.unwrap();
    let (waiting, _) = db::notice::waiting(&mut conn, "fleet").await.unwrap();
    assert_eq!(waiting, 1);
}

#[test]
fn the_rules_that_ship_are_sound_and_fire_when_they_should() {
    promtool(&["check", "rules", "groundstate.rules.yml"], "");
    promtool(&["test", "rules", "groundstate.rules.test.yml"], "");
}

/// Names of ours in a text of queries.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let ours = |word: &&str| word.starts_with("groundstate_");
    text.split(word).filter(ours).map(str::to_owned).collect()
}

#[tokio::test]
async fn whatever_the_rules_and_the_dashboard_name_is_exported() {
    let (bench, _dir) = lived().await;
    let text = scrape(&bench, "text/plain").await;
    // A family that nothing has happened to is not there yet: its name is in the code.
    let code = concat!(include_str!("../metrics.rs"), include_str!("counted.rs"));
    let rules = std::fs::read_to_string(package("groundstate.rules.yml")).unwrap();
    let dashboard = std::fs::read_to_string(package("groundstate.dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let queries: Vec<String> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(queries.len() > 20);
    let mut wanted = names(&rules);
    wanted.extend(names(&queries.join("\n")));
    let rare =
        ["recovery_rto_seconds", "boots_total", "image_verify_failures_total", "approval_wait_seconds"];
    for name in wanted {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let told = text.lines().any(|line| line.starts_with(&format!("# TYPE {family} ")));
        let bare =
            family.trim_start_matches("groundstate_").trim_end_matches("_total").trim_end_matches("_seconds");
        let known = rare.contains(&family.trim_start_matches("groundstate_"))
            && code.contains(&format!("\"{bare}\""));
        assert!(told || known, "{name} is not exported");
    }
}
