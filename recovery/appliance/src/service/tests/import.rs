//! Sheets: planned, applied as planned, and nothing at all where a line is wrong.

use recovery_protocol::{Problem, operator::ImportPlan};
use serde_json::json;

use super::{bench, id};
use crate::{service::Actor, testing::Bench};

async fn import(bench: &Bench, sheet: &str, apply: Option<&str>) -> Result<ImportPlan, Problem> {
    bench.service.import_sheet(&Actor::operator("anna"), sheet.as_bytes(), apply).await
}

const SHEET: &str = "name,macs,blueprint,group,line,kind\n\
    press-01,52:54:00:00:00:01,hmi,line,3,hmi\n\
    press-02,52:54:00:00:00:02,hmi,line,,\n\
    press-09,52-54-00-00-00-09,hmi,line,3,historian\n";

#[tokio::test]
async fn a_sheet_is_planned_and_applied_as_it_was_planned() {
    let (bench, _) = bench("").await;
    let plan = import(&bench, SHEET, None).await.unwrap();
    assert!(!plan.applied && plan.errors.is_empty() && plan.conflicts.is_empty(), "{plan:?}");
    let about = |lines: &[recovery_protocol::operator::ImportLine]| -> Vec<(u64, String, String)> {
        lines.iter().map(|line| (line.line, line.endpoint.to_string(), line.what.clone())).collect()
    };
    assert_eq!(about(&plan.adds), [(4, "press-09".into(), "hmi".into())]);
    assert_eq!(about(&plan.changes), [(2, "press-01".into(), "kind, labels".into())]);
    assert_eq!(plan.unchanged, 1);
    assert_eq!(bench.service.endpoint(&id(9)).await.unwrap_err().code, "unknown-endpoint");
    assert_eq!(import(&bench, SHEET, Some("0123")).await.unwrap_err().code, "plan-stale");

    // Somebody changes one of them in between: it is another plan.
    let order = serde_json::from_value(json!({ "drill_safe": true })).unwrap();
    bench.service.change_endpoint(&Actor::operator("bert"), &id(1), order, None).await.unwrap();
    assert_eq!(import(&bench, SHEET, Some(&plan.plan)).await.unwrap_err().code, "plan-stale");
    assert_eq!(bench.service.endpoint(&id(9)).await.unwrap_err().code, "unknown-endpoint");

    let plan = import(&bench, SHEET, None).await.unwrap();
    assert!(import(&bench, SHEET, Some(&plan.plan)).await.unwrap().applied);
    let view = bench.service.endpoint(&id(1)).await.unwrap();
    assert!(view.drill_safe && view.labels.to_string() == "line=3", "what the sheet does not say stays");
    assert!(bench.journal.tickets.knows("52:54:00:00:00:09".parse().unwrap()));
    let kinds = bench.evidence(None).await;
    for (kind, count) in [("order.import", 1), ("order.endpoint", 5), ("order.change", 2)] {
        assert_eq!(kinds.iter().filter(|found| *found == kind).count(), count, "{kind}");
    }
    let again = import(&bench, SHEET, None).await.unwrap();
    assert_eq!((again.unchanged, again.adds.len() + again.changes.len()), (3, 0));
}

#[tokio::test]
async fn half_of_the_lines_wrong_is_every_one_named_and_none_applied() {
    let (bench, _) = bench("").await;
    bench.recover("press-04").await;
    let sheet = "name;macs;blueprint;group\r\n\
        press-10;52:54:00:00:00:10;hmi;line\r\n\
        press-11;5.254E+11;hmi;line\r\n\
        press-12;52:54:00:00:00:12;none;line\r\n\
        press-13;52:54:00:00:00:13;hmi;none\r\n\
        Press 14;52:54:00:00:00:14;hmi;line\r\n\
        press-15;52:54:00:00:00:02;hmi;line\r\n\
        press-10;52:54:00:00:00:16;hmi;line\r\n\
        press-17;52:54:00:00:00:10;hmi;line\r\n\
        press-04;52:54:00:00:00:44;hmi;line\r\n\
        press-18;;hmi;line\r\n\
        press-19;52:54:00:00:00:19;hmi;line\r\n";
    let before = bench.evidence(None).await.len();
    let plan = import(&bench, sheet, None).await.unwrap();
    let lines = |faults: &[recovery_protocol::operator::ImportFault]| -> Vec<u64> {
        let mut lines: Vec<u64> = faults.iter().map(|fault| fault.line).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(lines(&plan.errors), [3, 4, 5, 6, 8, 11]);
    assert_eq!(lines(&plan.conflicts), [7, 9, 10]);
    assert!(plan.errors.iter().chain(&plan.conflicts).all(|fault| !fault.remedy.is_empty()), "{plan:?}");
    let refused = import(&bench, sheet, Some(&plan.plan)).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (422, "import-wrong"));
    assert!(refused.detail.contains("9 lines"), "{}", refused.detail);
    for n in [10, 19] {
        assert_eq!(bench.service.endpoint(&id(n)).await.unwrap_err().code, "unknown-endpoint");
    }
    assert_eq!(bench.evidence(None).await.len(), before, "nothing happened");
}

#[tokio::test]
async fn addresses_may_change_hands_within_a_sheet() {
    let (bench, _) = bench("").await;
    let sheet =
        "name,macs\npress-01,52:54:00:00:00:02\npress-02,52:54:00:00:00:03\npress-03,52:54:00:00:00:01\n";
    let plan = import(&bench, sheet, None).await.unwrap();
    assert_eq!((plan.changes.len(), plan.conflicts.len()), (3, 0), "{plan:?}");
    import(&bench, sheet, Some(&plan.plan)).await.unwrap();
    for (n, mac) in [(1, 2), (2, 3), (3, 1)] {
        let view = bench.service.endpoint(&id(n)).await.unwrap();
        assert_eq!(view.macs, [recovery_protocol::MacAddr([0x52, 0x54, 0, 0, 0, mac])]);
    }
}

#[tokio::test]
async fn an_export_imported_again_changes_nothing() {
    let (bench, _) = bench("").await;
    let order = serde_json::from_value(json!({
        "labels": { "line": "3", "role": "a" }, "disk_serial": "=1+1", "safety_class": 2, "redundancy": "r",
        "power": { "by": "ipmi", "host": "10.0.0.9", "port": 624, "user": "-u", "password_file": "/f" },
        "settings": { "hostname": "p1", "interfaces": [{ "mac": "52:54:00:00:00:01", "addresses": ["10.7.3.21/24"], "gateways": ["10.7.3.1"] }] },
    }));
    bench.service.change_endpoint(&Actor::operator("a"), &id(1), order.unwrap(), None).await.unwrap();
    let sheet = bench.service.export_sheet().await.unwrap();
    let plan = import(&bench, &sheet, None).await.unwrap();
    assert_eq!((plan.unchanged, plan.errors.len(), plan.changes.len()), (4, 0, 0), "{plan:?}\n{sheet}");
}

#[tokio::test]
async fn a_thousand_lines_are_one_order() {
    let (bench, _) = bench("").await;
    let mut sheet = "name,macs,blueprint,line\n".to_owned();
    for n in 0..1000 {
        sheet.push_str(&format!("cell-{n},52:54:01:00:{:02x}:{:02x},hmi,{}\n", n / 256, n % 256, n % 7));
    }
    let plan = import(&bench, &sheet, None).await.unwrap();
    assert_eq!(plan.adds.len(), 1000);
    import(&bench, &sheet, Some(&plan.plan)).await.unwrap();
    let selector = "line=6".parse().unwrap();
    assert_eq!(bench.service.endpoints(Some(&selector)).await.unwrap().len(), 142);
}
