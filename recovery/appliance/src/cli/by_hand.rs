//! The command line as a person types it, against an appliance's own REST over TLS.

use clap::Parser as _;
use recovery_protocol::operator::EndpointView;

use super::{Cli, Code, Output, Reach, client::Client, pinned::pin_of, run};
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
        self.types_as(&self.reach(), words).await
    }

    /// The same as somebody else, or elsewhere.
    async fn says_as(&self, reach: &Reach, line: &str) -> u8 {
        self.types_as(reach, line.split(' ').map(str::to_owned).collect()).await
    }

    async fn types_as(&self, reach: &Reach, words: Vec<String>) -> u8 {
        let token = reach.token_file.as_ref().map(|file| file.display().to_string());
        let reach = [
            "--url".to_owned(),
            reach.url.clone(),
            "--pin".to_owned(),
            reach.pin.clone().unwrap_or_default(),
            "--token-file".to_owned(),
            token.unwrap_or_default(),
        ];
        let words = ["groundstate".to_owned()].into_iter().chain(words).chain(reach);
        let Ok(cli) = Cli::try_parse_from(words) else { return Code::Usage as u8 };
        tokio::task::spawn_blocking(move || run(cli).map_or_else(|fault| fault.code as u8, |()| 0))
            .await
            .unwrap()
    }

    /// How to reach it, as the operator.
    pub fn reach(&self) -> Reach {
        Reach {
            url: format!("https://{}", self.listener.address),
            pin: Some(pin_of(&self.listener.certificate).unwrap()),
            token_file: Some(self.bench.data.path().join("token")),
            data_dir: self.bench.data.path().join("state"),
        }
    }

    /// What the command line would print of an answer, in a form.
    async fn prints<T: serde::de::DeserializeOwned + serde::Serialize + Send + 'static>(
        &self,
        path: &'static str,
        output: Output,
    ) -> String {
        let reach = self.reach();
        let print = move || {
            let client: Client = reach.client()?;
            output.render(&client.get::<T>(path)?, |_| "a table".to_owned())
        };
        tokio::task::spawn_blocking(print).await.unwrap().unwrap()
    }

    /// The hash of a plan of these.
    async fn plan(&self, views: Vec<EndpointView>) -> String {
        let reach = self.reach();
        let plan = move || {
            let client = reach.client()?;
            let planned = views.into_iter().map(|view| super::recover::Planned::of(&client, view));
            Ok::<_, super::Fault>(super::recover::hash(&planned.collect::<Result<Vec<_>, _>>()?))
        };
        tokio::task::spawn_blocking(plan).await.unwrap().unwrap()
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
    let plan = desk.plan(views).await;
    // Somebody changes one of them before it is approved: it is another plan.
    assert_eq!(desk.says("endpoint set press-02 --disk-serial S1").await, 0);
    let order = format!("recover --selector line=3 --approve-plan {plan}");
    assert_eq!(desk.says(&order).await, Code::Conflict as u8);
    let views = desk.bench.service.endpoints(Some(&selector)).await.unwrap();
    let order = format!("recover --selector line=3 --approve-plan {} --reason drift", desk.plan(views).await);
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
    assert_eq!(desk.says("job list --state done").await, Code::Usage as u8);
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

#[tokio::test(flavor = "multi_thread")]
async fn each_exit_code_is_what_an_appliance_brings_about() {
    let more = "[notify.channels.duty]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = 1\nsecurity = \"none\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]\n[[notify.rules]]\nevents = [\"stop\"]\nchannels = [\"duty\"]\n";
    let desk = Desk::new(more).await;
    for (n, line) in [(1, 3), (2, 4)] {
        let add =
            format!("endpoint add press-0{n} --mac 52:54:00:00:00:0{n} --label line={line} --blueprint hmi");
        assert_eq!(desk.says(&add).await, 0);
    }
    let token = desk.bench.data.path().join("ines.token");
    let add = format!("person add ines --role engineer --scope line=3 --token-out {}", token.display());
    assert_eq!(desk.says(&add).await, 0);
    let ines = Reach { token_file: Some(token.clone()), ..desk.reach() };
    let wrong = desk.bench.data.path().join("wrong.token");
    std::fs::write(&wrong, "gs_nobody").unwrap();
    let nobody = Reach { token_file: Some(wrong), ..desk.reach() };
    let away = Reach { url: "https://127.0.0.1:1".to_owned(), ..desk.reach() };
    let other = Reach { pin: Some("0".repeat(64)), ..desk.reach() };

    assert_eq!(desk.says("status").await, 0);
    assert_eq!(desk.says("notify test duty").await, Code::Failed as u8, "nobody takes the message");
    assert_eq!(desk.says("endpoint list --selector line=").await, Code::Usage as u8, "refused here");
    let plan = "plan make night --selector line=3 --image hmi-panel:1 --trigger attestation --most-per-day 4";
    let refused = desk.says(&format!("{plan} --valid-days 900")).await;
    assert_eq!(refused, Code::Usage as u8, "refused there");
    assert_eq!(desk.says("endpoint show press-09").await, Code::NotFound as u8);
    assert_eq!(desk.says("job show 0193a3c8-0000-7000-8000-000000000000").await, Code::NotFound as u8);
    assert_eq!(desk.says_as(&nobody, "status").await, Code::Forbidden as u8);
    assert_eq!(
        desk.says_as(&ines, "recover press-02 --no-wait").await,
        Code::Forbidden as u8,
        "out of scope"
    );
    let old = "endpoint set press-01 --no-settings --revision 9";
    assert_eq!(desk.says(old).await, Code::Conflict as u8);

    let views = desk.bench.service.endpoints(Some(&"line".parse().unwrap())).await.unwrap();
    let both = format!("recover --selector line --approve-plan {}", desk.plan(views).await);
    assert_eq!(desk.says_as(&ines, &both).await, Code::Partial as u8, "one of two is hers");
    let jobs = desk.bench.service.jobs(None).await.unwrap();
    let wait = format!("job show {} --wait --timeout 0", jobs[0].job);
    assert_eq!(desk.says(&wait).await, Code::TimedOut as u8, "nobody works on it");
    assert_eq!(desk.says(&format!("{plan} --valid-days 9")).await, 0);
    let own = desk.says("plan approve night").await;
    assert_eq!(own, Code::AwaitsPerson as u8, "another person must");
    assert_eq!(desk.says_as(&away, "status").await, Code::Unavailable as u8);
    assert_eq!(desk.says_as(&other, "status").await, Code::Integrity as u8, "somebody else answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_appliance_lists_is_printed_in_every_form() {
    use recovery_protocol::operator::{ImageView, StatusView};
    let desk = Desk::new("").await;
    for n in [1, 2] {
        let add = format!("endpoint add press-0{n} --mac 52:54:00:00:00:0{n} --label line=3 --blueprint hmi");
        assert_eq!(desk.says(&add).await, 0);
    }
    let lists = [
        "status",
        "endpoint list",
        "endpoint map",
        "job list",
        "person list",
        "person sessions",
        "plan list",
        "kiosk list",
        "drill list",
    ];
    for form in ["table", "json", "yaml", "csv"] {
        for list in lists {
            assert_eq!(desk.says(&format!("{list} -o {form}")).await, 0, "{list} -o {form}");
        }
    }
    for list in ["status", "endpoint list", "endpoint show press-01", "person list", "net doctor press-01"] {
        assert_eq!(desk.says(&format!("{list} -o name")).await, 0, "{list}");
    }
    assert_eq!(desk.says("endpoint list --json").await, 0);
    assert_eq!(desk.says("endpoint list --json -o csv").await, Code::Usage as u8);
    assert_eq!(desk.says("stop show -o name").await, Code::Usage as u8, "it has no name");

    type Endpoints = Vec<EndpointView>;
    let json: Endpoints =
        serde_json::from_str(&desk.prints::<Endpoints>("/api/v1/endpoints", Output::Json).await).unwrap();
    let yaml: Endpoints =
        serde_saphyr::from_str(&desk.prints::<Endpoints>("/api/v1/endpoints", Output::Yaml).await).unwrap();
    assert_eq!((json.len(), &json), (2, &yaml), "the API's own schema, both times");
    assert_eq!(desk.prints::<Endpoints>("/api/v1/endpoints", Output::Name).await, "press-01\npress-02\n");
    let sheet = desk.prints::<Endpoints>("/api/v1/endpoints", Output::Csv).await;
    let mut read = csv::Reader::from_reader(sheet.as_bytes());
    let at = read.headers().unwrap().iter().position(|head| head == "labels.line").unwrap();
    let lines: Vec<String> = read.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert_eq!(lines, ["3", "3"], "{sheet}");
    assert_eq!(desk.prints::<Vec<ImageView>>("/api/v1/images", Output::Name).await, "hmi-panel:1\n");
    assert_eq!(desk.prints::<StatusView>("/api/v1/status", Output::Name).await, "plant-7\n");
}
