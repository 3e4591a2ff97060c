//! `groundstate notify`: who is told what happens.

use clap::Subcommand;
use recovery_protocol::notify::{ChannelTested, ChannelView, Reloaded};

use super::{Code, client::Client, fault::Fault, print, show};
use crate::cli::Output;

/// What to do with channels.
#[derive(Debug, Subcommand)]
pub enum NotifyVerb {
    /// List channels, when each took something last, and what waits
    List,
    /// Send a test message, and wait until the channel took it
    Test {
        /// The channel
        channel: String,
    },
}

/// Carry out a verb.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn act(client: &Client, verb: NotifyVerb, output: Output) -> Result<(), Fault> {
    match verb {
        NotifyVerb::List => {
            let channels: Vec<ChannelView> = client.get("/api/v1/notifications")?;
            print(output, &channels, |channels| table(channels))
        }
        NotifyVerb::Test { channel } => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
            if channel.is_empty() || !channel.bytes().all(fits) {
                let now = "look for the name with `groundstate notify list`";
                return Err(Fault::new(Code::Usage, format!("`{channel}` cannot be a channel"), "", now));
            }
            let path = format!("/api/v1/notifications/{channel}/test");
            let tested: ChannelTested = client.post(&path, &serde_json::json!({}))?;
            print(output, &tested, |tested| {
                format!("{} took it within {} ms", tested.channel.name, tested.took_ms)
            })
        }
    }
}

/// Have the appliance put its configuration file in force.
///
/// # Errors
/// [`Fault`] with the exit code.
pub fn reload(client: &Client, output: Output) -> Result<(), Fault> {
    let done: Reloaded = client.post("/api/v1/config/reload", &serde_json::json!({}))?;
    print(output, &done, |done| match done.changed.as_slice() {
        [] => "nothing differs from what is in force".to_owned(),
        changed => format!("in force: {}", changed.join(", ")),
    })
}

fn table(channels: &[ChannelView]) -> String {
    let row = |view: &ChannelView| {
        let moment = |at: Option<u64>| at.map_or_else(|| "never".to_owned(), show::moment);
        let waiting = match view.oldest_unix_ms {
            Some(oldest) if view.waiting > 0 => format!("{} since {}", view.waiting, show::moment(oldest)),
            _ => view.waiting.to_string(),
        };
        vec![
            view.name.clone(),
            view.kind.clone(),
            moment(view.delivered_unix_ms),
            moment(view.failed_unix_ms),
            waiting,
            view.to.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = channels.iter().map(row).collect();
    let mut text = show::table(&["CHANNEL", "KIND", "DELIVERED", "FAILED", "WAITING", "TO"], &rows);
    for view in channels {
        if !view.failure.is_empty() {
            text += &format!("\n{} is not told: {}", view.name, view.failure);
        }
        if view.dead > 0 {
            text += &format!("\n{}: {} given up, the last: {}", view.name, view.dead, view.last_dead);
        }
    }
    text
}
