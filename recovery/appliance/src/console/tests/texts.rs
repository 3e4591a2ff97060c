//! No page speaks English where the reader chose another language: rendered in the long language for tests, whatever stands outside of its brackets
//! is a name, a code, or marked as the record's English.

use recovery_protocol::{net::BootView, people::Role};
use serde_json::Value;

use super::*;
use crate::console::{boot, engineer::trace, texts::Texts};

/// Elements without an end tag.
const VOID: [&str; 6] = ["meta", "link", "input", "br", "img", "path"];
/// What these hold is data, whatever its letters.
const DATA: [&str; 5] = ["code", "pre", "time", "script", "option"];
/// Names of this test's site, and of things that are called the same everywhere.
const NAMES: &str = "Groundstate plant press hmi panel default line operator appliance test ines smoke nobody answers night \
                     attestation TPM Secure Boot Ki Mi Gi token Nobody Smoke";

/// Words with letters that stand in no bracket, outside of data and of the record's English.
fn unsaid(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<(String, bool)> = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with('/') {
            let at = open.iter().rposition(|(opened, _)| *opened == name);
            open.truncate(at.unwrap_or(open.len()));
        } else if !tag.starts_with('!') && !VOID.contains(&name.as_str()) && !tag.ends_with('/') {
            let data = DATA.contains(&name.as_str()) || (tag.contains(" lang=\"") && name != "html");
            let inside = open.last().is_some_and(|(_, data)| *data);
            open.push((name, data || inside));
        }
        for said in ["aria-label=\"", "title=\""] {
            if let Some((_, label)) = tag.split_once(said) {
                found.extend(outside(label.split('"').next().unwrap_or_default()));
            }
        }
        if open.last().is_some_and(|(_, data)| !data) {
            found.extend(outside(text));
        }
    }
    found
}

fn outside(text: &str) -> Vec<String> {
    let mut depth = 0;
    let kept: String = text
        .chars()
        .map(|letter| {
            depth += i32::from(letter == '[');
            let bare = depth == 0;
            depth -= i32::from(letter == ']');
            if bare { letter } else { ' ' }
        })
        .collect();
    let kept = kept.replace("&amp;", " ").replace("&quot;", " ").replace("&lt;", " ").replace("&gt;", " ");
    let words = kept.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned);
    words
        .filter(|word| word.chars().any(char::is_alphabetic) && !NAMES.split(' ').any(|name| name == word))
        .collect()
}

#[test]
fn what_is_outside_of_the_brackets_is_found() {
    let page = "<!DOCTYPE html><html lang=\"en-XA\"><p>[Rêcövêr ~~~~]press-01</p><p>Left <b>over</b><br>[x]<code>kept</code></p>\
                <span lang=\"en\">record <i>of</i></span><a aria-label=\"Main\">[a]</a></html>";
    assert_eq!(unsaid(page), ["Left", "over", "Main"]);
}

/// A page in a language, as this person sees it.
async fn page(bench: &Bench, token: &str, language: &str, path: &str) -> String {
    let request = Request::get(path)
        .header(header::ACCEPT, "text/html")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::COOKIE, format!("groundstate-language={language}"));
    read(bench.send(request.body(Body::empty()).unwrap()).await).await.1
}

#[tokio::test]
async fn no_page_keeps_english_words_of_its_own() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    let image = super::image(&bench).await;
    let pages = async |more: &[String]| {
        let fixed = [
            "/",
            "/endpoints?selector=line%3D9",
            "/endpoints/press-01",
            "/scan",
            "/scan?code=x",
            "/m/press-01",
            "/m/press-02",
            "/m/press-01/safety",
            "/m/press-02/safety?missing=1",
            "/endpoints/press-02",
            "/endpoints/none",
            "/drills",
            "/zones",
            "/stop",
            "/account",
            "/reviews",
            "/plans",
            "/jobs",
            "/jobs?state=failed&q=x",
            "/evidence",
            "/evidence?kind=none",
            "/evidence/2",
            "/images",
            &image,
            "/people",
            "/kiosks",
            "/map",
            "/network",
            "/network?all=true",
            "/network/press-01",
            "/policy",
            "/login",
            "/login?code=x",
            "/kiosk",
            "/setup",
            "/nowhere",
        ];
        let mut all: Vec<String> = fixed.iter().map(|path| (*path).to_owned()).collect();
        all.extend_from_slice(more);
        for role in ["", "auditor"] {
            let token = match role {
                "" => bench.token.clone(),
                role => {
                    let order = json!({ "person": format!("ines{}", more.len()), "role": role });
                    bench.ask("POST", "/api/v1/people", order).await.1["token"].as_str().unwrap().to_owned()
                }
            };
            for path in &all {
                let page = page(&bench, &token, "en-XA", path).await;
                let left = unsaid(&page);
                let left: Vec<&String> = left.iter().filter(|word| !word.starts_with("ines")).collect();
                assert!(left.is_empty(), "{path}: {left:?}\n{page}");
                assert!(page.contains("lang=\"en-XA\""), "{path}");
            }
        }
    };
    pages(&[]).await;
    let job = a_line_at_work(&bench).await;
    pages(&[format!("/jobs/{job}")]).await;
    bench.ask("POST", "/api/v1/stop", json!({ "reason": "smoke" })).await;
    bench.ask("POST", "/api/v1/stop/release", json!({ "reason": "smoke" })).await;
    pages(&[format!("/jobs/{job}"), "/endpoints/press-03".to_owned()]).await;
}

#[tokio::test]
async fn whatever_state_a_job_is_in_its_page_is_in_the_readers_language() {
    let (mut view, job) = views().await;
    let stage = Stage::Imaging;
    let mut states = vec![JobState::Recovered, JobState::Captured, JobState::Cancelled { stage }];
    states.extend(Stage::ALL.map(|stage| JobState::Working { stage }));
    for reason in HoldReason::ALL {
        states.push(JobState::Held { stage, reason: *reason, detail: "PCR".to_owned() });
        states.push(JobState::Failed { stage, reason: *reason, detail: String::new() });
    }
    let long = Texts::of("en-XA").unwrap();
    for state in states {
        let job = JobView {
            state: state.clone(),
            what: "Of the record.".to_owned(),
            what_now: "Do it.".to_owned(),
            ..job.clone()
        };
        view.job = Some(job.clone());
        let said = async {
            let viewer = engineer();
            let alone = job::content(&job, &[], &viewer, job.asked_unix_ms).into_string();
            alone + &endpoint::content(&view, &viewer, job.asked_unix_ms).into_string()
        };
        let page = long.while_here(said).await;
        assert_eq!(unsaid(&page), Vec::<String>::new(), "{state:?}\n{page}");
    }
}

#[test]
fn every_reason_of_a_hold_has_both_sentences_in_every_language() {
    for (name, _) in Texts::offered() {
        let texts = Texts::of(name).unwrap();
        for reason in HoldReason::ALL {
            for what in ["what", "now"] {
                let said = texts.by_code(reason.code(), what, []).unwrap_or_default();
                assert!(said.ends_with(['.', '。']), "{name}: code-{}-{what}: «{said}»", reason.code());
                let english = Texts::of("en").unwrap().by_code(reason.code(), what, []);
                assert!(
                    name == "en" || english.as_ref() != Some(&said),
                    "{name}: code-{}-{what}",
                    reason.code()
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_readers_language_and_the_detail_stays_beside() {
    let bench = Bench::new("").await;
    let german = page(&bench, &bench.token, "de", "/endpoints/none").await;
    for wanted in [
        "<html lang=\"de\"",
        "Es gibt kein Endgerät dieses Namens",
        "unknown-endpoint",
        "none is not on record",
        "lang=\"en\"",
    ] {
        assert!(german.to_lowercase().contains(&wanted.to_lowercase()), "{wanted}: {german}");
    }
    let mirrored = page(&bench, &bench.token, "ar-XB", "/").await;
    assert!(mirrored.contains("dir=\"rtl\""));
    let viewer = Viewer::role(Role::Auditor);
    let why = async { viewer.plain("/endpoints/{endpoint}/recover", "", "recover", "x").into_string() };
    let why = Texts::of("fr").unwrap().while_here(why).await;
    assert!(why.contains("auditeur") && why.contains("ordonner une restauration"), "{why}");
}

/// A view whose boot stopped in this way, with each hop, each notice and each way to end that there is.
fn boot_of(code: &str) -> BootView {
    let steps = [
        "discover",
        "offer",
        "request",
        "4011",
        "options",
        "loader",
        "second-stage",
        "config",
        "kernel",
        "initrd",
        "agent",
    ];
    let outcomes = ["done", "underway", "size-asked", "refused", "broken"];
    let noticed = ["held-back", "relayed", "second-dhcp", "second-boot-server"];
    let hops: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            json!({ "step": step, "at_unix_ms": at, "until_unix_ms": at, "count": 2, "bytes": 5,
                    "outcome": outcomes[at % 5], "what": "of the record" })
        })
        .collect();
    let noticed: Vec<Value> =
        noticed.iter().map(|code| json!({ "code": code, "value": "10.0.0.9" })).collect();
    serde_json::from_value(json!({
        "endpoint": "press-01", "firmware": "UEFI x64, PXE", "chain": "ipxe",
        "offer": "ipxe (of the record)", "offer_code": "first", "offer_chain": "ipxe", "ticket": true,
        "begun_unix_ms": 0, "last_unix_ms": 9, "reached": "offer",
        "diagnosis": { "code": code, "level": "trouble", "missing": "request", "cause": "of the record",
                       "remedy": "of the record", "also": ["a", "b", "c", "d"], "noticed": noticed },
        "hops": hops,
        "earlier": [{ "begun_unix_ms": 0, "last_unix_ms": 0, "chain": "ipxe", "reached": "offer",
                      "cause": "of the record", "code": code }],
    }))
    .unwrap()
}

/// The names that the boot layer's sources give a diagnosis.
fn diagnoses() -> Vec<String> {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pxe/src/trace/diagnosis.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let makers = ["Diagnosis::trouble(", "Diagnosis::fine(", "Diagnosis::new(", "Self::new("];
    let found = makers.iter().flat_map(|maker| source.split(maker).skip(1));
    let mut codes: Vec<String> = found
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned))
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

#[tokio::test]
async fn whatever_stops_a_boot_is_told_in_every_language() {
    let codes = diagnoses();
    assert!(codes.len() > 25 && codes.iter().any(|code| code == "agent-silent"), "{codes:?}");
    let long = Texts::of("en-XA").unwrap();
    for code in &codes {
        let view = boot_of(code);
        let said = async { boot::card(&view).into_string() + &trace(&view).into_string() };
        let page = long.while_here(said).await;
        assert_eq!(unsaid(&page), Vec::<String>::new(), "{code}\n{page}");
        let bare = page.split("<table>").next().unwrap();
        let left = bare.matches("of the record").count();
        assert!(left <= 1, "{code}: the record's English stands once, beside: {bare}");
    }
    let german =
        Texts::of("de").unwrap().while_here(async { boot::card(&boot_of("agent-silent")).into_string() });
    let german = german.await;
    for wanted in
        ["der Agent meldete sich nie", "es nimmt ein Angebot", "Portfast", "die erste, der seine Firmware"]
    {
        assert!(german.contains(wanted), "{wanted}: {german}");
    }
    let english = boot::card(&boot_of("agent-silent")).into_string();
    assert!(english.contains("Of the record.") && !english.contains("The record says"), "{english}");
}

#[test]
fn what_a_boots_names_say_is_said_in_every_language() {
    let servers = ["other-boot-server", "dhcp-in-full-mode", "second-dhcp-server", "site-dhcp"];
    let offers = ["set", "worked", "first", "others", "again", "none"];
    for (name, _) in Texts::offered() {
        let texts = Texts::of(name).unwrap();
        for (codes, what) in [(&servers[..], "server"), (&offers[..], "offer")] {
            for code in codes {
                assert!(
                    texts.by_code(code, what, [("chain", "ipxe".into())]).is_some(),
                    "{name} {code} {what}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_the_boot_network_refused_is_told_by_its_code() {
    let refusal = |code: &str| recovery_protocol::operator::RefusalView {
        code: code.to_owned(),
        count: 3,
        last_unix_ms: 0,
        from: "10.0.0.9".to_owned(),
        why: "of the record".to_owned(),
    };
    let refusals = [refusal("no-loader"), refusal("pool-empty"), refusal("not-found")];
    let said = async { endpoints::refused(&refusals).into_string() };
    let page = Texts::of("en-XA").unwrap().while_here(said).await;
    assert_eq!(unsaid(&page), Vec::<String>::new(), "{page}");
    assert!(!page.contains("of the record"), "{page}");
    assert!(endpoints::refused(&refusals).into_string().contains("Of the record."));
}
