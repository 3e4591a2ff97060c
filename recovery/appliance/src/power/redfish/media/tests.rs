//! The CD against BMCs with the habits of real ones, whose manager or system has the drives. Against `sushy-emulator`: `peer`.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hyper::http::{StatusCode, Uri};

use super::*;
use crate::power::{
    Left,
    tests::{Always, Wanted, job},
};

mod peer;

const SYSTEM: &str = "/redfish/v1/Systems/1";
const DRIVE: &str = "/redfish/v1/Managers/1/VirtualMedia/2";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// No action to insert or eject: PATCH alone.
    Patch,
    /// Wants the way of transfer.
    WantsProtocol,
    /// Refuses whatever it does not know.
    BareOnly,
    /// Says yes and inserts nothing.
    Ignores,
    /// Loses the medium when the power goes off.
    Drops,
    /// Says that something is in, and not what.
    Nameless,
    /// Says yes to an override and forgets it.
    NoOverride,
    /// Does not eject.
    Holds,
    /// The drives hang on the system itself.
    OnSystem,
    /// Shows the medium once it was told to eject it, which it was too busy for.
    Late,
    /// Ends the conversation in the midst of its answer, and shows the medium a while later.
    Cuts,
    /// Keeps the name of what was in before.
    StaleName,
    /// Its manager has another system, too.
    Shared,
    /// Its manager does not say what it manages.
    Silent,
}

struct Chassis {
    habits: Vec<Habit>,
    on: bool,
    image: Option<String>,
    /// What comes in later, and after how many reads.
    late: Option<(u32, String)>,
    target: String,
    log: Vec<String>,
}

type Shared = Arc<Mutex<Chassis>>;

struct Stand {
    url: String,
    password_file: tempfile::NamedTempFile,
    chassis: Shared,
}

impl Stand {
    async fn new(habits: &[Habit]) -> Self {
        let (habits, log) = (habits.to_vec(), Vec::new());
        let (image, late) = (None, None);
        let chassis = Chassis { habits, on: true, image, late, target: "None".to_owned(), log };
        let chassis: Shared = Arc::new(Mutex::new(chassis));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&chassis));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{SYSTEM}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let password_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password_file.path(), "secret\n").unwrap();
        Self { url, password_file, chassis }
    }

    fn bmc(&self) -> Bmc<'_> {
        let password_file = self.password_file.path().to_str().unwrap();
        Bmc { url: &self.url, user: "gs", password_file, pin: None }
    }

    async fn power(&self, still: &dyn Still) -> Result<(), PowerError> {
        power_into_medium(&self.bmc(), Some(&shelf()), job(), still).await
    }

    fn log(&self) -> String {
        self.chassis.lock().unwrap().log.join(" ")
    }

    /// On, in the drive, the override.
    fn now(&self) -> (bool, Option<String>, String) {
        let chassis = self.chassis.lock().unwrap();
        (chassis.on, chassis.image.clone(), chassis.target.clone())
    }
}

fn shelf() -> Shelf {
    Shelf { addresses: vec![Ipv4Addr::new(10, 7, 0, 1), Ipv4Addr::LOCALHOST], port: 80 }
}

fn ours(job: JobId) -> String {
    format!("http://127.0.0.1:80/media/groundstate-{job}.iso")
}

async fn answer(State(chassis): State<Shared>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut chassis = chassis.lock().unwrap();
    let order: Value = serde_json::from_slice(&body).unwrap_or_default();
    let no = || (StatusCode::BAD_REQUEST, Json(json!({}))).into_response();
    let media = json!({ "@odata.id": "/redfish/v1/Managers/1/VirtualMedia" });
    let action = uri.path().strip_prefix(DRIVE).and_then(|rest| rest.strip_prefix("/Actions/VirtualMedia."));
    match (method.as_str(), uri.path(), action) {
        ("GET", SYSTEM, _) => {
            let mut system = json!({
                "PowerState": if chassis.on { "On" } else { "Off" },
                "Boot": {
                    "BootSourceOverrideEnabled": if chassis.target == "None" { "Disabled" } else { "Once" },
                    "BootSourceOverrideTarget": chassis.target, "BootSourceOverrideMode": "UEFI",
                },
                "Links": { "ManagedBy": [{ "@odata.id": "/redfish/v1/Managers/1" }] },
            });
            if chassis.has(Habit::OnSystem) {
                system["VirtualMedia"] = media;
            }
            Json(system).into_response()
        }
        ("GET", "/redfish/v1/Managers/1", _) if !chassis.has(Habit::OnSystem) => {
            Json(chassis.manager(media)).into_response()
        }
        ("GET", "/redfish/v1/Systems", _) => Json(json!({ "Members": chassis.systems() })).into_response(),
        ("GET", "/redfish/v1/Managers/1/VirtualMedia", _) => {
            let member = |path: &str| json!({ "@odata.id": path });
            let floppy = "/redfish/v1/Managers/1/VirtualMedia/1";
            Json(json!({ "Members": [member(floppy), member(DRIVE)] })).into_response()
        }
        ("GET", "/redfish/v1/Managers/1/VirtualMedia/1", _) => Json(
            json!({ "MediaTypes": ["Floppy", "USBStick"], "Inserted": true, "Image": "http://x/theirs.img" }),
        )
        .into_response(),
        ("GET", DRIVE, _) => Json(chassis.drive()).into_response(),
        ("PATCH", SYSTEM, _) => {
            chassis
                .log
                .push(format!("boot:{}", order["Boot"]["BootSourceOverrideTarget"].as_str().unwrap_or("-")));
            if order["Boot"]["BootSourceOverrideEnabled"] == "Disabled" {
                chassis.target = "None".to_owned();
            } else if !chassis.has(Habit::NoOverride) {
                chassis.target = order["Boot"]["BootSourceOverrideTarget"].as_str().unwrap().to_owned();
            }
            StatusCode::NO_CONTENT.into_response()
        }
        ("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset", _) => {
            chassis.on = order["ResetType"] != "ForceOff";
            let word = if chassis.on { "on" } else { "off" };
            chassis.log.push(word.to_owned());
            if !chassis.on && chassis.has(Habit::Drops) {
                chassis.image = None;
            }
            StatusCode::NO_CONTENT.into_response()
        }
        ("PATCH", DRIVE, _) if chassis.has(Habit::Patch) => chassis.put(&order).unwrap_or_else(no),
        ("POST", _, Some("InsertMedia")) if !chassis.has(Habit::Patch) => {
            chassis.put(&order).unwrap_or_else(no)
        }
        ("POST", _, Some("EjectMedia")) if !chassis.has(Habit::Patch) => {
            chassis.put(&json!({ "Image": null })).unwrap_or_else(no)
        }
        other => panic!("{other:?}"),
    }
}

impl Chassis {
    fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }

    fn systems(&self) -> Vec<Value> {
        let all = [SYSTEM, "/redfish/v1/Systems/2"].map(|path| json!({ "@odata.id": path }));
        all.into_iter().take(if self.has(Habit::Shared) { 2 } else { 1 }).collect()
    }

    fn manager(&self, media: Value) -> Value {
        match self.has(Habit::Silent) {
            true => json!({ "VirtualMedia": media }),
            false => {
                json!({ "VirtualMedia": media, "Links": { "ManagerForServers": self.systems() } })
            }
        }
    }

    fn drive(&mut self) -> Value {
        if let Some((reads, image)) = self.late.take() {
            match reads {
                0 => self.image = Some(image),
                reads => self.late = Some((reads - 1, image)),
            }
        }
        let mut drive =
            json!({ "MediaTypes": ["CD", "DVD"], "Inserted": self.image.is_some(), "Image": self.image });
        if self.has(Habit::Nameless) {
            drive["Image"] = Value::Null;
        }
        if self.has(Habit::StaleName) {
            drive["ImageName"] = json!(name(job()));
        }
        if !self.has(Habit::Patch) {
            let target = |word: &str| json!({ "target": format!("{DRIVE}/Actions/VirtualMedia.{word}") });
            drive["Actions"] = json!({ "#VirtualMedia.InsertMedia": target("InsertMedia"), "#VirtualMedia.EjectMedia": target("EjectMedia") });
        }
        drive
    }

    /// As the order has it; `None`: refused.
    fn put(&mut self, order: &Value) -> Option<Response> {
        let Some(image) = order["Image"].as_str() else {
            self.log.push("eject".to_owned());
            if !self.has(Habit::Holds) {
                self.image = None;
            }
            self.late = self.late.take().map(|(_, image)| (2, image));
            return Some(StatusCode::NO_CONTENT.into_response());
        };
        if self.has(Habit::WantsProtocol) && order["TransferProtocolType"] != "HTTP" {
            return None;
        }
        if self.has(Habit::BareOnly) && order.as_object().unwrap().len() > 1 {
            return None;
        }
        assert!(image.ends_with(".iso"), "{image}");
        self.log.push("insert".to_owned());
        if self.has(Habit::Late) {
            self.late = Some((u32::MAX, image.to_owned()));
        } else if self.has(Habit::Cuts) {
            self.late = Some((3, image.to_owned()));
            let cut = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
            return Some(Response::new(axum::body::Body::from_stream(cut)));
        } else if !self.has(Habit::Ignores) {
            self.image = Some(image.to_owned());
        }
        Some(StatusCode::NO_CONTENT.into_response())
    }
}

#[tokio::test]
async fn the_cd_is_in_before_it_goes_off_and_the_override_is_read_before_it_goes_on() {
    let habits = [
        Habit::Patch,
        Habit::WantsProtocol,
        Habit::BareOnly,
        Habit::OnSystem,
        Habit::Cuts,
        Habit::StaleName,
        Habit::Silent,
    ];
    for habits in std::iter::once(vec![]).chain(habits.map(|habit| vec![habit])) {
        let stand = Stand::new(&habits).await;
        stand.power(&Always).await.unwrap_or_else(|error| panic!("{habits:?}: {error}"));
        assert_eq!(stand.log(), "insert off boot:Cd on", "{habits:?}");
        assert_eq!(stand.now(), (true, Some(ours(job())), "Cd".to_owned()), "{habits:?}");
        assert!(armed(&stand.bmc(), Some(&shelf()), job()).await.unwrap(), "{habits:?}");
        assert!(!armed(&stand.bmc(), Some(&shelf()), JobId::new(2, [8; 10])).await.unwrap(), "another job's");
        clear(&stand.bmc()).await.unwrap_or_else(|error| panic!("{habits:?}: {error}"));
        assert_eq!(stand.now(), (true, None, "None".to_owned()), "{habits:?}");
        let log = stand.log();
        clear(&stand.bmc()).await.unwrap();
        assert_eq!(stand.log(), log, "nothing to take back is no order");
    }
}

#[tokio::test]
async fn somebody_elses_cd_is_never_ejected_and_nothing_is_switched_beside_it() {
    for image in
        ["http://10.9.9.9/windows.iso", "http://127.0.0.1/media/groundstate-.iso", "//nas/groundstate-x.iso"]
    {
        let stand = Stand::new(&[]).await;
        stand.chassis.lock().unwrap().image = Some(image.to_owned());
        let error = stand.power(&Always).await.unwrap_err().to_string();
        assert!(error.contains("somebody else's CD") && error.contains(image), "{error}");
        clear(&stand.bmc()).await.unwrap();
        assert_eq!(stand.now(), (true, Some(image.to_owned()), "None".to_owned()));
        assert_eq!(stand.log(), "", "{image}");
    }
    // One that still names what was in before.
    let stand = Stand::new(&[Habit::StaleName]).await;
    stand.chassis.lock().unwrap().image = Some("http://10.9.9.9/windows.iso".to_owned());
    assert!(stand.power(&Always).await.is_err());
    clear(&stand.bmc()).await.unwrap();
    assert_eq!(stand.log(), "");
    // One that does not say what is in it.
    let stand = Stand::new(&[Habit::Nameless]).await;
    stand.chassis.lock().unwrap().image = Some("x".to_owned());
    let error = stand.power(&Always).await.unwrap_err().to_string();
    assert!(error.contains("does not name"), "{error}");
    clear(&stand.bmc()).await.unwrap();
    assert_eq!(stand.log(), "");
}

#[tokio::test]
async fn what_an_earlier_job_or_another_appliance_of_ours_left_is_taken_out_first() {
    let stand = Stand::new(&[]).await;
    let theirs = format!("http://10.7.0.2:80/media/{}", name(JobId::new(2, [8; 10])));
    stand.chassis.lock().unwrap().image = Some(theirs);
    stand.power(&Always).await.unwrap();
    assert_eq!(stand.log(), "eject insert off boot:Cd on");
}

#[tokio::test]
async fn what_the_appliance_before_a_takeover_inserted_is_not_taken_for_done() {
    let stand = Stand::new(&[]).await;
    stand.power(&Always).await.unwrap();
    let before = ours(job()).replace("127.0.0.1", "10.7.0.2");
    stand.chassis.lock().unwrap().image = Some(before);
    assert!(!armed(&stand.bmc(), Some(&shelf()), job()).await.unwrap());
    assert!(!armed(&stand.bmc(), None, job()).await.unwrap());
    stand.power(&Always).await.unwrap();
    assert!(stand.log().ends_with("eject insert off boot:Cd on"), "{}", stand.log());
    assert!(armed(&stand.bmc(), Some(&shelf()), job()).await.unwrap());
}

#[tokio::test]
async fn whatever_fails_leaves_no_cd_and_no_override_and_says_how_the_endpoint_was_left() {
    for (habit, on, says, log) in [
        (Habit::Ignores, true, "insert the CD", "insert eject"),
        (Habit::Late, true, "insert the CD", "insert eject eject"),
        (Habit::Nameless, true, "insert the CD", "insert eject"),
        (Habit::Drops, false, "keep the CD while it is off", "insert off"),
        (Habit::NoOverride, false, "boot from the CD", "insert off boot:Cd boot:Cd eject"),
    ] {
        let stand = Stand::new(&[habit]).await;
        let error = stand.power(&Always).await.unwrap_err();
        assert!(error.to_string().contains(says), "{habit:?}: {error}");
        assert_eq!(error.left_dark(), (!on).then_some(Left::Off), "{habit:?}");
        assert_eq!(stand.now(), (on, None, "None".to_owned()), "{habit:?}");
        assert_eq!(stand.log(), log, "{habit:?}");
    }
}

#[tokio::test]
async fn a_cd_that_stays_is_an_error() {
    let stand = Stand::new(&[]).await;
    stand.power(&Always).await.unwrap();
    stand.chassis.lock().unwrap().habits.push(Habit::Holds);
    let error = clear(&stand.bmc()).await.unwrap_err();
    assert!(matches!(error, PowerError::Unconfirmed { what: "eject the CD", .. }), "{error}");
    assert_eq!(stand.now().2, "None", "the override is gone all the same");
}

#[tokio::test]
async fn a_job_that_is_stopped_switches_nothing_and_leaves_no_cd() {
    for (times, log) in [(0, ""), (1, ""), (2, "insert eject")] {
        let stand = Stand::new(&[]).await;
        assert_eq!(stand.power(&Wanted::times(times)).await, Err(PowerError::Withdrawn));
        assert_eq!((stand.log().as_str(), stand.now()), (log, (true, None, "None".to_owned())));
    }
}

/// It says that something is in and not what, and keeps it: nobody can tell that it is out.
#[tokio::test]
async fn a_cd_that_is_not_named_and_stays_is_an_error() {
    let stand = Stand::new(&[Habit::Nameless, Habit::Holds]).await;
    stand.power(&Always).await.unwrap_err();
    assert!(stand.now().1.is_some());
    let bmc = stand.bmc();
    for is_in in [true, false] {
        let session = Session::open(&bmc).await.unwrap();
        let error = session.take_out(Some((DRIVE, is_in))).await.unwrap_err();
        assert!(matches!(error, PowerError::Unconfirmed { what: "eject the CD", .. }), "{error}");
    }
}

#[tokio::test]
async fn what_the_appliance_that_took_over_has_set_is_left_alone() {
    for (times, log) in [(0, ""), (1, "eject"), (2, "eject insert")] {
        let stand = Stand::new(&[]).await;
        let theirs = format!("http://10.7.0.2:80/media/{}", name(job()));
        stand.chassis.lock().unwrap().image = Some(theirs.clone());
        assert_eq!(stand.power(&Wanted::before_a_takeover(times)).await, Err(PowerError::Fenced));
        assert_eq!(stand.log(), log, "{times}");
        assert!(times > 0 || stand.now().1 == Some(theirs), "ejected by one that is fenced");
    }
}

#[tokio::test]
async fn the_drives_of_a_manager_of_several_systems_are_not_touched() {
    for habits in [vec![Habit::Shared], vec![Habit::Shared, Habit::Silent]] {
        let stand = Stand::new(&habits).await;
        let theirs = format!("http://10.7.0.1:80/media/{}", name(JobId::new(2, [8; 10])));
        stand.chassis.lock().unwrap().image = Some(theirs.clone());
        let error = stand.power(&Always).await.unwrap_err().to_string();
        assert!(error.contains("several systems"), "{error}");
        assert!(!armed(&stand.bmc(), Some(&shelf()), job()).await.unwrap());
        clear(&stand.bmc()).await.unwrap();
        assert_eq!((stand.log().as_str(), stand.now().1), ("", Some(theirs)), "{habits:?}");
    }
}

#[tokio::test]
async fn without_a_cd_in_the_kit_or_a_drive_in_the_bmc_nothing_is_switched() {
    let stand = Stand::new(&[]).await;
    let error = power_into_medium(&stand.bmc(), None, job(), &Always).await.unwrap_err().to_string();
    assert!(error.contains("groundstate-bootkit stick"), "{error}");
    let nowhere = Shelf { addresses: Vec::new(), port: 80 };
    assert!(power_into_medium(&stand.bmc(), Some(&nowhere), job(), &Always).await.is_err());
    assert_eq!(stand.log(), "");
}
