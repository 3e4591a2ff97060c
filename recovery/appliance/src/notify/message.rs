//! What is said of an event, in plain words: what, what now, where to look.

use recovery_protocol::{
    EndpointId, JobId,
    evidence::Entry,
    job::{HoldReason, JobState},
};
use serde_json::{Value, json};

use super::event::{Event, state};
use crate::console::Texts;

/// A value of an entry is cut after so many characters.
const VALUE_MAX: usize = 300;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same whenever it is sent again: the entry's number and the beginning of its leaf's hash.
    pub id: String,
    /// The entry's number; 0 for a test.
    pub seq: u64,
    /// Which event; None for a test.
    pub event: Option<Event>,
    /// When it happened, milliseconds since 1970.
    pub at_unix_ms: u64,
    /// About which endpoint.
    pub endpoint: Option<EndpointId>,
    /// In which job.
    pub job: Option<JobId>,
    /// One line.
    pub title: String,
    /// What happened, one line or more.
    pub what: String,
    /// What now.
    pub now: String,
    /// A code of a closed list: a hold's reason, an alarm's kind.
    pub code: String,
    /// Where to look.
    pub link: Option<String>,
}

/// What every message of an appliance has.
#[derive(Debug, Clone)]
pub struct Letterhead {
    /// The site's name.
    pub site: String,
    /// The console's address, without a `/` at the end.
    pub address: Option<String>,
    /// The language.
    pub texts: Texts,
}

impl Letterhead {
    /// What an entry tells of.
    #[must_use]
    pub fn message(&self, id: String, entry: &Entry, event: Event) -> Message {
        let t = self.texts;
        let endpoint = entry.endpoint.as_ref().map_or("", EndpointId::as_str).to_owned();
        let (title, what, now, code) = match event {
            Event::Held | Event::ApprovalNeeded | Event::Failed | Event::Cancelled | Event::Recovered => {
                self.of_job(entry, event, &endpoint)
            }
            Event::Stop if entry.kind == "order.stop-released" => {
                (t.notice_stop_released(), who(entry), t.notice_stop_released_now(), String::new())
            }
            Event::Stop => (t.notice_stop(), who(entry), t.notice_stop_now(), String::new()),
            Event::Alarm => {
                let code = entry.kind.strip_prefix("alarm.").unwrap_or(&entry.kind).to_owned();
                let now = t.by_code(&format!("alarm.{}", code.replace('.', "-")), "now", []);
                let named = if endpoint.is_empty() { code.clone() } else { format!("{code}, {endpoint}") };
                (t.notice_alarm(named), facts(entry), now.unwrap_or_else(|| t.notice_alarm_now()), code)
            }
            Event::DrillDue => (t.notice_drill_due(), facts(entry), t.notice_drill_due_now(), String::new()),
            Event::BackupOld => {
                (t.notice_backup_old(), facts(entry), t.notice_backup_old_now(), String::new())
            }
            Event::AnchorOld => {
                (t.notice_anchor_old(), facts(entry), t.notice_anchor_old_now(), String::new())
            }
        };
        let title = if entry.mode == "drill" { format!("{}: {title}", t.notice_drill()) } else { title };
        let path = match (entry.job, &entry.endpoint) {
            (Some(job), _) => format!("/jobs/{job}"),
            (None, Some(endpoint)) => format!("/endpoints/{endpoint}"),
            (None, None) if event == Event::Stop => "/stop".to_owned(),
            (None, None) if entry.kind == "order.plan" => "/plans".to_owned(),
            (None, None) if event == Event::DrillDue => "/drills".to_owned(),
            (None, None) => "/".to_owned(),
        };
        Message {
            id,
            seq: entry.seq,
            event: Some(event),
            at_unix_ms: entry.at_unix_ms,
            endpoint: entry.endpoint.clone(),
            job: entry.job,
            title,
            what,
            now,
            code,
            link: self.address.as_ref().map(|address| address.clone() + &path),
        }
    }

    /// A message that only shows that the channel works.
    #[must_use]
    pub fn test(&self, by: &str, at_unix_ms: u64) -> Message {
        let t = self.texts;
        Message {
            id: format!("test-{at_unix_ms}"),
            seq: 0,
            event: None,
            at_unix_ms,
            endpoint: None,
            job: None,
            title: t.notice_test(),
            what: t.notice_test_what(by.to_owned()),
            now: t.notice_test_now(),
            code: String::new(),
            link: self.address.clone(),
        }
    }

    fn of_job(&self, entry: &Entry, event: Event, endpoint: &str) -> (String, String, String, String) {
        let t = self.texts;
        if entry.kind == "order.plan" {
            let plan = entry.facts.get("plan").and_then(Value::as_str).unwrap_or_default();
            return (t.notice_plan(plan.to_owned()), who(entry), t.notice_plan_now(), String::new());
        }
        let of_reason = |reason: HoldReason, detail: &str| {
            let said = |what| t.by_code(reason.code(), what, []);
            let what = said("what").unwrap_or_else(|| reason.what().to_owned());
            let now = said("now").unwrap_or_else(|| reason.what_now().to_owned());
            let detail = if detail.is_empty() { String::new() } else { format!("\n{detail}") };
            (what + &detail, now, reason.code().to_owned())
        };
        let named = endpoint.to_owned();
        let (what, now, code) = match state(entry) {
            Some(JobState::Held { reason, detail, .. } | JobState::Failed { reason, detail, .. }) => {
                of_reason(reason, &detail)
            }
            Some(JobState::Recovered) => (t.notice_recovered_what(), t.notice_recovered_now(), String::new()),
            _ => (who(entry), t.notice_cancelled_now(), String::new()),
        };
        let title = match event {
            Event::ApprovalNeeded => t.notice_approval(named),
            Event::Failed => t.notice_failed(named),
            Event::Cancelled => t.notice_cancelled(named),
            Event::Recovered => t.notice_recovered(named),
            _ => t.notice_held(named),
        };
        (title, what, now, code)
    }
}

impl Message {
    /// Its event's word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.event.map_or("test", Event::as_str)
    }

    /// As plain text, without its title.
    #[must_use]
    pub fn text(&self, t: Texts) -> String {
        let mut lines = vec![self.what.clone(), format!("{} {}", t.what_now(), self.now)];
        if !self.code.is_empty() {
            lines.push(format!("{} {}", t.notice_code(), self.code));
        }
        lines.extend(self.link.clone());
        let at =
            i64::try_from(self.at_unix_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        let at = at.map(|at| format!("{at:.0}")).unwrap_or_default();
        lines.push(if self.seq == 0 {
            at
        } else {
            format!("{at} · {}", t.notice_entry(self.seq.to_string()))
        });
        lines.join("\n\n")
    }

    /// As data for systems.
    #[must_use]
    pub fn data(&self, site: &str) -> Value {
        json!({
            "id": self.id, "site": site, "event": self.word(), "at_unix_ms": self.at_unix_ms, "endpoint": self.endpoint,
            "job": self.job, "title": self.title, "what": self.what, "now": self.now, "code": self.code, "link": self.link,
        })
    }
}

/// Who did it, and why.
fn who(entry: &Entry) -> String {
    let reason =
        entry.facts.get("reason").or_else(|| entry.facts.get("event")?.get("reason")).and_then(Value::as_str);
    let name = entry.actor.strip_prefix("operator:").unwrap_or(&entry.actor);
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{name}: {reason}"),
        None => name.to_owned(),
    }
}

/// What an entry holds, a line each.
fn facts(entry: &Entry) -> String {
    let line = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let value: String = value.chars().take(VALUE_MAX).collect();
        (!value.is_empty()).then(|| format!("{}: {value}", key.replace('_', " ")))
    };
    entry.facts.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}
