//! What a configuration file may say, and how what it may not say is refused.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/groundstate/groundstate.toml"))
}

#[test]
fn an_empty_file_is_the_defaults_and_only_observes() {
    let config = parse("").unwrap();
    assert_eq!(config.group("default").mode, GroupMode::Observe);
    assert_eq!(config.group("no such group").mode, GroupMode::Observe);
    assert_eq!(config, Config::default());
    assert_eq!(config.image_store(), Path::new("/var/lib/groundstate/images"));
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = parse("site = \"a\"\n[groups.default]\nmodus = \"auto\"\n").unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("modus") && error.contains("mode"), "{error}");
}

#[test]
fn a_value_that_cannot_work_is_named_with_file_line_and_remedy() {
    let error = parse("[groups.a]\nmode = \"auto\"\nmax_concurrent = 0\n").unwrap_err().to_string();
    assert!(
        error.contains("groundstate.toml, line 3") && error.contains("groups.a.max_concurrent"),
        "{error}"
    );
    for bad in [
        "[[interfaces]]\nname = \"eth0\"\ndhcp = \"full\"",
        "[[interfaces]]\nname = \"eth0\"\npool = { first = \"10.0.0.1\", last = \"10.0.0.2\" }",
        "[[interfaces]]\nname = \"eth0\"\ndhcp = \"full\"\npool = { first = \"10.0.0.9\", last = \"10.0.0.2\" }",
        "[[interfaces]]\nname = \"eth0\"\n[[interfaces]]\nname = \"eth0\"",
        "[listen]\npeople_port = 80",
        "[hooks.k]\nsecret_file = \"no/such/file\"",
        "[blueprints.b]\nimage = \"\"",
        "[images]\ndepot = { endpoint = \"http://a\", bucket = \"golden\", credentials_file = \"c\" }",
        "[groups.g]\nsafety_class = 9",
        "[groups.g]\nwindows = [\"daily 22:00-05:00\"]",
        "time_zone = \"Mars/Olympus\"",
        "[groups.g]\npermit = { url = \"http://10.7.0.20/permit\" }",
        "[groups.g]\npermit = { url = \"http://127.0.0.1.evil.example/permit\" }",
        "[groups.g]\nmax_share_percent = 101",
        "[groups.g]\nmax_share_percent = 0",
        "[redundancy.panels]\nmin_healthy = 0",
        "[redundancy.\"a b\"]",
        "attest_every_s = 0",
        "[stage_limits_s]\nimaging = 0",
    ] {
        assert!(matches!(parse(bad), Err(ConfigError::Value { .. })), "{bad}");
    }
    assert!(matches!(parse("site = \"Not A Label\""), Err(ConfigError::Syntax { .. })));
    let error = parse("[redundancy.a]\nselector = \"line=3,\"").unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("column 8"), "{error}");
    for bad in ["spare.plant", "10.0.0.6/24", "0.0.0.0", "http://10.0.0.6", "10.0.0.6:0"] {
        let error = parse(&format!("[serving]\nalso = [\"{bad}\"]")).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("write it as 10.7.0.6"), "{error}");
    }
}

#[test]
fn addresses_are_kept_by_ethernet_address() {
    let pool = "pool = { first = \"10.0.0.1\", last = \"10.0.0.2\", reserved = { \"52:54:00:00:00:07\" = \"10.0.0.9\" } }";
    let config = parse(&format!("[[interfaces]]\nname = \"eth0\"\ndhcp = \"full\"\n{pool}")).unwrap();
    let kept = &config.interfaces[0].pool.as_ref().unwrap().reserved;
    assert_eq!(kept.get(&MacAddr([0x52, 0x54, 0, 0, 0, 7])), Some(&Ipv4Addr::new(10, 0, 0, 9)));
    assert!(parse(&format!("[[interfaces]]\nname = \"e\"\n{}", pool.replace("00:07", "zz"))).is_err());
}

#[test]
fn paths_are_taken_from_the_file_that_names_them() {
    let config = parse("data_dir = \"state\"\nboot_kit_dir = \"/kit\"").unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/groundstate/state"));
    assert_eq!(config.boot_kit_dir.as_deref(), Some(Path::new("/kit")));
}

#[test]
fn a_database_server_is_named_without_its_password() {
    let parse = |text: &str| Config::parse(text, std::path::Path::new("/etc/gs/g.toml"));
    assert_eq!(parse("").unwrap().database, None);
    let short =
        parse("database = \"postgres://gs@db.plant/gs?sslmode=verify-full\"").unwrap().database.unwrap();
    assert_eq!(
        (short.url.as_str(), short.password_file),
        ("postgres://gs@db.plant/gs?sslmode=verify-full", None)
    );
    let table =
        parse("[database]\nurl = \"postgres://gs@db.plant/gs\"\npassword_file = \"db.password\"\n").unwrap();
    assert_eq!(table.database.unwrap().password_file.unwrap(), std::path::Path::new("/etc/gs/db.password"));
    for (wrong, why) in [
        ("\n\ndatabase = \"postgres://gs:canary-7@db.plant/gs\"", "line 3: `database` holds a password"),
        ("database = \"postgres://gs@db.plant/gs?password=canary-7\"", "holds a password"),
        ("database = \"mysql://gs@db.plant/gs\"", "is no PostgreSQL URL"),
        ("database = \"postgres://gs@db.plant:port/gs\"", "is no PostgreSQL URL"),
        (
            "[database]\nurl = \"postgres://gs@db.plant/gs\"\npasword_file = \"a\"",
            "unknown field `pasword_file`",
        ),
        ("database = 5", "`url` and `password_file`"),
    ] {
        let said = parse(wrong).unwrap_err().to_string();
        assert!(said.contains(why) && !said.contains("canary-7"), "{said}");
    }
}
