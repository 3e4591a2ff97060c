//! The description against the routes, the permissions and the file in the tree.

use std::{collections::BTreeSet, env, fs};

use recovery_protocol::people::{Permission, Role};
use serde_json::Value;

use super::*;
use crate::api::describe::document;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Each call of the description: path, method, what is said of it.
fn described() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, call)| (path.as_str(), method.as_str(), call))
    });
    calls.collect()
}

fn filled(path: &str) -> String {
    let words = path.split('/').map(|word| match word {
        "{endpoint}" => "press-01",
        "{seq}" => "0",
        word if word.starts_with('{') => "x",
        word => word,
    });
    words.collect::<Vec<_>>().join("/")
}

#[test]
fn the_file_in_the_tree_is_this_description() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let text = serde_json::to_string_pretty(document()).unwrap() + "\n";
    if env::var_os("GROUNDSTATE_WRITE_OPENAPI").is_some() {
        fs::write(file, &text).unwrap();
    }
    let there = fs::read_to_string(file).unwrap_or_default();
    let differs = there.lines().zip(text.lines()).position(|(there, here)| there != here);
    assert!(
        there == text,
        "openapi.json is another one from line {}; write it anew with `GROUNDSTATE_WRITE_OPENAPI=1 cargo test -p \
         recovery-appliance describe`, and look at its diff: it is what scripts rely on",
        differs.unwrap_or(there.lines().count()) + 1
    );
}

#[tokio::test]
async fn it_has_every_call_that_is_answered_and_no_other() {
    let bench = Bench::new("").await;
    for (path, ..) in crate::api::calls() {
        for method in METHODS {
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(filled(path));
            let request = request.header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
            let answered = bench.send(request.body(Body::empty()).unwrap()).await.status();
            let said = document()["paths"][path].get(method).is_some();
            assert_eq!(said, answered != StatusCode::METHOD_NOT_ALLOWED, "{method} {path}: {answered}");
        }
    }
    let rest = crate::api::closed_routes().into_iter().filter(|(path, ..)| path.starts_with("/api/"));
    assert_eq!(rest.count(), document()["paths"].as_object().unwrap().len());
}

#[tokio::test]
async fn each_call_answers_the_roles_of_its_permission_and_no_others() {
    let bench = Bench::new("").await;
    let mut counts = [0, 0];
    for role in Role::ALL {
        let new = json!({ "person": role.as_str(), "role": role });
        let token = people::token_of(bench.ask("POST", "/api/v1/people", new).await);
        for (path, method, call) in described() {
            let wanted: Permission = serde_json::from_value(call["x-permission"].clone()).unwrap();
            let method = method.to_uppercase().parse().unwrap();
            let status = people::send(&bench, &token, &method, &filled(path), "").await.status();
            let kept_out = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            assert_eq!(kept_out, !role.may(wanted), "{role} {method} {path}: {status}");
            counts[usize::from(kept_out)] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn it_holds_together() {
    let text = document().to_string();
    let schemas = document()["components"]["schemas"].as_object().unwrap();
    let named = text.match_indices("#/components/schemas/").map(|(at, prefix)| {
        let rest = &text[at + prefix.len()..];
        &rest[..rest.find('"').unwrap()]
    });
    let named: BTreeSet<&str> = named.collect();
    for name in &named {
        assert!(schemas.contains_key(*name), "{name}");
    }
    assert!(named.len() > 40 && schemas.keys().all(|name| named.contains(name.as_str())), "{named:?}");
    let ids: BTreeSet<&str> =
        described().iter().map(|(.., call)| call["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), described().len());
    for (path, method, call) in described() {
        assert!(call["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let answers = call["responses"].as_object().unwrap();
        assert!(answers.keys().any(|code| code.starts_with('2')), "{method} {path}: {answers:?}");
        let in_path = path.matches('{').count();
        let parameters = call["parameters"]
            .as_array()
            .map_or(0, |parameters| parameters.iter().filter(|parameter| parameter["in"] == "path").count());
        assert_eq!(parameters, in_path, "{method} {path}");
    }
}

#[tokio::test]
async fn a_script_can_ask_for_it() {
    let bench = Bench::new("").await;
    let (status, answer) = bench.ask("GET", "/api/v1/openapi.json", json!(null)).await;
    assert_eq!((status, &answer), (StatusCode::OK, document()));
    assert_eq!(answer["openapi"], "3.1.0");
}
