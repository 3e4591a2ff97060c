//! What this appliance vouches for when a drill is planned: kind, place, zone, image of an endpoint.
//!
//! Three words must agree before a drill may write: the endpoint's record says drill-safe, its group is a drill zone, and
//! its blueprint is declared to stand on a bench or in a virtual machine. Each is set by an operator; nothing that an
//! endpoint says of itself counts. A kind is the first word of the blueprint's name (`hmi` of `hmi-panel`).

use std::collections::BTreeSet;

use recovery_protocol::{
    EndpointId, Problem,
    operator::{EndpointView, ImageView},
};
use runbooks::{DrillScope, EndpointFacts, Place, TargetId, target::DRILL_SAFE};

use crate::{
    config::{Config, Place as Declared},
    service::Service,
};

/// Facts of the named endpoints, and where a drill may write.
///
/// # Errors
/// 404 for an unknown endpoint.
pub async fn of(
    service: &Service,
    config: &Config,
    endpoints: &[EndpointId],
) -> Result<(Vec<EndpointFacts>, DrillScope), Problem> {
    let images = service.images().await?;
    let mut facts = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        facts.push(fact(&service.endpoint(endpoint).await?, config, &images));
    }
    let zones =
        config.groups.iter().filter(|(_, group)| group.drill_zone).map(|(name, _)| name.clone()).collect();
    Ok((facts, DrillScope { zones }))
}

fn fact(view: &EndpointView, config: &Config, images: &[ImageView]) -> EndpointFacts {
    let blueprint = config.blueprints.get(&view.blueprint);
    let labels = if view.drill_safe { BTreeSet::from([DRILL_SAFE.to_owned()]) } else { BTreeSet::new() };
    let class = blueprint.map(|blueprint| blueprint.hardware_class.clone()).unwrap_or_default();
    EndpointFacts {
        target: TargetId::new(view.endpoint.as_str()),
        kind: view.blueprint.split('-').next().unwrap_or_default().to_owned(),
        class: if class.is_empty() { view.blueprint.clone() } else { class },
        zone: view.group.clone(),
        place: place(view, config),
        labels,
        essential_function: view.safety_class >= 3,
        image: golden_image(view, config, images).map(|image| image.image.to_string()).unwrap_or_default(),
    }
}

fn place(view: &EndpointView, config: &Config) -> Place {
    let declared = config.blueprints.get(&view.blueprint).map(|blueprint| blueprint.place);
    match declared.filter(|_| view.drill_safe).unwrap_or_default() {
        Declared::Production => Place::Production,
        Declared::Bench => Place::Bench,
        Declared::Virtual => Place::Virtual,
    }
}

/// The golden image that the endpoint's blueprint means now: the named version, or the one with the highest epoch.
pub fn golden_image<'a>(
    view: &EndpointView,
    config: &Config,
    images: &'a [ImageView],
) -> Option<&'a ImageView> {
    let blueprint = config.blueprints.get(&view.blueprint)?;
    images
        .iter()
        .filter(|image| image.trusted && image.name == blueprint.image)
        .filter(|image| blueprint.version.as_ref().is_none_or(|version| *version == image.version))
        .max_by_key(|image| image.epoch)
}
