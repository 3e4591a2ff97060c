//! The runbooks that ship: the files of `library/`, inside the program. A test parses and lints each.

/// Name and text of one shipped runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Its name, the file's name without `.yaml`.
    pub name: &'static str,
    /// Its text; give it to [`crate::runbook::parse::parse`].
    pub text: &'static str,
}

/// Every runbook that ships, by name.
#[must_use]
pub fn library() -> &'static [Shipped] {
    &[
        Shipped { name: "annual-tabletop", text: include_str!("../library/annual-tabletop.yaml") },
        Shipped { name: "appliance-lost", text: include_str!("../library/appliance-lost.yaml") },
        Shipped {
            name: "certificate-authority-lost",
            text: include_str!("../library/certificate-authority-lost.yaml"),
        },
        Shipped { name: "decommission", text: include_str!("../library/decommission.yaml") },
        Shipped {
            name: "disk-swap-new-hardware",
            text: include_str!("../library/disk-swap-new-hardware.yaml"),
        },
        Shipped {
            name: "hardware-class-qualification",
            text: include_str!("../library/hardware-class-qualification.yaml"),
        },
        Shipped {
            name: "hmi-failed-attestation",
            text: include_str!("../library/hmi-failed-attestation.yaml"),
        },
        Shipped {
            name: "line-hmi-mass-recovery",
            text: include_str!("../library/line-hmi-mass-recovery.yaml"),
        },
        Shipped { name: "quarterly-hmi-drill", text: include_str!("../library/quarterly-hmi-drill.yaml") },
        Shipped { name: "single-hmi-failed", text: include_str!("../library/single-hmi-failed.yaml") },
        Shipped { name: "site-ransomware", text: include_str!("../library/site-ransomware.yaml") },
        Shipped { name: "time-source-lost", text: include_str!("../library/time-source-lost.yaml") },
        Shipped { name: "vendor-visit-reset", text: include_str!("../library/vendor-visit-reset.yaml") },
        Shipped { name: "wan-cut-island", text: include_str!("../library/wan-cut-island.yaml") },
        Shipped { name: "wrong-image-rollback", text: include_str!("../library/wrong-image-rollback.yaml") },
    ]
}

/// Every blueprint that ships, by name: beginnings for an owner's own.
#[must_use]
pub fn blueprints() -> &'static [Shipped] {
    &[
        Shipped {
            name: "control-room-workstation",
            text: include_str!("../blueprints/control-room-workstation.yaml"),
        },
        Shipped { name: "hmi-panel", text: include_str!("../blueprints/hmi-panel.yaml") },
        Shipped { name: "legacy-windows", text: include_str!("../blueprints/legacy-windows.yaml") },
        Shipped { name: "line-terminal", text: include_str!("../blueprints/line-terminal.yaml") },
        Shipped { name: "plant-floor-device", text: include_str!("../blueprints/plant-floor-device.yaml") },
        Shipped {
            name: "scada-adjacent-client",
            text: include_str!("../blueprints/scada-adjacent-client.yaml"),
        },
        Shipped { name: "warehouse-terminal", text: include_str!("../blueprints/warehouse-terminal.yaml") },
    ]
}

/// The shipped runbook of that name.
#[must_use]
pub fn shipped(name: &str) -> Option<&'static Shipped> {
    library().iter().find(|shipped| shipped.name == name)
}

#[cfg(test)]
mod tests {
    use super::library;
    use crate::runbook::{lint::lint, parse::parse};

    #[test]
    fn every_shipped_runbook_parses_and_lints_clean() {
        for shipped in library() {
            let runbook = parse(shipped.text).unwrap_or_else(|error| panic!("{}: {error}", shipped.name));
            assert_eq!(runbook.name, shipped.name);
            let findings: Vec<String> = lint(&runbook).iter().map(ToString::to_string).collect();
            assert_eq!(findings, Vec::<String>::new(), "{}", shipped.name);
        }
    }

    /// Whoever can write can plan it; the others are talked through or are about people alone.
    #[test]
    fn every_shipped_runbook_is_planned_in_each_mode_that_it_allows() {
        use crate::{
            run::{
                plan,
                tests::{ask, facts, safe},
            },
            runbook::ModeName,
            target::{Place, Target},
        };
        for shipped in library() {
            let runbook = || parse(shipped.text).unwrap();
            for mode in runbook().modes.keys() {
                let planned = match mode {
                    ModeName::Real => {
                        plan(runbook(), vec![Target::real(facts("a", Place::Production))], ask())
                            .map(|run| run.record().mode)
                    }
                    ModeName::Drill => {
                        plan(runbook(), vec![safe("a", Place::Bench)], ask()).map(|run| run.record().mode)
                    }
                    ModeName::Virtual => {
                        plan(runbook(), vec![safe("a", Place::Virtual)], ask()).map(|run| run.record().mode)
                    }
                    ModeName::DryRun | ModeName::Tabletop => continue,
                };
                assert_eq!(planned.as_ref(), Ok(mode), "{}", shipped.name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_ships() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
            .collect();
        files.sort();
        let shipped: Vec<&str> = library().iter().map(|shipped| shipped.name).collect();
        assert_eq!(files, shipped);
    }
}
