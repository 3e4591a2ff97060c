//! Where evidence goes besides the database.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::forward::{syslog::Siem, webhook::HookOut};

/// Where evidence goes besides the database.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Signed checkpoints are appended to this file, and each start is checked against it. It shows that the database is an
    /// old copy, if it lies elsewhere than the database. Default: `evidence.anchors` in the data directory.
    pub anchor_file: Option<PathBuf>,
    /// The owner's file of zones (`zones/v1`): target levels, endpoints, declarations. The reports of zones and months are made of it and of the log, and it is
    /// read anew for each. None: there are no such reports.
    pub zones_file: Option<PathBuf>,
    /// Each entry goes to this SIEM.
    pub siem: Option<Siem>,
    /// Entries go to these, by a name for `status`.
    pub webhooks: BTreeMap<String, HookOut>,
}

impl Evidence {
    /// Where anchors lie.
    #[must_use]
    pub fn anchors(&self, data_dir: &Path) -> PathBuf {
        self.anchor_file.clone().unwrap_or_else(|| data_dir.join("evidence.anchors"))
    }

    /// Relative paths are taken from `base`.
    pub(super) fn resolve(&mut self, base: &Path) {
        let siem = self.siem.iter_mut().flat_map(|siem| {
            let own = [&mut siem.certificate_file, &mut siem.key_file];
            own.into_iter().flatten().chain([&mut siem.ca_file])
        });
        let webhooks = self
            .webhooks
            .values_mut()
            .flat_map(|hook| hook.ca_file.iter_mut().chain([&mut hook.secret_file]));
        for file in self.anchor_file.iter_mut().chain(&mut self.zones_file).chain(siem).chain(webhooks) {
            *file = base.join(&*file);
        }
    }
}
