//! The picture over sizes and texts, and the contrast of its colours.

use proptest::prelude::*;

use super::*;

/// What a screen may be asked to show, at its longest.
fn long() -> Scene {
    Scene {
        mood: Mood::Failed("preserved-missing".to_owned()),
        endpoint: "not on record  52:54:00:77:00:01".to_owned(),
        drill: true,
        now: "What this image preserves is not on the disk as it was before this recovery began.".to_owned(),
        why: "partition 4 (`data`, 512 MiB at sector 4194304) was expected and is not there; ".repeat(5),
        next: "Look for the endpoint's own disk, or give up what it preserves in the console, then resume."
            .to_owned(),
        progress: Some(Progress { done: 3, total: 7, rate: Some(1 << 25), left: None }),
    }
}

fn area(rect: &Rect) -> usize {
    rect.x.len() * rect.y.len()
}

/// The texts of a picture: where, scale, number of letters.
fn texts(picture: &Picture) -> Vec<(&Rect, usize, usize)> {
    let text = |item: &'_ Item| match &item.paint {
        Paint::Text { letters, scale, .. } => Some((*scale, letters.len())),
        _ => None,
    };
    picture.items.iter().filter_map(|item| text(item).map(|(scale, len)| (&item.at, scale, len))).collect()
}

fn check(scene: &Scene, size: Size) {
    let picture = Picture::of(scene, size).unwrap();
    for item in &picture.items {
        let inside = item.at.x.end <= size.width && item.at.y.end <= size.height;
        assert!(inside && item.at.x.start <= item.at.x.end, "{item:?} leaves {size:?}");
    }
    let texts = texts(&picture);
    for (at, (one, scale, len)) in texts.iter().enumerate() {
        assert_eq!((one.x.len(), one.y.len()), (len * scale * CELL.0, scale * CELL.1));
        // A fifteenth of the screen's height, near enough, at any size.
        assert!(
            scale * CELL.1 * 30 >= size.height.min(size.width * 3 / 4),
            "{scale} is too small on {size:?}"
        );
        for (other, ..) in &texts[at + 1..] {
            let apart =
                |a: &std::ops::Range<usize>, b: &std::ops::Range<usize>| a.end <= b.start || b.end <= a.start;
            assert!(apart(&one.x, &other.x) || apart(&one.y, &other.y), "{one:?} lies over {other:?}");
        }
    }
}

const SIZES: [(usize, usize); 10] = [
    (640, 480),
    (800, 480),
    (800, 600),
    (1024, 768),
    (1280, 800),
    (1280, 1024),
    (1366, 768),
    (1920, 1080),
    (1080, 1920),
    (3840, 2160),
];

fn moods() -> impl Strategy<Value = Mood> {
    prop_oneof![
        Just(Mood::Starting),
        Just(Mood::Working),
        Just(Mood::Person),
        Just(Mood::Held),
        "[0-9]{0,12}".prop_map(Mood::Pairing),
        "[a-z-]{0,60}".prop_map(Mood::Failed),
        Just(Mood::Rebooting),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_leaves_the_screen_or_lies_over_another(
        (mood, drill) in (moods(), any::<bool>()),
        (width, height) in (640_usize..=3840, 480_usize..=2160),
        [endpoint, now, why, next] in proptest::array::uniform4("(\\PC{0,20} ?){0,20}"),
        progress in proptest::option::of((any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()))),
    ) {
        let left = Some(std::time::Duration::from_secs(250));
        let progress = progress.map(|(done, total, rate)| Progress { done, total, rate, left });
        check(&Scene { mood, endpoint, drill, now, why, next, progress }, Size { width, height });
    }
}

#[test]
fn the_longest_words_fit_on_each_usual_size() {
    for (width, height) in SIZES {
        check(&long(), Size { width, height });
        check(&Scene { mood: Mood::Pairing("739102".to_owned()), ..long() }, Size { width, height });
        check(&Scene { mood: Mood::Working, ..long() }, Size { width, height });
    }
}

#[test]
fn a_screen_too_small_for_letters_gets_no_picture() {
    for (width, height) in [(639, 480), (640, 479), (0, 0)] {
        assert_eq!(Picture::of(&long(), Size { width, height }), None);
    }
}

#[test]
fn the_pairing_code_is_the_largest_thing_on_the_screen() {
    for (width, height) in SIZES {
        let scene = Scene { mood: Mood::Pairing("739102".to_owned()), drill: false, ..long() };
        let picture = Picture::of(&scene, Size { width, height }).unwrap();
        let largest = texts(&picture).into_iter().max_by_key(|(_, scale, _)| *scale).unwrap();
        assert_eq!(largest.2, 6, "{width} x {height}");
        assert!(largest.0.y.len() * 6 >= height.min(width * 2 / 3), "{width} x {height}: {largest:?}");
    }
}

#[test]
fn a_number_that_moves_changes_little() {
    let size = Size { width: 1280, height: 800 };
    let at = |done| {
        let progress = Some(Progress { done, total: 1000, ..Progress::default() });
        Picture::of(&Scene { mood: Mood::Working, progress, ..long() }, size).unwrap()
    };
    assert_eq!(at(100).changes(&at(100)), Vec::new());
    let changed: usize = at(200).changes(&at(100)).iter().map(area).sum();
    assert!(changed > 0 && changed < size.width * size.height / 5, "{changed} pixels");
}

/// Relative luminance and contrast as WCAG 2.2 has them.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let linear = |byte: u8| {
        let value = f64::from(byte) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let light = |Rgb(r, g, b)| 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05;
    let (one, other) = (light(one), light(other));
    one.max(other) / one.min(other)
}

#[test]
fn each_mood_has_a_word_and_a_sign_of_its_own_and_a_contrast_of_seven_to_one() {
    let moods = [Mood::Starting, Mood::Working, Mood::Person, Mood::Failed(String::new()), Mood::Rebooting];
    let mut said = std::collections::BTreeSet::new();
    let swapped = |Rgb(red, green, blue)| Rgb(blue, green, red);
    for mood in &moods {
        let Theme { sign, word, band, ground, accent } = theme(mood);
        assert!(said.insert(sign) && said.insert(word), "{mood:?}");
        let mut font = Font::built_in().unwrap();
        assert_ne!(font.letters(sign), font.letters("?"), "{sign} is in the font");
        // Also where the board has red where we put blue.
        for (one, other) in [band, (ground, accent), (ground, WHITE)] {
            let least = contrast(one, other).min(contrast(swapped(one), swapped(other)));
            assert!(least >= 7.0, "{mood:?}: {one:?} on {other:?} is {least:.1}:1");
        }
    }
}
