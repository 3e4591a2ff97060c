//! A configuration is tried by a plain form: what it says is kept, what is wrong with it is said, and nothing is put into effect.

use super::*;

fn form(config: &str, days: &str) -> String {
    let coded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    format!("config={}&days={}", coded(config), coded(days))
}

#[tokio::test]
async fn a_policy_is_tried_without_a_script_and_what_is_wrong_stays_in_the_form() {
    let reader = Reader::signed_in().await;
    let (status, page) = read(reader.get("/policy").await).await;
    assert!(
        status == StatusCode::OK && page.contains("<textarea") && page.contains("method=\"post\""),
        "{page}"
    );

    let good = "site = \"plant-7\"\r\ndata_dir = \"/tmp/none\"\r\n";
    let (status, page) = read(reader.post("/policy", &form(good, "30"), HOST).await).await;
    assert!(status == StatusCode::OK && page.contains("0 would have begun by themselves"), "{page}");
    assert!(page.contains("plant-7"), "the form keeps its text");
    assert_eq!(reader.jobs().await.len(), 0);

    for (config, days, says) in [
        ("nonsense = <b>", "30", "cannot be tried"),
        (good, "0", "how far to look back"),
        (good, "9999999", "how far to look back"),
        (" ", "30", "an empty configuration"),
    ] {
        let (status, page) = read(reader.post("/policy", &form(config, days), HOST).await).await;
        let low = page.to_lowercase();
        assert!(
            status == StatusCode::UNPROCESSABLE_ENTITY && low.contains(says) && low.contains("what now"),
            "{page}"
        );
        assert!(!page.contains("<b>"), "a stranger's text is text");
        assert!(page.contains("<textarea"), "and can be mended");
    }
    // Another site's page cannot send it.
    assert_eq!(reader.post("/policy", &form(good, "30"), "evil:443").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_may_not_see_evidence_is_told_so() {
    let bench = Bench::new("").await;
    let (_, added) =
        bench.ask("POST", "/api/v1/people", json!({ "person": "tom", "role": "technician" })).await;
    let token = added["token"].as_str().unwrap();
    let request = Request::get("/policy")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "text/html");
    assert_eq!(bench.send(request.body(Body::empty()).unwrap()).await.status(), StatusCode::FORBIDDEN);
}
