//! Every role on every page: a button is alive only where the gate lets it through, and a dead one says why.

use recovery_protocol::{operator::DrillView, people::Role};

use super::*;
use crate::api::{closed_routes, needs};

/// A form of a page: where it goes, and each button of it with whether it is alive.
struct Found {
    action: String,
    text: String,
    alive: usize,
    dead: usize,
}

fn forms(page: &str) -> Vec<Found> {
    let whole = page.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap());
    whole
        .map(|form| {
            let action = form.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            let buttons = form.split("<button").skip(1).map(|rest| rest.split('>').next().unwrap());
            let (dead, alive): (Vec<&str>, Vec<&str>) = buttons.partition(|tag| tag.contains(" disabled"));
            Found { action, text: form.to_owned(), alive: alive.len(), dead: dead.len() }
        })
        .collect()
}

/// The pattern of the table that this path is of.
fn pattern(path: &str) -> &'static str {
    let fits = |pattern: &str| {
        let (a, b): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
    };
    closed_routes().into_iter().map(|(path, ..)| path).find(|pattern| fits(pattern)).unwrap()
}

async fn get(bench: &Bench, token: &str, path: &str) -> String {
    let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    read(bench.send(request.body(Body::empty()).unwrap()).await).await.1
}

#[tokio::test]
async fn no_role_sees_a_button_that_only_leads_to_a_refusal() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    let job = a_line_at_work(&bench).await;
    let (job, image) = (format!("/jobs/{job}"), image(&bench).await);
    let pages = [
        "/",
        "/endpoints",
        "/approvals",
        "/network",
        "/site",
        "/endpoints/press-01",
        "/endpoints/press-02",
        &job,
        "/jobs",
        "/evidence",
        "/evidence/3",
        "/images",
        &image,
        "/people",
        "/kiosks",
        "/map",
        "/drills",
        "/zones",
        "/stop",
        "/account",
        "/reviews",
        "/plans",
    ];
    let (mut alive, mut dead) = (0, 0);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Automation) {
        let order = json!({ "person": role.as_str(), "role": role });
        let (_, added) = bench.ask("POST", "/api/v1/people", order).await;
        let token = added["token"].as_str().unwrap().to_owned();
        for path in pages {
            let page = get(&bench, &token, path).await;
            for form in forms(&page)
                .iter()
                .filter(|form| form.text.contains("method=\"post\"") && form.action != "/language")
            {
                let wanted = needs(pattern(&form.action)).unwrap().write;
                let name = format!("{role} {path} {}", form.action);
                if !role.may(wanted) {
                    assert_eq!(form.alive, 0, "{name}: leads to a refusal");
                    assert!(
                        form.text.contains("-why\"") && form.text.contains("ask somebody who is"),
                        "{name}: {}",
                        form.text
                    );
                } else if form.dead == 0 {
                    assert!(form.alive > 0, "{name}: a form without a button");
                } else {
                    assert!(form.text.contains("-why\""), "{name}: dead, and does not say why");
                }
                (alive, dead) = (alive + form.alive, dead + form.dead);
            }
        }
    }
    assert!(alive > 40 && dead > 10, "{alive} alive, {dead} dead");
}

#[tokio::test]
async fn a_button_is_dead_for_whom_a_state_or_a_scope_stands_against() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    bench.add("press-01", "52:54:00:12:34:01", json!({ "group": "line", "labels": { "line": "1" } })).await;
    let token = async |person: &str, scope: serde_json::Value| {
        let order = json!({ "person": person, "role": "engineer", "scope": scope });
        bench.ask("POST", "/api/v1/people", order).await.1["token"].as_str().unwrap().to_owned()
    };
    let (anna, bert, far) = (
        token("anna", json!(null)).await,
        token("bert", json!(null)).await,
        token("far", json!("line=3")).await,
    );
    let page = async |token: &str| get(&bench, token, "/endpoints/press-01").await;
    assert!(page(&anna).await.contains("id=\"recover\" aria-describedby=\"hold-help\""));
    let scoped = page(&far).await;
    assert!(
        scoped.contains("id=\"recover\" disabled") && scoped.contains("outside of your scope"),
        "{scoped}"
    );
    // The one who asked does not approve.
    let recover = Request::post("/api/v1/endpoints/press-01/recover")
        .header(header::AUTHORIZATION, format!("Bearer {anna}"));
    assert_eq!(bench.send(recover.body(Body::from("{}")).unwrap()).await.status(), StatusCode::ACCEPTED);
    let golden =
        crate::golden::Golden::open(&bench.journal.config.image_store(), &bench.journal.config.trust_root())
            .unwrap();
    let plane = std::sync::Arc::new(crate::control_plane::Embedded::new(bench.journal.db.clone()));
    let drivers = std::sync::Arc::new(crate::power::Drivers::default());
    let runner =
        crate::jobs::run::Runner::new(bench.journal.clone(), golden, drivers, plane, Default::default());
    runner.settle().await.unwrap();
    let own = page(&anna).await;
    assert!(own.contains("id=\"approve\" disabled") && own.contains("anna asked for it"), "{own}");
    assert!(page(&bert).await.contains("id=\"approve\">"), "another one may");
    assert!(
        own.contains("Nobody is here to approve"),
        "whoever may not approve may have to go on without: {own}"
    );
    assert!(!page(&bert).await.contains("Nobody is here to approve"), "one who may approve is here");
    bench.ask("POST", "/api/v1/stop", json!({ "reason": "smoke" })).await;
    let stopped = page(&bert).await;
    assert!(stopped.contains("disabled") && stopped.contains("STOP"), "{stopped}");
}

#[test]
fn a_drills_question_is_dead_for_whom_it_is_not() {
    let drill: DrillView = serde_json::from_value(json!({
        "drill": "00ff", "runbook": "r 1", "state": "waiting_person", "jobs": [],
        "steps": [{ "step": "go", "endpoint": null, "state": "waiting_person", "what": "Is it up?" }],
    }))
    .unwrap();
    let page = |role| super::super::drill::content(&drill, &[], &Viewer::role(role), 0).into_string();
    assert!(
        page(Role::Auditor).matches(" disabled").count() == 2
            && page(Role::Auditor).contains("answer a drill")
    );
    assert!(!page(Role::Technician).contains("disabled"));
    assert!(!page(Role::Technician).contains("name=\"code\""), "no endpoint shows a code");
    let shown = ["bench-01".parse().unwrap()];
    let page = |role| super::super::drill::content(&drill, &shown, &Viewer::role(role), 0).into_string();
    for (role, may) in [(Role::Technician, true), (Role::Auditor, false)] {
        let page = page(role);
        let form = forms(&page).into_iter().find(|form| form.action == "/drills/00ff/code").unwrap();
        assert!(form.text.contains("value=\"bench-01\"") && form.text.contains("name=\"code\""), "{page}");
        assert_eq!((form.alive, form.dead), (usize::from(may), usize::from(!may)), "{role}");
    }
}
