//! Views as text: aligned columns, readable without colour, one line a thing.

use jiff::Timestamp;
use recovery_protocol::{
    agent::BootEntry,
    job::JobState,
    operator::{
        DepotView, DrillView, EkCertificate, EndpointState, EndpointView, HardwareFact, ImageView,
        ImportFault, ImportLine, ImportPlan, JobView, RefusalView, SinkView, StatusView,
    },
    people::{KioskView, PersonView, ReviewView, SessionView},
    plan::{PlanState, PlanView},
    settings::InterfaceSettings,
    stop::StopView,
};

/// Columns as wide as their widest cell, two spaces apart; the last one is not padded.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// `groundstate status`.
#[must_use]
pub fn status(view: &StatusView, pin: &str) -> String {
    let refused = view.refusals.iter().map(|refusal| {
        let RefusalView { code, count, last_unix_ms, from, why } = refusal;
        format!("\nrefused     {code} {count} times, last {} from {from}: {why}", moment(*last_unix_ms))
    });
    let status = format!(
        "site        {}\nversion     {}\nup          {}\nendpoints   {}\njobs        {} working, {} held\npin         {pin}",
        view.site,
        view.version,
        duration(view.up_seconds * 1000),
        view.endpoints,
        view.jobs_working,
        view.jobs_held,
    );
    let foreign = view.foreign.iter().map(|server| format!("\nforeign     {}", super::net::foreign(server)));
    let used = view.addresses_in_use.iter();
    let used = used.map(|used| format!("\naddress     {}", super::net::address_in_use(used)));
    let conflict = |id: &recovery_protocol::EndpointId| {
        format!("\nconflict    {id}: another one came with its address; `endpoint show {id}`")
    };
    let refused = view.conflicts.iter().map(conflict).chain(refused).chain(foreign).chain(used);
    let stop = view.stop.as_ref().map(|stop| self::stop(Some(stop)) + "\n").unwrap_or_default();
    let silent = |channel: &recovery_protocol::notify::ChannelView| {
        format!("\nnot told    {}: {}; {} messages wait", channel.name, channel.failure, channel.waiting)
    };
    let failing = view.channels.iter().filter(|channel| !channel.failure.is_empty());
    let sinks: String = view.sinks.iter().map(sink).chain(failing.map(silent)).collect();
    let glass = |review: &ReviewView| {
        let late = if review.overdue { "OVERDUE since" } else { "until" };
        let (endpoint, broke) = (&review.endpoint, &review.broke);
        format!(
            "\nGLASS       broken by {broke} for {endpoint}: another person reviews it {late} {} (`groundstate job review {}`)",
            moment(review.due_unix_ms),
            review.job
        )
    };
    let glass: String = view.reviews.iter().map(glass).collect();
    stop + &status
        + &glass
        + &view.depot.as_ref().map(depot).unwrap_or_default()
        + &sinks
        + &refused.collect::<String>()
}

/// `groundstate stop`.
#[must_use]
pub fn stop(standing: Option<&StopView>) -> String {
    let Some(stop) = standing else { return "STOP does not stand".to_owned() };
    let why = if stop.reason.is_empty() { "no reason given" } else { &stop.reason };
    let release = match &stop.release {
        None => "two people release it: `groundstate stop release --reason …`".to_owned(),
        Some(first) => format!(
            "{} released it ({}); another person must too, until {}: `groundstate stop release --reason …`",
            first.by,
            first.reason,
            moment(first.ends_unix_ms)
        ),
    };
    let goes_on: String = stop.goes_on.iter().map(|what| format!("\nGOES ON     {what}")).collect();
    format!(
        "STOP        since {} by {}: {why}; {} jobs held\n            {release}{goes_on}",
        moment(stop.pressed_unix_ms),
        stop.pressed_by,
        stop.jobs_held
    )
}

fn sink(view: &SinkView) -> String {
    let moved = view.moved_unix_ms.map_or_else(|| "never".to_owned(), moment);
    let mut text = format!("\nevidence to {}: {} entries behind, last {moved}", view.name, view.behind);
    if view.dead > 0 {
        text += &format!("\n            {} refused for good, the last: {}", view.dead, view.last_dead);
    }
    if !view.trouble.is_empty() {
        text += &format!("\n            {}", view.trouble);
    }
    text
}

fn depot(view: &DepotView) -> String {
    let reached = match view.reached_unix_ms {
        _ if view.follow_minutes == 0 => "not followed".to_owned(),
        None => "not reached yet".to_owned(),
        Some(at) => format!("reached {}, {} images came from it", moment(at), view.pulled),
    };
    let trouble =
        if view.trouble.is_empty() { String::new() } else { format!("\n            {}", view.trouble) };
    let room = match view.store_bytes_max {
        Some(most) => {
            let went = format!(", {} images went that the depot has", view.evicted);
            format!("\n            {} of {} here{went}", bytes(view.store_bytes), bytes(most))
        }
        None => String::new(),
    };
    format!("\ndepot       {}: {reached}{room}{trouble}", view.place)
}

/// `groundstate endpoint list`.
#[must_use]
pub fn endpoints(views: &[EndpointView]) -> String {
    let row = |view: &EndpointView| {
        vec![
            view.endpoint.to_string(),
            endpoint_state(view.state).to_owned(),
            view.blueprint.clone(),
            view.group.clone(),
            view.proven_unix_ms.map_or_else(|| "never".to_owned(), moment),
            view.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            view.labels.to_string(),
        ]
    };
    table(
        &["ENDPOINT", "STATE", "BLUEPRINT", "GROUP", "PROVEN", "MAC", "LABELS"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

/// `groundstate person list`.
#[must_use]
pub fn people(views: &[PersonView]) -> String {
    let row = |view: &PersonView| {
        vec![
            view.person.clone(),
            view.role.to_string(),
            view.scope.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
            if view.networks.is_empty() { "anywhere".to_owned() } else { view.networks.join(" ") },
            match (view.disabled, view.pin_wrong) {
                (true, _) => "shut out".to_owned(),
                (false, 5..) => "badge closed".to_owned(),
                (false, _) => String::new(),
            },
            view.token_id.as_ref().map_or_else(|| "gs_…".to_owned(), |id| format!("gs_{id}_…")),
            view.token_ends_unix_ms.map_or_else(|| "never".to_owned(), moment),
            view.password_unix_ms.map_or_else(|| "none".to_owned(), moment),
            view.used_unix_ms.map_or_else(|| "never".to_owned(), moment),
        ]
    };
    table(
        &["PERSON", "ROLE", "SCOPE", "FROM", "", "TOKEN", "TOKEN ENDS", "PASSWORD SET", "LAST USED"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

/// `groundstate kiosk list`.
#[must_use]
pub fn kiosks(views: &[KioskView]) -> String {
    let row = |view: &KioskView| {
        let ended = view.ended_unix_ms.map_or_else(String::new, |at| format!("taken away {}", moment(at)));
        vec![view.kiosk.clone(), moment(view.paired_unix_ms), view.paired_by.clone(), ended]
    };
    table(&["KIOSK", "PAIRED", "BY", ""], &views.iter().map(row).collect::<Vec<_>>())
}

/// `groundstate plan list`.
#[must_use]
pub fn plans(views: &[PlanView]) -> String {
    let one = |view: &PlanView| {
        let asked = &view.asked;
        let state = match view.state {
            PlanState::Proposed => format!("to be approved: {} of 2", view.approvals.len()),
            PlanState::Standing => {
                format!("stands; began {} of {} within 24 hours", view.begun, asked.most_per_day)
            }
            PlanState::Over => format!("over: {}", view.over),
        };
        let names: Vec<String> = view.endpoints.iter().map(ToString::to_string).collect();
        let yes: Vec<String> = view.approvals.iter().map(|given| given.by.clone()).collect();
        format!(
            "plan      {}\nstate     {state}\nwhom      {} ({}): {}\nimage     {}\nbegun by  {}\nwhen      {}\nmade by   {} {}\napproved  {}\nends      {}\nhash      {}",
            view.plan,
            asked.selector,
            names.len(),
            names.join(", "),
            view.image_name,
            asked.triggers.join(", "),
            if asked.windows.is_empty() { "at any time".to_owned() } else { asked.windows.join(", ") },
            view.made_by,
            moment(view.made_unix_ms),
            yes.join(", "),
            moment(view.ends_unix_ms),
            view.hash
        )
    };
    if views.is_empty() {
        return "there is no standing plan".to_owned();
    }
    views.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// `groundstate job review`.
#[must_use]
pub fn reviews(views: &[ReviewView]) -> String {
    let row = |view: &ReviewView| {
        let due = if view.overdue {
            format!("OVERDUE since {}", moment(view.due_unix_ms))
        } else {
            moment(view.due_unix_ms)
        };
        vec![view.job.to_string(), view.endpoint.to_string(), view.broke.clone(), due, view.reason.clone()]
    };
    if views.is_empty() {
        return "nothing waits for a review".to_owned();
    }
    table(
        &["JOB", "ENDPOINT", "GLASS BROKEN BY", "REVIEW UNTIL", "WHY"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

/// `groundstate person sessions`.
#[must_use]
pub fn sessions(views: &[SessionView]) -> String {
    let row = |view: &SessionView| {
        let SessionView { session, person, how, from, opened_unix_ms, used_unix_ms, .. } = view.clone();
        vec![session, person, how, from, moment(opened_unix_ms), moment(used_unix_ms)]
    };
    let rows: Vec<Vec<String>> = views.iter().map(row).collect();
    table(&["SESSION", "PERSON", "BY", "FROM", "OPENED", "LAST USED"], &rows)
}

/// `groundstate endpoint show`.
#[must_use]
pub fn endpoint(view: &EndpointView) -> String {
    let mut text = endpoints(std::slice::from_ref(view));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("\n{name:<12} {value}"));
        }
    };
    add("record", (view.revision > 0).then(|| format!("revision {}", view.revision)));
    add("kind", view.kind.map(|kind| kind.as_str().to_owned()));
    add("safety", (view.safety_class > 0).then(|| format!("class {}", view.safety_class)));
    add("redundancy", view.redundancy.clone());
    add("power", Some(format!("{:?}", view.power)));
    add("TPM EK", view.ek_sha256.clone());
    if view.ek_sha256.is_some() {
        let said = view.ek_certificate.as_ref().unwrap_or(&EkCertificate::Absent);
        let weaker =
            if said.is_verified() { "" } else { " (believed since its first approved recovery: weaker)" };
        add("TPM maker", Some(format!("certificate {said}{weaker}")));
    }
    add("certificate", view.certificate_serial.clone());
    add("refused", view.refusal.clone());
    add("CONFLICT", view.conflict.as_ref().map(|claim| {
        let said = &claim.inventory;
        format!(
            "another one came with its address {} times since {}: {}; it calls itself {} {} {}; say which it is: \
             `groundstate endpoint resolve {} --keep` or `--replace`",
            claim.count,
            moment(claim.since_unix_ms),
            claim.why,
            said.vendor,
            said.product,
            said.serial,
            view.endpoint
        )
    }));
    add("why not", view.why_not.as_ref().map(|rule| format!("a recovery would wait: {rule}")));
    add("pairing code", view.pairing_code.clone());
    add("drills", view.drill_safe.then(|| "may be drilled".to_owned()));
    add(
        "host name",
        told(view.settings.hostname.as_deref(), view.inventory.as_ref().map(|i| i.hostname.as_str())),
    );
    let own = |interface: &InterfaceSettings| {
        let list = interface.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("{} has {list}", interface.mac)
    };
    for interface in &view.settings.interfaces {
        add("network", Some(own(interface)));
    }
    add("hardware", view.inventory.as_ref().map(|i| format!("{} {} {}", i.vendor, i.product, i.serial)));
    add("boot chain", view.boot_age.as_ref().map(ToString::to_string));
    if let Some(inventory) = &view.inventory {
        add("secure boot", inventory.secure_boot.as_ref().map(ToString::to_string));
        for (at, disk) in inventory.disks.iter().enumerate() {
            let serial = disk.serial.as_deref().unwrap_or("no serial");
            let (size, transport) = (bytes(disk.size_bytes), &disk.transport);
            let place = disk.path.as_deref().map_or_else(String::new, |path| format!(" at {path}"));
            add("disk", Some(format!("{} {size} {transport}{place} ({serial})", disk.model)));
            add("its health", inventory.disk_health.get(at).map(ToString::to_string));
            add("its erasing", inventory.disk_erase.get(at).map(ToString::to_string));
        }
    }
    text.push_str(&made_of(&view.facts));
    if let Some(job) = &view.job {
        text.push_str("\n\n");
        text.push_str(&self::job(job));
    }
    text
}

/// What an endpoint is made of, with who told it and when.
fn made_of(facts: &[HardwareFact]) -> String {
    let row = |fact: &HardwareFact| {
        let told = format!("{}, {}", fact.source.words(), moment(fact.seen_unix_ms));
        vec![fact.fact.clone(), fact.value.clone(), moment(fact.since_unix_ms), told]
    };
    match facts.iter().map(row).collect::<Vec<_>>() {
        rows if rows.is_empty() => String::new(),
        rows => format!("\n\n{}", table(&["IT HAS", "", "SINCE", "TOLD BY, LAST"], &rows)),
    }
}

/// `groundstate endpoint import`.
#[must_use]
pub fn import(plan: &ImportPlan) -> String {
    let done = |what: &'static str, lines: &[ImportLine]| -> Vec<Vec<String>> {
        let row = |line: &ImportLine| {
            vec![line.line.to_string(), what.to_owned(), line.endpoint.to_string(), line.what.clone()]
        };
        lines.iter().map(row).collect()
    };
    let wrong = |what: &'static str, faults: &[ImportFault]| -> Vec<Vec<String>> {
        let row = |fault: &ImportFault| {
            let why = format!("{}; {}", fault.what, fault.remedy);
            vec![fault.line.to_string(), what.to_owned(), fault.column.clone(), why]
        };
        faults.iter().map(row).collect()
    };
    let mut rows = [
        done("add", &plan.adds),
        done("change", &plan.changes),
        wrong("CONFLICT", &plan.conflicts),
        wrong("ERROR", &plan.errors),
    ]
    .concat();
    rows.sort_by_key(|row| row[0].parse::<u64>().unwrap_or(0));
    let head = format!(
        "{}: {} added, {} changed, {} unchanged, {} conflicts, {} errors",
        if plan.applied { "applied" } else { "plan" },
        plan.adds.len(),
        plan.changes.len(),
        plan.unchanged,
        plan.conflicts.len(),
        plan.errors.len(),
    );
    if rows.is_empty() {
        head
    } else {
        format!("{}\n\n{head}", table(&["LINE", "DOES", "ABOUT", "WHAT"], &rows))
    }
}

/// What is on record, and what it said last where that is something else.
fn told(record: Option<&str>, said: Option<&str>) -> Option<String> {
    let said = said.filter(|said| !said.is_empty());
    match (record, said) {
        (Some(record), Some(said)) if said != record => Some(format!("{record} (it calls itself {said})")),
        (Some(record), _) => Some(record.to_owned()),
        (None, said) => said.map(ToOwned::to_owned),
    }
}

/// `groundstate job list`.
#[must_use]
pub fn jobs(views: &[JobView]) -> String {
    let row = |view: &JobView| {
        vec![
            view.job.to_string(),
            view.endpoint.to_string(),
            job_state(view) + if view.break_glass.is_some() { ", GLASS BROKEN" } else { "" },
            view.trigger.clone(),
            moment(view.asked_unix_ms),
            view.over_unix_ms
                .map(|over| duration(over.saturating_sub(view.asked_unix_ms)))
                .unwrap_or_default(),
        ]
    };
    table(
        &["JOB", "ENDPOINT", "STATE", "TRIGGER", "ASKED", "TOOK"],
        &views.iter().map(row).collect::<Vec<_>>(),
    )
}

/// `groundstate job show`: what, what now, and each phase with its time.
#[must_use]
pub fn job(view: &JobView) -> String {
    let mut text = format!(
        "job       {}\nendpoint  {}\nimage     {} ({})\nasked by  {} {}\nstate     {}\nwhat      {}",
        view.job,
        view.endpoint,
        view.image_name,
        view.image,
        view.trigger,
        view.reason,
        job_state(view),
        view.what,
    );
    if !view.what_now.is_empty() {
        text.push_str(&format!("\nwhat now  {}", view.what_now));
    }
    if let JobState::Held { detail, .. } | JobState::Failed { detail, .. } = &view.state
        && !detail.is_empty()
    {
        text.push_str(&format!("\ndetail    {detail}"));
    }
    if let Some(by) = &view.break_glass {
        text.push_str(&format!(
            "\nGLASS     broken by {by}: it went on without its approval; another person reviews it"
        ));
    }
    if let Some(live) = view.accepted {
        text.push_str(if live {
            "\nscreen    shows live values"
        } else {
            "\nscreen    shows NO live values, a person said"
        });
    }
    if view.give_up_preserved {
        text.push_str("\npreserved GIVEN UP: what the image preserves is written as the image has it");
    }
    text.push_str(&super::exhibit::line_of(view));
    if let Some(health) = &view.disk_health {
        text.push_str(&format!("\ndisk      {health}"));
    }
    if let Some(erased) = &view.erased {
        text.push_str(&format!("\nerased    {erased}"));
    }
    if let Some(restore) = view.restore {
        let (wire, written) = (bytes(restore.wire_bytes), bytes(restore.written_bytes));
        text.push_str(&format!("\nrestored  {wire} over the network, {written} written"));
        if restore.boot_entry == BootEntry::Refused {
            text.push_str("\nfirmware  it refused the boot entry: see that it boots this disk by itself");
        }
    }
    if let Some(captured) = &view.captured {
        let (disk, sent) = (bytes(captured.disk_bytes), bytes(captured.sent_bytes));
        text.push_str(&format!("\ncaptured  {disk}, {sent} over the network"));
        captured.warnings.iter().for_each(|warning| text.push_str(&format!("\nwarning   {warning}")));
    }
    let row = |phase: &recovery_protocol::operator::PhaseView| {
        let took = phase.to_unix_ms.map(|to| duration(to.saturating_sub(phase.from_unix_ms)));
        vec![
            moment(phase.from_unix_ms),
            phase.stage.label().to_owned(),
            took.unwrap_or_else(|| "now".to_owned()),
        ]
    };
    text.push_str("\n\n");
    text.push_str(&table(&["FROM", "PHASE", "TOOK"], &view.phases.iter().map(row).collect::<Vec<_>>()));
    text
}

/// `groundstate image list`.
#[must_use]
pub fn images(views: &[(&ImageView, bool)]) -> String {
    let row = |(view, depot_only): &(&ImageView, bool)| {
        let trust = if view.trusted { "trusted" } else { "not trusted" };
        vec![
            if view.name.is_empty() { "(damaged)".to_owned() } else { view.name.clone() },
            view.version.clone(),
            view.epoch.to_string(),
            bytes(view.disk_bytes),
            if *depot_only { "in the depot only" } else { trust }.to_owned(),
            view.stage.clone(),
            view.image.to_string(),
        ]
    };
    let head = ["NAME", "VERSION", "EPOCH", "DISK", "TRUST", "STAGE", "IMAGE"];
    let why = views
        .iter()
        .filter(|(view, _)| !view.trusted)
        .map(|(view, _)| format!("\n{} {}: {}", view.name, view.version, view.why_not));
    table(&head, &views.iter().map(row).collect::<Vec<_>>()) + &why.collect::<String>()
}

/// `groundstate drill list`.
#[must_use]
pub fn drills(views: &[DrillView]) -> String {
    let row = |view: &DrillView| {
        vec![view.drill.clone(), view.runbook.clone(), view.mode.clone(), view.state.clone()]
    };
    table(&["DRILL", "RUNBOOK", "MODE", "STATE"], &views.iter().map(row).collect::<Vec<_>>())
}

/// `groundstate drill run`, when it is over.
#[must_use]
pub fn drill(view: &DrillView) -> String {
    let row = |step: &recovery_protocol::operator::DrillStepView| {
        let endpoint = step.endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
        vec![step.step.clone(), endpoint, step.state.clone(), step.what.clone()]
    };
    let steps =
        table(&["STEP", "ENDPOINT", "STATE", "WHAT"], &view.steps.iter().map(row).collect::<Vec<_>>());
    format!(
        "drill     {}\nrunbook   {}\nmode      {}\nstate     {}\nplan      {}\n\n{steps}",
        view.drill, view.runbook, view.mode, view.state, view.binding
    )
}

/// A job's state in a word or two.
#[must_use]
pub fn job_state(view: &JobView) -> String {
    match &view.state {
        JobState::Working { stage } => stage.label().to_owned(),
        JobState::Held { reason, .. } => format!("held: {}", reason.code()),
        JobState::Recovered => "recovered".to_owned(),
        JobState::Captured => "captured".to_owned(),
        JobState::Cancelled { .. } => "cancelled".to_owned(),
        JobState::Failed { reason, .. } => format!("failed: {}", reason.code()),
    }
}

/// An endpoint's state in a word.
#[must_use]
pub fn endpoint_state(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Discovered => "discovered",
        EndpointState::Known => "known",
        EndpointState::Trusted => "trusted",
        EndpointState::Suspect => "suspect",
        EndpointState::Recovering => "recovering",
        EndpointState::Held => "held",
    }
}

/// `12.3 s`, `4 min 05 s`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A size in powers of 1024.
#[must_use]
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A moment in UTC.
#[must_use]
pub fn moment(unix_ms: u64) -> String {
    let at =
        i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let text = table(&["A", "LONG"], &[vec!["xyz".into(), "1".into()], vec!["é".into(), String::new()]]);
        assert_eq!(text, "A    LONG\nxyz  1\né");
    }
}
