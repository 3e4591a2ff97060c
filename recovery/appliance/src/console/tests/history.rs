//! What happened: jobs read to their end, an order once more, each step with its time; the evidence log read to its end, proved, and checked.

use std::collections::BTreeSet;

use recovery_protocol::{
    evidence::{proof, tree},
    history::{EntryView, StepView},
    operator::{Decision, JobView},
    people::Role,
};

use super::{engineer::Somebody, *};
use crate::{db, service::Actor};

/// The address of the next page, as this one has it.
fn next(page: &str) -> Option<String> {
    let link = page.split("rel=\"next\" href=\"").nth(1)?;
    Some(link.split('"').next().unwrap().replace("&amp;", "&"))
}

fn ids(page: &str, head: &str) -> Vec<String> {
    let head = format!("id=\"{head}-");
    let after = page.split(head.as_str()).skip(1);
    after.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// Seven jobs: those of press-01 to press-05 given up, the others held.
async fn seven(bench: &Bench) -> Vec<JobView> {
    let mut jobs = Vec::new();
    for n in 1..=7 {
        let more = json!({ "group": "line" });
        bench.add(&format!("press-0{n}"), &format!("52:54:00:12:34:0{n}"), more).await;
        jobs.push(bench.recover(&format!("press-0{n}")).await);
        bench.runner().settle().await.unwrap();
        if n <= 5 {
            let no = Decision { reason: "not <b>now".to_owned() };
            bench.service.cancel(&Actor::operator("test"), jobs[n - 1].job, no).await.unwrap();
        }
    }
    jobs
}

#[tokio::test]
async fn jobs_are_filtered_ordered_and_read_to_their_end_by_their_address() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    let jobs = seven(&bench).await;
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    for sort in ["newest", "oldest", "endpoint", "longest"] {
        let (mut path, mut seen, mut pages) = (format!("/jobs?limit=3&sort={sort}"), Vec::new(), 0);
        loop {
            let (status, page) = ada.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {page}");
            seen.extend(ids(&page, "job"));
            pages += 1;
            let Some(further) = next(&page) else { break };
            path = further;
        }
        let all: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), all.len(), pages), (7, 7, 3), "{sort}: {seen:?}");
        if sort == "newest" {
            assert_eq!(seen[0], jobs[6].job.to_string());
        }
        if sort == "endpoint" {
            assert_eq!(seen[0], jobs[0].job.to_string());
        }
        if sort == "longest" {
            let open = [jobs[5].job.to_string(), jobs[6].job.to_string()];
            assert!(open.contains(&seen[5]) && open.contains(&seen[6]), "open ones come last: {seen:?}");
        }
    }
    for (path, count) in [
        ("/jobs?state=held", 2),
        ("/jobs?state=open", 2),
        ("/jobs?state=cancelled", 5),
        ("/jobs?state=failed", 0),
        ("/jobs?endpoint=press-03", 1),
        ("/jobs?trigger=operator", 7),
        ("/jobs?trigger=webhook", 0),
        ("/jobs?q=PRESS-0%20hmi", 7),
        ("/jobs?q=press-0_", 0),
        ("/jobs?q=%25", 0),
    ] {
        let (_, page) = ada.get(path).await;
        assert_eq!(ids(&page, "job").len(), count, "{path}: {page}");
    }
    let (_, none) = ada.get("/jobs?q=%3Cb%3Enone").await;
    assert!(none.contains("No job is like this") && none.contains("&lt;b&gt;none"), "{none}");
    for (path, code) in [
        ("/jobs?sort=size", "bad-sort"),
        ("/jobs?state=done", "bad-state"),
        ("/jobs?cursor=zzz", "bad-cursor"),
        ("/jobs?limit=501", "bad-limit"),
    ] {
        let (status, page) = ada.get(path).await;
        assert!(status == StatusCode::BAD_REQUEST && page.contains(code), "{path}: {status} {page}");
    }
    assert_eq!(ada.get("/jobs?endpoint=A%20B").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn scripts_follow_the_link_to_the_end() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    seven(&bench).await;
    let (mut path, mut seen) = (String::from("/api/v1/jobs?limit=3&state=cancelled"), 0);
    loop {
        let request = Request::get(&path).header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
        let response = bench.send(request.body(Body::empty()).unwrap()).await;
        let link = response.headers().get(header::LINK).map(|link| link.to_str().unwrap().to_owned());
        let jobs: Vec<JobView> = serde_json::from_str(&read(response).await.1).unwrap();
        seen += jobs.len();
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
        assert!(link.ends_with("; rel=\"next\"") && path.contains("state=cancelled"), "{link}");
    }
    assert_eq!(seen, 5);
}

#[tokio::test]
async fn a_job_tells_each_step_with_its_time_and_why_and_is_ordered_once_more() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    let jobs = seven(&bench).await;
    let (ines, ada) = (
        Somebody::new(&bench, "ines", Role::Engineer).await,
        Somebody::new(&bench, "ada", Role::Auditor).await,
    );
    let path = format!("/jobs/{}", jobs[0].job);
    let (_, page) = ines.get(&path).await;
    for wanted in [
        "id=\"steps\"",
        "the guard rails answered",
        "Held",
        "Cancelled",
        "not &lt;b&gt;now",
        "/evidence/",
        "Try again",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(page.contains("asked for by a person"), "{page}");
    let steps: Vec<StepView> =
        serde_json::from_value(bench.ask("GET", &format!("/api/v1{path}/steps"), json!(null)).await.1)
            .unwrap();
    let turns: Vec<&StepView> = steps.iter().filter(|step| step.to.is_some()).collect();
    assert!(turns.len() >= 3 && turns.iter().all(|step| step.took_ms.is_some()), "{steps:?}");
    assert!(matches!(turns.last().unwrap().to, Some(JobState::Cancelled { .. })));
    let times: u64 = turns.iter().filter_map(|step| step.took_ms).sum();
    assert_eq!(times, turns.last().unwrap().at_unix_ms - steps[0].at_unix_ms, "no time is left out");
    let kept_out = ada.get(&path).await.1;
    assert!(
        kept_out.contains("id=\"retry\" disabled") && kept_out.contains("may not order a recovery"),
        "{kept_out}"
    );
    // Asked first, then ordered.
    let asked = read(ines.post(&format!("{path}/retry"), "").await).await;
    assert!(asked.0 == StatusCode::OK && asked.1.contains("name=\"confirm\" value=\"yes\""), "{}", asked.1);
    let ordered = ines.post(&format!("{path}/retry"), "confirm=yes&reason=mended").await;
    assert_eq!(ordered.status(), StatusCode::SEE_OTHER);
    let new = ordered.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert!(new.starts_with("/jobs/") && new != path, "{new}");
    assert!(ines.get(&new).await.1.contains("mended"));
    let retry = async |job: &JobView| {
        let (status, answer) = bench.ask("POST", &format!("/api/v1/jobs/{}/retry", job.job), json!({})).await;
        (status.as_u16(), answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(retry(&jobs[6]).await, (409, "job-open".to_owned()));
    assert_eq!(retry(&jobs[1]).await.0, 202);
    let unknown =
        bench.ask("POST", "/api/v1/jobs/0193a3c8-0000-7000-8000-000000000000/retry", json!({})).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);
    assert!(bench.evidence(Some(jobs[0].job)).await.contains(&"order.retry".to_owned()));
}

#[tokio::test]
async fn the_evidence_log_is_read_to_its_beginning_and_each_entry_is_proved() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    let jobs = seven(&bench).await;
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    let size = bench.evidence(None).await.len();
    let (mut path, mut seen, mut pages) = (format!("/evidence?limit={}", size / 3 + 1), Vec::new(), 0);
    loop {
        let (status, page) = ada.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        seen.extend(ids(&page, "entry").iter().map(|id| id.parse::<u64>().unwrap()));
        pages += 1;
        let Some(further) = next(&page) else { break };
        path = further;
    }
    let down: Vec<u64> = (1..=seen[0]).rev().collect();
    assert_eq!((seen, pages), (down, 3));
    for (path, kinds) in [
        (
            "/api/v1/evidence/entries?kind=order&endpoint=press-02",
            vec!["order.cancel", "order.endpoint", "order.recover"],
        ),
        ("/api/v1/evidence/entries?kind=order.cancel&actor=test&endpoint=press-02", vec!["order.cancel"]),
        ("/api/v1/evidence/entries?kind=ord", vec![]),
        ("/api/v1/evidence/entries?actor=est", vec![]),
        ("/api/v1/evidence/entries?to_unix_ms=5", vec![]),
        ("/api/v1/evidence/entries?endpoint=press-09", vec![]),
    ] {
        let (status, found) = bench.ask("GET", path, json!(null)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {found}");
        let found: Vec<EntryView> = serde_json::from_value(found).unwrap();
        let of: BTreeSet<&str> = found.iter().map(|view| view.entry.kind.as_str()).collect();
        assert_eq!(of.into_iter().collect::<Vec<_>>(), kinds, "{path}");
    }
    let (_, page) = ada.get(&format!("/evidence?job={}&from=2020-01-01&to=2999-01-01", jobs[2].job)).await;
    assert!(
        ids(&page, "entry").len() > 3 && page.contains("press-03") && !page.contains("press-04"),
        "{page}"
    );
    let (_, one) = ada.get("/evidence/3").await;
    let (_, proof) = ada.get("/api/v1/evidence/entries/3/proof").await;
    let proven = proof::verify(&proof, &bench.journal.origin()).unwrap();
    let proof::Proven::Included { entry, .. } = proven else { panic!("{proof}") };
    let hash = hex::encode(tree::leaf(serde_json::to_string(&entry).unwrap().as_bytes()));
    assert!(one.contains(&hash) && one.contains("/api/v1/evidence/entries/3/proof"), "{hash}: {one}");
    assert_eq!(ada.get("/evidence/99999").await.0, StatusCode::NOT_FOUND);
    let tom = Somebody::new(&bench, "tom", Role::Technician).await;
    assert_eq!(tom.get("/evidence").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn verify_says_that_the_log_is_good_and_else_names_the_first_bad_entry() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    seven(&bench).await;
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    assert!(ada.get("/evidence").await.1.contains("action=\"/evidence/verify\""));
    let verify = async || read(ada.post("/evidence/verify", "").await).await;
    let (status, good) = verify().await;
    assert!(
        status == StatusCode::OK && good.contains("as it was written") && !good.contains("first bad"),
        "{good}"
    );
    assert!(good.contains("signed checkpoints agree"), "{good}");
    let mut tx = bench.journal.db.begin().await.unwrap();
    db::query("UPDATE evidence SET text = replace(text, 'press', 'pross') WHERE seq = 9")
        .execute(&mut tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let (status, bad) = verify().await;
    assert!(
        status == StatusCode::OK && bad.contains("The first bad entry is <a href=\"/evidence/9\">9</a>"),
        "{bad}"
    );
    assert!(bad.contains("What now?") || bad.contains("class=\"now\""), "{bad}");
    let (_, verdict) = bench.ask("POST", "/api/v1/evidence/verify", json!({})).await;
    assert_eq!((&verdict["good"], &verdict["first_bad"]), (&json!(false), &json!(9)), "{verdict}");
    let kinds = bench.evidence(None).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "log.verified").count(), 3);
}
