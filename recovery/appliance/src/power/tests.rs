//! Several drivers: tried in order, the next one first where the last one said yes for nothing, and each disarmed.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    redfish::tests::{Habit, Stand},
    *,
};

pub const MACS: [MacAddr; 1] = [MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])];

fn press() -> EndpointId {
    "press-01".parse().unwrap()
}

pub fn job() -> JobId {
    JobId::new(1, [7; 10])
}

/// What no job stops.
pub struct Always;

impl Still for Always {
    fn wanted(&self) -> BoxFuture<'_, Result<(), PowerError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Wanted when it is asked so many times, and then no more, for this reason.
pub struct Wanted(AtomicU32, PowerError);

impl Wanted {
    pub fn times(times: u32) -> Self {
        Self(AtomicU32::new(times), PowerError::Withdrawn)
    }

    pub fn before_a_takeover(times: u32) -> Self {
        Self(AtomicU32::new(times), PowerError::Fenced)
    }
}

impl Still for Wanted {
    fn wanted(&self) -> BoxFuture<'_, Result<(), PowerError>> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        Box::pin(async move { left.map(drop).map_err(|_| self.1.clone()) })
    }
}

fn redfish(stand: &Stand) -> Power {
    let password_file = stand.password_file.path().to_str().unwrap().to_owned();
    Power::Redfish { url: stand.url.clone(), user: "gs".to_owned(), password_file, certificate_sha256: None }
}

fn gone() -> Power {
    Power::Outlet { at: "tasmota+http://127.0.0.1:1/1".parse().unwrap() }
}

async fn power(of: Vec<Power>, round: u32) -> Result<Powered, PowerError> {
    power_while(of, round, &Always).await
}

async fn power_while(of: Vec<Power>, round: u32, still: &dyn Still) -> Result<Powered, PowerError> {
    let power = Power::Several { of };
    let press = press();
    let target = Target {
        power: &power,
        macs: &MACS,
        chain: Chain::Auto,
        round,
        job: job(),
        endpoint: &press,
        proves: false,
    };
    Drivers::default().power_into_network(&target, still).await
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
async fn what_is_stopped_while_one_driver_fails_is_not_switched_by_the_next() {
    // Asked before each driver, by each, and when one has failed: the first one begins, and the second one is not spoken to, or looks and
    // goes no further.
    for times in [2, 4] {
        let (stuck, good) = (Stand::new(&[Habit::StaysOff]).await, Stand::new(&[]).await);
        let of = vec![redfish(&stuck), redfish(&good)];
        let error = power_while(of, 1, &Wanted::times(times)).await.unwrap_err();
        let PowerError::Left { why, left } = &error else { panic!("how it was left is not said: {error}") };
        assert_eq!((&**why, *left), (&PowerError::Withdrawn, Left::Off));
        assert!(stuck.log().iter().any(|order| order.contains("Once")), "it had been armed");
        assert!(!stuck.is_armed(), "and is taken back");
        assert!(good.log().is_empty(), "{:?}", good.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_appliance_that_took_over_may_have_set_is_left_where_a_driver_fails() {
    let (stuck, good) = (Stand::new(&[Habit::StaysOff]).await, Stand::new(&[]).await);
    let of = vec![redfish(&stuck), redfish(&good)];
    let error = power_while(of, 1, &Wanted::before_a_takeover(2)).await.unwrap_err();
    assert!(error.to_string().contains("another appliance has taken over"), "{error}");
    assert!(stuck.is_armed() && good.log().is_empty(), "{:?}", good.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_before_it_is_begun_is_not_switched_by_any_kind_of_driver() {
    let stand = Stand::new(&[]).await;
    let wake = Power::WakeOnLan { to: std::net::Ipv4Addr::LOCALHOST };
    for power in [redfish(&stand), gone(), wake, Power::Person] {
        let press = press();
        let target = Target {
            power: &power,
            macs: &MACS,
            chain: Chain::Auto,
            round: 1,
            job: job(),
            endpoint: &press,
            proves: false,
        };
        let error = Drivers::default().power_into_network(&target, &Wanted::times(0)).await.unwrap_err();
        assert_eq!(error, PowerError::Withdrawn, "{power:?}");
    }
    assert!(stand.log().is_empty(), "{:?}", stand.log());
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
    let press = press();
    let target = Target {
        power: &power,
        macs: &MACS,
        chain: Chain::Auto,
        round: 1,
        job: job(),
        endpoint: &press,
        proves: false,
    };
    assert!(Drivers::default().clear_boot(&target).await.is_err(), "what could not be asked is said");
    assert!(!stand.is_armed());
}
