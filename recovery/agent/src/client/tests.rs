//! The pinned appliance is heard, every other one is not.

use recovery_protocol::Problem;
use recovery_protocol::agent::{Assignment, ReportReply};

use super::{ApiError, Appliance, SpkiPin};
use crate::testing::serve_tls;

fn wait() -> Vec<u8> {
    serde_json::to_vec(&Assignment::Wait { seconds: 1, why: "later".to_owned() }).unwrap()
}

#[test]
fn the_pinned_key_is_heard_again_and_again() {
    let (address, pin) =
        serve_tls(|request| (200, if request.path == "/agent/v1/next" { wait() } else { vec![] }));
    let appliance = Appliance::new(address, pin).unwrap();
    for _ in 0..3 {
        let Assignment::Wait { why, .. } = appliance.next("s").unwrap() else { panic!("no wait") };
        assert_eq!(why, "later");
    }
}

#[test]
fn another_key_is_refused_before_anything_is_said() {
    let (address, _) = serve_tls(|_| panic!("a foreign appliance was spoken to"));
    let appliance = Appliance::new(address, SpkiPin([7; 32])).unwrap();
    assert!(matches!(appliance.next("s"), Err(ApiError::Unreachable { .. })));
}

#[test]
fn refusal_silence_and_nonsense_are_told_apart() {
    let problem = Problem::new(409, "stale", "Stale", "the order is old", "ask again");
    let refusal = serde_json::to_vec(&problem).unwrap();
    let (address, pin) = serve_tls(move |_| (409, refusal.clone()));
    match Appliance::new(address, pin).unwrap().next("s") {
        Err(ApiError::Refused(refused)) => assert_eq!(*refused, problem),
        other => panic!("{other:?}"),
    }
    let (address, pin) = serve_tls(|_| (200, serde_json::to_vec(&ReportReply::Continue).unwrap()));
    assert!(matches!(Appliance::new(address, pin).unwrap().next("s"), Err(ApiError::Malformed { .. })));
    let (address, pin) = serve_tls(|_| (502, b"bad gateway".to_vec()));
    assert!(matches!(
        Appliance::new(address, pin).unwrap().next("s"),
        Err(ApiError::Malformed { status: 502, .. })
    ));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(Appliance::new(nobody, pin).unwrap().next("s"), Err(ApiError::Unreachable { .. })));
}

#[test]
fn pins_have_one_form() {
    assert_eq!("07".repeat(32).parse::<SpkiPin>().unwrap(), SpkiPin([7; 32]));
    for bad in ["", "07", &"zz".repeat(32)] {
        assert!(bad.parse::<SpkiPin>().is_err(), "{bad}");
    }
}
