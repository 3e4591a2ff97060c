//! The console: pages rendered here, forms that work without a script, one small module that makes them live.
//!
//! ```text
//! GET /endpoints/press-01             a whole page; <main data-live> …
//! GET /endpoints/press-01?part=live   … its content alone, fetched again when `/changes` says so
//! POST …                              an order by form: done, then 303 to the page (never a page as answer to a POST that orders something)
//! ```
//!
//! Each action is one that REST and the command line have too: handlers call the same service. Nothing comes from
//! another host and nothing is inline, so the content policy has no exception. Pages are never cached; a page that
//! cannot reach the appliance says so and takes no orders.

mod account;
mod boot;
mod calendar;
pub mod card;
mod drill;
mod endpoint;
mod endpoints;
mod engineer;
mod exhibit;
mod job;
mod kiosk;
mod language;
mod login;
mod machine;
mod may;
mod notify;
mod page;
mod photo;
mod plan;
mod policy;
mod provider;
mod qr;
mod reports;
mod review;
mod scan;
mod stop;
mod texts;
mod words;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    Extension, Form,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use maud::{Markup, html};
use recovery_protocol::{
    EndpointId, Problem,
    job::Stage,
    operator::{Approval, Decision, JobView, PairRequest, RecoverRequest, Resolution},
    people::{NewReview, Permission, Role},
    policy::PolicyTried,
};
use serde::Deserialize;

use self::{
    may::Viewer,
    page::{Page, Tab, code_text, problem_card},
};
pub use self::{
    may::seen_by,
    texts::{Texts, speak},
};
use crate::{
    api::{Closed, Needs, People, Refusal, Route, endpoint_id, gate::Who, job_id},
    service::Actor,
};

const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Open routes: the door, and the files that every page needs (they hold nothing of this site).
pub fn open_routes() -> Vec<Route> {
    vec![
        ("/login", get(login::door).post(login::sign_in)),
        ("/login/provider", get(provider::begin)),
        ("/login/return", get(provider::back)),
        ("/kiosk", get(kiosk::door)),
        ("/kiosk/pair", post(kiosk::pair)),
        ("/kiosk/sign-in", post(kiosk::sign_in)),
        ("/setup", get(login::setup).post(login::make_first_admin)),
        ("/language", post(language::choose)),
        ("/assets/{file}", get(asset)),
    ]
}

/// Routes behind the gate.
pub fn routes() -> Vec<Closed> {
    [engineer::routes(), actions()].concat()
}

fn actions() -> Vec<Closed> {
    use Permission as P;
    vec![
        ("/scan", get(scan::page), Needs::LOOK),
        ("/m/{endpoint}", get(machine::page), Needs::LOOK),
        ("/m/{endpoint}/{job}", get(machine::page_of_job), Needs::LOOK),
        ("/m/{endpoint}/safety", get(machine::safety), Needs::LOOK),
        ("/m/{endpoint}/recover", post(machine::recover), Needs::all(P::Recover)),
        ("/jobs/{job}/accept", post(machine::accept), Needs::all(P::Recover)),
        ("/endpoints/{endpoint}/card", get(card::page), Needs::LOOK),
        ("/endpoints/{endpoint}/photo", photo::route(), Needs::to_write(P::Endpoints)),
        ("/endpoints/{endpoint}/photo/remove", post(photo::remove), Needs::all(P::Endpoints)),
        ("/endpoints/{endpoint}", get(endpoint_page), Needs::LOOK),
        ("/endpoints/{endpoint}/recover", post(recover), Needs::all(P::Recover)),
        ("/endpoints/{endpoint}/break-glass", post(break_glass), Needs::all(P::BreakGlass)),
        ("/plans", get(plan_list), Needs::LOOK),
        ("/plans/{plan}/approve", post(approve_plan), Needs::all(P::Approve)),
        ("/plans/{plan}/withdraw", post(withdraw_plan), Needs::all(P::Stop)),
        ("/policy", get(policy_page).post(try_policy), Needs::all(P::Evidence)),
        ("/reviews", get(review_list), Needs::LOOK),
        ("/reviews/{job}", post(review_one), Needs::all(P::Approve)),
        ("/endpoints/{endpoint}/pair", post(pair), Needs::all(P::Pair)),
        ("/endpoints/{endpoint}/resolve", post(resolve), Needs::all(P::Endpoints)),
        ("/jobs/{job}", get(job_page), Needs::LOOK),
        ("/jobs/{job}/approve", post(approve), Needs::all(P::Approve)),
        ("/jobs/{job}/resume", post(resume), Needs::all(P::Resume)),
        ("/jobs/{job}/cancel", post(cancel), Needs::all(P::Stop)),
        ("/drills", get(drill::all).post(drill::start), Needs::to_write(P::Drill)),
        ("/drills/{drill}", get(drill::one), Needs::LOOK),
        ("/drills/{drill}/answer", post(drill::answer), Needs::all(P::Answer)),
        ("/drills/{drill}/code", post(drill::code), Needs::all(P::Pair)),
        ("/zones", get(reports::zones), Needs::LOOK),
        ("/stop", get(stop_page).post(press_stop), Needs::to_write(P::PressStop)),
        ("/stop/release", post(release_stop), Needs::all(P::ReleaseStop)),
        ("/notifications", get(notify::page), Needs::LOOK),
        ("/notifications/{channel}/test", post(notify::test), Needs::all(P::Endpoints)),
        ("/account", get(account::page), Needs::all(P::Session)),
        ("/account/password", post(account::set_password), Needs::all(P::Session)),
        ("/account/sessions/end", post(account::end_session), Needs::all(P::Session)),
        ("/logout", post(login::sign_out), Needs::all(P::Session)),
    ]
}

/// A refusal by the gate, as a page.
pub fn refused(problem: Problem) -> Response {
    Failed(problem).into_response()
}

/// What a handler of a page fails with: the problem as a page.
struct Failed(Problem);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.0)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content = problem_card(&self.0);
        let ours = code_text(&self.0.code, "what");
        // A title cannot be marked as English beside others.
        let record =
            || if Texts::here().is_the_records() { self.0.title.clone() } else { "Groundstate".to_owned() };
        let title = ours.unwrap_or_else(record);
        let page = Page { site: "Groundstate", title: &title, tab: Tab::Endpoints, live: None, content };
        respond(status, page.render())
    }
}

/// A page with the headers that every page has.
fn respond(status: StatusCode, markup: Markup) -> Response {
    let mut response = (status, axum::response::Html(markup.into_string())).into_response();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: a browser then sends `Origin: null` with our own forms, and the gate would refuse them.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[derive(Deserialize)]
struct Part {
    part: Option<String>,
}

impl Part {
    /// The content alone when asked for, else the whole page.
    async fn of(
        &self,
        people: &People,
        tab: Tab,
        title: &str,
        path: &str,
        content: Markup,
    ) -> Result<Response, Failed> {
        let content = bannered(people, content).await?;
        if self.part.as_deref() == Some("live") {
            return Ok(respond(StatusCode::OK, content));
        }
        let site = people.service.site();
        let live = format!("{path}{}part=live", if path.contains('?') { '&' } else { '?' });
        Ok(respond(StatusCode::OK, Page { site, title, tab, live: Some(&live), content }.render()))
    }

    /// A whole page that does not change by itself.
    async fn still(people: &People, tab: Tab, title: &str, content: Markup) -> Result<Response, Failed> {
        let content = bannered(people, content).await?;
        let page = Page { site: people.service.site(), title, tab, live: None, content };
        Ok(respond(StatusCode::OK, page.render()))
    }
}

/// What every page says above its content: that STOP stands, that a review is due, that a channel is silent.
async fn bannered(people: &People, content: Markup) -> Result<Markup, Failed> {
    let standing = people.service.stop().await?.stop;
    let reviews = people.service.reviews().await?;
    let silent = notify::banner(&people.service.channels().await?);
    Ok(html! { (stop::banner(standing.as_ref())) (review::banner(&reviews)) (silent) (content) })
}

/// Fields of the forms that decide something.
#[derive(Deserialize)]
struct Order {
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    reason: String,
    keep: Option<recovery_protocol::exhibit::Keep>,
}

impl Order {
    fn confirmed(&self) -> bool {
        self.confirm == "yes"
    }
}

/// How an endpoint's page is asked for: whoever stands before it sees its machine page, unless they want all.
#[derive(Deserialize)]
struct Shown {
    part: Option<String>,
    all: Option<String>,
}

async fn endpoint_page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Query(Shown { part, all }): Query<Shown>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let view = people.service.endpoint(&endpoint_id(&name)?).await?;
    if all.is_none() && (who.role == Role::Technician || who.at_kiosk()) {
        return machine::shown(&people, &who, view, machine::Asked::part(part), &headers).await;
    }
    let boot = people.service.boot(&view.endpoint).await?;
    let viewer = viewer(&people, &who, &view.endpoint, view.job.as_ref()).await?;
    let content = html! {
        (endpoint::content(&view, &viewer, now_ms())) (boot::card(&boot)) (photo::card(&view, &viewer))
    };
    let path = format!("/endpoints/{}{}", view.endpoint, if all.is_some() { "?all=1" } else { "" });
    Part { part }.of(&people, Tab::Endpoints, &name, &path, content).await
}

/// Routes that order something about one endpoint.
const ABOUT_ONE: &[&str] = &[
    "/endpoints/{endpoint}/recover",
    "/endpoints/{endpoint}/break-glass",
    "/endpoints/{endpoint}/pair",
    "/endpoints/{endpoint}/resolve",
    "/jobs/{job}/approve",
    "/jobs/{job}/resume",
    "/jobs/{job}/cancel",
    "/jobs/{job}/retry",
    "/jobs/{job}/accept",
    "/m/{endpoint}/recover",
    "/endpoints/{endpoint}/photo",
    "/endpoints/{endpoint}/photo/remove",
];
/// Of these, the ones that STOP keeps from beginning anything.
const BEGINS: &[&str] = &[
    "/endpoints/{endpoint}/recover",
    "/m/{endpoint}/recover",
    "/endpoints/{endpoint}/break-glass",
    "/jobs/{job}/approve",
    "/jobs/{job}/resume",
    "/jobs/{job}/retry",
];

/// Who looks at an endpoint or its job, with what stands against what they could order there.
async fn viewer(
    people: &People,
    who: &Who,
    endpoint: &EndpointId,
    job: Option<&JobView>,
) -> Result<Viewer, Problem> {
    let (mut viewer, actor) = (Viewer::of(who), who.actor());
    viewer.against(ABOUT_ONE, people.service.may_order(&actor, endpoint).await);
    viewer.against(BEGINS, people.service.may_begin().await);
    if let Some(job) = job.filter(|job| job.approves.is_some()) {
        viewer.against(&["/jobs/{job}/approve"], people.service.may_approve(&actor, job.job).await);
    }
    viewer.against(
        &["/endpoints/{endpoint}/break-glass"],
        people.service.may_break_glass(&actor, endpoint).await,
    );
    Ok(viewer)
}

async fn recover(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Form(order): Form<Order>,
) -> Result<Response, Failed> {
    let endpoint = endpoint_id(&name)?;
    if !order.confirmed() {
        let view = people.service.endpoint(&endpoint).await?;
        let viewer = viewer(&people, &who, &endpoint, None).await?;
        return Ok(question(
            &people,
            &Texts::here().recover_sure(endpoint.as_str()),
            endpoint::confirm(&view, &viewer),
        ));
    }
    people
        .service
        .recover(
            &who.actor(),
            &endpoint,
            RecoverRequest { reason: order.reason, keep: order.keep, ..RecoverRequest::default() },
        )
        .await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}")).into_response())
}

#[derive(Deserialize)]
struct Pairing {
    code: String,
}

async fn pair(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Form(pairing): Form<Pairing>,
) -> Result<Redirect, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.pair(&actor, &endpoint, PairRequest { code: pairing.code }).await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}")))
}

#[derive(Deserialize)]
struct Resolving {
    replace: bool,
    #[serde(default)]
    reason: String,
}

async fn resolve(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Form(Resolving { replace, reason }): Form<Resolving>,
) -> Result<Redirect, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.resolve_conflict(&actor, &endpoint, Resolution { replace, reason }).await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}")))
}

async fn break_glass(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.break_glass(&actor, &endpoint, Decision { reason: order.reason }).await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}")))
}

async fn plan_list(State(people): State<People>, Extension(who): Extension<Who>) -> Result<Response, Failed> {
    let plans = people.service.plans().await?;
    let content = plan::list(&plans, &Viewer::of(&who));
    let page = Page {
        site: people.service.site(),
        title: &Texts::here().plans_title(),
        tab: Tab::Plans,
        live: None,
        content,
    };
    Ok(respond(StatusCode::OK, page.render()))
}

async fn approve_plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(plan): Path<String>,
    Form(order): Form<Approval>,
) -> Result<Redirect, Failed> {
    people.service.approve_plan(&actor, &plan, order).await?;
    Ok(Redirect::to("/plans"))
}

async fn withdraw_plan(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(plan): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failed> {
    people.service.withdraw_plan(&actor, &plan, Decision { reason: order.reason }).await?;
    Ok(Redirect::to("/plans"))
}

async fn policy_page(State(people): State<People>, Extension(who): Extension<Who>) -> Response {
    policy_answer(&people, &who, &policy::Trying::default(), None)
}

/// Nothing is ordered by this form, so its answer is a page: what was pasted stays in it.
async fn try_policy(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Form(form): Form<policy::Trying>,
) -> Response {
    let came = match form.wanted(now_ms()) {
        Ok(wanted) => people.service.try_policy(wanted).await,
        Err(problem) => Err(problem),
    };
    policy_answer(&people, &who, &form, Some(&came))
}

fn policy_answer(
    people: &People,
    who: &Who,
    form: &policy::Trying,
    came: Option<&Result<PolicyTried, Problem>>,
) -> Response {
    let status = match came {
        Some(Err(problem)) => {
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
        }
        _ => StatusCode::OK,
    };
    let content = policy::content(form, came, &Viewer::of(who));
    let page = Page {
        site: people.service.site(),
        title: &Texts::here().policy_title(),
        tab: Tab::Plans,
        live: None,
        content,
    };
    respond(status, page.render())
}

async fn review_list(
    State(people): State<People>,
    Extension(who): Extension<Who>,
) -> Result<Response, Failed> {
    let reviews = people.service.reviews().await?;
    Ok(question(&people, &Texts::here().glass_title(), review::list(&reviews, &Viewer::of(&who))))
}

async fn review_one(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Form(order): Form<NewReview>,
) -> Result<Redirect, Failed> {
    people.service.review(&actor, job_id(&job)?, order).await?;
    Ok(Redirect::to("/reviews"))
}

async fn job_page(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(job): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Failed> {
    let view = people.service.job(job_id(&job)?).await?;
    let evidence = people.service.job_evidence(view.job).await?;
    let steps = people.service.job_steps(view.job).await?;
    let boot = people.service.boot(&view.endpoint).await?;
    let viewer = viewer(&people, &who, &view.endpoint, Some(&view)).await?;
    let asks = view.state.stage().is_some_and(|stage| stage <= Stage::AgentWait);
    let content = html! {
        (job::content(&view, &evidence, &viewer, now_ms()))
        (engineer::steps::log(&steps))
        @if asks { (boot::card(&boot)) }
    };
    let title = job::title(&view);
    part.of(&people, Tab::Jobs, &title, &format!("/jobs/{}", view.job), content).await
}

async fn approve(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Form(approval): Form<Approval>,
) -> Result<Redirect, Failed> {
    let view = people.service.approve(&actor, job_id(&job)?, approval).await?;
    Ok(Redirect::to(&format!("/endpoints/{}", view.endpoint)))
}

async fn resume(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(job): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failed> {
    let view = people.service.resume(&actor, job_id(&job)?, Decision { reason: order.reason }).await?;
    Ok(Redirect::to(&format!("/endpoints/{}", view.endpoint)))
}

async fn cancel(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(job): Path<String>,
    Form(order): Form<Order>,
) -> Result<Response, Failed> {
    let job = job_id(&job)?;
    if !order.confirmed() {
        let view = people.service.job(job).await?;
        let viewer = viewer(&people, &who, &view.endpoint, Some(&view)).await?;
        return Ok(question(
            &people,
            &Texts::here().stop_sure(view.endpoint.as_str()),
            job::confirm_cancel(&view, &viewer),
        ));
    }
    let view = people.service.cancel(&who.actor(), job, Decision { reason: order.reason }).await?;
    Ok(Redirect::to(&format!("/endpoints/{}", view.endpoint)).into_response())
}

/// A page that asks before something is done; it changes nothing and does not change by itself.
fn question(people: &People, title: &str, content: Markup) -> Response {
    let page = Page { site: people.service.site(), title, tab: Tab::Endpoints, live: None, content };
    respond(StatusCode::OK, page.render())
}

async fn stop_page(State(people): State<People>, Extension(who): Extension<Who>) -> Result<Response, Failed> {
    let standing = people.service.stop().await?.stop;
    let mut viewer = Viewer::of(&who);
    viewer.against(&["/stop/release"], people.service.may_order_all(&who.actor()));
    Ok(question(&people, &Texts::here().stop_word(), stop::content(standing.as_ref(), &viewer, now_ms())))
}

async fn press_stop(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failed> {
    people.service.press_stop(&actor, Decision { reason: order.reason }).await?;
    Ok(Redirect::to("/stop"))
}

async fn release_stop(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failed> {
    people.service.release_stop(&actor, Decision { reason: order.reason }).await?;
    Ok(Redirect::to("/stop"))
}

/// One file for the browser, so that the first page asks for few.
const STYLES: &str =
    concat!(include_str!("../../console/console.css"), include_str!("../../console/engineer.css"));

async fn asset(Path(file): Path<String>) -> Response {
    let (media_type, bytes): (_, &'static [u8]) = match file.as_str() {
        "console.css" => ("text/css; charset=utf-8", STYLES.as_bytes()),
        "console.js" => ("text/javascript; charset=utf-8", include_bytes!("../../console/console.js")),
        "mark.svg" => ("image/svg+xml", include_bytes!("../../console/mark.svg")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, bytes).into_response()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
