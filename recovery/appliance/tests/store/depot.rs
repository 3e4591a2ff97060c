//! The depot under the command line: from one site to another over a real S3 service, and what a person is told when it lies.

use super::s3::{Lie, SECRET, Service};
use super::{Desk, all_whole};

/// Two desks that trust the same signer, each with a configuration that names the service.
pub fn sites(service: &Service) -> (Desk, Desk) {
    let (one, two) = (Desk::new(), Desk::new());
    for (role, name) in [("root", "root"), ("image", "signer"), ("channel", "lead")] {
        let file = format!("{name}.key");
        let public = one.good(&[
            "image",
            "key",
            "new",
            "--role",
            role,
            "--name",
            name,
            "--unprotected",
            "--out",
            &file,
        ]);
        std::fs::write(one.path(&format!("{name}.pub")), public).unwrap();
    }
    one.good(&[
        "image",
        "root",
        "new",
        "--root",
        "root.pub",
        "--signer",
        "signer.pub",
        "--channel",
        "lead.pub",
    ]);
    one.good(&["image", "root", "sign", "trust-root.json", "--key", "root.key"]);
    std::fs::copy(one.path("trust-root.json"), two.path("trust-root.json")).unwrap();
    for desk in [&one, &two] {
        service.configure(desk.dir.path(), SECRET, "");
    }
    (one, two)
}

pub fn depot(words: &[&'static str]) -> Vec<&'static str> {
    [&["image", "depot"], words, &["--config", "groundstate.toml"]].concat()
}

#[test]
fn an_image_travels_from_site_to_site_and_leaves_again() {
    let service = Service::start();
    let (one, two) = sites(&service);
    one.disk("1.raw", 1, 1 << 20);
    let image = one.import("1.raw", "1").to_string();
    one.good(&depot(&["push", "--plan"]));
    assert!(service.files("").is_empty());
    assert!(one.good(&depot(&["push"])).starts_with("pushed 1 images, 1 packs"));
    two.refused(&depot(&["pull", "--plan"]), 10, "is not trusted");
    assert!(!two.path("store").exists(), "a plan makes no store");
    two.refused(&depot(&["pull"]), 10, "is not trusted");
    assert!(!two.path("store/manifests").join(format!("{image}.gsi")).exists());
    one.good(&["image", "sign", "hmi", "--key", "signer.key"]);
    one.good(&["image", "promote", "hmi", "--key", "lead.key", "--reason", "tested"]);
    assert!(one.good(&depot(&["push"])).contains("0 packs, 0 B, 1 signatures, 1 statements"));
    assert!(two.good(&depot(&["list"])).contains("depot only"));
    let plan = ["pull", "hmi:1", "--plan", "--json"];
    let planned = two.good(&depot(&plan));
    let island = two.good(&[&["image", "--store", "island/store"], &depot(&plan)[1..]].concat());
    assert_eq!(island, planned, "no store is an empty one");
    assert!(!two.path("island").exists(), "a plan makes no store");
    assert!(planned.contains(&image), "{planned}");
    assert!(two.good(&depot(&["pull", "hmi:1", "--plan"])).starts_with("would pull 1 images"));
    assert!(two.good(&depot(&["pull", "hmi"])).starts_with("pulled 1 images"));
    assert_eq!(all_whole(&two.path("store")), 1);
    assert!(two.good(&["image", "list"]).contains("approved"));
    let listed: serde_json::Value =
        serde_json::from_str(&two.good(&[depot(&["list"]), vec!["--json"]].concat())).unwrap();
    assert_eq!((&listed["images"][0]["here"], &listed["images"][0]["whole"]), (&true.into(), &true.into()));

    two.good(&depot(&["withdraw", "hmi", "--plan"]));
    two.good(&depot(&["withdraw", "hmi"]));
    two.refused(&depot(&["withdraw", "hmi"]), 3, "there is no image `hmi` in the depot");
    for _ in 0..4 {
        one.good(&depot(&["gc", "--grace-hours", "0"]));
    }
    assert!(service.files("/packs/").is_empty() && service.files("/images/").is_empty());
    assert_eq!((all_whole(&one.path("store")), all_whole(&two.path("store"))), (1, 1));
}

#[test]
fn a_depot_that_lies_or_is_gone_is_named_and_takes_nothing_from_the_store() {
    let service = Service::start();
    let (one, two) = sites(&service);
    one.disk("1.raw", 1, 1 << 20);
    one.import("1.raw", "1");
    one.good(&["image", "sign", "hmi", "--key", "signer.key"]);
    service.tell(Lie::Spoils);
    one.refused(&depot(&["push"]), 10, "written twice, it read back as something else");
    service.tell(None);
    one.good(&depot(&["push", "--verify"]));
    service.spoil("/packs/", 5000);
    two.refused(&depot(&["pull"]), 10, "a frame in it does not hash to its chunk");
    assert_eq!(all_whole(&two.path("store")), 0);
    assert!(one.good(&depot(&["push", "--verify"])).contains("put once more"));
    service.tell(Lie::Gone);
    for words in [&["push"][..], &["pull"], &["list"], &["gc"], &["probe"]] {
        one.refused(&depot(words), 9, "does not answer");
    }
    assert!(one.good(&["image", "list"]).contains("trusted"), "what is here serves");
    service.tell(None);
    service.configure(one.dir.path(), "not-the-word", "");
    let said = one.run(&depot(&["push"]));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("refuses us") && !said.contains("not-the-word"), "{said}");
    two.good(&depot(&["pull"]));
    assert_eq!((all_whole(&one.path("store")), all_whole(&two.path("store"))), (1, 1));
}

#[test]
fn a_depot_that_goes_back_to_an_old_day_takes_no_site_along() {
    let service = Service::start();
    let (one, two) = sites(&service);
    let release = |version: &str, seed: u8| {
        one.disk(&format!("{version}.raw"), seed, 1 << 19);
        let image = one.import(&format!("{version}.raw"), version).to_string();
        one.good(&["image", "sign", &image, "--key", "signer.key"]);
        one.good(&["image", "promote", &image, "--key", "lead.key"]);
        one.good(&depot(&["push"]));
    };
    release("1", 1);
    let old: Vec<_> =
        service.files("").into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect();
    release("2", 2);
    two.good(&depot(&["pull"]));
    let approved = two.good(&["image", "list"]);
    for file in service.files("") {
        std::fs::remove_file(file).unwrap();
    }
    for (file, bytes) in old {
        std::fs::write(file, bytes).unwrap();
    }
    assert!(two.good(&depot(&["pull"])).starts_with("pulled 0 images, 0 chunks, 0 B, 0 statements"));
    assert_eq!(two.good(&["image", "list"]), approved);
    assert!(two.good(&depot(&["push"])).starts_with("pushed 1 images, 1 packs"), "who has it puts it back");
}

#[test]
fn the_probe_says_what_a_person_must_know() {
    let service = Service::start();
    let (one, _) = sites(&service);
    let said = one.good(&depot(&["probe"]));
    assert!(
        said.contains("object lock (WORM)  no: it took the lock, and removed the object all the same"),
        "{said}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&one.good(&[depot(&["probe"]), vec!["--json"]].concat())).unwrap();
    assert_eq!(json["capabilities"]["conditional_put"]["is"], "yes");
    std::fs::write(one.path("groundstate.toml"), "site = \"a\"\n").unwrap();
    one.refused(&depot(&["probe"]), 3, "has no depot");
}

#[test]
fn what_only_the_depot_has_is_listed_as_such_and_a_silent_depot_hides_nothing_of_the_store() {
    let service = Service::start();
    let (one, two) = sites(&service);
    for (version, seed) in [("1", 1), ("2", 2)] {
        one.disk("disk.raw", seed, 1 << 19);
        one.import("disk.raw", version);
    }
    one.good(&["image", "sign", "hmi:1", "--key", "signer.key"]);
    one.good(&depot(&["push"]));
    let list = &["image", "list", "--config", "groundstate.toml"][..];
    let json = |desk: &Desk| -> Vec<(String, bool)> {
        let said = desk.good(&[list, &["--json"]].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let one = |view: &serde_json::Value| {
            (view["version"].as_str().unwrap().to_owned(), view["depot_only"].as_bool().unwrap())
        };
        said.as_array().unwrap().iter().map(one).collect()
    };
    let lists = |here: &[(&str, bool)]| here.iter().map(|(v, d)| ((*v).to_owned(), *d)).collect::<Vec<_>>();
    // A site with no store yet, and none is made by looking.
    assert_eq!(json(&two), lists(&[("1", true), ("2", true)]));
    two.refused(&["image", "list"], 3, "there is no image store");
    assert!(!two.path("store").exists());
    two.good(&depot(&["pull", "hmi:1"]));
    assert_eq!(json(&two), lists(&[("1", false), ("2", true)]));
    let said = two.good(list);
    let line =
        |version: &str| said.lines().find(|line| line.starts_with(&format!("hmi   {version}"))).unwrap();
    assert!(line("2").contains("in the depot only") && line("1").contains("trusted"), "{said}");
    assert!(!line("1").contains("depot"), "{said}");
    assert!(!two.good(&["image", "list"]).contains("depot"), "nobody was asked");

    service.tell(Lie::Gone);
    let output = two.run(list);
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("trusted") && !said.contains("in the depot only"));
    assert!(noted.contains("does not answer") && noted.contains("is not listed"), "{noted}");
    assert_eq!(json(&two), lists(&[("1", false)]));
    let nowhere = two.run(&[&["image", "--store", "nowhere"][..], &list[1..]].concat());
    assert_eq!(nowhere.status.code(), Some(3), "no store and no depot leave nothing to list");
    // A configuration without a depot asks nobody and has nothing to say.
    std::fs::write(two.path("groundstate.toml"), "site = \"a\"\n").unwrap();
    let output = two.run(list);
    assert!(output.status.success() && output.stderr.is_empty());
}

/// Flip a byte of the only pack of a desk's store, and cut its only manifest where that is wanted too.
fn rot(desk: &Desk, manifest: bool) {
    let only = |dir: &str| std::fs::read_dir(desk.path(dir)).unwrap().next().unwrap().unwrap().path();
    let change = |path: std::path::PathBuf, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    };
    change(only("store/packs"), &|bytes| bytes[100_000] ^= 1);
    if manifest {
        change(only("store/manifests"), &|bytes| bytes.truncate(1000));
    }
}

#[test]
fn a_scrub_fetches_again_from_the_depot_what_rotted_and_takes_nothing_that_is_altered_there() {
    let service = Service::start();
    let (one, two) = sites(&service);
    one.disk("1.raw", 1, 3 << 20);
    let image = one.import("1.raw", "1");
    one.good(&["image", "sign", "hmi", "--key", "signer.key"]);
    one.good(&depot(&["push"]));
    two.good(&depot(&["pull"]));
    let scrub = ["image", "scrub", "--from-depot", "--config", "groundstate.toml"];
    let with = |more: &'static str| [&scrub[..], &[more]].concat();
    assert!(two.good(&scrub).contains("repaired: 0 chunks, 0 manifests"));

    rot(&two, true);
    two.refused(&with("--plan"), 10, "what the depot has whole is taken from there");
    let damaged = |desk: &Desk| std::fs::read_dir(desk.path("store/damaged")).unwrap().count();
    // Nothing is set aside for a depot that is not there.
    service.tell(Lie::Gone);
    two.refused(&scrub, 9, "does not answer");
    assert_eq!(damaged(&two), 0);
    service.tell(None);
    let said: serde_json::Value = serde_json::from_str(&two.good(&with("--json"))).unwrap();
    assert_eq!((&said["repaired_chunks"], &said["repaired_manifests"]), (&1.into(), &1.into()));
    assert_eq!((&said["broken"], damaged(&two)), (&serde_json::json!([]), 1));
    assert_eq!(all_whole(&two.path("store")), 1);
    two.good(&["image", "verify", "hmi"]);

    // The depot rots as well: nothing of that is kept, and the image is named until a site that has it mends the depot.
    let three = Desk::new();
    std::fs::copy(one.path("trust-root.json"), three.path("trust-root.json")).unwrap();
    service.configure(three.dir.path(), SECRET, "");
    three.good(&depot(&["pull"]));
    rot(&three, false);
    service.spoil("/packs/", 100_000);
    let output = three.run(&scrub);
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(10), "{noted}");
    assert!(said.contains(&format!("not whole: {image}, 1 chunks missing")), "{said}");
    assert!(noted.contains("the depot gives something else for packs/"), "{noted}");
    assert!(one.good(&depot(&["push", "--verify"])).contains("put once more"));
    assert!(three.good(&scrub).contains("repaired: 1 chunks, 0 manifests"), "it goes on where it was");
    three.good(&["image", "verify", "hmi"]);
    three.refused(&["image", "scrub", "--from-depot"], 2, "--config");
}
