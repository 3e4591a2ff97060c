//! The calls of [`recovery_protocol::people`]. Whatever changes is told to the gate before it is answered.

use aide::axum::routing::{get_with, patch_with};
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use recovery_protocol::people::{ChangePerson, NewPerson, Permission, PersonView};

use super::{Body, Call, Needs, People, Refusal, describe::says};
use crate::service::Actor;

/// REST under `/api/v1/people`.
pub fn calls() -> Vec<Call> {
    vec![
        (
            "/api/v1/people",
            get_with(list, says("Who may do what here")).post_with(add, says("Add a person or a program")),
            Needs::all(Permission::People),
        ),
        (
            "/api/v1/people/{person}",
            patch_with(change, says("Change what a person may")),
            Needs::all(Permission::People),
        ),
    ]
}

async fn list(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Vec<PersonView>>, Refusal> {
    let everybody = people.service.people().await?;
    let facts = serde_json::json!({ "people": everybody.len() });
    people.service.note("account.read", &actor, None, None, facts).await?;
    Ok(Json(everybody))
}

async fn add(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewPerson>,
) -> Result<Json<PersonView>, Refusal> {
    let added = people.service.add_person(&actor, new).await?;
    people.gate.learn(&people.service.people_rows().await?);
    Ok(Json(added))
}

async fn change(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(order): Body<ChangePerson>,
) -> Result<Json<PersonView>, Refusal> {
    let changed = people.service.change_person(&actor, &name, order).await?;
    people.gate.learn(&people.service.people_rows().await?);
    Ok(Json(changed))
}
