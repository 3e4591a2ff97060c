//! One message of each dialect as its sender makes it, and what is wrong in each way it can be wrong.

use proptest::prelude::{any, prop, proptest};

use super::*;

pub struct Headers<'a>(pub &'a [(&'a str, &'a str)]);

impl Head for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}

fn types() -> Vec<String> {
    ["AttestationFailed", FAILED, "5710", "integrity"].map(str::to_owned).to_vec()
}

fn with(dialect: Dialect, head: &[(&str, &str)], body: &str) -> Result<Vec<Item>, Unreadable> {
    let (integrity, unreachable) = (types(), [UNREACHABLE.to_owned()]);
    let rules = Rules {
        dialect,
        integrity_types: &integrity,
        unreachable_types: &unreachable,
        endpoint_label: "instance",
        endpoint_field: None,
    };
    read(&rules, &Headers(head), body.as_bytes())
}

fn one(dialect: Dialect, head: &[(&str, &str)], body: &str) -> Said {
    let mut items = with(dialect, head, body).unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    items.pop().unwrap().unwrap()
}

fn said(delivery: &str, endpoint: &str, class: Class, reason: &str) -> Said {
    let own = str::to_owned;
    Said { delivery: own(delivery), endpoint: own(endpoint), class, reason: own(reason) }
}

const ALERTS: &str = r#"{"receiver":"groundstate","status":"firing","version":"4","groupKey":"{}","truncatedAlerts":0,
 "alerts":[
  {"status":"firing","labels":{"alertname":"AttestationFailed","instance":"press-01:9100"},"annotations":{"summary":"PCR 4 differs"},
   "startsAt":"2026-11-29T10:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"c4a5e6"},
  {"status":"resolved","labels":{"alertname":"DiskSlow","instance":"press-02:9100"},"annotations":{},
   "startsAt":"2026-11-29T09:00:00Z","endsAt":"2026-11-29T10:00:00Z","fingerprint":"d00d"},
  {"status":"firing","labels":{"alertname":"NoInstance"},"annotations":{},"startsAt":"2026-11-29T09:00:00Z","fingerprint":"e1"}]}"#;

#[test]
fn each_alert_of_a_batch_is_read_by_itself() {
    let items = with(Dialect::Alertmanager, &[], ALERTS).unwrap();
    let began = "c4a5e6@2026-11-29T10:00:00Z";
    assert_eq!(items[0], Ok(said(began, "press-01:9100", Class::Integrity, "PCR 4 differs")));
    let over = "d00d@2026-11-29T09:00:00Z";
    assert_eq!(items[1], Ok(said(over, "press-02:9100", Class::Resolved, "DiskSlow")));
    assert!(items[2].as_ref().unwrap_err().0.contains("labels.instance"), "{:?}", items[2]);
    let cut = ALERTS.replace("\"truncatedAlerts\":0", "\"truncatedAlerts\":7");
    let items = with(Dialect::Alertmanager, &[], &cut).unwrap();
    assert!(items[3].as_ref().unwrap_err().0.contains("left out 7"), "what is not there is said");
    assert!(with(Dialect::Alertmanager, &[], &ALERTS.replace("\"4\"", "\"5\"")).is_err());
}

#[test]
fn a_cloud_event_is_the_same_in_its_three_forms() {
    let event = r#"{"specversion":"1.0","id":"7","source":"/verifier","type":"endpoint.attestation.failed","subject":"press-01",
        "data":{"detail":"PCR 4 differs"}}"#;
    let expected = said(r#"["/verifier","7"]"#, "press-01", Class::Integrity, "PCR 4 differs");
    let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
    assert_eq!(one(Dialect::CloudEvents, &structured, event), expected);
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(one(Dialect::CloudEvents, &batch, &format!("[{event}]")), expected);
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/verifier"),
        ("ce-type", "endpoint.attestation.failed"),
        ("ce-subject", "press%2D01"),
    ];
    assert_eq!(one(Dialect::CloudEvents, &binary, r#"{"detail":"PCR 4 differs"}"#), expected);
    assert!(with(Dialect::CloudEvents, &batch, event).is_err(), "no array");
    assert!(with(Dialect::CloudEvents, &batch, "[]").is_err(), "an empty one says nothing");
    assert!(with(Dialect::CloudEvents, &[("content-type", "application/json")], event).is_err());
    let old = event.replace("\"1.0\"", "\"0.3\"");
    assert!(with(Dialect::CloudEvents, &structured, &old).unwrap()[0].is_err());
    // Who chooses both id and source must not be able to make two events look like one.
    let other = event.replace(r#""id":"7","source":"/verifier""#, r#""id":"\",\"7","source":"/verifier""#);
    assert_ne!(one(Dialect::CloudEvents, &structured, &other).delivery, expected.delivery);
}

#[test]
fn of_github_s_form_only_the_signed_body_counts() {
    let body = r#"{"data":{"endpoint":"press-01"}}"#;
    let plain = one(Dialect::Github, &[], body);
    assert_eq!(plain, said(&plain.delivery, "press-01", Class::Alert, "an event without a `type`"));
    assert_eq!(plain.delivery, crate::keys::spki_sha256(body.as_bytes()));
    // A replay under another number, or as another kind of event, is the same thing said again.
    let head = [("x-github-delivery", "72d3162e"), ("x-github-event", FAILED)];
    assert_eq!(one(Dialect::Github, &head, body), plain);
    let failed = format!(r#"{{"type":"{FAILED}","data":{{"endpoint":"press-01"}}}}"#);
    let failed = one(Dialect::Github, &head, &failed);
    assert_eq!(failed.class, Class::Integrity);
    assert_ne!(failed.delivery, plain.delivery);
}

#[test]
fn a_key_that_ends_as_our_own_notes_do_is_refused_by_name() {
    let body = format!(r#"{{"type":"{FAILED}","data":{{"endpoint":"press-01"}}}}"#);
    for suffix in [CONFIRMED, RESOLVED] {
        let key = format!("m1{suffix}");
        let why = read_as(&key, &body).unwrap_err().0;
        assert!(why.contains(suffix), "{why}");
        let alerts = ALERTS
            .replace("2026-11-29T10:00:00Z\",\"endsAt\":\"0001", &format!("{suffix}\",\"endsAt\":\"0001"));
        assert_ne!(alerts, ALERTS);
        let items = with(Dialect::Alertmanager, &[], &alerts).unwrap();
        assert!(items[0].as_ref().unwrap_err().0.contains(suffix) && items[1].is_ok());
    }
    // What merely has such a thing in it is let be.
    for key in ["m1#2", "#confirmed/1", "a#resolved.b"] {
        assert_eq!(read_as(key, &body).unwrap().delivery, key);
    }
}

fn read_as(key: &str, body: &str) -> Item {
    with(Dialect::Standard, &[("webhook-id", key)], body)?.pop().unwrap()
}

#[test]
fn wazuh_s_alert_is_read_bare_and_as_its_shuffle_integration_wraps_it() {
    let alert = r#"{"timestamp":"2026-11-29T10:00:00.000+0000","rule":{"level":12,"description":"Integrity checksum changed.","id":"550",
        "groups":["ossec","syscheck","integrity"]},"agent":{"id":"001","name":"press-01","ip":"10.7.0.11"},"id":"1670087986.3695353"}"#;
    let expected = said("1670087986.3695353", "press-01", Class::Integrity, "Integrity checksum changed.");
    assert_eq!(one(Dialect::Wazuh, &[], alert), expected);
    let wrapped = format!(r#"{{"severity":3,"title":"x","all_fields":{alert}}}"#);
    assert_eq!(one(Dialect::Wazuh, &[], &wrapped), expected);
    assert_eq!(one(Dialect::Wazuh, &[], &alert.replace(",\"integrity\"", "")).class, Class::Alert);
}

#[test]
fn keylime_s_notice_is_json_in_json_and_only_a_revocation_is_a_failure() {
    let notice = |kind: &str| {
        let msg = serde_json::json!({
            "type": kind, "ip": "10.7.0.11", "agent_id": "d432fbb3-d2f1-4a97-9ef7-75bd81c00000", "port": 9002,
            "tpm_policy": "{\"mask\": \"0x400\"}", "meta_data": "{}", "event_time": "Sun Nov 29 10:00:00 2026",
            "event_id": "pcr_validation.invalid_pcr_4", "severity_label": "emergency", "context": "{}"
        });
        serde_json::json!({ "msg": msg.to_string(), "signature": "" }).to_string()
    };
    let failed = one(Dialect::Keylime, &[], &notice("revocation"));
    assert_eq!(
        (failed.class, failed.endpoint.as_str()),
        (Class::Integrity, "d432fbb3-d2f1-4a97-9ef7-75bd81c00000")
    );
    assert_eq!(failed.reason, "Keylime: pcr_validation.invalid_pcr_4");
    let silent = one(Dialect::Keylime, &[], &notice("comm_error"));
    assert_eq!(silent.class, Class::Unreachable);
    // The event of a silent agent may be another's: nothing of it is told.
    assert!(!silent.reason.contains("pcr"), "{}", silent.reason);
    assert!(with(Dialect::Keylime, &[], &notice("hello")).is_err());
}

#[test]
fn what_a_bmc_reports_is_a_notice_about_the_endpoint_that_subscribed() {
    let body = r##"{"@odata.type":"#Event.v1_7_0.Event","Id":"1","Name":"Event Array","Context":"press-01","Events":[
        {"EventId":"42","EventTimestamp":"2026-11-29T10:00:00Z","Severity":"Critical","Message":"The chassis was opened.",
         "MessageId":"Platform.1.0.Intrusion","MemberId":"0"}]}"##;
    let expected = r#"["press-01","42","2026-11-29T10:00:00Z"]"#;
    assert_eq!(
        one(Dialect::Redfish, &[], body),
        said(expected, "press-01", Class::Notice, "The chassis was opened.")
    );
}

#[test]
fn texts_of_strangers_are_harmless() {
    let head = [("webhook-id", "m1")];
    let hostile = "\u{1b}[2J\u{1b}]0;owned\u{7}<script>alert(1)</script>\r\nline two \u{202e}txt.exe\u{200b}";
    let body = serde_json::json!({ "type": FAILED, "data": { "endpoint": "press-01", "detail": hostile } });
    let told = one(Dialect::Standard, &head, &body.to_string()).reason;
    assert!(!told.chars().any(|c| c.is_control() || turns(c)), "{told:?}");
    assert!(told.contains("<script>"), "a page escapes it; here it is text like any other");
    let long = serde_json::json!({ "type": FAILED, "data": { "endpoint": "press-01", "detail": "é".repeat(100_000) } });
    assert_eq!(one(Dialect::Standard, &head, &long.to_string()).reason.chars().count(), REASON_MOST + 1);
    for name in ["press\u{1b}[31m-01", "press-01\n", "press\u{202e}-01", ""] {
        let body = serde_json::json!({ "type": FAILED, "data": { "endpoint": name } }).to_string();
        let why = with(Dialect::Standard, &head, &body).unwrap_err().0;
        assert!(!why.chars().any(|c| c.is_control() || turns(c)), "{why:?}");
    }
}

#[test]
fn deep_and_huge_documents_are_refused_by_name() {
    let head = [("webhook-id", "m1")];
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(with(Dialect::Standard, &head, &deep).unwrap_err().0.contains("recursion limit"));
    let alert = r#"{"status":"firing","labels":{"instance":"a"},"startsAt":"x","fingerprint":"f"}"#;
    let many = |n: usize| format!(r#"{{"version":"4","alerts":[{}]}}"#, vec![alert; n].join(","));
    assert_eq!(with(Dialect::Alertmanager, &[], &many(ITEMS_MOST)).unwrap().len(), ITEMS_MOST);
    assert!(with(Dialect::Alertmanager, &[], &many(ITEMS_MOST + 1)).is_err());
}

#[test]
fn an_endpoint_is_found_where_the_configuration_says() {
    let none = [String::new()];
    let rules = |field| Rules {
        dialect: Dialect::Standard,
        integrity_types: &none,
        unreachable_types: &none,
        endpoint_label: "instance",
        endpoint_field: Some(field),
    };
    let body = br#"{"type":"x","host":{"names":["a","press-01"]}}"#;
    let head = Headers(&[("webhook-id", "m1")]);
    let found = read(&rules("/host/names/1"), &head, body).unwrap().pop().unwrap().unwrap();
    assert_eq!(found.endpoint, "press-01");
    assert!(read(&rules("/host/name"), &head, body).unwrap_err().0.contains("/host/name"));
}

proptest! {
    #[test]
    fn nothing_that_comes_panics_and_what_is_read_is_bounded(
        body in prop::collection::vec(any::<u8>(), 0..400), json in ".{0,200}", pick in 0_usize..7,
    ) {
        let dialects = [Dialect::Standard, Dialect::Github, Dialect::CloudEvents, Dialect::Alertmanager, Dialect::Wazuh,
            Dialect::Keylime, Dialect::Redfish];
        let head = [("webhook-id", json.as_str()), ("ce-specversion", "1.0"), ("ce-id", &json), ("content-type", "application/json")];
        for body in [body.as_slice(), json.as_bytes()] {
            let rules = Rules { dialect: dialects[pick], integrity_types: &[], unreachable_types: &[],
                endpoint_label: "instance", endpoint_field: None };
            for said in read(&rules, &Headers(&head), body).unwrap_or_default().into_iter().flatten() {
                assert!(said.endpoint.len() <= KEY_MOST && said.reason.chars().count() <= REASON_MOST + 1);
            }
        }
    }
}
