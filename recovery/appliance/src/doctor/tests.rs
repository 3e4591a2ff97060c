//! Doctor before a real appliance: over TLS, with its database, its keys and its evidence.

use super::*;
use crate::cli::by_hand::Desk;

async fn looked_at(desk: &Desk, reach: Reach) -> Vec<Finding> {
    let config = desk.bench.journal.config.clone();
    tokio::task::spawn_blocking(move || {
        look(&Scene { config: &config, reach: &reach, now_unix_ms: now_unix_ms() })
    })
    .await
    .unwrap()
}

fn of<'a>(found: &'a [Finding], check: &str) -> &'a Finding {
    found.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("{check}: {found:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_site_is_looked_at_whole_and_what_was_not_seen_is_not_called_well() {
    let desk = Desk::new("").await;
    let found = looked_at(&desk, desk.reach()).await;
    let mut checks: Vec<&str> = found.iter().map(|finding| finding.check).collect();
    checks.sort_unstable();
    checks.dedup();
    assert!(checks.len() >= 25, "{checks:?}");
    for (check, severity) in [
        ("api", Severity::Ok),
        ("evidence", Severity::Ok),
        ("stop", Severity::Ok),
        ("tls-expiry", Severity::Ok),
        ("key-files", Severity::Ok),
        ("image-trust", Severity::Ok),
        ("backup", Severity::Warning),
        ("drill", Severity::Warning),
        ("notify", Severity::Warning),
        ("image-scrub", Severity::Warning),
        // The configuration of the test names no boot kit: nothing is fetched, so nothing is called well.
        ("boot-kit", Severity::Unknown),
        ("tftp-fetch", Severity::Unknown),
    ] {
        assert_eq!(of(&found, check).severity, severity, "{:?}", of(&found, check));
    }
    for finding in found.iter().filter(|finding| finding.severity >= Severity::Warning) {
        assert!(!finding.remedy.is_empty(), "{finding:?}");
    }
    assert!(found.iter().all(|finding| !finding.evidence.is_empty()), "{found:?}");
    for (language, _) in crate::console::Texts::offered() {
        let texts = crate::console::Texts::of(language).unwrap();
        for check in &checks {
            let told = crate::explain::one(texts, check)
                .unwrap_or_else(|fault| panic!("{language} {check}: {fault}"));
            assert!(!told.now.is_empty(), "{language} {check}");
        }
    }
    assert!(shown(&found).contains("hint: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_a_failure_and_an_appliance_that_is_gone_leaves_all_that_it_knows_unknown() {
    let desk = Desk::new("").await;
    assert_eq!(desk.says("stop press --reason smoke").await, 0);
    let found = looked_at(&desk, desk.reach()).await;
    assert_eq!(of(&found, "stop").severity, Severity::Failure);
    assert!(of(&found, "stop").evidence.contains("smoke"));
    assert_eq!(exit_code(&found), ExitCode::from(2));

    let gone = Reach { url: "https://127.0.0.1:1".to_owned(), ..desk.reach() };
    let found = looked_at(&desk, gone).await;
    assert_eq!(of(&found, "api").severity, Severity::Failure);
    for check in ["stop", "backup", "drill", "evidence", "foreign-dhcp", "tftp-fetch"] {
        assert_eq!(of(&found, check).severity, Severity::Unknown, "{check}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let of = |severity| Finding::of("x", severity, "y", "z");
    assert_eq!(exit_code(&[of(Severity::Ok)]), ExitCode::SUCCESS);
    assert_eq!(exit_code(&[of(Severity::Ok), of(Severity::Unknown)]), ExitCode::from(1));
    assert_eq!(exit_code(&[of(Severity::Warning), of(Severity::Unknown)]), ExitCode::from(1));
    assert_eq!(exit_code(&[of(Severity::Failure), of(Severity::Ok)]), ExitCode::from(2));
}
