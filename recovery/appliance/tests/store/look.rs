//! What the command line says of images without changing any: pages for people, JSON for programs, plans.

use std::process::Command;

use serde_json::Value;

use super::Desk;

/// A disk with one partition: an ext4 with these files. `None` where mke2fs is not here.
fn disk(desk: &Desk, name: &str, files: &[(&str, &[u8])]) -> Option<()> {
    let root = desk.path(&format!("{name}.tree"));
    for (path, bytes) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let part = desk.path(&format!("{name}.ext4"));
    let made = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-d"])
        .arg(&root)
        .arg(&part)
        .arg("16M")
        .output();
    let Ok(made) = made else {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
        assert!(!ci, "mke2fs is not here, and in CI nothing is left out: apt-get install e2fsprogs");
        eprintln!("NOT LOOKED AT: mke2fs is not here (apt-get install e2fsprogs)");
        return None;
    };
    assert!(made.status.success());
    let mut bytes = vec![0; 1 << 20];
    // One entry of a master boot record: type 0x83, first sector 2048, 32,768 sectors.
    bytes[446 + 4] = 0x83;
    bytes[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    bytes[446 + 12..446 + 16].copy_from_slice(&32_768_u32.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes.extend(std::fs::read(&part).unwrap());
    bytes.extend(vec![0; 1 << 20]);
    std::fs::write(desk.path(name), bytes).unwrap();
    Some(())
}

/// A desk with two versions of an image, an image signer's key, and a trust root that lists it.
fn desk() -> Option<Desk> {
    let desk = Desk::new();
    let noise = |seed: u8| {
        let mut bytes = vec![0; 400_000];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    };
    let id = b"0123456789abcdef0123456789abcdef\n";
    let (one, two) = (noise(1), noise(2));
    disk(
        &desk,
        "1.raw",
        &[("etc/machine-id", id), ("usr/panel", &one), ("usr/library", &noise(3)), ("old", b"x")],
    )?;
    let many: Vec<String> = (0..50).map(|n| format!("many/{n:02}")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("etc/hostname", b"panel"), ("usr/panel", &two)];
    let library = noise(3);
    files.push(("usr/library", &library));
    files.extend(many.iter().map(|path| (path.as_str(), &b"new"[..])));
    disk(&desk, "2.raw", &files)?;
    for (role, name) in [("root", "root"), ("image", "signer")] {
        let file = format!("{name}.key");
        desk.good(&["image", "key", "new", "--role", role, "--name", name, "--out", &file, "--unprotected"]);
    }
    desk.good(&["image", "root", "new", "--root", "root.key", "--signer", "signer.key"]);
    Some(desk)
}

fn json(desk: &Desk, words: &[&str]) -> Value {
    let said = desk.good(&[words, &["--json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
}

#[test]
fn an_import_warns_of_what_is_one_endpoints_own_and_goes_on() {
    let Some(desk) = desk() else { return };
    let output = desk.run(&["image", "import", "1.raw", "--name", "hmi", "--version", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success());
    assert!(said.contains("warning: the image has a machine id: /etc/machine-id (partition 1)"), "{said}");
    let said = json(&desk, &["image", "import", "1.raw", "--name", "again", "--version", "1"]);
    assert!(
        said["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|said| said.as_str().unwrap().contains("/etc/machine-id"))
    );
    let output = desk.run(&["image", "import", "2.raw", "--name", "hmi", "--version", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("machine id"), "{said}");
}

#[test]
fn two_versions_are_compared_as_a_page_and_as_json() {
    let Some(desk) = desk() else { return };
    let (one, two) = (desk.import("1.raw", "1").to_string(), desk.import("2.raw", "2").to_string());
    let page = desk.good(&["image", "diff", "hmi:1", "hmi:2"]);
    for line in [
        &format!("before  hmi 1 (epoch 1)  {one}"),
        &format!("after   hmi 2 (epoch 2)  {two}"),
        "partition 1: changed",
        "52 added, 2 removed, 1 with other content, 0 with another owner or mode",
        "  + /etc/hostname  5 B",
        "  - /etc/machine-id  33 B",
        "  + /many  directory",
        "  and 15 more; `--all` shows them",
        "an endpoint that holds the first",
    ] {
        assert!(page.lines().any(|said| said == line), "`{line}` is not in:\n{page}");
    }
    assert!(!page.contains("/usr/library"), "what is the same is not shown:\n{page}");
    let all = desk.good(&["image", "diff", "hmi:1", "hmi:2", "--all"]);
    assert!(all.contains("\n  ~ /usr/panel  390.62 KiB") && !all.contains("--all"), "{all}");

    let said = json(&desk, &["image", "diff", "hmi:1", "hmi:2"]);
    assert_eq!(said["before"], one);
    assert_eq!(said["header"][0]["what"], "version");
    let files = said["partitions"][0]["files"].as_array().unwrap();
    assert_eq!(files.len(), 55);
    let panel = files.iter().find(|file| file["path"] == "/usr/panel").unwrap();
    assert_eq!((&panel["change"], &panel["len_before"]), (&"content".into(), &400_000.into()));
    let wire = said["cost"]["wire_bytes"].as_u64().unwrap();
    assert!((400_000..1_200_000).contains(&wire), "{wire}");
    let same = desk.good(&["image", "diff", "hmi:2", "hmi:2"]);
    assert!(same.contains("the partitions are the same") && !same.contains("HEADER"), "{same}");
    desk.refused(&["image", "diff", "hmi:2", "hmi:3"], 3, "there is no image `hmi:3`");
}

#[test]
fn an_image_is_shown_and_verified_as_a_page_and_as_json() {
    let Some(desk) = desk() else { return };
    let id = desk.import("1.raw", "1").to_string();
    let page = desk.good(&["image", "show", "hmi"]);
    for line in ["name        hmi 1 (epoch 1)", "signed by   nobody", "boots by    nothing"] {
        assert!(page.lines().any(|said| said == line), "`{line}` is not in:\n{page}");
    }
    assert!(page.contains("PARTITION") && page.contains("trusted     no: "), "{page}");
    let said = json(&desk, &["image", "sign", "hmi", "--key", "signer.key", "--plan"]);
    assert_eq!(
        (&said["plan"], &said["signatures"], &said["trusted"]),
        (&true.into(), &0.into(), &false.into())
    );
    desk.refused(&["image", "verify", "hmi", "--json"], 10, "did not verify");
    let said = json(&desk, &["image", "sign", "hmi", "--key", "signer.key"]);
    assert_eq!(
        (&said["image"], &said["signatures"], &said["trusted"]),
        (&id.as_str().into(), &1.into(), &true.into())
    );
    let said = json(&desk, &["image", "show", "hmi"]);
    assert_eq!((&said["image"], &said["trusted"]), (&id.as_str().into(), &true.into()));
    assert_eq!(said["partitions"][0]["bytes"], 16 << 20);
    assert_eq!(said["partitions"][0]["filesystem"], "ext4");
    let said = json(&desk, &["image", "verify", "hmi"]);
    assert_eq!((&said[0]["good"], &said[0]["signatures"]), (&true.into(), &1.into()));
}

#[test]
fn plans_say_what_would_happen_and_change_nothing() {
    let Some(desk) = desk() else { return };
    let said = json(&desk, &["image", "import", "1.raw", "--name", "hmi", "--version", "1", "--plan"]);
    assert!(said["plan"] == true && said["stats"]["new_chunks"].as_u64().unwrap() > 0);
    assert!(!desk.path("store").exists());
    let (one, _) = (desk.import("1.raw", "1").to_string(), desk.import("2.raw", "2"));
    let said = json(&desk, &["image", "delete", "hmi:1", "--plan"]);
    assert_eq!((&said["image"], &said["refused"]), (&one.as_str().into(), &Value::Null));
    let (chunks, bytes) = (said["chunks"].as_u64().unwrap(), said["stored_bytes"].as_u64().unwrap());
    assert!(chunks > 0 && bytes > 390_000);
    desk.good(&["image", "keep", "hmi:1", "--legal-hold", "case", "--by", "counsel"]);
    let said = json(&desk, &["image", "delete", "hmi:1", "--plan"]);
    assert!(said["refused"].as_str().unwrap().contains("counsel"));
    assert_eq!(json(&desk, &["image", "list"]).as_array().unwrap().len(), 2);

    let said = json(&desk, &["image", "keep", "hmi:1", "--lift", "--until", "2100-01-01", "--plan"]);
    assert_eq!(
        (&said["legal_hold"], said["until_unix_ms"].as_u64()),
        (&Value::Null, Some(4_102_444_800_000))
    );
    let said = json(&desk, &["image", "keep", "hmi:1"]);
    assert_eq!((&said["legal_hold"]["by"], &said["until_unix_ms"]), (&"counsel".into(), &0.into()));

    let planned = json(&desk, &["image", "export", "hmi:1", "--out", "one.bundle", "--plan"]);
    assert!(!desk.path("one.bundle").exists());
    assert_eq!(json(&desk, &["image", "export", "hmi:1", "--out", "one.bundle"]), planned);
    assert_eq!(planned["bytes"], std::fs::metadata(desk.path("one.bundle")).unwrap().len());
    desk.good(&["image", "keep", "hmi:1", "--lift"]);
    assert_eq!(json(&desk, &["image", "delete", "hmi:1"])["deleted"], true);
    desk.good(&["image", "gc", "--grace-hours", "0"]);
    let said = json(&desk, &["image", "import-bundle", "one.bundle", "--plan"]);
    assert_eq!(
        (&said["images"][0]["image"], &said["images"][0]["known"]),
        (&one.as_str().into(), &false.into())
    );
    assert_eq!(said["images"][0]["missing_chunks"], chunks);
    assert_eq!(json(&desk, &["image", "list"]).as_array().unwrap().len(), 1);

    desk.good(&["image", "sign", "hmi:2", "--key", "signer.key"]);
    let said = json(&desk, &["image", "restore", "hmi:2", "--to", "new.raw", "--plan"]);
    assert!(said["fetch_bytes"].as_u64().unwrap() > 800_000);
    assert!(!desk.path("new.raw").exists());
}

#[test]
fn a_plan_makes_no_store_where_there_is_none() {
    let desk = Desk::new();
    desk.disk("1.raw", 1, 1 << 19);
    let id = desk.import("1.raw", "1").to_string();
    desk.good(&["image", "export", "hmi", "--out", "hmi.bundle"]);
    desk.good(&["image", "export", "hmi", "--manifest", "--out", "hmi.gsi"]);
    let copied = json(&desk, &["image", "replicate", "store", "there/replica", "--plan"]);
    assert!(copied["images"][0] == id.as_str() && copied["bytes"].as_u64().unwrap() >= 1 << 19, "{copied}");
    assert!(!desk.path("there").exists());
    let bundled = json(&desk, &["image", "--store", "island/store", "import-bundle", "hmi.bundle", "--plan"]);
    assert_eq!((&bundled["images"][0]["known"], &bundled["plan"]), (&false.into(), &true.into()));
    assert_eq!(bundled["images"][0]["missing_chunks"], copied["chunks"]);
    // Signatures come to an image that is there, with a plan or without.
    for more in [&["--plan"][..], &[]] {
        let words = ["image", "--store", "island/store", "import-bundle", "hmi.gsi"];
        desk.refused(&[&words[..], more].concat(), 3, "there is no image store");
    }
    assert!(!desk.path("island").exists());

    // An import, also of a disk that is unpacked for it: a name of a directory that is not there yet has nothing above it but this one.
    let raw = std::fs::read(desk.path("1.raw")).unwrap();
    std::fs::write(desk.path("1.raw.zst"), zstd::encode_all(&raw[..], 1).unwrap()).unwrap();
    let before = std::fs::read_dir(desk.path(".")).unwrap().count();
    for (disk, store) in [("1.raw", "new/store"), ("1.raw.zst", "new/store"), ("1.raw.zst", "new")] {
        let said = json(
            &desk,
            &["image", "--store", store, "import", disk, "--name", "hmi", "--version", "1", "--plan"],
        );
        assert_eq!(
            (&said["plan"], &said["stats"]["new_chunks"]),
            (&true.into(), &copied["chunks"]),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(desk.path(".")).unwrap().count(), before);
    }

    // An empty directory is a store to come and stays empty; one of other things is refused before anything is ordered.
    for (dir, file) in [("empty", None), ("photos", Some("a.jpg"))] {
        std::fs::create_dir(desk.path(dir)).unwrap();
        if let Some(file) = file {
            std::fs::write(desk.path(dir).join(file), "a").unwrap();
        }
    }
    assert_eq!(json(&desk, &["image", "replicate", "store", "empty", "--plan"]), copied);
    assert_eq!(std::fs::read_dir(desk.path("empty")).unwrap().count(), 0);
    desk.refused(&["image", "replicate", "store", "photos", "--plan"], 1, "is not a groundstate store");
    assert_eq!(json(&desk, &["image", "replicate", "store", "there/replica"]), copied);
    let again = json(&desk, &["image", "replicate", "store", "there/replica", "--plan"]);
    assert_eq!((&again["images"], &again["chunks"]), (&serde_json::json!([]), &0.into()));
}
