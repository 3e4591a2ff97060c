//! No action of the console is the console's alone: each has a call of REST and a command. The actions are those that the router answers.

use std::collections::BTreeSet;

use clap::CommandFactory as _;

use super::*;
use crate::api::{closed_routes, describe::document};

/// What else does the same: a route of the console, the call of REST, the command.
const SAME: &[(&str, &str, &str, &str)] = &[
    ("/account/password", "put", "/api/v1/account/password", "person passwd"),
    ("/account/sessions/end", "delete", "/api/v1/sessions/{session}", "person sessions"),
    ("/approvals/{job}", "post", "/api/v1/jobs/{job}/approve", "job approve"),
    ("/drills", "post", "/api/v1/drills", "drill run"),
    ("/drills/{drill}/answer", "post", "/api/v1/drills/{drill}/answer", "drill answer"),
    ("/endpoints/{endpoint}/break-glass", "post", "/api/v1/endpoints/{endpoint}/break-glass", "recover"),
    ("/endpoints/{endpoint}/pair", "post", "/api/v1/endpoints/{endpoint}/pair", "endpoint pair"),
    ("/endpoints/{endpoint}/photo", "put", "/api/v1/endpoints/{endpoint}/photo", "endpoint photo"),
    ("/endpoints/{endpoint}/photo/remove", "delete", "/api/v1/endpoints/{endpoint}/photo", "endpoint photo"),
    ("/endpoints/{endpoint}/recover", "post", "/api/v1/endpoints/{endpoint}/recover", "recover"),
    ("/endpoints/{endpoint}/resolve", "post", "/api/v1/endpoints/{endpoint}/resolve", "endpoint resolve"),
    ("/evidence/verify", "post", "/api/v1/evidence/verify", "evidence verify"),
    ("/images/{image}/promote", "post", "/api/v1/channels/{name}", "image hand-in"),
    ("/drills/{drill}/code", "post", "/api/v1/drills/{drill}/code", "drill code"),
    ("/jobs/{job}/accept", "post", "/api/v1/jobs/{job}/accept", "job accept"),
    ("/jobs/{job}/approve", "post", "/api/v1/jobs/{job}/approve", "job approve"),
    ("/jobs/{job}/cancel", "post", "/api/v1/jobs/{job}/cancel", "job cancel"),
    ("/jobs/{job}/resume", "post", "/api/v1/jobs/{job}/resume", "job resume"),
    ("/jobs/{job}/retry", "post", "/api/v1/jobs/{job}/retry", "job retry"),
    ("/kiosks", "post", "/api/v1/kiosks", "kiosk pair"),
    ("/kiosks/{kiosk}/end", "delete", "/api/v1/kiosks/{kiosk}", "kiosk end"),
    ("/logout", "delete", "/api/v1/sessions/{session}", "person sessions"),
    ("/m/{endpoint}/recover", "post", "/api/v1/endpoints/{endpoint}/recover", "recover"),
    ("/network", "post", "/api/v1/net/probe", "net doctor"),
    ("/notifications/{channel}/test", "post", "/api/v1/notifications/{channel}/test", "notify test"),
    ("/people", "post", "/api/v1/people", "person add"),
    ("/people/sessions/end", "delete", "/api/v1/sessions/{session}", "person sessions"),
    ("/people/{person}/change", "patch", "/api/v1/people/{person}", "person set"),
    ("/people/{person}/in", "patch", "/api/v1/people/{person}", "person set"),
    ("/people/{person}/token", "patch", "/api/v1/people/{person}", "person token"),
    ("/people/{person}/unlock", "post", "/api/v1/people/{person}/unlock", "person unlock"),
    ("/plans/{plan}/approve", "post", "/api/v1/plans/{plan}/approve", "plan approve"),
    ("/plans/{plan}/withdraw", "post", "/api/v1/plans/{plan}/withdraw", "plan withdraw"),
    ("/policy", "post", "/api/v1/policy/try", "policy try"),
    ("/reviews/{job}", "post", "/api/v1/reviews/{job}", "job review"),
    ("/stop", "post", "/api/v1/stop", "stop press"),
    ("/stop/release", "post", "/api/v1/stop/release", "stop release"),
];

#[tokio::test]
async fn each_action_has_a_call_and_a_command() {
    let bench = Bench::new("").await;
    let mut actions = BTreeSet::new();
    for (path, _, needs) in closed_routes() {
        if path.starts_with("/api/") {
            continue;
        }
        // Nobody may take its form amiss: an empty one is refused, and only a route without actions says 405.
        let request = Request::post(path.replace(['{', '}'], "x"))
            .header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
        let answered = bench.send(request.body(Body::empty()).unwrap()).await.status();
        if answered == StatusCode::METHOD_NOT_ALLOWED {
            continue;
        }
        actions.insert(path);
        let same = SAME.iter().find(|(route, ..)| *route == path);
        let (_, method, call, command) = same.unwrap_or_else(|| {
            panic!("{path} is an action of the console alone: give it a call and a command")
        });
        let described = &document()["paths"][call][method];
        assert!(described.is_object(), "{path}: REST has no {method} {call}");
        let permission = serde_json::to_value(needs.write).unwrap();
        assert_eq!(
            described["x-permission"], permission,
            "{path} and {method} {call} ask for different permissions"
        );
        let mut found = crate::cli::Cli::command();
        for word in command.split(' ') {
            let next = found.find_subcommand(word).cloned();
            found = next.unwrap_or_else(|| panic!("{path}: there is no command `{command}`"));
        }
    }
    let known: BTreeSet<&str> = SAME.iter().map(|(route, ..)| *route).collect();
    assert_eq!(known, actions, "what is listed, and what the router answers");
}
