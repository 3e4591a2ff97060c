//! An endpoint's picture: shown, set by a form, forgotten.

use axum::{
    Extension, Form,
    extract::{DefaultBodyLimit, Multipart, Path, State, multipart::MultipartRejection},
    response::{Redirect, Response},
    routing::{MethodRouter, get},
};
use maud::{Markup, html};
use recovery_protocol::{Problem, machine::PHOTO_LEN_MAX, operator::EndpointView};
use serde::Deserialize;

use super::{Failed, may::Viewer, scan::picture, texts::Texts};
use crate::{
    api::{
        People, endpoint_id,
        machine::{FORM_LEN, picture as answer},
    },
    service::{Actor, photo_too_large},
};

const ROUTE: &str = "/endpoints/{endpoint}/photo";
const REMOVE: &str = "/endpoints/{endpoint}/photo/remove";

/// The picture and the form that sets it.
pub fn route() -> MethodRouter<People> {
    get(shown).post(set).layer(DefaultBodyLimit::max(PHOTO_LEN_MAX + FORM_LEN))
}

async fn shown(State(people): State<People>, Path(name): Path<String>) -> Result<Response, Failed> {
    Ok(answer(people.service.photo(&endpoint_id(&name)?).await?))
}

async fn set(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Redirect, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.may_order(&actor, &endpoint).await?;
    let bytes = sent(form.map_err(|_| unread())?).await?;
    people.service.set_photo(&actor, &endpoint, bytes).await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}?all=1")))
}

/// The file of the form.
async fn sent(mut form: Multipart) -> Result<Vec<u8>, Problem> {
    loop {
        let field = form.next_field().await.map_err(|_| photo_too_large())?.ok_or_else(unread)?;
        if field.name() == Some("photo") {
            // The body's limit is what ends a form early.
            return Ok(field.bytes().await.map_err(|_| photo_too_large())?.to_vec());
        }
    }
}

fn unread() -> Problem {
    let detail = "the form brought no file named `photo`";
    Problem::new(
        422,
        "photo-unreadable",
        "No picture came",
        detail,
        "choose a file, then send the form again",
    )
}

#[derive(Deserialize)]
pub struct Nothing {}

/// `POST /endpoints/{endpoint}/photo/remove`.
pub async fn remove(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Form(Nothing {}): Form<Nothing>,
) -> Result<Redirect, Failed> {
    let endpoint = endpoint_id(&name)?;
    people.service.remove_photo(&actor, &endpoint).await?;
    Ok(Redirect::to(&format!("/endpoints/{endpoint}?all=1")))
}

/// On the endpoint's page.
#[must_use]
pub fn card(view: &EndpointView, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let endpoint = view.endpoint.as_str();
    html! {
        details class="card" id="photo-card" {
            summary { (t.photo_title()) }
            div class="photo-set" {
                @if view.photo.is_some() { (picture(view, &t.photo_of(endpoint))) } @else { p { (t.photo_none()) } }
                p class="small" { (t.photo_what()) }
                form method="post" action={ "/endpoints/" (endpoint) "/photo" } enctype="multipart/form-data" {
                    label for="photo" { (t.photo_file()) }
                    input id="photo" type="file" name="photo" accept="image/jpeg,image/png,image/webp" required;
                    (viewer.plain(ROUTE, "", "photo-send", t.photo_send()))
                }
                p { a class="button" href={ "/endpoints/" (endpoint) "/card" } { (t.card_print()) } }
                @if view.photo.is_some() {
                    form method="post" action={ "/endpoints/" (endpoint) "/photo/remove" } {
                        (viewer.plain(REMOVE, "link", "photo-remove", t.photo_remove()))
                    }
                }
            }
        }
    }
}
