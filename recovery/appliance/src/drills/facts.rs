//! What this appliance vouches for when a drill is planned: kind, place, zone, image of an endpoint.
//!
//! The inventory has no zones yet: an endpoint's group stands for its zone, and the groups of endpoints that may be
//! drilled are the drill zones. A kind is the first word of the blueprint's name (`hmi` of `hmi-panel`). A place is virtual when the endpoint's own SMBIOS says that a hypervisor made it, and a
//! bench otherwise; only an endpoint whose record says drill-safe is ever called either.

use std::collections::BTreeSet;

use recovery_protocol::{
    EndpointId, Problem,
    operator::{EndpointView, ImageView},
};
use runbooks::{DrillScope, EndpointFacts, Place, TargetId, target::DRILL_SAFE};

use crate::{config::Config, service::Service};

/// SMBIOS manufacturers and products of virtual machines (DSP0134 type 1).
const HYPERVISORS: [&str; 6] = ["qemu", "kvm", "vmware", "virtualbox", "xen", "bochs"];

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
    let zones = service.endpoints().await?.into_iter().filter(|view| view.drill_safe).map(|view| view.group).collect();
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
        place: place(view),
        labels,
        essential_function: config.group(&view.group).safety_class >= 3,
        image: golden_image(view, config, images).map(|image| image.image.to_string()).unwrap_or_default(),
    }
}

fn place(view: &EndpointView) -> Place {
    if !view.drill_safe {
        return Place::Production;
    }
    let made_of = view.inventory.as_ref().map(|inventory| format!("{} {}", inventory.vendor, inventory.product));
    let made_of = made_of.unwrap_or_default().to_lowercase();
    if HYPERVISORS.iter().any(|name| made_of.contains(name)) { Place::Virtual } else { Place::Bench }
}

/// The golden image that the endpoint's blueprint means now: the named version, or the one with the highest epoch.
pub fn golden_image<'a>(view: &EndpointView, config: &Config, images: &'a [ImageView]) -> Option<&'a ImageView> {
    let blueprint = config.blueprints.get(&view.blueprint)?;
    images
        .iter()
        .filter(|image| image.trusted && image.name == blueprint.image)
        .filter(|image| blueprint.version.as_ref().is_none_or(|version| *version == image.version))
        .max_by_key(|image| image.epoch)
}
