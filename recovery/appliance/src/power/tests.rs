//! Several drivers: tried in order, the next one first where the last one said yes for nothing, and each disarmed.

use super::{
    redfish::tests::{Habit, Stand},
    *,
};

const MACS: [MacAddr; 1] = [MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])];

fn redfish(stand: &Stand) -> Power {
    let password_file = stand.password_file.path().to_str().unwrap().to_owned();
    Power::Redfish { url: stand.url.clone(), user: "gs".to_owned(), password_file, certificate_sha256: None }
}

fn gone() -> Power {
    Power::Outlet { at: "tasmota+http://127.0.0.1:1/1".parse().unwrap() }
}

async fn power(of: Vec<Power>, round: u32) -> Result<Powered, PowerError> {
    let power = Power::Several { of };
    let target = Target { power: &power, macs: &MACS, chain: Chain::Auto, round };
    Drivers::default().power_into_network(&target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_driver_does_what_one_could_not_and_says_which() {
    let stand = Stand::new(&[]).await;
    let done = power(vec![gone(), redfish(&stand)], 1).await.unwrap();
    let Powered::Confirmed { by } = done else { panic!("{done:?}") };
    assert!(by.starts_with("redfish, after: ") && by.contains("127.0.0.1:1"), "{by}");
    // With a person at the end, somebody is asked.
    let asked = power(vec![gone(), Power::Person], 1).await.unwrap();
    assert!(matches!(asked, Powered::Asked { .. }), "{asked:?}");
    let nobody = power(vec![gone(), gone()], 1).await.unwrap_err();
    assert_eq!(nobody.to_string().matches("127.0.0.1:1").count(), 2, "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_failed_half_way_is_disarmed_at_once() {
    // It takes the override, and then the power does not come.
    let stuck = Stand::new(&[Habit::StaysOff]).await;
    let good = Stand::new(&[]).await;
    power(vec![redfish(&stuck), redfish(&good)], 1).await.unwrap();
    assert!(stuck.log().iter().any(|order| order.contains("Once")), "it had been armed");
    assert_eq!((stuck.is_armed(), good.is_armed()), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_round_begins_with_the_next_driver() {
    let (first, second) = (Stand::new(&[]).await, Stand::new(&[]).await);
    let both = || vec![redfish(&first), redfish(&second)];
    power(both(), 2).await.unwrap();
    assert_eq!((first.is_armed(), second.is_armed()), (false, true));
    power(both(), 3).await.unwrap();
    assert!(first.is_armed());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_is_disarmed_at_the_end_also_behind_one_that_is_gone() {
    let stand = Stand::new(&[]).await;
    power(vec![redfish(&stand)], 1).await.unwrap();
    let away = Power::Redfish {
        url: "http://127.0.0.1:1".to_owned(),
        user: "gs".to_owned(),
        password_file: stand.password_file.path().to_str().unwrap().to_owned(),
        certificate_sha256: None,
    };
    let power = Power::Several { of: vec![away, redfish(&stand), gone(), Power::Person] };
    let target = Target { power: &power, macs: &MACS, chain: Chain::Auto, round: 1 };
    assert!(Drivers::default().clear_boot(&target).await.is_err(), "what could not be asked is said");
    assert!(!stand.is_armed());
}
