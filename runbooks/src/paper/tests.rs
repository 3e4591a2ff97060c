//! Reports as PDF: the same bytes each time, what other programs read in them, and that they find nothing wrong.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{
    Block, Figure, Language, Paper, Text, Tone, columns,
    figure::{Fill, Hold, Pen},
};

fn paper(blocks: Vec<Block>) -> Paper {
    Paper {
        language: Language::De,
        title: "Prüfbericht".into(),
        foot: "Werk Süd".into(),
        frame: Some("ÜBUNG".into()),
        written_at_ms: 1_795_352_531_000,
        blocks,
    }
}

fn everything() -> Vec<Block> {
    let mut figure = Figure { title: "Figure".into(), height: 60.0, ..Figure::default() };
    for (at, fill) in [Fill::Solid, Fill::Striped, Fill::Dotted, Fill::Hatched].into_iter().enumerate() {
        figure.bar(fill, (60.0 + 90.0 * at as f64, 10.0, 80.0, 12.0), "");
        figure.legend.push((fill, format!("fill {at}")));
    }
    figure.line(Pen::Aim, &[(600.0, 2.0), (600.0, 50.0)]);
    figure.label(Pen::Aim, Hold::End, (596.0, 48.0), "Ziel 15 min");
    vec![
        Block::Head {
            kind: "Übungsbericht".into(),
            title: "Größere Übung: Fräswerk 3".into(),
            lead: "Œuvre achevé à l’été; ¿Señal de la máquina?".into(),
            facts: vec![("Prüfsumme".into(), Text::code("ab12".repeat(16)))],
        },
        Block::Outcome {
            tone: Tone::Partly,
            word: "Zum Teil".into(),
            said: vec!["Ein Endgerät fehlt.".into()],
        },
        Block::Chapter("Schrittfolge".into()),
        Block::Table {
            columns: columns(["Schritt", "#Dauer", "Was geschah"]),
            rows: (0..120)
                .map(|n| {
                    vec![format!("Nr. {n}").into(), format!("{n} s").into(), "Überprüft und bestätigt".into()]
                })
                .collect(),
        },
        Block::Figure(figure),
        Block::Signing {
            title: "Abgezeichnet".into(),
            boxes: vec!["Ja".into()],
            heads: ["Rolle", "Name", "Datum", "Unterschrift"].map(str::to_owned),
            parts: vec!["Leitung".into()],
        },
    ]
}

/// What `tool` says to `bytes` on its standard input or in a file. A computer without the tool has Debian's name of it in the failure.
fn peer(tool: &str, arguments: &[&str], bytes: &[u8]) -> (bool, String) {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool}: {error}; apt-get install poppler-utils qpdf"));
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// What poppler reads in a PDF, lines joined by spaces.
pub(crate) fn text_of(pdf: &[u8]) -> String {
    let (read, text) = peer("pdftotext", &["-", "-"], pdf);
    assert!(read, "{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_same_paper_gives_the_same_bytes_and_another_time_gives_others() {
    let one = paper(everything()).pdf().unwrap();
    assert_eq!(one, paper(everything()).pdf().unwrap());
    assert_ne!(one, Paper { written_at_ms: 1, ..paper(everything()) }.pdf().unwrap());
    assert!(one.starts_with(b"%PDF-1."), "{:?}", &one[..9]);
    let text = String::from_utf8_lossy(&one);
    assert!(
        text.contains("<pdfaid:part>3</pdfaid:part>")
            && text.contains("<pdfaid:conformance>B</pdfaid:conformance>")
    );
    assert!(one.len() < 120_000, "{} bytes", one.len());
}

#[test]
fn poppler_reads_every_word_and_the_head_of_a_table_on_each_page() {
    let pdf = paper(everything()).pdf().unwrap();
    let (read, text) = peer("pdftotext", &["-layout", "-", "-"], &pdf);
    assert!(read, "{text}");
    for wanted in [
        "Größere Übung: Fräswerk 3",
        "Œuvre achevé à l’été; ¿Señal de la máquina?",
        "Überprüft und bestätigt",
        "Nr. 119",
        "Ziel 15 min",
        "Unterschrift",
        "fill 3",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let pages: Vec<&str> = text.trim_end_matches('\u{c}').split('\u{c}').collect();
    assert!(pages.len() >= 3, "{}", pages.len());
    for (at, page) in pages.iter().enumerate() {
        assert!(page.contains(&format!("Seite {} von {}", at + 1, pages.len())), "{page}");
        assert!(page.matches("ÜBUNG").count() >= 2, "the frame is on each page: {page}");
        assert!(!page.contains("Nr. ") || page.contains("Was geschah"), "{page}");
    }
    let rows: Vec<usize> = (0..120)
        .filter(|n| text.lines().any(|line| line.trim_start().starts_with(&format!("Nr. {n} "))))
        .collect();
    assert_eq!(rows.len(), 120, "no row is lost or cut");
    let (read, fonts) = peer("pdffonts", &["-"], &pdf);
    let faces: Vec<&str> = fonts.lines().skip(2).collect();
    assert!(
        read && faces.len() == 2 && faces.iter().all(|face| face.contains(" yes yes yes ")),
        "embedded, subset, with Unicode: {fonts}"
    );
}

#[test]
fn qpdf_finds_nothing_wrong() {
    // qpdf jumps about in a file and so reads none from a pipe.
    let file = std::env::temp_dir().join(format!("groundstate-paper-{}.pdf", std::process::id()));
    std::fs::write(&file, paper(everything()).pdf().unwrap()).unwrap();
    let (good, said) = peer("qpdf", &["--check", &file.to_string_lossy()], &[]);
    std::fs::remove_file(&file).unwrap();
    assert!(good && said.contains("No syntax or stream encoding errors found"), "{said}");
}

#[test]
fn what_the_fonts_lack_is_shown_and_counted() {
    let pdf = paper(vec![Block::Said("Endpoint 终端 in 终".into())]).pdf().unwrap();
    let (_, text) = peer("pdftotext", &["-", "-"], &pdf);
    assert!(
        text.contains("Endpoint \u{fffd}\u{fffd} in \u{fffd}") && text.contains("gezeigt als \u{fffd}: 2"),
        "{text}"
    );
}

#[test]
fn a_cell_longer_than_a_page_goes_on_on_the_next() {
    let long: String = (0..4000).map(|n| format!("w{n} ")).collect();
    let pdf = paper(vec![Block::Table {
        columns: columns(["A", "B"]),
        rows: vec![vec!["x".into(), long.into()], vec!["y".into(), "last".into()]],
    }])
    .pdf()
    .unwrap();
    let (_, text) = peer("pdftotext", &["-", "-"], &pdf);
    let words: std::collections::BTreeSet<&str> = text.split_whitespace().collect();
    assert!((0..4000).all(|n| words.contains(format!("w{n}").as_str())), "every word is there");
    assert!(words.contains("last"));
}

#[test]
fn an_empty_paper_is_one_page() {
    let (read, text) = peer("pdftotext", &["-", "-"], &paper(Vec::new()).pdf().unwrap());
    assert!(read && text.contains("Seite 1 von 1"), "{text}");
}
