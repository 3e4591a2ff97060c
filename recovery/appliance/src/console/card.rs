//! A card for a machine, A6, two sides: its code, its picture, six steps, and what to do when the page does not open. One file that needs nothing
//! else, black on white, in the reader's language.
//!
//! It must never hold a secret: it hangs where everybody passes.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use recovery_protocol::{Problem, operator::EndpointView};
use ring::digest;

use super::{Failed, qr::qr, scan::line, texts::Texts};
use crate::{
    api::{People, endpoint_id},
    db::photo::Photo,
};

/// Everything that the page needs to look as it does. Lengths are those of paper.
const STYLE: &str = "@page{size:105mm 148mm;margin:0}*{box-sizing:border-box}body{margin:0;background:#fff;color:#000;font:10.5pt/1.3 system-ui,\
'Noto Sans','Noto Sans CJK SC','Liberation Sans',sans-serif}section{inline-size:105mm;block-size:148mm;padding:7mm;display:flex;flex-direction:column;\
gap:3mm;page-break-after:always;overflow:hidden;border:.2mm dashed #999}h1{font-size:24pt;line-height:1.1;margin:0;overflow-wrap:anywhere}h2{font-size:14pt;\
margin:0}.block{display:block;font-size:13pt}.top{display:flex;gap:4mm;align-items:center}.top img{inline-size:34mm;block-size:27mm;object-fit:cover;\
border:.3mm solid #000}.code{display:flex;gap:4mm;align-items:center}.qr{inline-size:40mm;block-size:40mm;flex:none}.code p{margin:0;overflow-wrap:anywhere}\
code{font:bold 9pt/1.3 ui-monospace,'DejaVu Sans Mono',monospace}ol{margin:0;padding-inline-start:7mm;display:grid;gap:1.2mm;font-size:11.5pt;font-weight:600}\
.black{border:.5mm solid #000;padding:2mm;font-weight:700;margin:0}.phone{margin:0;margin-block-start:auto;border-block-end:.3mm solid #000;padding-block-end:1mm}\
table{inline-size:100%;border-collapse:collapse;flex:1}th,td{border:.3mm solid #000;padding:1.5mm;text-align:start;block-size:9mm}th{block-size:auto}\
.small{font-size:7.5pt;margin:0}@media print{section{border:0}}";

/// A card as a page of its own.
pub struct Card {
    /// The whole file.
    pub page: String,
}

impl IntoResponse for Card {
    fn into_response(self) -> Response {
        let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; frame-ancestors 'none'; base-uri 'none'"
        );
        let mut response = Html(self.page).into_response();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, policy.as_str()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// `GET /endpoints/{endpoint}/card`: in the language of the page, leading to the address by which the reader came.
pub(super) async fn page(
    State(people): State<People>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Card, Failed> {
    Ok(of(&people, &name, address_of(&headers), None).await?)
}

/// The address by which this request came.
#[must_use]
pub fn address_of(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("https://{host}")
}

/// The card of an endpoint whose code leads to this address. `language`: as BCP 47 writes it; none: that of the request.
///
/// # Errors
/// 404 `unknown-endpoint`; 422 `bad-address`, `unknown-language`.
pub async fn of(
    people: &People,
    name: &str,
    address: String,
    language: Option<&str>,
) -> Result<Card, Problem> {
    let endpoint = endpoint_id(name).map_err(|refusal| refusal.0)?;
    let address = address.trim_end_matches('/').to_owned();
    let host = address.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte)) {
        let detail = format!("`{address}` is not how a browser reaches this appliance");
        return Err(Problem::new(
            422,
            "bad-address",
            "The card would lead nowhere",
            detail,
            "give https://NAME or https://NAME:PORT",
        ));
    }
    let texts = match language {
        None => Texts::here(),
        Some(name) => Texts::of(name).ok_or_else(|| {
            let offered: Vec<&str> = Texts::offered().map(|(name, _)| name).collect();
            let detail = format!("no texts are in `{name}`");
            Problem::new(
                422,
                "unknown-language",
                "There is no such language",
                detail,
                format!("choose one of {}", offered.join(", ")),
            )
        })?,
    };
    let view = people.service.endpoint(&endpoint).await?;
    let photo = match view.photo {
        Some(_) => Some(people.service.photo(&endpoint).await?),
        None => None,
    };
    let now = people.service.now();
    let page = texts.while_here(async { content(&view, photo.as_ref(), &address, now).into_string() }).await;
    Ok(Card { page })
}

/// Which card it is: another one where endpoint, address, record or picture are others.
fn version(view: &EndpointView, address: &str) -> String {
    let photo = view.photo.as_deref().unwrap_or_default();
    let of = format!("{}\n{address}\n{}\n{photo}", view.endpoint, view.revision);
    hex::encode(&digest::digest(&digest::SHA256, of.as_bytes()).as_ref()[..4])
}

fn content(view: &EndpointView, photo: Option<&Photo>, address: &str, now_ms: u64) -> Markup {
    let t = Texts::here();
    let endpoint = view.endpoint.as_str();
    let at = format!("{address}/m/{endpoint}");
    let date =
        i64::try_from(now_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    let steps = [
        t.card_step_1(),
        t.card_step_2(),
        t.card_step_3(),
        t.card_step_4(),
        t.card_step_5(),
        t.card_step_6(),
    ];
    html! {
        (DOCTYPE)
        html lang=(t.name()) dir=(t.direction()) {
            head {
                meta charset="utf-8";
                title { (t.card_title(endpoint)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                section {
                    div class="top" {
                        @if let Some(photo) = photo {
                            img alt=(t.photo_of(endpoint)) src={ "data:" (photo.media_type) ";base64," (STANDARD.encode(&photo.bytes)) };
                        }
                        div { h1 { (endpoint) } (line(view)) }
                    }
                    div class="code" { (qr(&at, &t.card_scan())) div { h2 { (t.card_scan()) } p { code { (at) } } } }
                    ol { @for step in steps { li { (step) } } }
                    p class="black" { (t.card_black()) }
                    p class="phone" { (t.card_phone()) ":" }
                }
                section {
                    h2 { (t.card_unreachable()) }
                    ol { li { (t.card_unreachable_1()) } li { (t.card_unreachable_2()) } li { (t.card_unreachable_3()) } }
                    table {
                        thead { tr { th { (t.card_log_when()) } th { (t.card_log_who()) } th { (t.card_log_what()) } } }
                        tbody { @for _ in 0..5 { tr { td {} td {} td {} } } }
                    }
                    p class="small" { (t.card_printed(date.strftime("%Y-%m-%d").to_string(), version(view, address))) " · " code { (endpoint) } }
                }
            }
        }
    }
}
