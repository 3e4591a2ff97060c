//! The command line as a person types it, against an appliance's own REST over TLS.

use clap::Parser as _;
use recovery_protocol::operator::EndpointView;

use super::{Cli, Code, pinned::pin_of, run};
use crate::{
    testing::Bench,
    tls::{Limits, tests::TestListener},
};

/// An appliance that listens, and a desk before it.
pub struct Desk {
    pub bench: Bench,
    listener: TestListener,
}

impl Desk {
    pub async fn new(config: &str) -> Self {
        let bench = Bench::new(config).await;
        std::fs::write(bench.data.path().join("token"), &bench.token).unwrap();
        let listener = TestListener::start(bench.router.clone(), Limits::default(), None).await;
        Self { bench, listener }
    }

    /// Type a command. The exit code, 0 for success.
    pub async fn says(&self, line: &str) -> u8 {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        self.types(words).await
    }

    pub async fn types(&self, words: Vec<String>) -> u8 {
        let reach = [
            "--url".to_owned(),
            format!("https://{}", self.listener.address),
            "--pin".to_owned(),
            pin_of(&self.listener.certificate).unwrap(),
            "--token-file".to_owned(),
            self.bench.data.path().join("token").display().to_string(),
        ];
        let words = ["groundstate".to_owned()].into_iter().chain(words).chain(reach);
        let Ok(cli) = Cli::try_parse_from(words) else { return Code::Usage as u8 };
        tokio::task::spawn_blocking(move || run(cli).map_or_else(|fault| fault.code as u8, |()| 0))
            .await
            .unwrap()
    }

    pub async fn endpoint(&self, name: &str) -> EndpointView {
        self.bench.service.endpoint(&name.parse().unwrap()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_added_changed_and_removed() {
    let desk = Desk::new("[groups.line-3]\n").await;
    let add = "endpoint add press-01 --mac 52:54:00:12:34:56 --blueprint hmi --hostname press-1";
    assert_eq!(desk.says(add).await, 0);
    assert_eq!(desk.says("endpoint set press-01 --group line-3 --drill-safe --reason moved").await, 0);
    let view = desk.endpoint("press-01").await;
    assert_eq!((view.group.as_str(), view.drill_safe, view.revision), ("line-3", true, 2));
    // What is not said stays, also within the settings.
    assert_eq!(desk.says("endpoint set press-01 --address 10.7.3.21/24 --drill-safe false").await, 0);
    let view = desk.endpoint("press-01").await;
    assert_eq!((view.settings.hostname.as_deref(), view.settings.interfaces.len()), (Some("press-1"), 1));
    assert!(!view.drill_safe);
    let bmc = "--ipmi 10.0.0.9 --ipmi-user a --ipmi-password-file /f";
    assert_eq!(desk.says(&format!("endpoint set press-01 {bmc}")).await, 0);
    assert_eq!(format!("{:?}", desk.endpoint("press-01").await.power), "ipmi 10.0.0.9:623");
    assert_eq!(desk.says("endpoint set press-01 --no-power").await, 0);
    assert_eq!(format!("{:?}", desk.endpoint("press-01").await.power), "a person");

    assert_eq!(desk.says(&format!("endpoint set press-01 --no-power {bmc}")).await, Code::Usage as u8);
    assert_eq!(desk.says("endpoint set press-01 --reason only").await, Code::Usage as u8);
    assert_eq!(desk.says("endpoint set press-01 --no-settings --revision 1").await, Code::Conflict as u8);
    assert_eq!(desk.says("endpoint set press-09 --no-settings").await, Code::NotFound as u8);
    assert_eq!(desk.says("endpoint remove press-01 --revision 1").await, Code::Conflict as u8);
    assert_eq!(desk.says("endpoint remove press-01 --reason scrapped").await, 0);
    assert_eq!(desk.says("endpoint remove press-01").await, Code::NotFound as u8);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_recovered_as_planned_or_not_at_all() {
    let desk = Desk::new("").await;
    for (n, line) in [(1, 3), (2, 3), (3, 4)] {
        let more = "--blueprint hmi --kind hmi --safety-class 1";
        let add = format!("endpoint add press-0{n} --mac 52:54:00:00:00:0{n} --label line={line} {more}");
        assert_eq!(desk.says(&add).await, 0);
    }
    assert_eq!(desk.says("endpoint set press-03 --label line- --label cell=b").await, 0);
    assert_eq!(desk.endpoint("press-03").await.labels.to_string(), "cell=b");
    assert_eq!(desk.says("endpoint set press-03 --label cell").await, Code::Usage as u8);
    assert_eq!(desk.says("endpoint list --selector line=3").await, 0);
    assert_eq!(desk.says("endpoint list --selector line=").await, Code::Usage as u8);

    assert_eq!(desk.says("recover --selector line=3 --plan").await, 0);
    assert_eq!(desk.says("recover --selector line=3 --approve-plan 00").await, Code::Conflict as u8);
    assert!(desk.bench.service.jobs(None).await.unwrap().is_empty());
    let selector = "line=3".parse().unwrap();
    let views = desk.bench.service.endpoints(Some(&selector)).await.unwrap();
    let plan = super::recover::hash(&views);
    // Somebody changes one of them before it is approved: it is another plan.
    assert_eq!(desk.says("endpoint set press-02 --disk-serial S1").await, 0);
    let order = format!("recover --selector line=3 --approve-plan {plan}");
    assert_eq!(desk.says(&order).await, Code::Conflict as u8);
    let views = desk.bench.service.endpoints(Some(&selector)).await.unwrap();
    let order =
        format!("recover --selector line=3 --approve-plan {} --reason drift", super::recover::hash(&views));
    assert_eq!(desk.says(&order).await, 0);
    let jobs = desk.bench.service.jobs(None).await.unwrap();
    let mut names: Vec<_> = jobs.iter().map(|job| job.endpoint.as_str()).collect();
    names.sort_unstable();
    assert_eq!((names, jobs[0].reason.as_str()), (vec!["press-01", "press-02"], "drift"));
    assert_eq!(desk.says(&order).await, Code::Conflict as u8, "their jobs are open now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_goes_out_and_comes_in_again() {
    let desk = Desk::new("").await;
    let sheet = desk.bench.data.path().join("plant.csv");
    let import = |more: &str| format!("endpoint import {} {more}", sheet.display());
    std::fs::write(&sheet, "name,macs,blueprint\npress-01,52:54:00:00:00:01,hmi\npress-02,x,hmi\n").unwrap();
    assert_eq!(desk.says(&import("--plan")).await, Code::Conflict as u8);
    assert_eq!(desk.says(&import("--approve-plan 00")).await, Code::Conflict as u8);
    assert!(desk.bench.service.endpoints(None).await.unwrap().is_empty());
    std::fs::write(&sheet, "name,macs,blueprint\npress-01,52:54:00:00:00:01,hmi\n").unwrap();
    assert_eq!(desk.says(&import("--plan")).await, 0);
    assert_eq!(desk.says(&import("--approve-plan 00")).await, Code::Conflict as u8);
    let bytes = std::fs::read(&sheet).unwrap();
    let actor = crate::service::Actor::operator("test");
    let plan = desk.bench.service.import_sheet(&actor, &bytes, None).await.unwrap().plan;
    assert_eq!(desk.says(&import(&format!("--approve-plan {plan}"))).await, 0);
    assert_eq!(desk.endpoint("press-01").await.blueprint, "hmi");

    let out = desk.bench.data.path().join("out.csv");
    assert_eq!(desk.says(&format!("endpoint export --out {}", out.display())).await, 0);
    let again = desk.bench.service.import_sheet(&actor, &std::fs::read(&out).unwrap(), None).await.unwrap();
    assert_eq!((again.unchanged, again.changes.len()), (1, 0));
    assert_eq!(desk.says(&import("")).await, Code::Usage as u8);
    assert_eq!(desk.says("endpoint import /no/such/file --plan").await, Code::Failed as u8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_looked_up_checked_and_ordered_once_more() {
    let desk = Desk::new("").await;
    desk.bench.add("press-01", "52:54:00:12:34:56", serde_json::json!({})).await;
    let job = desk.bench.recover("press-01").await.job;
    assert_eq!(desk.says("job list --state open --words press --sort oldest --limit 5").await, 0);
    assert_eq!(desk.says("job list --state done").await, Code::Failed as u8);
    assert_eq!(desk.says(&format!("job log {job}")).await, 0);
    assert_eq!(desk.says(&format!("job retry {job}")).await, Code::Conflict as u8);
    assert_eq!(desk.says(&format!("job cancel {job}")).await, 0);
    assert_eq!(desk.says(&format!("job retry {job} --reason mended")).await, 0);
    assert_eq!(desk.says("evidence list --kind order --by test --endpoint press-01").await, 0);
    assert_eq!(desk.says("evidence verify --by-appliance").await, 0);
    assert_eq!(desk.says("image channels").await, 0);
    assert_eq!(desk.says("image channels nothing").await, Code::NotFound as u8);
    let mut tx = desk.bench.journal.db.begin().await.unwrap();
    let change = "UPDATE evidence SET text = replace(text, 'press', 'pross') WHERE seq = 2";
    crate::db::query(change).execute(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(desk.says("evidence verify --by-appliance").await, Code::Integrity as u8);
}
