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

/// What a command opens beside itself, as the kernel sees it.
fn opened(desk: &Desk, words: &[&str]) -> Vec<String> {
    let log = desk.path("calls");
    let run = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=open,openat,openat2,socket,connect,statx,newfstatat,fork,vfork,execve",
            "-o",
        ])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_groundstate"))
        .args(words)
        .current_dir(desk.dir.path())
        // Where cargo has the loader look for libraries, a person has nothing.
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .unwrap();
    assert!(run.status.success() && !run.stdout.is_empty(), "{words:?}: {run:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    // The program itself, and what the system's loader fetches for it.
    let usual = |line: &&str| {
        ["execve(", "/etc/ld.so.", ".so", "\"\"", "/proc/self/", "/sys/fs/cgroup", "/sys/devices/system/cpu"]
            .iter()
            .any(|part| line.contains(part))
    };
    log.lines().filter(|line| !usual(line)).map(str::to_owned).collect()
}

#[test]
fn help_opens_no_file_and_no_socket() {
    let desk = Desk::new();
    for words in [
        &["--help"][..],
        &["-h"],
        &[],
        &["help"],
        &["help", "exit-codes"],
        &["recover", "--help"],
        &["explain", "guard-rail"],
    ] {
        assert_eq!(opened(&desk, words), Vec::<String>::new(), "{words:?}");
    }
}

#[test]
fn bash_completes_live_names_and_is_silent_without_an_appliance() {
    let desk = Desk::new();
    let script = desk.good(&["completions", "bash"]);
    std::fs::write(desk.path("groundstate.bash"), script).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_groundstate"));
    let typed = "PATH=\"$1:$PATH\"; source ./groundstate.bash\n\
        COMP_WORDS=(groundstate runbook show sing); COMP_CWORD=3; _groundstate_live groundstate sing show; echo \"${COMPREPLY[@]}\"\n\
        COMPREPLY=(); COMP_WORDS=(groundstate recover pre); COMP_CWORD=2; _groundstate_live groundstate pre recover; echo \"${COMPREPLY[@]}\"";
    let run = std::process::Command::new("bash")
        .args(["-c", typed, "bash"])
        .arg(program.parent().unwrap())
        .env("GROUNDSTATE_URL", "https://127.0.0.1:1")
        .current_dir(desk.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    assert!(said.lines().next().unwrap().contains("single-hmi-failed"), "{said}");
    assert_eq!(said.lines().nth(1), Some(""), "{said}");
}
