//! The plant as a picture: where which endpoint stands and how it is, and how long recoveries took since when.

use std::collections::BTreeMap;

use recovery_protocol::{
    Problem,
    machine::Usual,
    plant::{ClassTimes, MapView, Spot, Took},
};

use super::Service;
use crate::db;

/// Recoveries of a class that are drawn, at most: the newest.
const RECOVERIES_MOST: usize = 100;
/// Recoveries that are read for all classes together, the newest.
const READ_MOST: u64 = 2_000;

impl Service {
    /// Where every endpoint on record stands, by line and cell and name.
    pub async fn spots(&self) -> Result<Vec<Spot>, Problem> {
        let all = db::endpoint::light(&mut *self.0.journal.db.read().await?).await?;
        let label = |endpoint: &db::endpoint::Endpoint, key: &str| {
            endpoint.record.labels.get(key).unwrap_or_default().to_owned()
        };
        let spot = |endpoint: db::endpoint::Endpoint| Spot {
            line: label(&endpoint, "line"),
            cell: label(&endpoint, "cell"),
            endpoint: endpoint.id,
            state: endpoint.state,
        };
        let mut spots: Vec<Spot> = all.into_iter().map(spot).collect();
        spots.sort_by(|a, b| (&a.line, &a.cell, &a.endpoint).cmp(&(&b.line, &b.cell, &b.endpoint)));
        Ok(spots)
    }

    /// Both.
    pub async fn map(&self) -> Result<MapView, Problem> {
        Ok(MapView { spots: self.spots().await?, times: self.times().await? })
    }

    /// How long recoveries took, by class.
    pub async fn times(&self) -> Result<Vec<ClassTimes>, Problem> {
        let newest = db::job::newest_recoveries(&mut *self.0.journal.db.read().await?, READ_MOST).await?;
        let mut classes: BTreeMap<(String, String), Vec<Took>> = BTreeMap::new();
        for one in newest {
            let image = one.image_name.rsplit_once(' ').map_or(one.image_name.as_str(), |(name, _)| name);
            let found = classes.entry((one.group, image.to_owned())).or_default();
            if found.len() < RECOVERIES_MOST {
                found.push(Took { ended_unix_ms: one.ended, took_ms: one.took, drill: one.drill });
            }
        }
        let class = |((group, image), mut recoveries): ((String, String), Vec<Took>)| {
            recoveries.reverse();
            let real = recoveries.iter().filter(|one| !one.drill).map(|one| one.took_ms);
            let usual = Usual::of(real.collect());
            ClassTimes { group, image, recoveries, usual }
        };
        Ok(classes.into_iter().map(class).collect())
    }
}
