//! Reports over REST in each form and language, and a month's pack that no byte can be changed of.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt as _;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use recovery_protocol::evidence::pack::{self, BadPack};
use serde_json::json;

use crate::{service::Actor, testing::Bench};

const ZONES: &str = "schema: zones/v1\nsite: Plant 7\nclocks: [{name: CIP-009-6 R2.1, months: 15, by: [recovery, drill]}]\nzones:\n  - name: packing-hmi\n    target: {iac: 2, uc: 2, si: 2, dc: 1, rdf: 2, tre: 2, ra: 2}\n    \
                     endpoints: [{name: press-01, place: production}, {name: press-02, place: production}]\n    declared: [{req: SR 1.6, state: na, basis: no radio fitted, by: maintenance, expires: 2099-02-28}]\n  - name: hall\n    target: {iac: 1, uc: 1, si: 1, dc: 0, rdf: 0, tre: 1, ra: 1}\n";

/// An appliance with zones, and a recovery that was given up.
async fn bench() -> (Bench, String) {
    let bench = Bench::new("[evidence]\nzones_file = \"zones.yaml\"\n").await;
    std::fs::write(bench.data.path().join("zones.yaml"), ZONES).unwrap();
    bench.add("press-01", "52:54:00:12:34:56", json!({})).await;
    let job = bench.recover("press-01").await.job.to_string();
    let (status, body) = bench.ask("POST", &format!("/api/v1/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    (bench, job)
}

async fn fetch(bench: &Bench, path: &str) -> (StatusCode, header::HeaderMap, Vec<u8>) {
    let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
    let response = bench.send(request.body(Body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

/// The month that it is.
fn month(bench: &Bench) -> String {
    let now = jiff::Timestamp::from_millisecond(i64::try_from(bench.service.now()).unwrap()).unwrap();
    now.strftime("%Y-%m").to_string()
}

#[tokio::test]
async fn each_report_is_had_in_each_form_and_both_languages() {
    let (bench, job) = bench().await;
    let month = month(&bench);
    for (path, english, german) in [
        (format!("/api/v1/jobs/{job}/report"), "Recovery of press-01", "Wiederherstellung von press-01"),
        ("/api/v1/zones/report".to_owned(), "Zones of Plant 7", "Zonen von Plant 7"),
        ("/api/v1/components/report".to_owned(), "as a component", "als Komponente"),
        (format!("/api/v1/csms/{month}/report"), "Readiness", "Bereitschaft"),
    ] {
        for (form, kind, begins) in [
            ("html", "text/html; charset=utf-8", "<!DOCTYPE html>"),
            ("pdf", "application/pdf", "%PDF-"),
            ("json", "application/json", "{"),
            ("csv", "text/csv; charset=utf-8", ""),
        ] {
            for (language, title) in [("en", english), ("de", german)] {
                let (status, headers, bytes) =
                    fetch(&bench, &format!("{path}?format={form}&language={language}")).await;
                assert_eq!(status, StatusCode::OK, "{path} {form}: {}", String::from_utf8_lossy(&bytes));
                assert_eq!(headers[header::CONTENT_TYPE], kind, "{path}");
                let named = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
                assert!(named.ends_with(&format!(".{form}\"")) && !named.contains('/'), "{named}");
                assert!(bytes.starts_with(begins.as_bytes()), "{path} {form}");
                if form == "html" {
                    let page = String::from_utf8(bytes).unwrap();
                    assert!(page.contains(title) && !page.contains("<script"), "{path} {language}: {title}");
                    assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("'none'"));
                }
            }
        }
        let (_, _, page) = fetch(&bench, &path).await;
        assert!(page.starts_with(b"<!DOCTYPE html>"), "a page in English, where nothing is said");
    }
}

#[tokio::test]
async fn what_cannot_be_reported_says_why_and_what_now() {
    let (bench, job) = bench().await;
    for (path, wanted, said) in [
        ("/api/v1/zones/report?zone=nowhere", 404, "packing-hmi, hall"),
        ("/api/v1/csms/2999-01/report", 422, "has not begun"),
        ("/api/v1/csms/november/report", 422, "is no month"),
        ("/api/v1/jobs/0193a5c2-7d1e-7c3a-9b44-1f0a6d2e8c55/report", 404, "job"),
        ("/api/v1/zones/report?format=docx", 400, "docx"),
        ("/api/v1/zones/report?language=fr", 400, "fr"),
    ] {
        let (status, _, bytes) = fetch(&bench, path).await;
        let text = String::from_utf8(bytes).unwrap();
        assert!(status.as_u16() == wanted && text.contains(said), "{path}: {status} {text}");
    }
    let (_, _, one) = fetch(&bench, "/api/v1/zones/report?zone=hall&format=csv").await;
    assert!(!String::from_utf8(one).unwrap().contains("packing-hmi"));
    std::fs::write(bench.data.path().join("zones.yaml"), "schema: zones/v1\nsite: a\nzoness: []\n").unwrap();
    let (status, _, bytes) = fetch(&bench, "/api/v1/zones/report").await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(status == StatusCode::CONFLICT && text.contains("zoness"), "{text}");
    let bare = Bench::new("").await;
    let (status, _, bytes) = fetch(&bare, &format!("/api/v1/csms/{}/report", month(&bare))).await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(status == StatusCode::CONFLICT && text.contains("zones_file"), "{text}");
    // A log that was altered is reported of by nothing.
    let mut tx = bench.journal.db.begin().await.unwrap();
    crate::db::query("UPDATE evidence SET text = text || ' ' WHERE seq = 1").execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    std::fs::write(bench.data.path().join("zones.yaml"), ZONES).unwrap();
    let (status, _, bytes) = fetch(&bench, "/api/v1/zones/report").await;
    let text = String::from_utf8(bytes).unwrap();
    assert!(status.is_server_error() || status == StatusCode::CONFLICT, "{job}: {status} {text}");
}

#[tokio::test]
async fn a_months_pack_stands_alone_and_no_byte_of_it_can_be_changed() {
    let (bench, _) = bench().await;
    let press = "press-01".parse().unwrap();
    let back = json!({ "from": { "is": "working", "stage": "releasing" }, "to": { "is": "recovered" } });
    bench.service.note("transition", &Actor::operator("test"), Some(&press), None, back).await.unwrap();
    let path = format!("/api/v1/csms/{}/pack", month(&bench));
    let request = Request::post(&path).header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
    let response = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let packed = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    let origin = bench.journal.origin();
    let seen = pack::verify(&packed, &origin).unwrap();
    assert_eq!((seen.entry.mode.as_str(), seen.entry.actor.as_str()), ("real", "operator:token"));
    assert_eq!(seen.entry.facts["month"], json!(month(&bench)));
    for name in [
        "HOW-TO-VERIFY.txt",
        "report.en.html",
        "report.de.pdf",
        "report.json",
        "report.csv",
        "zones.en.pdf",
        "zones.de.html",
        "zones.csv",
        "zones.yaml",
        "components.csv",
        "evidence/entries.jsonl",
    ] {
        assert!(seen.files.contains_key(name), "{name}: {:?}", seen.files.keys());
    }
    let lines = seen.files["evidence/entries.jsonl"].iter().filter(|byte| **byte == b'\n').count();
    assert!(
        lines > 0 && seen.proven == lines,
        "each entry that it names is proven: {} of {lines}",
        seen.proven
    );
    assert!(String::from_utf8_lossy(&seen.files["report.csv"]).contains("recovery,press-01,recovered,"));
    // Each member, at a byte of its own: refused, and it is this one that is named.
    for (name, bytes) in seen.files.iter().filter(|(_, bytes)| bytes.len() > 40) {
        let at = packed.windows(bytes.len()).position(|some| some == bytes).unwrap();
        let mut altered = packed.clone();
        altered[at + bytes.len() / 2] ^= 1;
        assert_eq!(pack::verify(&altered, &origin), Err(BadPack::Altered(name.clone())));
    }
    // Bytes at random, heads and padding among them.
    let mut runner = TestRunner::deterministic();
    for _ in 0..120 {
        let (at, bit) = (0..packed.len(), 0..8_u32).new_tree(&mut runner).unwrap().current();
        let mut altered = packed.clone();
        altered[at] ^= 1 << bit;
        let why = pack::verify(&altered, &origin).unwrap_err();
        assert!(why.to_string().contains('`'), "byte {at}: {why} names no file");
    }
}
