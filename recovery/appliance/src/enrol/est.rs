//! Enrolment over Secure Transport (RFC 7030, RFC 8951) on the endpoints' listener.
//!
//! | path under `/.well-known/est[/<label>]` | who may | answer |
//! |---|---|---|
//! | `GET cacerts` | anyone | certificates of those who issue |
//! | `GET csrattrs` | anyone | what a request should hold: an ECDSA P-256 key |
//! | `POST simpleenroll` | HTTP Basic with the one-time secret that a verified quote earned | a certificate for the proven key |
//! | `POST simplereenroll` | mTLS with a certificate of ours that is on record and not revoked | a new one for the same key |
//!
//! Asking is not the handler's: [`super::asking`] does it, so that what is issued is written down whoever hung up meanwhile.
//!
//! Who issues stands behind it ([`super::provider`]). Before a new certificate is asked for, those before it are revoked and seen to be;
//! what waits for that, or for a person at the site's server, is 202 with `Retry-After`, and the same key may ask again.
//!
//! Beside it `GET /pki/crl` (DER, RFC 5280 §5), where the authority is embedded. Renewal with another key is refused: the old key lives in the TPM, and a
//! signature of it says nothing about where the new one lives. A new key needs a new proof.
//!
//! Base64 goes out in one line, as RFC 8951 §3 has it, and comes in with any line breaks: strongSwan's decoder takes a
//! line break for a digit, older clients wrap at 64 or 76 columns.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use recovery_protocol::{EndpointId, JobId, Problem, operator::EndpointState};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    asking::{Issuing, Lane, Told},
    ca::{CaError, Request},
    cms,
    provider::{IdentityProvider, ProviderError},
};
use crate::{
    api::Refusal,
    service::{IssuedCertificate, Service},
    tls::Peer,
};

/// `SEQUENCE { SEQUENCE { ecPublicKey, SET { prime256v1 } }, ecdsa-with-SHA256 }` (RFC 7030 §4.5.2, RFC 5480 §2.1.1).
const CSR_ATTRIBUTES: &[u8] = &[
    0x30, 0x21, 0x30, 0x15, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x31, 0x0a, 0x06, 0x08,
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03,
    0x02,
];
const BODY_LEN_MAX: usize = 32 * 1024;

#[derive(Clone)]
struct Est {
    service: Service,
    provider: Arc<dyn IdentityProvider>,
    lane: Lane,
}

/// The EST routes and the CRL, and who asks for certificates behind them: it has to run.
pub fn door(service: Service, provider: Arc<dyn IdentityProvider>) -> (Router, Issuing) {
    let (lane, issuing) = super::asking::open(service.clone(), Arc::clone(&provider));
    let operations = Router::new()
        .route("/cacerts", get(ca_certs))
        .route("/csrattrs", get(csr_attributes))
        .route("/simpleenroll", post(simple_enroll))
        .route("/simplereenroll", post(simple_reenroll));
    let router = Router::new()
        .nest("/.well-known/est", operations.clone())
        .nest("/.well-known/est/{label}", operations)
        .route("/pki/crl", get(crl))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(Est { service, provider, lane });
    (router, issuing)
}

async fn ca_certs(State(est): State<Est>) -> Result<Response, Refusal> {
    let issuers = est.provider.prepare().await.map_err(|error| Refusal(error.into()))?;
    let issuers: Vec<&[u8]> = issuers.iter().map(Vec::as_slice).collect();
    Ok(certificates("application/pkcs7-mime", &issuers))
}

async fn csr_attributes() -> Response {
    in_base64("application/csrattrs", CSR_ATTRIBUTES)
}

async fn crl(State(est): State<Est>) -> Result<Response, Refusal> {
    let revoked: Vec<_> =
        est.service.revoked_certificates().await?.into_iter().filter_map(super::asking::revocation).collect();
    let list = est.provider.crl(&revoked, now()).map_err(|error| Refusal(error.into()))?;
    let der = list.ok_or_else(|| {
        let detail = "the site's own authority issues certificates here, and publishes what is revoked";
        Problem::new(404, "crl-elsewhere", "No list of ours", detail, "ask the site's authority for its list")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/pkix-crl")], der).into_response())
}

async fn simple_enroll(State(est): State<Est>, headers: HeaderMap, body: Bytes) -> Response {
    let Some((user, password)) = basic(&headers) else {
        return challenge(Problem::new(
            401,
            "unauthenticated",
            "A one-time secret is needed",
            "the request carries no HTTP Basic credentials",
            "check in with the agent: a verified quote earns the secret",
        ));
    };
    match enroll(&est, &user, &password, &headers, &body).await {
        Ok(response) => response,
        Err(problem) if problem.status == 401 => challenge(problem),
        Err(problem) => Refusal(problem).into_response(),
    }
}

async fn enroll(
    est: &Est,
    user: &str,
    password: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Problem> {
    let request = certificate_request(headers, body)?;
    let grant = est.service.redeem_est(user, password, request.spki()).await?;
    match grant.issued {
        Some(certificate) => Ok(one(&certificate)),
        None => issue(est, request, &grant.endpoint, grant.job, false).await,
    }
}

async fn simple_reenroll(
    State(est): State<Est>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let refused = |code: &str, detail: &str, remedy: &str| {
        Problem::new(403, code, "This certificate cannot be renewed", detail, remedy)
    };
    let unknown = || {
        let detail = "the connection shows no certificate of this site that is on record and valid";
        refused("certificate-refused", detail, "recover the endpoint, or enrol it again after a check-in")
    };
    let shown = peer.certificate.ok_or_else(unknown)?;
    let (on_record, spki) = holder(&est, &shown).await?.ok_or_else(unknown)?;
    let state = est.service.endpoint(&on_record.endpoint).await?.state;
    if state != EndpointState::Trusted {
        let detail = format!("{} is not trusted now", on_record.endpoint);
        return Err(refused("endpoint-not-trusted", &detail, "recover the endpoint first").into());
    }
    let request = certificate_request(&headers, &body)?;
    if request.spki() != spki {
        let detail = "the request is for another key than the certificate's";
        return Err(refused(
            "rekey-refused",
            detail,
            "renew with the same key; a new key is proven by a check-in",
        )
        .into());
    }
    if est.provider.is_revoked(&shown).await.map_err(Problem::from)? {
        let detail = format!("the list of who issued it names {}", on_record.serial);
        let problem =
            refused("certificate-revoked-there", &detail, "recover the endpoint: it gets another identity");
        est.service.renewal_refused(&on_record, &problem).await?;
        return Err(problem.into());
    }
    Ok(issue(&est, request, &on_record.endpoint, on_record.job, true).await?)
}

/// The certificate on record that this very one is, in its time and not revoked, and its key. Whoever shows it holds the key (TLS).
async fn holder(est: &Est, shown: &[u8]) -> Result<Option<(IssuedCertificate, Vec<u8>)>, Problem> {
    let Ok((_, parsed)) = X509Certificate::from_der(shown) else { return Ok(None) };
    let at = i64::try_from(now()).unwrap_or(i64::MAX);
    let in_time =
        (parsed.validity().not_before.timestamp()..=parsed.validity().not_after.timestamp()).contains(&at);
    let on_record = est.service.certificate(shown).await?;
    let valid = on_record.filter(|c| in_time && c.revoked_unix_ms.is_none());
    Ok(valid.map(|certificate| (certificate, parsed.public_key().raw.to_vec())))
}

async fn issue(
    est: &Est,
    request: Request,
    endpoint: &EndpointId,
    job: JobId,
    renews: bool,
) -> Result<Response, Problem> {
    Ok(match est.lane.ask(request, endpoint, job, renews).await? {
        Told::Certificate(certificate) => one(&certificate),
        Told::Later { after, why } => later(after, &why),
    })
}

fn later(after: Duration, why: &str) -> Response {
    let seconds = after.as_secs().max(1).to_string();
    (StatusCode::ACCEPTED, [(header::RETRY_AFTER, seconds)], why.to_owned()).into_response()
}

fn one(certificate: &[u8]) -> Response {
    certificates("application/pkcs7-mime; smime-type=certs-only", &[certificate])
}

fn certificate_request(headers: &HeaderMap, body: &[u8]) -> Result<Request, Problem> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/pkcs10") {
        let detail = format!("its content type is `{media_type}`");
        let remedy = "send `Content-Type: application/pkcs10` with base64 of the DER request";
        return Err(Problem::new(
            415,
            "not-a-certificate-request",
            "Not a certificate request",
            detail,
            remedy,
        ));
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der =
        STANDARD.decode(text).map_err(|_| problem(CaError::Csr { why: "it is not base64".to_owned() }))?;
    Request::from_der(&der).map_err(problem)
}

fn problem(error: CaError) -> Problem {
    ProviderError::from(error).into()
}

/// User and password of HTTP Basic (RFC 7617 §2).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn challenge(problem: Problem) -> Response {
    let mut response = Refusal(problem).into_response();
    let basic = HeaderValue::from_static(r#"Basic realm="groundstate", charset="UTF-8""#);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}

fn certificates(media_type: &'static str, der: &[&[u8]]) -> Response {
    in_base64(media_type, &cms::certs_only(der.iter().copied()))
}

fn in_base64(media_type: &'static str, der: &[u8]) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type), (CONTENT_TRANSFER_ENCODING, "base64")];
    (StatusCode::OK, headers, STANDARD.encode(der)).into_response()
}

/// RFC 7030 §4.1.3 wants it, RFC 8951 §3 has clients ignore it; older clients need it.
const CONTENT_TRANSFER_ENCODING: header::HeaderName =
    header::HeaderName::from_static("content-transfer-encoding");

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
