//! What images are called: which one a hold is lifted of by its name, and which names a new image may have.

use images::{ImageId, Manifest, SignedManifest};

use super::Desk;

/// Two versions of an image.
fn two() -> (Desk, ImageId, ImageId) {
    let desk = Desk::new();
    desk.disk("1.raw", 1, 1 << 19);
    desk.disk("2.raw", 2, 1 << 19);
    let (one, two) = (desk.import("1.raw", "1"), desk.import("2.raw", "2"));
    (desk, one, two)
}

fn hold(desk: &Desk, image: &str) {
    desk.good(&["image", "keep", image, "--legal-hold", "case", "--by", "counsel"]);
}

#[test]
fn a_hold_is_lifted_by_the_name_of_the_image_that_is_under_it() {
    let (desk, one, two) = two();
    let held = |id: &ImageId| desk.store().keep_of(id).unwrap().legal_hold.is_some();
    hold(&desk, "hmi:1");
    // The newest is another one: it must not be lifted there, where nothing stands.
    let planned = desk.good(&["image", "keep", "hmi", "--lift", "--plan"]);
    assert!(planned.contains(&format!("{one} is under no legal hold")) && held(&one), "{planned}");
    desk.refused(&["image", "keep", "hmi:2", "--lift"], 3, "found hmi 2, under no legal hold");
    desk.refused(&["image", "keep", &two.to_string(), "--lift"], 3, "found hmi 2, under no legal hold");
    desk.good(&["image", "keep", "hmi", "--lift"]);
    assert!(!held(&one));

    hold(&desk, "hmi:1");
    hold(&desk, "hmi:2");
    desk.refused(&["image", "keep", "hmi", "--lift"], 5, &format!("hmi 1 (counsel: case) {one}, hmi 2"));
    assert!(held(&one) && held(&two));
    desk.good(&["image", "keep", "hmi:2", "--lift"]);
    assert!(held(&one) && !held(&two));
    desk.good(&["image", "keep", &one.to_string(), "--lift"]);
    assert!(!held(&one));
    desk.refused(&["image", "keep", "hmi", "--lift"], 3, "found hmi 1, hmi 2, under no legal hold");
    desk.refused(&["image", "keep", "hmi:3", "--lift"], 3, "found hmi 1, hmi 2");
    desk.refused(&["image", "keep", "panel", "--lift"], 3, "the store has hmi");
}

#[test]
fn a_new_image_is_named_by_what_channels_addresses_and_shells_take_as_one_word() {
    let desk = Desk::new();
    desk.disk("1.raw", 1, 1 << 19);
    let import = |name: &'static str, version: &'static str| {
        ["image", "import", "1.raw", "--name", name, "--version", version]
    };
    desk.refused(&import("hmi panel", "1"), 2, "has ` ` as character 4");
    desk.refused(&import("hmi panel", "1"), 2, "`hmi-panel` would do");
    desk.refused(&import("hmi/approved", "1"), 2, "has `/` as character 4");
    desk.refused(&import("hmi", "1;reboot"), 2, "the version `1;reboot` of an image has `;` as character 2");
    assert!(!desk.path("store").exists(), "nothing was made for it");
    desk.good(&import("HMI_2.panel-b", "1.0+deb12~1"));
    let capture = ["image", "capture", "press-01", "--name", "a:b", "--version", "1"];
    desk.refused(&capture, 2, "has `:` as character 2");
}

#[test]
fn an_image_that_was_named_before_there_was_a_rule_is_read_signed_and_restored() {
    let (desk, one, _) = two();
    let store = desk.store();
    let known = store.get_manifest(&one).unwrap().parse().unwrap();
    let mut header = known.header().clone();
    (header.identity.name, header.identity.version) = ("HMI: line 3/ü".to_owned(), "1 b".to_owned());
    let old = Manifest::build(header, known.extents()).unwrap();
    store.put_manifest(&SignedManifest::unsigned(&old)).unwrap();
    for role in ["root", "image"] {
        let out = format!("{role}.key");
        desk.good(&["image", "key", "new", "--role", role, "--name", role, "--unprotected", "--out", &out]);
    }
    desk.good(&["image", "root", "new", "--root", "root.key", "--signer", "image.key"]);
    assert!(desk.good(&["image", "list"]).contains("HMI: line 3/ü"));
    desk.good(&["image", "sign", "HMI: line 3/ü", "--key", "image.key"]);
    desk.good(&["image", "restore", "HMI: line 3/ü:1 b", "--to", "restored.raw"]);
    let bytes = |name: &str| std::fs::read(desk.path(name)).unwrap();
    assert!(bytes("restored.raw") == bytes("1.raw"));
    desk.good(&["image", "replicate", "store", "replica"]);
}
