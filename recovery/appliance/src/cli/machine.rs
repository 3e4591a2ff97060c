//! `groundstate endpoint photo`, `endpoint card`, `endpoint map`, `endpoint outlook`, `job accept`: a machine as whoever stands before it needs it.

use std::{collections::BTreeMap, path::Path};

use clap::Args;
use recovery_protocol::{
    EndpointId, JobId,
    machine::{Acceptance, OutlookView, PHOTO_LEN_MAX, PhotoView},
    operator::JobView,
    plant::{ClassTimes, MapView},
};

use super::{client::Client, fault::Fault, print, show};
use crate::cli::Output;

/// What somebody sees on a recovered endpoint.
#[derive(Debug, Args)]
pub struct Accept {
    /// The job that recovered it
    job: JobId,
    /// Its screen shows live values
    #[arg(long, group = "seen_live", required_unless_present = "not_live")]
    live: bool,
    /// It does not
    #[arg(long, group = "seen_live")]
    not_live: bool,
    /// What else there is to say; goes into evidence
    #[arg(long, default_value = "")]
    note: String,
}

/// Set or forget a picture.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn photo(
    client: &Client,
    endpoint: &EndpointId,
    file: Option<&Path>,
    output: Output,
) -> Result<(), Fault> {
    let path = format!("/api/v1/endpoints/{endpoint}/photo");
    let view: PhotoView = match file {
        None => client.delete(&path, &serde_json::json!({}), None)?,
        Some(file) => {
            let bytes = std::fs::read(file).map_err(|error| {
                Fault::of(&format!("{} cannot be read", file.display()), &error, "name the picture")
            })?;
            client.put_bytes(&path, bytes)?
        }
    };
    print(output, &view, |view| {
        let done = if file.is_some() { "has its picture" } else { "has no picture any more" };
        format!(
            "{} {done}: {}, {} of at most {} KiB",
            view.endpoint,
            view.media_type,
            view.bytes >> 10,
            PHOTO_LEN_MAX >> 10
        )
    })
}

/// `groundstate endpoint map`.
///
/// # Errors
/// What [`Client`] refuses.
pub fn map(client: &Client, output: Output) -> Result<(), Fault> {
    let view: MapView = client.get("/api/v1/map")?;
    print(output, &view, |view| {
        let mut places: BTreeMap<(&str, &str), BTreeMap<&str, u64>> = BTreeMap::new();
        for spot in &view.spots {
            let states = places.entry((&spot.line, &spot.cell)).or_default();
            *states.entry(show::endpoint_state(spot.state)).or_default() += 1;
        }
        let named = |name: &str| if name.is_empty() { "-".to_owned() } else { name.to_owned() };
        let row = |((line, cell), states): (&(&str, &str), &BTreeMap<&str, u64>)| {
            let states =
                states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ");
            vec![named(line), named(cell), states]
        };
        let places = show::table(&["LINE", "CELL", "ENDPOINTS"], &places.iter().map(row).collect::<Vec<_>>());
        let class = |class: &ClassTimes| {
            let usual = class.usual.map(|usual| (show::duration(usual.p50_ms), show::duration(usual.p90_ms)));
            let (half, most) = usual.unwrap_or_else(|| ("not known yet".to_owned(), String::new()));
            vec![class.group.clone(), class.image.clone(), class.recoveries.len().to_string(), half, most]
        };
        let head = ["GROUP", "IMAGE", "RECOVERIES", "USUALLY", "NINE OF TEN WITHIN"];
        places + "\n\n" + &show::table(&head, &view.times.iter().map(class).collect::<Vec<_>>())
    })
}

/// Show what a recovery would bring.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn outlook(client: &Client, endpoint: &EndpointId, output: Output) -> Result<(), Fault> {
    let view: OutlookView = client.get(&format!("/api/v1/endpoints/{endpoint}/outlook"))?;
    print(output, &view, |view| {
        let image = if view.image_name.is_empty() {
            format!("none: {}", view.why_none)
        } else {
            view.image_name.clone()
        };
        let saved = view.saved_unix_ms.map(show::moment).unwrap_or_default();
        let kept = if view.kept.is_empty() { "nothing".to_owned() } else { view.kept.join(", ") };
        let usual = match view.usual {
            Some(usual) => format!("{} s; nine of ten within {} s", usual.p50_ms / 1000, usual.p90_ms / 1000),
            None => "not known yet".to_owned(),
        };
        let until = view
            .until_unix_ms
            .map(|until| format!("\nuntil     {}", show::moment(until)))
            .unwrap_or_default();
        format!(
            "endpoint  {}\nimage     {image}\nsaved     {saved}\nkept      {kept}\nusually   {usual} ({} recoveries){until}",
            view.endpoint, view.recoveries
        )
    })
}

/// Write a card to print.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn card(
    client: &Client,
    endpoint: &EndpointId,
    (language, address): (&str, &str),
    out: &Path,
) -> Result<(), Fault> {
    let coded: String = address.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let language: String = language.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let page =
        client.get_text(&format!("/api/v1/endpoints/{endpoint}/card?language={language}&address={coded}"))?;
    std::fs::write(out, page)
        .map_err(|error| Fault::of(&format!("{} cannot be written", out.display()), &error, ""))?;
    eprintln!("print {} on A6, both sides; its code leads to {address}/m/{endpoint}", out.display());
    Ok(())
}

/// Say whether a recovered endpoint shows live values.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn accept(client: &Client, said: Accept, output: Output) -> Result<(), Fault> {
    let order = Acceptance { live_values: said.live, note: said.note };
    let view: JobView = client.post(&format!("/api/v1/jobs/{}/accept", said.job), &order)?;
    print(output, &view, show::job)
}
