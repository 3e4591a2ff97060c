//! Reports, each as a page, a PDF, JSON or CSV, in English or German; and a month's signed pack.

use aide::axum::routing::{get_with, post_with};
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use recovery_protocol::{
    people::Permission,
    report::{ReportForm, ReportLanguage},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Call, Needs, People, Refusal,
    describe::{gives, gives_any},
    job_id,
};
use crate::{
    reports::{Made, Reports, Wanted},
    service::Actor,
};

/// The forms of a report, as the description names them.
pub(super) const FORMS: &[&str] = &["text/html", "application/pdf", "application/json", "text/csv"];

/// REST for reports.
pub fn calls() -> Vec<Call> {
    vec![
        (
            "/api/v1/jobs/{job}/report",
            get_with(recovery, gives_any(FORMS, "The report of a job, as it stands")),
            Needs::LOOK,
        ),
        (
            "/api/v1/zones/report",
            get_with(
                zones,
                gives_any(FORMS, "What evidence and declarations show of each zone (IEC 62443-3-3)"),
            ),
            Needs::LOOK,
        ),
        (
            "/api/v1/components/report",
            get_with(
                components,
                gives_any(FORMS, "What the appliance offers as a component (IEC 62443-4-2)"),
            ),
            Needs::LOOK,
        ),
        (
            "/api/v1/csms/{month}/report",
            get_with(month, gives_any(FORMS, "A month for the security programme, such as 2026-11")),
            Needs::LOOK,
        ),
        (
            "/api/v1/csms/{month}/pack",
            post_with(
                month_pack,
                gives("application/x-tar", "Make a month's evidence pack: a tar that proves itself"),
            ),
            Needs::all(Permission::Evidence),
        ),
    ]
}

/// In which form and language; of a site's zones, which one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    /// `html`, `pdf`, `json` or `csv`.
    #[serde(default)]
    format: ReportForm,
    /// `en` or `de`.
    #[serde(default)]
    language: ReportLanguage,
    /// This zone alone.
    #[serde(default)]
    zone: Option<String>,
}

impl How {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { form: self.format, language: self.language }
    }
}

/// A report on its way out. The page is one of its own with its styles inside and no script: it must look the same when saved to a file.
pub(super) fn handed(made: Made) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'";
    let named = format!("inline; filename=\"{}.{}\"", made.name, made.form);
    let headers = [
        (header::CONTENT_TYPE, made.form.media_type().to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_DISPOSITION, named),
    ];
    (headers, made.bytes).into_response()
}

async fn recovery(
    State(people): State<People>,
    Path(job): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Refusal> {
    let made = Reports::new(&people.service).recovery(job_id(&job)?, how.wanted()).await?;
    Ok(handed(made))
}

async fn zones(State(people): State<People>, Query(how): Query<How>) -> Result<Response, Refusal> {
    Ok(handed(Reports::new(&people.service).zones(how.zone.as_deref(), how.wanted()).await?))
}

async fn components(State(people): State<People>, Query(how): Query<How>) -> Result<Response, Refusal> {
    Ok(handed(Reports::new(&people.service).components(how.wanted()).await?))
}

async fn month(
    State(people): State<People>,
    Path(month): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Refusal> {
    Ok(handed(Reports::new(&people.service).month(&month, how.wanted()).await?))
}

/// That it was made is written into the log, so it is an order and no look.
async fn month_pack(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(month): Path<String>,
) -> Result<Response, Refusal> {
    let headers = [(header::CONTENT_TYPE, "application/x-tar"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, Reports::new(&people.service).month_pack(&actor, &month).await?).into_response())
}
