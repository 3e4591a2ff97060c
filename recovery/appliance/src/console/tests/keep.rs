//! Golden images with who signed them and what their channels mean; people and kiosks, added, changed and taken away by form; the plant as a picture.

use images::{
    KeyRing, Role as KeyRole, SignedTrustRoot, SigningKey, Store, TrustRoot,
    keys::{ChannelStatement, RoleKeys, Signed, Stage},
};
use recovery_protocol::{channel::ChannelView, people::Role};

use super::{engineer::Somebody, *};

/// A form's value, as a browser sends it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A new trust root that lists a key for channels; and that key. The image is signed anew.
fn with_channels(bench: &Bench) -> SigningKey {
    let config = &bench.journal.config;
    let store = Store::open(config.image_store()).unwrap();
    let (root, signer, channel) =
        (SigningKey::generate().unwrap(), SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let mut signed = store.get_manifest(&store.list().unwrap()[0]).unwrap();
    signer.sign_image(&mut signed).unwrap();
    store.put_manifest(&signed).unwrap();
    let one = |key: &SigningKey| RoleKeys { threshold: 1, keys: vec![key.public()] };
    let roles =
        [(KeyRole::Root, one(&root)), (KeyRole::Image, one(&signer)), (KeyRole::Channel, one(&channel))]
            .into();
    let mut document =
        SignedTrustRoot::unsigned(TrustRoot { version: 1, epoch_floor: 0, expires_unix_ms: 0, roles });
    document.sign(&root).unwrap();
    KeyRing::pin(document.clone()).unwrap();
    std::fs::write(config.trust_root(), serde_json::to_vec(&document).unwrap()).unwrap();
    channel
}

fn statement(bench: &Bench, key: &SigningKey, stage: Stage, epoch: u64) -> serde_json::Value {
    let store = Store::open(bench.journal.config.image_store()).unwrap();
    let body = ChannelStatement {
        channel: stage.channel("hmi-panel"),
        epoch,
        image: store.list().unwrap()[0],
        author: "carla".to_owned(),
        reason: "tried on <bench>".to_owned(),
        at_unix_ms: 1_763_800_000_000,
    };
    serde_json::to_value(Signed::new(body, key).unwrap()).unwrap()
}

#[tokio::test]
async fn an_image_says_who_signed_it_where_it_is_used_and_what_was_said_of_it() {
    let bench = Bench::new("").await;
    bench.add("press-01", "52:54:00:12:34:01", json!({})).await;
    let channel = with_channels(&bench);
    let (ines, ada) = (
        Somebody::new(&bench, "ines", Role::Engineer).await,
        Somebody::new(&bench, "ada", Role::Auditor).await,
    );
    let path = image(&bench).await;
    let (_, list) = ada.get("/images").await;
    for wanted in ["hmi-panel", "trusted", "Nobody has promoted an image of this name", &path] {
        assert!(list.contains(wanted), "{wanted}: {list}");
    }
    let (_, page) = ines.get(&path).await;
    for wanted in [
        "Who signed it (",
        "counts",
        "No key that promotes images lies on the appliance",
        "groundstate image promote hmi-panel:1",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains("id=\"promote\" disabled"));
    assert!(ada.get(&path).await.1.contains("id=\"promote\" disabled"), "an auditor promotes nothing");
    let hand_in = async |statement: &serde_json::Value, revision: u64| {
        let form = format!("revision={revision}&statement={}", encoded(&statement.to_string()));
        let response = ines.post(&format!("{path}/promote"), &form).await;
        let (status, text) = read(response).await;
        (status.as_u16(), text)
    };
    let foreign = statement(&bench, &SigningKey::generate().unwrap(), Stage::Approved, 1);
    let refused = hand_in(&foreign, 0).await;
    assert!(refused.0 == 403 && refused.1.contains("statement-refused"), "{}", refused.1);
    let first = statement(&bench, &channel, Stage::Candidate, 3);
    assert_eq!(hand_in(&first, 0).await.0, 303);
    let moved = hand_in(&statement(&bench, &channel, Stage::Approved, 4), 0).await;
    assert!(moved.0 == 412 && moved.1.contains("channel-moved"), "{}", moved.1);
    let back = hand_in(&statement(&bench, &channel, Stage::Approved, 2), 3).await;
    assert!(
        back.0 == 409 && back.1.contains("channel-rolled-back") && back.1.contains("epoch 2"),
        "{}",
        back.1
    );
    assert_eq!(hand_in(&statement(&bench, &channel, Stage::Approved, 4), 3).await.0, 303);
    assert_eq!(hand_in(&json!({ "body": 1 }), 4).await.0, 422);
    let (_, page) = ada.get(&path).await;
    for wanted in [
        "approved",
        "carla",
        "tried on &lt;bench&gt;",
        "1 endpoint",
        "Last said: approved, epoch 4, by carla",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let request = Request::get("/api/v1/channels/hmi-panel")
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.token));
    let response = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()[header::ETAG], "\"4\"");
    let channel: ChannelView = serde_json::from_str(&read(response).await.1).unwrap();
    assert_eq!(channel.statements.len(), 2);
    assert!(bench.evidence(None).await.contains(&"order.promote".to_owned()));
    assert_eq!(ada.get("/images/zz").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ada.get(&format!("/images/{}", "0".repeat(64))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn people_are_added_changed_shut_out_and_their_sessions_ended_by_form() {
    let bench = Bench::new("").await;
    let root = Somebody::new(&bench, "root", Role::Admin).await;
    let added = read(
        root.post(
            "/people",
            "person=anna&role=technician&scope=line%3D3&networks=10.7.0.0%2F24+10.8.0.0%2F24&valid_days=30",
        )
        .await,
    )
    .await;
    let token = added.1.split("gs_").nth(1).unwrap().split('<').next().unwrap();
    assert!(added.0 == StatusCode::OK && token.len() > 20, "{}", added.1);
    let anna = Somebody { bench: &bench, token: format!("gs_{token}") };
    let (_, page) = root.get("/people").await;
    for wanted in ["id=\"person-anna\"", "line=3", "10.7.0.0/24 10.8.0.0/24", "Token ends", "id=\"sessions\""]
    {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains(token), "it is shown once");
    let changed = root.post("/people/anna/change", "role=engineer&scope=&networks=&reason=moved").await;
    assert_eq!(changed.status(), StatusCode::SEE_OTHER);
    assert_eq!(anna.get("/jobs").await.0, StatusCode::OK);
    let again = read(root.post("/people/anna/change", "role=engineer&scope=&networks=").await).await;
    assert!(again.0 == StatusCode::UNPROCESSABLE_ENTITY && again.1.contains("nothing-to-change"));
    let renewed = read(root.post("/people/anna/token", "valid_days=&reason=lost").await).await;
    assert!(
        renewed.1.contains("gs_") && anna.get("/jobs").await.0 == StatusCode::UNAUTHORIZED,
        "{}",
        renewed.1
    );
    assert_eq!(
        root.post("/people/anna/in", "disabled=true&reason=left").await.status(),
        StatusCode::SEE_OTHER
    );
    assert!(root.get("/people").await.1.contains("shut out"));
    assert_eq!(root.post("/people/anna/in", "disabled=false").await.status(), StatusCode::SEE_OTHER);
    for (form, code) in [
        ("person=anna&role=technician", "person-exists"),
        ("person=B%20C&role=technician", "bad-name"),
        ("person=carl&role=technician&valid_days=x", "bad-validity"),
        ("person=carl&role=technician&networks=x", "bad-network"),
    ] {
        let (_, page) = read(root.post("/people", form).await).await;
        assert!(page.contains(code), "{code}: {page}");
    }
    let (_, link) = bench.ask("POST", "/api/v1/console-links", json!(null)).await;
    let opened = bench.send(Request::get(link["path"].as_str().unwrap()).body(Body::empty()).unwrap()).await;
    drop(opened);
    let ines = Somebody::new(&bench, "ines", Role::Engineer).await;
    assert_eq!(ines.get("/people").await.0, StatusCode::FORBIDDEN);
    assert!(bench.evidence(None).await.iter().filter(|kind| *kind == "order.person-change").count() >= 4);
}

#[tokio::test]
async fn a_kiosk_is_paired_by_a_code_and_taken_away_by_form() {
    let bench = Bench::new("").await;
    let ines = Somebody::new(&bench, "ines", Role::Engineer).await;
    assert!(ines.get("/kiosks").await.1.contains("None is paired"));
    let (status, page) = read(ines.post("/kiosks", "kiosk=panel-3").await).await;
    assert!(
        status == StatusCode::OK && page.contains("/kiosk") && page.contains("class=\"secret\""),
        "{page}"
    );
    bench.service.kiosk_paired("panel-3", "operator:ines", "secret").await.unwrap();
    let (_, list) = ines.get("/kiosks").await;
    assert!(list.contains("id=\"kiosk-panel-3\"") && list.contains("Paired by ines at"), "{list}");
    assert_eq!(ines.post("/kiosks/panel-3/end", "").await.status(), StatusCode::SEE_OTHER);
    assert!(ines.get("/kiosks").await.1.contains("taken away"));
    assert_eq!(ines.post("/kiosks/panel-3/end", "").await.status(), StatusCode::NOT_FOUND);
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    assert_eq!(ada.get("/kiosks").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_map_shows_every_cell_with_the_worst_of_it_and_leads_to_its_list() {
    let bench = Bench::new("[groups.line]\nsafety_class = 2\n").await;
    for n in 1..=4 {
        let labels = json!({ "line": "3", "cell": if n < 3 { "a" } else { "b" } });
        bench
            .add(
                &format!("press-0{n}"),
                &format!("52:54:00:12:34:0{n}"),
                json!({ "group": "line", "labels": labels }),
            )
            .await;
    }
    bench.recover("press-01").await;
    bench.runner().settle().await.unwrap();
    let ada = Somebody::new(&bench, "ada", Role::Auditor).await;
    let (_, page) = ada.get("/map").await;
    assert_eq!(page.matches("class=\"cell\"").count(), 2, "{page}");
    for wanted in [
        "3 / a",
        "1 Needs you",
        "/endpoints?selector=line%3D3%2Ccell%3Da",
        "<caption>",
        "No recovery has ended well yet",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let list = page.split("/endpoints?selector=line%3D3%2Ccell%3Db").nth(1).is_some();
    assert!(
        list && ada.get("/endpoints?selector=line%3D3%2Ccell%3Da").await.1.matches("id=\"row-").count() == 2
    );
}
