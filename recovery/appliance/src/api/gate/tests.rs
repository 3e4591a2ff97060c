//! The gate: secrets, sessions, and what a flood of wrong ones does.

use axum::http::HeaderValue;

use super::*;

const AT: u64 = 1_000_000_000;
const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

fn with_cookie(cookie: &str, more: &[(header::HeaderName, &str)]) -> HeaderMap {
    let cookie = format!("a=b; {COOKIE}={cookie}");
    headers(&[&[(header::COOKIE, cookie.as_str())], more].concat())
}

fn admit(gate: &Gate, method: &Method, headers: &HeaderMap, from: IpAddr, at: u64) -> Result<Who, Problem> {
    gate.admit((method, &Uri::from_static("/")), headers, from, at)
}

fn code(result: Result<Who, Problem>) -> String {
    result.unwrap_err().code
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let gate = Gate::new("secret");
    let ask =
        |value: &str| admit(&gate, &Method::POST, &headers(&[(header::AUTHORIZATION, value)]), FROM, AT);
    let own = ask("Bearer secret").unwrap();
    assert_eq!((own.actor().name.as_str(), own.role), ("operator:token", Role::Admin));
    for wrong in ["Bearer Secret", "Bearer secret2", "Bearer", "secret", "Basic secret", ""] {
        assert_eq!(code(ask(wrong)), "unauthenticated", "{wrong}");
    }
    assert_eq!(code(admit(&gate, &Method::GET, &HeaderMap::new(), FROM, AT)), "unauthenticated");
}

#[test]
fn a_link_opens_one_session_once() {
    let gate = Gate::new("secret");
    let own = gate.who(&hash("secret"), AT).unwrap();
    let link = gate.link(&own).unwrap();
    let cookie = gate.sign_in(&link, FROM, AT).unwrap();
    assert_eq!(gate.sign_in(&link, FROM, AT).unwrap_err().code, "sign-in-refused");
    let signed_in = with_cookie(&cookie, &[]);
    // One person by bearer and by session: nobody approves their own order by changing the door.
    let by_session = admit(&gate, &Method::GET, &signed_in, FROM, AT).unwrap();
    assert_eq!(Who { session: None, ..by_session }, own);
    gate.sign_out(&signed_in);
    assert_eq!(code(admit(&gate, &Method::GET, &signed_in, FROM, AT)), "unauthenticated");
}

#[test]
fn a_write_by_session_needs_our_own_origin() {
    let gate = Gate::new("secret");
    let cookie = gate.sign_in("secret", FROM, AT).unwrap();
    let ask = |origin: &str| {
        let host = (header::HOST, "appliance:443");
        admit(&gate, &Method::POST, &with_cookie(&cookie, &[host, (header::ORIGIN, origin)]), FROM, AT)
    };
    assert!(ask("https://appliance:443").is_ok());
    for foreign in
        ["https://evil.example", "http://appliance:443", "null", "https://appliance:443.evil.example"]
    {
        assert_eq!(code(ask(foreign)), "foreign-origin", "{foreign}");
    }
    let without = with_cookie(&cookie, &[(header::HOST, "appliance:443")]);
    assert_eq!(code(admit(&gate, &Method::POST, &without, FROM, AT)), "foreign-origin");
}

#[test]
fn guessing_is_slowed_down_and_nobody_is_locked_out() {
    let gate = Gate::new("secret");
    for _ in 0..OF_ADDRESS_MOST {
        assert_eq!(gate.sign_in("guess", FROM, AT).unwrap_err().code, "sign-in-refused");
    }
    assert_eq!(gate.sign_in("guess", FROM, AT).unwrap_err().code, "too-many-attempts");
    let bearer = |value| headers(&[(header::AUTHORIZATION, value)]);
    assert_eq!(code(admit(&gate, &Method::GET, &bearer("Bearer guess"), FROM, AT)), "too-many-attempts");
    assert!(admit(&gate, &Method::GET, &bearer("Bearer secret"), FROM, AT).is_ok());
    assert!(gate.sign_in("secret", FROM, AT).is_ok());
}

fn anna(token: &str) -> Person {
    Person::new("anna".to_owned(), Role::Engineer, keys::secret_hash(token), 1)
}

#[test]
fn a_person_comes_with_their_token_and_their_role_until_it_ends() {
    let gate = Gate::new("secret");
    let ask = |token: &str, at| {
        let headers = headers(&[(header::AUTHORIZATION, &format!("Bearer {token}"))]);
        admit(&gate, &Method::POST, &headers, FROM, at)
    };
    assert!(ask("annas", AT).is_err());
    gate.learn(&[Person { token_ends: Some(AT + 5), ..anna("annas") }], AT);
    let who = ask("annas", AT).unwrap();
    assert_eq!((who.name.as_str(), who.role, who.note), ("anna", Role::Engineer, true));
    assert!(!ask("annas", AT + 4).unwrap().note, "once an hour is enough");
    assert_eq!(code(ask("annas", AT + 5)), "unauthenticated");
    assert!(ask("secret", AT).is_ok());
}

#[test]
fn a_session_ends_with_the_token_that_opened_it() {
    for gone in [vec![], vec![Person { disabled: true, ..anna("annas") }], vec![anna("new")]] {
        let gate = Gate::new("secret");
        gate.learn(&[anna("annas")], AT);
        let who = gate.who(&hash("annas"), AT).unwrap();
        let link = gate.link(&who).unwrap();
        let late = gate.link(&who).unwrap();
        let signed_in = with_cookie(&gate.sign_in(&link, FROM, AT).unwrap(), &[]);
        assert_eq!(admit(&gate, &Method::GET, &signed_in, FROM, AT).unwrap().name, "anna");
        gate.learn(&gone, AT);
        assert_eq!(code(admit(&gate, &Method::GET, &signed_in, FROM, AT)), "unauthenticated");
        assert_eq!(gate.sign_in(&late, FROM, AT).unwrap_err().code, "sign-in-refused");
    }
}

#[test]
fn a_changed_role_counts_at_once_and_a_program_has_no_session() {
    let gate = Gate::new("secret");
    gate.learn(&[anna("annas")], AT);
    let signed_in = with_cookie(&gate.sign_in("annas", FROM, AT).unwrap(), &[]);
    gate.learn(&[Person { role: Role::Auditor, ..anna("annas") }], AT);
    assert_eq!(admit(&gate, &Method::GET, &signed_in, FROM, AT).unwrap().role, Role::Auditor);
    gate.learn(&[Person { role: Role::Automation, ..anna("annas") }], AT);
    assert_eq!(gate.sign_in("annas", FROM, AT).unwrap_err().code, "sign-in-refused");
}

#[test]
fn sessions_and_links_of_a_token_end_with_it() {
    let gate = Gate::new("secret");
    let until =
        |ends| [Person { token_ends: Some(ends), password: Some("$argon2id$x".to_owned()), ..anna("annas") }];
    gate.learn(&until(AT + 5), AT);
    let who = gate.who(&hash("annas"), AT).unwrap();
    let (link, late) = (gate.link(&who).unwrap(), gate.link(&who).unwrap());
    let mut opened: Vec<HeaderMap> = [link.as_str(), "annas"]
        .map(|secret| with_cookie(&gate.sign_in(secret, FROM, AT).unwrap(), &[]))
        .into();
    // One that her password opened, which she may have set herself.
    let by_password = gate.inside().known[0].password_key().unwrap();
    let by_password = gate.open(&Who { key: by_password, ..who }, "password", FROM, AT).unwrap();
    opened.push(with_cookie(&by_password, &[]));
    for signed_in in &opened {
        assert!(admit(&gate, &Method::GET, signed_in, FROM, AT + 4).is_ok());
        assert_eq!(code(admit(&gate, &Method::GET, signed_in, FROM, AT + 5)), "unauthenticated");
    }
    assert_eq!(gate.sign_in(&late, FROM, AT + 5).unwrap_err().code, "sign-in-refused");
    gate.learn(&until(AT + 5), AT + 5);
    assert!(gate.inside().sessions.list(None, None, Instant::now()).is_empty(), "and are seen to end");
}

#[tokio::test]
async fn a_password_and_a_badge_end_with_the_token_too() {
    let gate = Gate::new("secret");
    let phc = crate::passwords::seal("four words that fit").unwrap();
    let (badge_sha256, pin) = (Some(badge_sha256("04A7")), Some(phc.clone()));
    let tom = Person { role: Role::Technician, badge_sha256, pin, ..anna("annas") };
    gate.learn(&[Person { token_ends: Some(AT + 5), password: Some(phc), ..tom }], AT);
    let secret = kiosk::tests::paired(&gate, "panel-3");
    for (at, opens) in [(AT + 4, true), (AT + 5, false)] {
        let given = "four words that fit".to_owned();
        assert_eq!(gate.sign_in_by_password("anna", given.clone(), FROM, at).await.is_ok(), opens);
        let badge = gate.badge(&secret, "04A7", FROM).await.unwrap();
        assert_eq!(gate.sign_in_by_pin(badge, (given, false), FROM, at).await.1.is_ok(), opens);
    }
}

#[test]
fn what_a_page_asks_for_by_itself_keeps_no_session() {
    let gate = Gate::new("secret");
    let signed_in = with_cookie(&gate.sign_in("secret", FROM, AT).unwrap(), &[]);
    let used = |uri: &'static str, at| {
        gate.admit((&Method::GET, &Uri::from_static(uri)), &signed_in, FROM, at).unwrap();
        gate.inside().sessions.list(None, None, Instant::now())[0].used_unix_ms
    };
    for uri in ["/changes", "/?part=live", "/?selector=line%3D3&part=live"] {
        assert_eq!(used(uri, AT + 5), AT, "{uri}");
    }
    for (n, uri) in ["/", "/?part=lively", "/jobs/changes"].into_iter().enumerate() {
        assert_eq!(used(uri, AT + 6 + n as u64), AT + 6 + n as u64, "{uri}");
    }
}

#[tokio::test]
async fn a_kiosk_that_ends_while_somebody_waits_lets_nobody_in() {
    let gate = Gate::new("secret");
    let pin = Some(crate::passwords::seal("493021").unwrap());
    let networks = vec!["10.7.0.0/16".to_owned()];
    let tom =
        Person { role: Role::Technician, badge_sha256: Some(badge_sha256("04A7")), pin, ..anna("annas") };
    gate.learn(std::slice::from_ref(&tom), AT);
    let secret = kiosk::tests::paired(&gate, "panel-3");
    let badge = gate.badge(&secret, "04A7", FROM).await.unwrap();
    gate.learn_kiosks(&[]);
    let (right, opened) = gate.sign_in_by_pin(badge, ("493021".to_owned(), false), FROM, AT).await;
    assert_eq!((right, opened.unwrap_err().code.as_str()), (true, "kiosk-not-paired"));
    assert!(gate.inside().sessions.list(None, None, Instant::now()).is_empty());
    // From another network, ten times and none too soon: the PIN was right.
    gate.learn(&[Person { networks, ..tom }], AT);
    let secret = kiosk::tests::paired(&gate, "panel-3");
    for _ in 0..10 {
        let badge = gate.badge(&secret, "04A7", FROM).await.unwrap();
        let (right, opened) = gate.sign_in_by_pin(badge, ("493021".to_owned(), false), FROM, AT).await;
        assert_eq!((right, opened.unwrap_err().code.as_str()), (true, "token-from-elsewhere"));
    }
}

#[tokio::test]
async fn a_pin_that_is_given_anew_while_the_old_one_is_looked_at_opens_nothing() {
    let gate = Gate::new("secret");
    let with = |pin: &str, badge: &str| Person {
        role: Role::Technician,
        badge_sha256: Some(badge_sha256(badge)),
        pin: Some(crate::passwords::seal(pin).unwrap()),
        ..anna("annas")
    };
    for now in [Some(with("770142", "04A7")), Some(with("493021", "04B8")), None] {
        gate.learn(&[with("493021", "04A7")], AT);
        let secret = kiosk::tests::paired(&gate, "panel-3");
        let badge = gate.badge(&secret, "04A7", FROM).await.unwrap();
        gate.learn(now.as_slice(), AT);
        let (_, opened) = gate.sign_in_by_pin(badge, ("493021".to_owned(), false), FROM, AT).await;
        assert_eq!(opened.unwrap_err().code, "sign-in-refused");
        assert!(gate.inside().sessions.list(None, None, Instant::now()).is_empty());
    }
}

#[test]
fn whoever_the_directory_has_not_named_for_long_opens_nothing_and_their_link_outlives_no_session() {
    let gate = Gate::new("secret");
    let lena = |until| {
        [Person { origin: Origin::Directory, believed_until: until, token_ends: None, ..anna("lenas") }]
    };
    gate.learn(&lena(Some(AT + 5)), AT);
    let cookie = gate.sign_in("lenas", FROM, AT).unwrap();
    let signed_in = with_cookie(&cookie, &[]);
    let who = admit(&gate, &Method::GET, &signed_in, FROM, AT + 4).unwrap();
    // A link that is asked for in a session opens one that ends with it.
    let linked = gate.sign_in(&gate.link(&who).unwrap(), FROM, AT + 4).unwrap();
    let since = |cookie: &str| gate.inside().sessions.look(&hash(cookie), Instant::now()).unwrap().opened;
    assert_eq!(since(&linked), since(&cookie));
    let by_token =
        gate.sign_in(&gate.link(&gate.who(&hash("lenas"), AT).unwrap()).unwrap(), FROM, AT).unwrap();
    assert!(since(&by_token) > since(&cookie), "a token's link opens a session of its own");
    assert!(gate.who(&hash("lenas"), AT + 5).is_none());
    for cookie in [&cookie, &linked] {
        assert_eq!(
            code(admit(&gate, &Method::GET, &with_cookie(cookie, &[]), FROM, AT + 5)),
            "unauthenticated"
        );
    }
    gate.learn(&lena(None), AT);
    assert!(gate.who(&hash("lenas"), AT).is_none(), "and before it was ever asked");
}

#[test]
fn a_directory_that_says_nothing_is_not_asked_without_end_from_one_address() {
    let gate = Gate::new("secret");
    for n in 0..OF_ADDRESS_MOST {
        let name = format!("nobody-{n}");
        gate.asks_elsewhere(&name, FROM).unwrap();
        let gone = Problem::new(503, "directory-gone", "", "", "");
        let said = gate.elsewhere_said(&name, ("directory", Elsewhere::Silent(gone)), FROM, AT);
        assert_eq!(said.unwrap_err().code, "directory-gone");
    }
    assert_eq!(gate.asks_elsewhere("lena", FROM).unwrap_err().code, "too-many-attempts");
}
