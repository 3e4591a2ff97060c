//! Signing by two people in turn on machines without a store, rotation, channels, and a bundle over the gap.

use std::process::Command;

use super::Desk;

/// A key file with a passphrase, made by its holder.
fn key(desk: &Desk, role: &str, name: &str) {
    std::fs::write(desk.path(&format!("{name}.pass")), format!("the words of {name}\n")).unwrap();
    let (file, pass) = (format!("{name}.key"), format!("{name}.pass"));
    let public = desk.good(&[
        "image",
        "key",
        "new",
        "--role",
        role,
        "--name",
        name,
        "--out",
        &file,
        "--passphrase-file",
        &pass,
    ]);
    std::fs::write(desk.path(&format!("{name}.pub")), public).unwrap();
}

fn copy(from: &Desk, to: &Desk, name: &str) {
    std::fs::copy(from.path(name), to.path(name)).unwrap();
}

/// Three root key holders, two signers of whom both must sign, one who promotes; each at a desk of their own.
struct Site {
    appliance: Desk,
    roots: Desk,
    first: Desk,
    second: Desk,
}

fn site() -> Site {
    let site = Site { appliance: Desk::new(), roots: Desk::new(), first: Desk::new(), second: Desk::new() };
    for name in ["root-1", "root-2", "root-3"] {
        key(&site.roots, "root", name);
    }
    key(&site.first, "image", "first");
    key(&site.second, "image", "second");
    key(&site.appliance, "channel", "lead");
    for (desk, name) in
        [(&site.first, "first.pub"), (&site.second, "second.pub"), (&site.appliance, "lead.pub")]
    {
        copy(desk, &site.roots, name);
    }
    let mut words = vec!["image", "root", "new", "--threshold", "2", "--signer-threshold", "2"];
    for name in ["root-1.pub", "root-2.pub", "root-3.pub"] {
        words.extend(["--root", name]);
    }
    words.extend(["--signer", "first.pub", "--signer", "second.pub", "--channel", "lead.pub"]);
    site.roots.good(&words);
    sign_root(&site.roots, "trust-root.json", &["root-1", "root-3"]);
    copy(&site.roots, &site.appliance, "trust-root.json");
    site
}

fn sign_root(desk: &Desk, file: &str, names: &[&str]) {
    for name in names {
        let (key, pass) = (format!("{name}.key"), format!("{name}.pass"));
        desk.good(&["image", "root", "sign", file, "--key", &key, "--passphrase-file", &pass]);
    }
}

fn sign(desk: &Desk, file: &str, name: &str) {
    let (key, pass) = (format!("{name}.key"), format!("{name}.pass"));
    desk.good(&["image", "sign", file, "--key", &key, "--passphrase-file", &pass]);
}

fn promote(desk: &Desk, image: &str, to: &str) -> std::process::Output {
    let pass = ["--passphrase-file", "lead.pass", "--reason", "tried on press-01"];
    desk.run(&[&["image", "promote", image, "--to", to, "--key", "lead.key"], &pass[..]].concat())
}

#[test]
fn two_people_sign_in_turn_and_minisign_agrees() {
    let site = site();
    let desk = &site.appliance;
    desk.disk("disk.raw", 1, 1 << 20);
    let id = desk.import("disk.raw", "1").to_string();
    desk.good(&["image", "export", "hmi", "--manifest", "--out", "hmi.gsi"]);
    desk.refused(&["image", "verify", "hmi"], 10, "");

    copy(desk, &site.first, "hmi.gsi");
    site.first.refused(&["image", "sign", "hmi.gsi", "--key", "first.key"], 2, "--passphrase-file");
    std::fs::write(site.first.path("wrong"), "not this one").unwrap();
    let wrong = ["image", "sign", "hmi.gsi", "--key", "first.key", "--passphrase-file", "wrong"];
    site.first.refused(&wrong, 4, "passphrase is wrong");
    let swapped = ["image", "root", "new", "--root", "first.key", "--signer", "first.key", "--out", "r.json"];
    site.first.refused(&swapped, 2, "is no root key");
    sign(&site.first, "hmi.gsi", "first");
    copy(&site.first, desk, "hmi.gsi");
    desk.good(&["image", "import-bundle", "hmi.gsi"]);
    let one = desk.run(&["image", "verify", "hmi"]);
    assert!(String::from_utf8_lossy(&one.stdout).contains("1 of 2 signatures"), "under the threshold");

    copy(&site.first, &site.second, "hmi.gsi");
    sign(&site.second, "hmi.gsi", "second");
    copy(&site.second, desk, "hmi.gsi");
    desk.good(&["image", "import-bundle", "hmi.gsi"]);
    assert!(desk.good(&["image", "verify", "hmi"]).contains("2 signature(s)"));

    // What was exported is checked by somebody else's tool.
    let checks = desk.good(&["image", "export", "hmi", "--minisign", "--out", "signatures"]);
    assert_eq!(checks.lines().count(), 2);
    let minisign = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let run = Command::new(words[0]).args(&words[1..]).current_dir(desk.path(".")).output();
        run.expect("this test needs Debian's package minisign").status.success()
    };
    assert!(checks.lines().all(minisign));
    let header = desk.path("signatures").join(format!("{id}.header"));
    let mut bytes = std::fs::read(&header).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&header, bytes).unwrap();
    assert!(!checks.lines().any(minisign));
}

#[test]
fn a_manifest_cut_altered_or_signed_by_strangers_is_named_and_changes_nothing() {
    let site = site();
    let desk = &site.appliance;
    desk.disk("disk.raw", 1, 1 << 20);
    desk.import("disk.raw", "1");
    desk.good(&["image", "export", "hmi", "--manifest", "--out", "hmi.gsi"]);
    let good = std::fs::read(desk.path("hmi.gsi")).unwrap();
    let offer = |bytes: &[u8]| {
        std::fs::write(desk.path("bad.gsi"), bytes).unwrap();
        desk.run(&["image", "import-bundle", "bad.gsi"])
    };
    for len in [7, 12, 100, good.len() / 2, good.len() - 1] {
        let output = offer(&good[..len]);
        assert_eq!(output.status.code(), Some(10), "{len}");
    }
    let said = String::from_utf8_lossy(&offer(&good[..good.len() - 1]).stderr).into_owned();
    assert!(said.contains("truncated"), "{said}");
    // Altered: the name of another image, whose pages do not fit, or whose chunks are not here.
    for at in [60, good.len() - 40] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert!(!offer(&bytes).status.success(), "{at}");
    }
    // Signed again by somebody whom the trust root does not list.
    key(desk, "image", "stranger");
    sign(desk, "hmi", "stranger");
    let verdict = desk.run(&["image", "verify", "hmi"]);
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("signed by no key that the trust root lists"));
    assert_eq!(desk.store().list().unwrap().len(), 1);
}

#[test]
fn the_trust_root_is_rotated_by_the_old_threshold_and_withdraws_old_images() {
    let site = site();
    let desk = &site.appliance;
    desk.disk("disk.raw", 1, 1 << 20);
    desk.import("disk.raw", "1");
    for (holder, name) in [(&site.first, "first"), (&site.second, "second")] {
        desk.good(&["image", "export", "hmi", "--manifest", "--out", &format!("{name}.gsi")]);
        copy(desk, holder, &format!("{name}.gsi"));
        sign(holder, &format!("{name}.gsi"), name);
        copy(holder, desk, &format!("{name}.gsi"));
        desk.good(&["image", "import-bundle", &format!("{name}.gsi")]);
    }
    desk.good(&["image", "verify", "hmi"]);

    key(&site.roots, "root", "root-4");
    let next = |out: &str, more: &[&str]| {
        let words =
            ["image", "root", "next", "--root", "root-2.pub", "--root", "root-3.pub", "--root", "root-4.pub"];
        let signers = ["--signer", "first.pub", "--channel", "lead.pub", "--out", out];
        site.roots.good(&[&words[..], &signers, more].concat());
    };
    next("next.json", &["--epoch-floor", "2"]);
    // The new key holders alone cannot.
    sign_root(&site.roots, "next.json", &["root-4", "root-2"]);
    copy(&site.roots, desk, "next.json");
    desk.refused(
        &["image", "root", "rotate", "next.json"],
        10,
        "1 of the 2 signatures it needs from the old root keys",
    );
    sign_root(&site.roots, "next.json", &["root-1"]);
    copy(&site.roots, desk, "next.json");
    desk.good(&["image", "root", "rotate", "next.json", "--plan"]);
    desk.good(&["image", "verify", "hmi"]);
    desk.good(&["image", "root", "rotate", "next.json"]);
    desk.refused(&["image", "root", "rotate", "next.json"], 10, "cannot follow");
    // The image is older than the new floor.
    let verdict = desk.run(&["image", "verify", "hmi"]);
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("it was withdrawn"));

    // And a root whose day is over is followed no more.
    copy(desk, &site.roots, "trust-root.json");
    next("last.json", &["--expires", "2020-01-01"]);
    sign_root(&site.roots, "last.json", &["root-2", "root-4"]);
    copy(&site.roots, desk, "last.json");
    desk.good(&["image", "root", "rotate", "last.json"]);
    desk.refused(&["image", "verify", "hmi"], 10, "has expired");
}

#[test]
fn an_image_is_promoted_by_order_and_carried_over_the_gap() {
    let site = site();
    let desk = &site.appliance;
    desk.disk("disk.raw", 1, 3 << 20);
    desk.import("disk.raw", "1");
    let unsigned = promote(desk, "hmi", "approved");
    assert_eq!(unsigned.status.code(), Some(10), "an image that is not trusted is not approved");
    copy(&site.first, desk, "first.key");
    copy(&site.first, desk, "first.pass");
    copy(&site.second, desk, "second.key");
    copy(&site.second, desk, "second.pass");
    sign(desk, "hmi", "first");
    desk.refused(&["image", "promote", "hmi", "--key", "first.key"], 4, "does not list for channels");
    sign(desk, "hmi", "second");
    assert!(promote(desk, "hmi", "candidate").status.success());
    assert!(promote(desk, "hmi", "approved").status.success());
    assert!(desk.good(&["image", "list", "--json"]).contains("\"stage\":\"approved\""));
    let history = desk.good(&["image", "history", "hmi"]);
    assert!(history.contains("hmi/approved") && history.contains("by lead: tried on press-01"), "{history}");
    desk.refused(&["image", "delete", "hmi"], 5, "promote another image first");

    // Over the gap: images, signatures, statements and trust root in one file.
    desk.good(&["image", "export", "hmi", "--out", "hmi.bundle"]);
    let island = Desk::new();
    copy(desk, &island, "hmi.bundle");
    island.refused(&["image", "import-bundle", "hmi.bundle"], 3, "there is no image trust root");
    copy(desk, &island, "trust-root.json");
    island.good(&["image", "import-bundle", "hmi.bundle"]);
    island.good(&["image", "verify", "hmi"]);
    assert!(island.good(&["image", "list", "--json"]).contains("\"stage\":\"approved\""));

    // A bundle whose images another site's people have signed is refused before its frames are read.
    let stranger = self::site();
    copy(desk, &stranger.appliance, "hmi.bundle");
    stranger.appliance.refused(&["image", "import-bundle", "hmi.bundle"], 10, "signed by no key");
    assert!(stranger.appliance.store().list().unwrap().is_empty());

    // A replica, and repair from it.
    desk.good(&["image", "replicate", "store", "replica"]);
    let pack = std::fs::read_dir(desk.path("store/packs")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    desk.refused(&["image", "scrub", "--plan"], 10, "the store is damaged");
    assert!(desk.good(&["image", "scrub", "--from", "replica"]).contains("repaired: 1 chunks"));
    desk.good(&["image", "verify", "hmi"]);
}
