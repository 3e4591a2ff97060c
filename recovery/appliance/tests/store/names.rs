//! What images are called: which one a hold is lifted of by its name.

use images::ImageId;

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
