//! The technician's way from the code on a machine to a running job, and back to a machine that works.

use recovery_protocol::people::Role;

use super::*;

/// The smallest picture that is a PNG by its first bytes.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0";

/// A technician with a browser that runs no script.
struct Technician {
    bench: Bench,
    token: String,
    touches: u32,
    typed: u32,
}

impl Technician {
    async fn before(endpoints: &[&str], more: serde_json::Value) -> Self {
        let bench = Bench::new("").await;
        for (n, endpoint) in endpoints.iter().enumerate() {
            bench.add(endpoint, &format!("52:54:00:12:34:{n:02x}"), more.clone()).await;
        }
        let order = json!({ "person": "tom", "role": Role::Technician });
        let (_, added) = bench.ask("POST", "/api/v1/people", order).await;
        Self { bench, token: added["token"].as_str().unwrap().to_owned(), touches: 0, typed: 0 }
    }

    async fn send(&self, request: axum::http::request::Builder, body: String) -> Response<Body> {
        let request = request
            .header(header::HOST, HOST)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.bench.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        read(self.send(Request::get(path), String::new()).await).await
    }

    /// Touches the link that this page has to that path.
    async fn follow(&mut self, page: &str, path: &str) -> String {
        assert!(page.contains(&format!("href=\"{path}\"")), "no link to {path}: {page}");
        self.touches += 1;
        let (status, page) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        page
    }

    /// Sends the form of this page that goes there, as whoever filled it in and touched its button.
    async fn submit(&mut self, page: &str, action: &str, form: &str) -> Response<Body> {
        let own = page
            .split("<form")
            .find(|form| form.contains(&format!("action=\"{action}\"")))
            .expect("the form is on the page");
        let own = own.split("</form>").next().unwrap();
        let fields = own.matches("<input").count()
            - own.matches("type=\"hidden\"").count()
            - own.matches("type=\"checkbox\"").count();
        self.typed += u32::try_from(fields).unwrap();
        self.touches += 1;
        self.send(Request::post(action), form.to_owned()).await
    }

    async fn jobs(&self) -> Vec<JobView> {
        self.bench.service.jobs(None).await.unwrap()
    }
}

#[tokio::test]
async fn four_touches_and_no_typing_lead_from_the_scan_to_a_running_job() {
    let more = json!({ "labels": { "line": "3" } });
    let mut tom = Technician::before(&["press-01", "press-02"], more).await;
    // What a scanner that types sends: the field has the focus, nobody touches anything.
    let scanned =
        tom.send(Request::get("/scan?code=https%3A%2F%2Fappliance%2Fm%2Fpress-01"), String::new()).await;
    assert_eq!(scanned.headers()[header::LOCATION], "/m/press-01");
    let (_, list) = tom.get("/scan").await;
    assert!(list.contains("autofocus") && list.contains("id=\"camera\" hidden"), "{list}");
    let page = tom.follow(&list, "/m/press-01").await;
    for wanted in
        ["Is it this machine?", "press-01", "Line 3", "Saved state: hmi-panel", "not known yet: 0 recoveries"]
    {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    let page = tom.follow(&page, "/m/press-01/safety").await;
    assert!(page.contains("No production depends") && page.contains("Kept: nothing on it."), "{page}");
    // The tick is a touch, the hold is one: with a script they are what sends `safe` and `confirm`.
    tom.touches += 1;
    let ordered = tom.submit(&page, "/m/press-01/recover", "safe=yes&confirm=yes").await;
    assert_eq!(ordered.status(), StatusCode::SEE_OTHER);
    assert_eq!(ordered.headers()[header::LOCATION], "/m/press-01");
    assert_eq!((tom.touches, tom.typed), (4, 0), "touches and typed fields");
    let jobs = tom.jobs().await;
    assert_eq!((jobs.len(), jobs[0].endpoint.as_str()), (1, "press-01"));
    let (_, running) = tom.get("/m/press-01").await;
    for wanted in ["STOP", "Stay near", "Not heard yet", &format!("action=\"/jobs/{}/cancel\"", jobs[0].job)]
    {
        assert!(running.contains(wanted), "{wanted}: {running}");
    }
    // A technician's endpoint page is the same page.
    assert!(tom.get("/endpoints/press-01").await.1.contains("machine-stop"));
    assert!(!tom.get("/endpoints/press-01?all=1").await.1.contains("machine-stop"));
}

#[tokio::test]
async fn nothing_begins_without_the_tick_nor_without_a_second_question_where_no_script_holds() {
    let mut tom = Technician::before(&["press-01"], json!({})).await;
    let (_, page) = tom.get("/m/press-01/safety").await;
    let response = tom.submit(&page, "/m/press-01/recover", "confirm=yes").await;
    assert_eq!(response.headers()[header::LOCATION], "/m/press-01/safety?missing=1");
    assert!(tom.get("/m/press-01/safety?missing=1").await.1.contains("Tick the box first"));
    let asked = read(tom.submit(&page, "/m/press-01/recover", "confirm=&safe=yes").await).await.1;
    assert!(asked.contains("Recover press-01?") && tom.jobs().await.is_empty(), "{asked}");
    tom.submit(&asked, "/m/press-01/recover", "confirm=yes&safe=yes").await;
    assert_eq!(tom.jobs().await.len(), 1);
}

#[tokio::test]
async fn what_no_machine_has_leads_nowhere_and_says_so() {
    let tom = Technician::before(&["press-01"], json!({})).await;
    for code in ["press-99", "%3Cscript%3E", "https%3A%2F%2Fevil.example%2Fm%2F"] {
        let (status, page) = tom.get(&format!("/scan?code={code}")).await;
        assert!(
            status == StatusCode::OK && page.contains("no code of a machine") && page.contains("/m/press-01"),
            "{page}"
        );
        assert!(!page.contains("<script>e"), "{page}");
    }
    assert_eq!(tom.get("/m/press-99").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_held_job_has_one_code_and_a_phone_finds_the_same_page() {
    let tom = Technician::before(&["press-01"], json!({})).await;
    let job = tom.bench.recover("press-01").await;
    let view = tom.bench.service.endpoint(&"press-01".parse().unwrap()).await.unwrap();
    let outlook = tom.bench.service.outlook(&view.endpoint).await.unwrap();
    assert_eq!((outlook.recoveries, outlook.usual, outlook.image_name.is_empty()), (0, None, false));
    let (status, page) = tom.get(&format!("/m/press-01/{}?code=agent-silent", job.job)).await;
    assert!(status == StatusCode::OK && page.contains(&format!("/jobs/{}/cancel", job.job)), "{page}");
}

#[tokio::test]
async fn whoever_sees_the_screen_says_whether_it_shows_live_values_and_it_is_evidence() {
    let tom = Technician::before(&["press-01"], json!({})).await;
    let job = tom.bench.recover("press-01").await.job;
    let accept = format!("/api/v1/jobs/{job}/accept");
    let (status, early) = tom.bench.ask("POST", &accept, json!({ "live_values": true })).await;
    assert_eq!((status, early["code"].as_str()), (StatusCode::CONFLICT, Some("not-recovered")));
    // The journal's own word for a job that has ended well.
    let mut tx = tom.bench.journal.begin().await.unwrap();
    let mut row = crate::db::job::get(tx.conn(), job).await.unwrap().unwrap();
    (row.job.state, row.ended) = (JobState::Recovered, Some(tx.at));
    crate::db::job::put(tx.conn(), &row).await.unwrap();
    tx.commit().await.unwrap();
    let mut tom = tom;
    let (_, page) = tom.get("/m/press-01").await;
    assert!(page.contains("Does the screen show live values?"), "{page}");
    let form = format!("/jobs/{job}/accept");
    tom.submit(&page, &form, "live_values=false").await;
    let (_, page) = tom.get("/m/press-01").await;
    assert!(
        page.contains("check the network cable")
            && page.contains("class=\"qr\"")
            && page.contains("not-accepted"),
        "{page}"
    );
    tom.submit(&page, &form, "live_values=true").await;
    let (_, page) = tom.get("/m/press-01").await;
    assert!(page.contains("You may go") && page.contains("href=\"/scan\""), "{page}");
    assert!(tom.get("/m/press-01?again=1").await.1.contains("Is it this machine?"));
    let kinds = tom.bench.evidence(Some(job)).await;
    for kind in ["recovery.not-accepted", "recovery.accepted"] {
        assert_eq!(kinds.iter().filter(|one| *one == kind).count(), 1, "{kinds:?}");
    }
    let (_, view) = tom.bench.ask("GET", &format!("/api/v1/jobs/{job}"), json!(null)).await;
    assert_eq!(view["accepted"], json!(true));
}

#[tokio::test]
async fn a_picture_is_taken_for_what_it_is_and_served_so() {
    let tom = Technician::before(&["press-01"], json!({})).await;
    let path = "/api/v1/endpoints/press-01/photo";
    let put = async |token: &str, bytes: &[u8]| {
        let request = Request::put(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        read(tom.bench.send(request.body(Body::from(bytes.to_vec())).unwrap()).await).await
    };
    assert_eq!(put(&tom.token, PNG).await.0, StatusCode::FORBIDDEN, "a technician sets none");
    for (bytes, code) in [
        (b"<svg onload=alert(1)>".to_vec(), "photo-unreadable"),
        ([PNG, vec![0_u8; 600 << 10].as_slice()].concat(), "photo-too-large"),
    ] {
        let (status, text) = put(&tom.bench.token, &bytes).await;
        assert!(status.is_client_error() && text.contains(code), "{status} {text}");
    }
    assert_eq!(tom.get("/endpoints/press-01/photo").await.0, StatusCode::NOT_FOUND);
    let (status, text) = put(&tom.bench.token, PNG).await;
    assert!(status == StatusCode::OK && text.contains("image/png"), "{text}");
    let shown = tom.send(Request::get("/endpoints/press-01/photo"), String::new()).await;
    assert_eq!(shown.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(shown.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(shown.headers()[header::CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox");
    assert!(tom.get("/scan").await.1.contains("src=\"/endpoints/press-01/photo?v="));
    // By the form of its page.
    let form = [
        b"--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\n".as_slice(),
        PNG,
        b"\r\n--x--\r\n".as_slice(),
    ]
    .concat();
    let request = Request::post("/endpoints/press-01/photo")
        .header(header::AUTHORIZATION, format!("Bearer {}", tom.bench.token))
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
    assert_eq!(tom.bench.send(request.body(Body::from(form)).unwrap()).await.status(), StatusCode::SEE_OTHER);
    let (_, gone) = tom.bench.ask("DELETE", path, json!({})).await;
    assert_eq!(gone["media_type"], "image/png");
    assert_eq!(tom.get("/endpoints/press-01/photo").await.0, StatusCode::NOT_FOUND);
    assert_eq!(tom.bench.evidence(None).await.iter().filter(|kind| *kind == "order.photo").count(), 3);
}

/// Relative luminance of `#rrggbb` (WCAG 2.2).
fn luminance(color: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

#[test]
fn every_text_stands_out_seven_to_one() {
    let css = include_str!("../../../console/console.css");
    for theme in css.split(":root {").skip(1) {
        let theme = theme.split('}').next().unwrap();
        let color = |name: &str| {
            let (_, value) = theme.split_once(&format!("--{name}: ")).unwrap_or_else(|| panic!("no {name}"));
            value[..7].to_owned()
        };
        let mut pairs = vec![
            ("ink", "ground"),
            ("ink", "surface"),
            ("soft", "ground"),
            ("soft", "surface"),
            ("brand-ink", "brand"),
            ("surface", "bad"),
        ];
        let tones = [
            ("good", "good-soft"),
            ("busy", "busy-soft"),
            ("attention", "attention-soft"),
            ("bad", "bad-soft"),
            ("quiet", "quiet-soft"),
        ];
        pairs.extend(tones);
        for (text, ground) in pairs {
            let (a, b) = (luminance(&color(text)), luminance(&color(ground)));
            let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(contrast >= 7.0, "{text} on {ground}: {contrast:.2}");
        }
    }
}

#[tokio::test]
async fn a_card_needs_nothing_else_and_leads_to_its_machine_in_every_language() {
    let tom = Technician::before(&["press-01"], json!({ "labels": { "line": "3" } })).await;
    let request = Request::put("/api/v1/endpoints/press-01/photo")
        .header(header::AUTHORIZATION, format!("Bearer {}", tom.bench.token));
    tom.bench.send(request.body(Body::from(PNG.to_vec())).unwrap()).await;
    let response = tom.send(Request::get("/endpoints/press-01/card"), String::new()).await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.contains("style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let (_, page) = read(response).await;
    for wanted in [
        "https://appliance:8444/m/press-01",
        "data:image/png;base64,",
        "class=\"qr\"",
        "105mm 148mm",
        "Line 3",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("<link") && !page.contains("src=\"/"), "{page}");
    for (language, word) in [("de", "Scannen"), ("fr", "Scanner"), ("es", "Escanear"), ("zh", "扫码恢复")]
    {
        let path = format!(
            "/api/v1/endpoints/press-01/card?language={language}&address=https%3A%2F%2Fgs.plant.example"
        );
        let (status, page) = tom.get(&path).await;
        assert!(
            status == StatusCode::OK
                && page.contains(word)
                && page.contains("https://gs.plant.example/m/press-01"),
            "{page}"
        );
        assert!(page.contains(&format!("<html lang=\"{language}\"")), "{page}");
    }
    for (query, code) in [
        ("address=http%3A%2F%2Fx", "bad-address"),
        ("address=https%3A%2F%2Fa%2Fb%22%3E", "bad-address"),
        ("language=tlh", "unknown-language"),
    ] {
        let (status, page) = tom.get(&format!("/api/v1/endpoints/press-01/card?{query}")).await;
        assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains(code), "{page}");
    }
}
