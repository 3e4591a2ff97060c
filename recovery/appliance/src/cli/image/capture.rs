//! `groundstate image capture`: the disk of an endpoint as an image in the appliance's store. The only verb of `image` that needs the appliance.

use images::manifest::name;
use recovery_protocol::{
    EndpointId,
    operator::{CaptureRequest, EndpointView, ImageView, JobView},
};

use crate::cli::{Output, say};
use crate::cli::{args::Wait, client::Client, fault::Fault, follow_or_print, show};

/// What to capture.
#[derive(Debug, clap::Args)]
pub struct Capture {
    /// The endpoint
    pub endpoint: EndpointId,
    /// Name of the image: at most 64 letters, digits, `.`, `_`, `-`
    #[arg(long, value_parser = name::name)]
    pub name: String,
    /// Version of the image: the same, and `+`, `~`
    #[arg(long, value_parser = name::version)]
    pub version: String,
    /// Hardware class that it fits
    #[arg(long, default_value = "")]
    pub hardware_class: String,
    /// What changed, in a sentence
    #[arg(long, default_value = "")]
    pub note: String,
    /// Store also what no filesystem uses, byte for byte
    #[arg(long)]
    pub keep_free_space: bool,
    /// A restore leaves this partition as its endpoint has it: number, name or GUID (its own or its type's); may be repeated
    #[arg(long, value_name = "PARTITION")]
    pub preserve: Vec<String>,
    /// Why; goes into evidence
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Say what would be read, and order nothing
    #[arg(long)]
    pub plan: bool,
    /// Ask for it and leave; without this it is followed to its end
    #[arg(long)]
    pub no_wait: bool,
    /// Give up following after so many seconds (exit 6); the job goes on
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_wait")]
    pub timeout: Option<u64>,
}

/// Order a capture, and follow it.
pub fn capture(client: &Client, order: Capture, output: Output) -> Result<(), Fault> {
    if order.plan {
        return plan(client, &order, output);
    }
    let request = CaptureRequest {
        name: order.name,
        version: order.version,
        hardware_class: order.hardware_class,
        note: order.note,
        keep_free_space: order.keep_free_space,
        preserve: order.preserve,
        reason: order.reason,
    };
    let job: JobView = client.post(&format!("/api/v1/endpoints/{}/capture", order.endpoint), &request)?;
    let wait = Wait { wait: !order.no_wait, timeout: order.timeout };
    follow_or_print(client, job, &wait, output)
}

/// Which disks the endpoint has by its last hello, and what the image would be called.
fn plan(client: &Client, order: &Capture, output: Output) -> Result<(), Fault> {
    let endpoint: EndpointView = client.get(&format!("/api/v1/endpoints/{}", order.endpoint))?;
    let images: Vec<ImageView> = client.get("/api/v1/images")?;
    let newest = images.iter().filter(|view| view.name == order.name).map(|view| view.epoch).max();
    let epoch = newest.map_or(1, |epoch| epoch + 1);
    let disks = endpoint.inventory.map(|inventory| inventory.disks).unwrap_or_default();
    if output.is_data() {
        return say(
            output,
            &serde_json::json!({
                "plan": true, "endpoint": order.endpoint, "name": order.name, "version": order.version,
                "epoch": epoch, "disks": disks,
            }),
        );
    }
    println!(
        "would boot {} into the recovery system and read its disk into the store as {} {} (epoch {epoch}); nothing is written to it",
        order.endpoint, order.name, order.version
    );
    for disk in disks.iter().filter(|disk| !disk.removable) {
        let serial = disk.serial.as_deref().unwrap_or("none");
        println!("  {} {}, serial {serial}", disk.transport, show::bytes(disk.size_bytes));
    }
    Ok(())
}
