//! What keeps a recovery from beginning by itself, though its group lets it: then it waits for a person.
//!
//! | rule | why |
//! |---|---|
//! | `windows` of the group, with the time that its recoveries take | nobody is there to see it, or production runs |
//! | `quiet_after_release_s` | failing right after a new image was approved is the image's fault first |
//! | flapping | a source that says and unsays is not to be acted upon |
//! | `max_auto_per_day` | what comes back twice survives a reimage, or is the hardware |

use recovery_protocol::EndpointId;

use crate::{
    config::{Config, Group},
    db::{self, Conn, DbError},
};

const DAY_MS: u64 = 24 * 3_600_000;
const FLAPPING_MS: u64 = 6 * 3_600_000;
/// Times that a source took it back within [`FLAPPING_MS`].
const FLAPPING: u64 = 3;
/// What a recovery is taken to last where a group has too few of its own to tell.
const USUAL_MS: u64 = 30 * 60_000;
/// Recoveries that tell how long one takes.
const ENOUGH: usize = 5;

/// The rule that lets this one wait for a person; `None`: it may begin by itself. `released`: when its image was approved.
///
/// # Errors
/// [`DbError`].
pub async fn waits(
    conn: &mut Conn,
    config: &Config,
    (endpoint, name, group): (&EndpointId, &str, &Group),
    released: Option<u64>,
    at: u64,
) -> Result<Option<String>, DbError> {
    if let Some(rule) = closed(conn, config, name, group, at).await? {
        return Ok(Some(rule));
    }
    let quiet = u64::from(group.quiet_after_release_s) * 1000;
    if let Some(released) = released.filter(|released| at < released.saturating_add(quiet)) {
        return Ok(Some(format!(
            "its image was approved {} min ago: suspect the image first (quiet_after_release_s)",
            at.saturating_sub(released) / 60_000
        )));
    }
    let unsaid = db::trigger::withdrawn(conn, endpoint, at.saturating_sub(FLAPPING_MS)).await?;
    if unsaid >= FLAPPING {
        return Ok(Some(format!(
            "its sources reported it {unsaid} times within 6 hours and did not stand by it (flapping)"
        )));
    }
    let begun = db::job::begun_alone(conn, endpoint, at.saturating_sub(DAY_MS)).await?;
    Ok((begun >= u64::from(group.max_auto_per_day)).then(|| {
        format!(
            "{begun} recoveries began by themselves within 24 hours: suspect its disk, or something that survives a \
             reimage (max_auto_per_day)"
        )
    }))
}

/// No window is open, or what is left of it is too short.
pub async fn closed(
    conn: &mut Conn,
    config: &Config,
    name: &str,
    group: &Group,
    at: u64,
) -> Result<Option<String>, DbError> {
    if group.windows.is_empty() {
        return Ok(None);
    }
    let zone = config.zone();
    let Some(left) = group.windows.iter().filter_map(|window| window.left(at, &zone)).max() else {
        return Ok(Some(format!("no window of group {name} is open (windows)")));
    };
    let takes = usual(db::job::durations(conn, name).await?);
    Ok((left < takes).then(|| {
        format!(
            "the window of group {name} closes in {} min, and its recoveries take up to {} min (windows)",
            left / 60_000,
            takes.div_ceil(60_000)
        )
    }))
}

/// The 95th of a hundred.
fn usual(mut lasted: Vec<u64>) -> u64 {
    if lasted.len() < ENOUGH {
        return USUAL_MS;
    }
    lasted.sort_unstable();
    let at = (lasted.len() * 95).div_ceil(100).saturating_sub(1);
    lasted.get(at).copied().unwrap_or(USUAL_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_ones_count_and_few_do_not() {
        assert_eq!(usual(vec![1, 2, 3, 4]), USUAL_MS);
        assert_eq!(usual(vec![5, 1, 2, 3, 4]), 5);
        assert_eq!(usual((1..=100).rev().collect()), 95);
    }
}
