//! OpenMetrics text as the older text format of Prometheus (0.0.4), for who does not ask for the newer one: `promtool check metrics`, `curl`, agents.
//!
//! The two differ in how a family is named: a counter's there carries `_total`, an info is a gauge that carries `_info`; units and the end are not said.

use std::fmt::Write as _;

/// The same figures.
#[must_use]
pub fn text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(family), what) => help = Some((family, what.unwrap_or_default())),
            (Some("#"), Some("TYPE"), Some(family), Some(kind)) => {
                let (name, kind) = match kind {
                    "counter" => (format!("{family}_total"), "counter"),
                    "info" => (format!("{family}_info"), "gauge"),
                    "unknown" => (family.to_owned(), "untyped"),
                    kind => (family.to_owned(), kind),
                };
                if let Some((_, what)) = help.take().filter(|(of, _)| *of == family) {
                    let _ = writeln!(text, "# HELP {name} {what}");
                }
                let _ = writeln!(text, "# TYPE {name} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

/// Whether who asks wants this and not OpenMetrics (`Accept`, RFC 9110 section 12.5.1).
#[must_use]
pub fn is_asked_for(accept: Option<&str>) -> bool {
    let asks =
        |kind: &str| accept.is_some_and(|accept| accept.split(',').any(|one| one.trim().starts_with(kind)));
    asks("text/plain") && !asks("application/openmetrics-text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_the_older_format_has_them() {
        let open = "# HELP g_build What runs.\n# TYPE g_build info\ng_build_info{version=\"1\"} 1\n# HELP g_jobs Jobs.\n# TYPE g_jobs counter\n\
                    g_jobs_total{result=\"a # b\"} 3\n# HELP g_t_seconds Time.\n# TYPE g_t_seconds histogram\n# UNIT g_t_seconds seconds\n\
                    g_t_seconds_sum 1.0\n# EOF\n";
        let plain = "# HELP g_build_info What runs.\n# TYPE g_build_info gauge\ng_build_info{version=\"1\"} 1\n# HELP g_jobs_total Jobs.\n\
                     # TYPE g_jobs_total counter\ng_jobs_total{result=\"a # b\"} 3\n# HELP g_t_seconds Time.\n# TYPE g_t_seconds histogram\n\
                     g_t_seconds_sum 1.0\n";
        assert_eq!(text(open), plain);
        assert!(is_asked_for(Some("text/plain")) && !is_asked_for(Some("*/*")) && !is_asked_for(None));
        assert!(!is_asked_for(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.3")));
    }
}
