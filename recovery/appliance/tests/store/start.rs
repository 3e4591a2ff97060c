//! What a first start meets: a data directory that two places name, a reader that goes away.

use super::Desk;

/// A desk with a configuration that says nothing, or this.
fn configured(text: &str) -> Desk {
    let desk = Desk::new();
    std::fs::write(desk.path("groundstate.toml"), text).unwrap();
    desk
}

#[test]
fn the_data_directory_is_the_one_that_was_named_wherever_it_was_named() {
    let init = ["init", "--config", "groundstate.toml"];
    let named = [&["--data-dir", "here"], &init[..]].concat();
    let desk = configured("site = \"plant-7\"\n");
    desk.good(&named);
    assert!(desk.path("here/tls.key").exists());

    let desk = configured("data_dir = \"there\"\n");
    desk.good(&init);
    assert!(desk.path("there/tls.key").exists());
    desk.good(&[&["--data-dir", "there"], &init[..]].concat());
    desk.refused(&named, 2, "two data directories are named");
    assert!(!desk.path("here").exists());
}

#[test]
fn a_reader_that_goes_away_ends_a_command_without_a_word() {
    let desk = Desk::new();
    desk.refused(&["image", "list"], 3, "there is no image store");
    assert!(!desk.path("store").exists(), "a look makes nothing");
    desk.disk("disk.raw", 1, 1 << 20);
    desk.import("disk.raw", "1");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = desk.command(&["image", "list", "--json"]).stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141), "as if SIGPIPE had ended it");
}
