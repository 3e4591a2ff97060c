//! Debian's slapd as the directory: who signs in by it, what it cannot do, and what goes on when it is gone. And one that lies.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::http::StatusCode;
use recovery_protocol::people::{Origin, Role};
use serde_json::json;
use tokio::net::TcpSocket;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    api::{
        People,
        tests::door::{form, page},
    },
    db,
    testing::{Bench, not_looked_at, read},
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// So often another process may take the port first.
const STARTS: usize = 5;
const LDIF: &str = "\
dn: dc=plant\nobjectClass: dcObject\nobjectClass: organization\no: plant\ndc: plant\n\n\
dn: ou=people,dc=plant\nobjectClass: organizationalUnit\nou: people\n\n\
dn: ou=groups,dc=plant\nobjectClass: organizationalUnit\nou: groups\n\n\
dn: ou=elsewhere,dc=plant\nobjectClass: organizationalUnit\nou: elsewhere\n\n\
dn: uid=lena,ou=people,dc=plant\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: lena\nuserPassword: lena knows this one\n\n\
dn: uid=nils,ou=people,dc=plant\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: nils\nuserPassword: nils knows this one\n\n\
dn: uid=ada,ou=people,dc=plant\nobjectClass: account\nobjectClass: simpleSecurityObject\nuid: ada\ndescription: lena\nuserPassword: the directory's own ada\n\n\
dn: cn=line,ou=groups,dc=plant\nobjectClass: groupOfNames\ncn: line\nmember: uid=lena,ou=people,dc=plant\nmember: uid=ada,ou=people,dc=plant\n\n\
dn: cn=watch,ou=groups,dc=plant\nobjectClass: groupOfNames\ncn: watch\nmember: uid=lena,ou=people,dc=plant\n\n\
dn: cn=line,ou=elsewhere,dc=plant\nobjectClass: groupOfNames\ncn: line\nmember: uid=nils,ou=people,dc=plant\n";

/// A real slapd; it ends with this.
struct Slapd {
    child: Child,
    url: String,
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(dir: &Path, program: &str, words: &[&str]) {
    let output = Command::new(program).current_dir(dir).args(words).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Slapd {
    /// `more`: lines of its configuration.
    async fn start(dir: &Path, scheme: &str, more: &str) -> Option<Self> {
        if !Path::new("/usr/sbin/slapd").exists() {
            not_looked_at("slapd", "slapd");
            return None;
        }
        let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
                       -addext basicConstraints=critical,CA:false -keyout l.key -out l.crt";
        run(dir, "openssl", &request.split_whitespace().collect::<Vec<_>>());
        std::fs::create_dir_all(dir.join("db")).unwrap();
        let at = dir.display();
        let conf = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             pidfile {at}/pid\nTLSCertificateFile {at}/l.crt\nTLSCertificateKeyFile {at}/l.key\n{more}\
             database mdb\nsuffix dc=plant\ndirectory {at}/db\naccess to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n"
        );
        std::fs::write(dir.join("slapd.conf"), conf).unwrap();
        std::fs::write(dir.join("people.ldif"), LDIF).unwrap();
        run(dir, "/usr/sbin/slapadd", &["-f", "slapd.conf", "-l", "people.ldif"]);
        for _ in 0..STARTS {
            if let Some(slapd) = Self::started(dir, scheme).await {
                return Some(slapd);
            }
        }
        panic!("slapd did not start");
    }

    /// `None`: it ended, since somebody else had its port first.
    async fn started(dir: &Path, scheme: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("{scheme}://127.0.0.1:{port}");
        // "stats", so that it says when it starts.
        let mut child = Command::new("/usr/sbin/slapd")
            .current_dir(dir)
            .args(["-f", "slapd.conf", "-h", &format!("{url}/"), "-d", "256"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let slapd = Self { child, url };
        loop {
            if lines.next()?.ok()?.ends_with("slapd starting") {
                break;
            }
        }
        // Nobody reads on; it must not wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        // It listens right after that line. From another address than its own: a connection to a port of one's own address that nobody listens on
        // may be one to itself, and then slapd does not have the port any more.
        let listens = async {
            loop {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
                if socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.is_ok() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), listens).await.expect("slapd does not listen");
        Some(slapd)
    }

    fn setting(&self, dir: &Path) -> config::Directory {
        setting(&self.url, &dir.join("l.crt"))
    }
}

fn setting(url: &str, ca_file: &Path) -> config::Directory {
    config::Directory {
        url: url.to_owned(),
        starttls: url.starts_with("ldap:"),
        ca_file: ca_file.to_owned(),
        bind: "uid={name},ou=people,dc=plant".to_owned(),
        users: None,
        groups_base: "dc=plant".to_owned(),
        group_filter: "(member={dn})".to_owned(),
        believed_h: 72,
        roles: [
            ("CN=line, OU=groups, DC=plant".to_owned(), Role::Technician),
            ("cn=watch,ou=groups,dc=plant".to_owned(), Role::Auditor),
        ]
        .into(),
    }
}

#[tokio::test]
async fn a_real_directory_says_who_somebody_is_and_in_which_of_our_groups() {
    for scheme in ["ldaps", "ldap"] {
        let dir = tempfile::tempdir().unwrap();
        // Which lets everybody in without a password (RFC 4513 section 5.1.2), as some do by default.
        let Some(slapd) = Slapd::start(dir.path(), scheme, "allow bind_anon_cred\n").await else { return };
        let setting = slapd.setting(dir.path());
        let directory = Directory::open(&setting).unwrap();
        let ask = async |name: &str, password: &str| directory.ask(name, password, HERE).await.unwrap();
        let known = ask("lena", "lena knows this one").await;
        assert_eq!(known, lena_is(Role::Technician), "of two the first in order");
        for (name, password) in [
            ("lena", "not it"),
            ("lena", ""),
            ("lena", "\0"),
            ("nobody", "lena knows this one"),
            ("", "x"),
            ("*", "x"),
            ("lena,ou=people,dc=plant", "lena knows this one"),
        ] {
            assert_eq!(ask(name, password).await, Said::Not, "{name} {password}");
        }
        // The same common name elsewhere in the tree is another group.
        assert_eq!(ask("nils", "nils knows this one").await, Said::NoRole);
        // Found by a filter, as in Active Directory.
        let found_by = |filter: &str| {
            let users = config::Users { base: "dc=plant".to_owned(), filter: filter.to_owned() };
            Directory::open(&config::Directory { users: Some(users), ..setting.clone() }).unwrap()
        };
        let lena = async |directory: Directory| directory.ask("lena", "lena knows this one", HERE).await;
        assert_eq!(lena(found_by("(uid={name})")).await.unwrap(), lena_is(Role::Technician));
        assert_eq!(lena(found_by("(uid={name}x)")).await.unwrap(), Said::NoRole);
        assert_eq!(
            lena(found_by("(|(uid={name})(uid=*))")).await.unwrap(),
            Said::NoRole,
            "several are nobody"
        );
        // By what somebody else wrote into their own entry: whose groups would be read is not who signed in.
        let another = lena(found_by("(description={name})")).await.unwrap_err();
        assert!(another.code == "directory-odd" && another.detail.contains("not the one"), "{another:?}");
        // A tree that is not there.
        let nowhere = config::Directory { groups_base: "dc=elsewhere".to_owned(), ..setting.clone() };
        let refused = lena(Directory::open(&nowhere).unwrap()).await.unwrap_err();
        assert!(refused.code == "directory-refused" && refused.detail.contains("32"), "{refused:?}");
        // Somebody in the middle with another certificate.
        let other = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -keyout o.key -out o.crt";
        run(dir.path(), "openssl", &other.split(' ').collect::<Vec<_>>());
        let foreign = config::Directory { ca_file: dir.path().join("o.crt"), ..setting };
        let refused = lena(Directory::open(&foreign).unwrap()).await.unwrap_err();
        assert_eq!(refused.code, "directory-untrusted", "{refused:?}");
    }
}

fn lena_is(role: Role) -> Said {
    Said::Is(role, "uid=lena,ou=people,dc=plant".to_owned())
}

async fn login(bench: &Bench, name: &str, password: &str, from: &str) -> Result<String, (u16, String)> {
    let response = form(bench, "/login", from, "", &[("name", name), ("password", password)]).await;
    if let Some(cookie) = response.headers().get(axum::http::header::SET_COOKIE) {
        return Ok(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
    }
    let (status, text) = read(response).await;
    Err((status.as_u16(), text))
}

/// The cookie of her next session.
async fn what_she_had_ends_with_her_role(
    bench: &mut Bench,
    people: &People,
    setting: config::Directory,
) -> String {
    // Right by her password, and nothing here any more: what she had ends now.
    let (_, token) = bench.ask("PATCH", "/api/v1/people/lena", json!({ "new_token": true })).await;
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    let by_token = async |bench: &Bench| {
        let request = axum::http::Request::get("/api/v1/endpoints").header("authorization", &token);
        bench.send(request.body(axum::body::Body::empty()).unwrap()).await.status()
    };
    assert_eq!(by_token(bench).await, StatusCode::OK);
    let again = login(bench, "lena", "lena knows this one", "10.0.0.1").await.unwrap();
    let gone = config::Directory {
        roles: [("cn=other,ou=groups,dc=plant".to_owned(), Role::Auditor)].into(),
        ..setting
    };
    let gone = people.clone().with_directory(Some(Arc::new(Directory::open(&gone).unwrap()))).router();
    let here = std::mem::replace(&mut bench.router, gone);
    assert_eq!(login(bench, "lena", "lena knows this one", "10.0.0.1").await.unwrap_err().0, 403);
    assert_eq!(page(bench, "/account", &again).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(by_token(bench).await, StatusCode::UNAUTHORIZED);
    bench.router = here;
    let cookie = login(bench, "lena", "lena knows this one", "10.0.0.1").await.unwrap();
    assert_eq!(by_token(bench).await, StatusCode::UNAUTHORIZED, "the old token stays worthless");
    cookie
}

async fn one_entry_has_one_name_and_what_belongs_to_its_role(bench: &Bench) {
    // Her entry is hers under one name, and what does not belong to her role goes with it.
    let her = "uid=lena,ou=people,dc=plant";
    let sign_on =
        async |name: &str| bench.service.sign_on(name, Role::Auditor, (Origin::Directory, Some(her))).await;
    assert_eq!(sign_on("lena2").await.unwrap_err().code, "person-exists");
    let mut tx = bench.journal.begin().await.unwrap();
    let known = db::person::get(tx.conn(), "lena").await.unwrap().unwrap();
    assert_eq!(known.subject.as_deref(), Some(her));
    let pinned = db::person::Person { client_certificate: Some("AAAA".to_owned()), ..known };
    db::person::put(tx.conn(), &pinned).await.unwrap();
    tx.commit().await.unwrap();
    sign_on("lena").await.unwrap();
    let mut tx = bench.journal.begin().await.unwrap();
    assert_eq!(db::person::get(tx.conn(), "lena").await.unwrap().unwrap().client_certificate, None);
}

#[tokio::test]
async fn who_comes_from_the_directory_is_on_record_and_whom_it_claims_is_not_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let Some(slapd) = Slapd::start(dir.path(), "ldaps", "allow bind_anon_cred\n").await else { return };
    let mut bench = Bench::new("").await;
    let directory = Arc::new(Directory::open(&slapd.setting(dir.path())).unwrap());
    let people = bench.people.clone().with_directory(Some(directory));
    bench.router = people.clone().router();
    let own = "ada is on record here";
    bench.ask("POST", "/api/v1/people", json!({ "person": "ada", "role": "admin" })).await;
    bench.ask("PUT", "/api/v1/people/ada/password", json!({ "password": own })).await;
    let cookie = login(&bench, "lena", "lena knows this one", "10.0.0.1").await.unwrap();
    assert!(page(&bench, "/account", &cookie).await.1.contains("<strong>technician</strong>"));
    let (_, list) = bench.ask("GET", "/api/v1/people", json!(null)).await;
    let lena = list.as_array().unwrap().iter().find(|view| view["person"] == "lena").unwrap().clone();
    assert!(lena["origin"] == "directory" && lena["password_unix_ms"].is_null(), "{lena}");
    // A name of ours is ours, whatever the directory says of it.
    assert_eq!(login(&bench, "ada", "the directory's own ada", "10.0.0.2").await.unwrap_err().0, 401);
    assert!(login(&bench, "ada", own, "10.0.0.3").await.is_ok());
    for (name, password) in [("lena", "not it"), ("lena", ""), ("token", "x"), ("lena)(uid=*", "x")] {
        assert_eq!(login(&bench, name, password, "10.0.0.4").await.unwrap_err().0, 401, "{name}");
    }
    let (status, text) = login(&bench, "nils", "nils knows this one", "10.0.0.4").await.unwrap_err();
    assert!(status == 403 && text.contains("You have no role here"), "{text}");
    let (_, refused) = bench.ask("PUT", "/api/v1/people/lena/password", json!({ "password": own })).await;
    assert_eq!(refused["code"], "no-password");
    // What she may says the directory, at each sign-in.
    bench.ask("PATCH", "/api/v1/people/lena", json!({ "role": "admin" })).await;
    let again = login(&bench, "lena", "lena knows this one", "10.0.0.1").await.unwrap();
    assert!(page(&bench, "/account", &again).await.1.contains("<strong>technician</strong>"));
    let cookie = what_she_had_ends_with_her_role(&mut bench, &people, slapd.setting(dir.path())).await;
    one_entry_has_one_name_and_what_belongs_to_its_role(&bench).await;
    // Shut out here, she is out, whatever the directory says.
    bench.ask("PATCH", "/api/v1/people/lena", json!({ "disabled": true })).await;
    assert_eq!(page(&bench, "/account", &cookie).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(login(&bench, "lena", "lena knows this one", "10.0.0.5").await.unwrap_err().0, 401);
    bench.ask("PATCH", "/api/v1/people/lena", json!({ "disabled": false })).await;
    // Gone: those on record here go on.
    drop(slapd);
    let (status, text) = login(&bench, "lena", "lena knows this one", "10.0.0.6").await.unwrap_err();
    assert!(status == 503 && text.contains("The directory does not answer"), "{text}");
    assert!(login(&bench, "ada", own, "10.0.0.3").await.is_ok());
    let log = bench.service.evidence_lines(None).await.unwrap().join("\n");
    for entry in [
        "\"order.person-add\"",
        "\"how\":\"directory\"",
        "\"how\":\"no-role-here\"",
        "\"how\":\"directory-gone\"",
    ] {
        assert!(log.contains(entry), "{entry} in {log}");
    }
    assert!(!log.contains("knows this one") && !log.contains("nils"), "{log}");
}

/// One that answers each question with these bytes, whatever was asked.
async fn liar(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, answers: &[Vec<u8>]) {
    let (mut peer, _) = listener.accept().await.unwrap();
    let Some(tls) = tls else { return lies(&mut peer, answers).await };
    lies(&mut tls.accept(peer).await.unwrap(), answers).await;
}

async fn lies<P: AsyncRead + AsyncWrite + Unpin>(peer: &mut P, answers: &[Vec<u8>]) {
    for answer in answers {
        let mut asked = [0; 4096];
        let _ = peer.read(&mut asked).await;
        let _ = peer.write_all(answer).await;
        let _ = peer.flush().await;
    }
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest).await;
}

fn answer(id: u8, tag: u8, contents: &[u8]) -> Vec<u8> {
    wire::element(0x30, &[&[2, 1, id], wire::element(tag, contents).as_slice()].concat())
}

fn entry(id: u8, dn: &str) -> Vec<u8> {
    answer(id, 0x64, &[wire::octets(dn.as_bytes()), wire::element(0x30, &[])].concat())
}

const FINE: &[u8] = &[0x0a, 1, 0, 4, 0, 4, 0];

fn pem(dir: &tempfile::TempDir, name: &str, certificate: &rcgen::Certificate) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, certificate.pem()).unwrap();
    path
}

/// One that shows this certificate.
fn shows(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> TlsAcceptor {
    let key = key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// What is made of these answers.
async fn told(
    answers: &[Vec<u8>],
    tls: &TlsAcceptor,
    setting: impl Fn(&str) -> config::Directory,
) -> Result<Said, Problem> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ldaps://{}", listener.local_addr().unwrap());
    let directory = Directory::open(&setting(&url)).unwrap();
    let served = async {
        let (peer, _) = listener.accept().await.unwrap();
        if let Ok(mut peer) = tls.accept(peer).await {
            lies(&mut peer, answers).await;
        }
    };
    tokio::join!(served, directory.ask("lena", "lena knows this one", HERE)).1
}

#[tokio::test]
async fn a_directory_is_known_by_its_own_certificate_or_by_its_authority_and_name() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let dir = tempfile::tempdir().unwrap();
    let yes =
        [answer(1, 0x61, FINE), [entry(2, "cn=line,ou=groups,dc=plant"), answer(2, 0x65, FINE)].concat()];
    let key = || KeyPair::generate().unwrap();
    let params = |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap();
    // As `openssl req -x509` makes it: an authority's, and shown all the same. Its name does not count: it is the very one.
    let (own_key, mut own) = (key(), params("somewhere.plant"));
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = own.self_signed(&own_key).unwrap();
    let ca_file = pem(&dir, "own.crt", &own);
    let said = told(&yes, &shows(&own, &own_key), |url| setting(url, &ca_file)).await;
    assert_eq!(said.unwrap(), lena_is(Role::Technician));
    let (ca_key, mut ca) = (key(), CertificateParams::default());
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_file = pem(&dir, "ca.crt", &ca.self_signed(&ca_key).unwrap());
    let issuer = Issuer::new(ca, ca_key);
    for (name, expected) in
        [("127.0.0.1", Ok(lena_is(Role::Technician))), ("127.0.0.2", Err("directory-untrusted".to_owned()))]
    {
        let leaf_key = key();
        let leaf = params(name).signed_by(&leaf_key, &issuer).unwrap();
        let said = told(&yes, &shows(&leaf, &leaf_key), |url| setting(url, &ca_file)).await;
        assert_eq!(said.map_err(|problem| problem.code), expected, "{name}");
    }
}

#[tokio::test]
async fn whose_groups_are_read_is_who_signed_in_by_active_directorys_word_too() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (ca_file, tls) = (pem(&dir, "ad.crt", &made.cert), shows(&made.cert, &made.signing_key));
    let setting = |url: &str| config::Directory {
        bind: "{name}@plant.example".to_owned(),
        users: Some(config::Users { base: "dc=plant".to_owned(), filter: "(uid={name})".to_owned() }),
        ..setting(url, &ca_file)
    };
    let is =
        |authz: &str| answer(2, 0x78, &[FINE, wire::element(0x8b, authz.as_bytes()).as_slice()].concat());
    let after = [
        [entry(3, "CN=Lena,OU=people,DC=plant"), answer(3, 0x65, FINE)].concat(),
        [entry(4, "cn=line,ou=groups,dc=plant"), answer(4, 0x65, FINE)].concat(),
    ];
    for (authz, expected) in [
        ("u:PLANT\\lena", Ok(Said::Is(Role::Technician, "cn=lena,ou=people,dc=plant".to_owned()))),
        (
            "dn:cn=lena, ou=people,dc=plant",
            Ok(Said::Is(Role::Technician, "cn=lena,ou=people,dc=plant".to_owned())),
        ),
        ("dn:cn=otto,ou=people,dc=plant", Err("directory-odd".to_owned())),
        ("", Err("directory-odd".to_owned())),
    ] {
        let answers = [vec![answer(1, 0x61, FINE), is(authz)], after.to_vec()].concat();
        let said = told(&answers, &tls, setting).await;
        assert_eq!(said.map_err(|problem| problem.code), expected, "{authz}");
    }
    // An account is asked for by its own name, beside what the configuration asks for.
    let asked = Bound::Account("lena".to_owned()).of(wire::element(0x87, b"cn"));
    let expected = [&b"\xa0\x1c\x87\x02cn\xa3\x16\x04\x0esAMAccountName\x04\x04lena"[..]].concat();
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_directory_that_lies_brings_nothing_down_and_makes_nobody_more_than_was_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let ca_file = pem(&dir, "liar.crt", &made.cert);
    let tls = shows(&made.cert, &made.signing_key);
    let in_group = "cn=line,ou=groups,dc=plant";
    let many: Vec<u8> = (0..=GROUPS_MOST).flat_map(|n| entry(2, &format!("cn=g{n}"))).collect();
    let done = answer(2, 0x65, FINE);
    let group = [entry(2, in_group), entry(2, "cn=admin,ou=groups,dc=plant"), done.clone()].concat();
    let bound = answer(1, 0x61, FINE);
    let refusal = |code: u8| answer(1, 0x61, &[&[0x0a, 1, code, 4, 0, 4, 8][..], b"data 775"].concat());
    // What panics where a reader trusts: an empty message, a name that is no text, an answer that is another's.
    let cases = [
        ("it says yes to everything", vec![bound.clone(), group], Ok(lena_is(Role::Technician))),
        ("an empty message", vec![b"\x30\x00".to_vec()], Err("directory-odd")),
        ("HTTP", vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], Err("directory-odd")),
        ("no text", vec![bound.clone(), answer(2, 0x64, b"\x04\x02\xff\xfe\x30\x00")], Err("directory-odd")),
        ("more than can be", vec![bound.clone(), many], Err("directory-odd")),
        ("another's answer", vec![answer(9, 0x61, FINE)], Err("directory-odd")),
        ("a search for a bind", vec![answer(1, 0x65, FINE)], Err("directory-odd")),
        ("an account that is shut", vec![refusal(53)], Ok(Said::Not)),
        ("one that has run out", vec![refusal(19)], Ok(Said::Not)),
        ("no such entry", vec![refusal(32)], Ok(Said::Not)),
        ("it is going down", vec![refusal(52)], Err("directory-refused")),
    ];
    for (what, answers, expected) in cases {
        let said = told(&answers, &tls, |url| setting(url, &ca_file)).await;
        if let Err(problem) = &said {
            assert!(!problem.detail.contains("data 775"), "its own words are for the log: {problem:?}");
        }
        assert_eq!(
            said.as_ref().map_err(|problem| problem.code.as_str()),
            expected.as_ref().map_err(|code| *code),
            "{what}"
        );
    }
    // Before TLS anybody could speak: what follows the answer to StartTLS, and what is no answer, ends it.
    let starttls = answer(1, 0x78, FINE);
    for said in [b"\x30\x00".to_vec(), [starttls, answer(2, 0x61, FINE)].concat(), answer(1, 0x61, FINE)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ldap://{}", listener.local_addr().unwrap());
        let directory = Directory::open(&setting(&url, &ca_file)).unwrap();
        let answers = [said];
        let ((), said) = tokio::join!(liar(listener, None, &answers), directory.ask("lena", "x", HERE));
        assert_eq!(said.unwrap_err().code, "directory-odd");
    }
}

#[tokio::test]
async fn one_address_cannot_have_all_turns() {
    let dir = tempfile::tempdir().unwrap();
    let ca_file = dir.path().join("ca.crt");
    std::fs::write(&ca_file, rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem())
        .unwrap();
    let directory = Directory::open(&setting("ldaps://127.0.0.1:1", &ca_file)).unwrap();
    let held: Vec<_> = (0..3).map(|_| directory.turn(HERE)).collect();
    assert_eq!(held.iter().filter(|turn| turn.is_some()).count(), OF_ADDRESS as usize);
    let other = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
    let more: Vec<_> = (0..20).map(|n| directory.turn(other(n))).collect();
    assert_eq!(more.iter().filter(|turn| turn.is_some()).count(), (AT_ONCE - OF_ADDRESS) as usize);
    let busy = directory.ask("lena", "x", HERE).await.unwrap_err();
    assert_eq!(busy.code, "sign-in-busy");
    drop((held, more));
    // An IPv6 network of one owner is one address.
    let of_one = |n: u16| IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
    let own: Vec<_> = (0..9).map(|n| directory.turn(of_one(n))).collect();
    assert_eq!(own.iter().filter(|turn| turn.is_some()).count(), OF_ADDRESS as usize);
    drop(own);
    assert!(directory.turn(HERE).is_some() && directory.under_way.lock().unwrap().is_empty());
}

#[test]
fn a_dn_is_compared_as_directories_write_it() {
    assert_eq!(plain("CN=Line 3, OU = Groups,DC=plant"), plain("cn=line 3,ou=groups,dc=plant"));
    assert_ne!(plain("cn=line,ou=groups,dc=plant"), plain("cn=line,ou=elsewhere,dc=plant"));
}
