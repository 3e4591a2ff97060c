//! Golden images: what is in the store, who signed it, where it is used, what its channels mean; and a promotion handed in, signed elsewhere.

use std::collections::BTreeMap;

use axum::{
    Extension, Form,
    extract::{Path, State},
    response::{Redirect, Response},
};
use images::ImageId;
use maud::{Markup, html};
use recovery_protocol::{
    Problem,
    channel::{ChannelView, ImageDetail, Promotion, StatementView, UseView},
    operator::ImageView,
};
use serde::Deserialize;

use super::{
    super::{
        Failed, Part,
        may::Viewer,
        page::{Tab, sentence},
        texts::Texts,
        words::{SLOTS, Tone, badge, bytes, english, fill, moment},
    },
    query::link,
};
use crate::{
    api::{People, gate::Who, image_id},
    service::Actor,
};

const ROUTE: &str = "/images/{image}/promote";
/// Endpoints of an image that are named; more are counted.
const NAMED: usize = 50;

/// `GET /images`.
pub async fn page(State(people): State<People>) -> Result<Response, Failed> {
    let (all, used) = (people.service.images().await?, people.service.used().await?);
    let channels = people.service.channels_of_images().await?;
    let content = content(&all, &used, &channels);
    Part::still(&people, Tab::Images, &Texts::here().tab_images(), content).await
}

/// `GET /images/{image}`: one, with its channel and the form that hands a promotion in.
pub async fn one(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(image): Path<String>,
) -> Result<Response, Failed> {
    let image = people.service.image(image_id(&image)?).await?;
    let channel = if image.view.name.is_empty() {
        None
    } else {
        Some(people.service.channel_of_images(&image.view.name).await?)
    };
    let mut viewer = Viewer::of(&who);
    viewer.against(&[ROUTE], people.service.may_order_all(&who.actor()));
    let title = Texts::here().image_title(image.view.name.clone(), image.view.version.clone());
    Part::still(&people, Tab::Images, &title, detail(&image, channel.as_ref(), &viewer)).await
}

/// What was pasted into the form.
#[derive(Deserialize)]
pub struct HandedIn {
    statement: String,
    revision: u64,
}

/// `POST /images/{image}/promote`: what it says may be about another image of this name.
pub async fn promote(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(image): Path<String>,
    Form(given): Form<HandedIn>,
) -> Result<Redirect, Failed> {
    let statement = serde_json::from_str(&given.statement).map_err(|error| {
        let remedy = "paste what `groundstate image promote --out FILE` wrote, whole and as it was";
        Problem::new(422, "bad-statement", "This is no signed promotion", error.to_string(), remedy)
    })?;
    let (revision, name) = (Some(given.revision), people.service.image(image_id(&image)?).await?.view.name);
    let channel = people.service.promote(&actor, &name, Promotion { statement }, revision).await?;
    let newest = channel.statements.last().map(|said| format!("/images/{}", said.image));
    Ok(Redirect::to(newest.as_deref().unwrap_or("/images")))
}

/// Trusted or not, and where it stands.
fn badges(view: &ImageView) -> Markup {
    let t = Texts::here();
    html! {
        @if view.trusted { (badge(Tone::Good, t.image_trusted())) } @else { (badge(Tone::Bad, t.image_not_trusted())) }
        @if let Some(stage) = stage(&view.stage) { " " (badge(if view.stage == "approved" { Tone::Good } else { Tone::Quiet }, stage)) }
    }
}

fn stage(stage: &str) -> Option<String> {
    let t = Texts::here();
    Some(match stage {
        "candidate" => t.stage_of_candidate(),
        "approved" => t.stage_of_approved(),
        "retired" => t.stage_of_retired(),
        _ => return None,
    })
}

fn short(image: &impl ToString) -> String {
    image.to_string().chars().take(12).collect()
}

fn content(all: &[ImageView], used: &BTreeMap<ImageId, Vec<UseView>>, channels: &[ChannelView]) -> Markup {
    let t = Texts::here();
    let names: BTreeMap<&str, Vec<&ImageView>> = all.iter().fold(BTreeMap::new(), |mut names, view| {
        names.entry(view.name.as_str()).or_insert_with(Vec::new).push(view);
        names
    });
    html! {
        h1 { (t.tab_images()) }
        @if all.is_empty() { p { (t.images_none()) " " code { "groundstate image import" } } }
        @for (name, views) in names {
            section class="card" id={ "image-" (name) } {
                h2 { @if name.is_empty() { (t.image_unreadable()) } @else { (name) } }
                @if let Some(channel) = channels.iter().find(|channel| channel.name == name) { (standing(channel)) }
                div class="scroll" { table {
                    thead { tr {
                        th scope="col" { (t.image_version()) } th scope="col" class="num" { (t.image_epoch()) } th scope="col" { (t.image_state()) }
                        th scope="col" class="num" { (t.fact_disk()) } th scope="col" { (t.image_used()) } th scope="col" { (t.image_digest()) }
                    } }
                    tbody { @for view in views.iter().rev() {
                        tr {
                            td { a class="tap" href={ "/images/" (view.image) } { @if view.version.is_empty() { (short(&view.image)) } @else { (view.version) } } }
                            td class="num" { (view.epoch) }
                            td { (badges(view)) @if !view.trusted { div class="small" { (english(sentence(&view.why_not))) } } }
                            td class="num" { (bytes(view.disk_bytes)) }
                            td { (uses(used.get(&view.image).map_or(&[], Vec::as_slice))) }
                            td { code { (short(&view.image)) } }
                        }
                    } }
                } }
            }
        }
    }
}

fn uses(used: &[UseView]) -> Markup {
    let t = Texts::here();
    html! {
        @if used.is_empty() { span class="small" { (t.image_unused()) } }
        @for one in used { div { code { (one.blueprint) } " · " (t.image_follow(one.endpoints)) } }
    }
}

/// What the channel means now, in a sentence.
fn standing(channel: &ChannelView) -> Markup {
    let t = Texts::here();
    let last = channel.statements.iter().rev().find(|said| said.why_not.is_empty());
    html! {
        p class="small" {
            @if !channel.in_use { (t.channel_not_used()) }
            @else { @match last {
                None => (t.channel_nothing_said()),
                Some(said) => {
                    (t.channel_last(said.author.clone(), said.epoch, stage(&said.stage).unwrap_or_default())) " " (moment(said.at_unix_ms))
                }
            } }
        }
    }
}

fn detail(image: &ImageDetail, channel: Option<&ChannelView>, viewer: &Viewer) -> Markup {
    let (t, view) = (Texts::here(), &image.view);
    html! {
        p class="crumb" { a href="/images" { (t.tab_images()) } " › " @if view.name.is_empty() { (t.image_unreadable()) } @else { (view.name) } }
        h1 { @if view.name.is_empty() { (t.image_unreadable()) } @else { (view.name) " " (view.version) } }
        section class={ "card " @if view.trusted { "good" } @else { "bad" } } {
            p { (badges(view)) }
            @if !view.trusted { p { (english(sentence(&view.why_not))) } }
            dl class="figures" {
                dt { (t.image_epoch()) } dd { (view.epoch) }
                dt { (t.fact_disk()) } dd { (bytes(view.disk_bytes)) }
                @if let Some(data) = image.data_bytes { dt { (t.image_data()) } dd { (bytes(data)) } }
                @if image.created_unix_ms > 0 { dt { (t.image_made()) } dd { (moment(image.created_unix_ms)) } }
                @if !image.hardware_class.is_empty() { dt { (t.image_hardware()) } dd { (image.hardware_class) } }
                @if !image.note.is_empty() { dt { (t.image_note()) } dd { (english(&image.note)) } }
                dt { (t.image_digest()) } dd { code class="long" { (view.image) } }
            }
        }
        (signatures(image)) (places(image))
        @if let Some(channel) = channel { (said(channel)) (form(image, channel, viewer)) }
    }
}

fn signatures(image: &ImageDetail) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="signatures" {
            h2 { (t.image_signatures(image.signatures.len())) }
            @if image.signatures.is_empty() { p { (t.image_unsigned()) " " code { "groundstate image sign" } } }
            ul class="plain" { @for one in &image.signatures {
                li { code class="long" { (one.key) } " "
                    @if one.counts { (badge(Tone::Good, t.signature_counts())) } @else { (badge(Tone::Quiet, t.signature_not())) } }
            } }
        }
    }
}

fn places(image: &ImageDetail) -> Markup {
    let t = Texts::here();
    html! {
        section class="card" id="used" {
            h2 { (t.image_used()) }
            (uses(&image.used_by))
            p { (t.image_runs(image.runs_on.len())) }
            ul class="inline" { @for endpoint in image.runs_on.iter().take(NAMED) { li { a href={ "/endpoints/" (endpoint) } { (endpoint) } } } }
            @if image.runs_on.len() > NAMED { p class="small" { (t.network_more(image.runs_on.len() - NAMED)) } }
            p { a class="tap" href=(link("/jobs", &[("q", &format!("{} {}", image.view.name, image.view.version))])) { (t.image_jobs()) } }
        }
    }
}

fn said(channel: &ChannelView) -> Markup {
    let t = Texts::here();
    let row = |said: &StatementView| {
        html! {
            tr {
                td class="num" { (said.epoch) }
                td { (stage(&said.stage).unwrap_or_default()) @if !said.why_not.is_empty() { div class="small" { (badge(Tone::Bad, t.signature_not())) " " (english(sentence(&said.why_not))) } } }
                td { a class="tap" href={ "/images/" (said.image) } { code { (short(&said.image)) } } }
                td { (said.author) @if !said.reason.is_empty() { div class="small" { (english(format!("“{}”", said.reason))) } } }
                td { (moment(said.at_unix_ms)) }
            }
        }
    };
    html! {
        section class="card" id="channel" {
            h2 { (t.channel_title()) }
            (standing(channel))
            @if !channel.statements.is_empty() {
                div class="scroll" { table {
                    thead { tr {
                        th scope="col" class="num" { (t.image_epoch()) } th scope="col" { (t.image_state()) } th scope="col" { (t.fig_image()) }
                        th scope="col" { (t.steps_who()) } th scope="col" { (t.steps_when()) }
                    } }
                    tbody { @for one in channel.statements.iter().rev() { (row(one)) } }
                } }
            }
        }
    }
}

fn form(image: &ImageDetail, channel: &ChannelView, viewer: &Viewer) -> Markup {
    let t = Texts::here();
    let command = format!(
        "groundstate image promote {}:{} --key channel.key --out promotion.json",
        image.view.name, image.view.version
    );
    html! {
        section class="card" id="promote" {
            h2 { (t.promote_title()) }
            p { (fill(&t.promote_how(SLOTS[0]), [html! { code { (command) } }])) }
            form method="post" action={ "/images/" (image.view.image) "/promote" } {
                input type="hidden" name="revision" value=(channel.epoch);
                label for="statement" { (t.promote_statement()) }
                textarea id="statement" class="typed" name="statement" rows="6" spellcheck="false" autocomplete="off" required {}
                div class="actions" { (viewer.plain(ROUTE, "primary", "promote", t.promote_button())) }
            }
            p class="small" { (t.promote_refused()) }
        }
    }
}
