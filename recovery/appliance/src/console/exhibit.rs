//! What a recovery keeps of the old system, on its job's page. Its bytes are fetched by the command line or REST: nothing of an old system
//! is ever opened in a browser.

use maud::{Markup, html};
use recovery_protocol::{
    exhibit::{ExhibitState, ExhibitView, Keep},
    operator::JobView,
};

use super::{
    texts::Texts,
    words::{bytes, duration, english, moment},
};

/// In the form that orders a recovery. Left alone, it is as the blueprint has it.
#[must_use]
pub fn choice() -> Markup {
    html! {
        label class="tick" for="keep" {
            input id="keep" type="checkbox" name="keep" value="quick";
            span { (Texts::here().exhibit_choice()) }
        }
    }
}

/// Nothing where nothing is kept.
#[must_use]
pub fn card(job: &JobView) -> Markup {
    let t = Texts::here();
    html! {
        @if job.keep != Keep::None {
            section class="card" id="exhibit" {
                h2 { (t.exhibit_title()) }
                @match &job.exhibit {
                    None => p { (t.exhibit_will()) },
                    Some(exhibit) => (told(exhibit)),
                }
            }
        }
    }
}

fn told(exhibit: &ExhibitView) -> Markup {
    let t = Texts::here();
    let said = match exhibit.state {
        ExhibitState::Ordered => t.exhibit_ordered(exhibit.seconds),
        ExhibitState::Kept => t.exhibit_kept(),
        ExhibitState::Nothing => t.exhibit_nothing(),
        ExhibitState::Deleted => t.exhibit_deleted(exhibit.deleted_by.as_deref().unwrap_or_default()),
    };
    html! {
        p { (said) }
        @if let Some(kept) = &exhibit.kept {
            @if kept.bytes > 0 {
                dl class="figures" {
                    dt { (t.exhibit_bytes()) } dd { (bytes(kept.bytes)) }
                    dt { (t.exhibit_files()) } dd { (kept.files) }
                    dt { (t.exhibit_took()) } dd { (duration(kept.took_ms)) }
                    dt { "SHA-256" } dd { code class="long" { (kept.sha256) } }
                    @if let Some(ends) = exhibit.ends_unix_ms { dt { (t.exhibit_until()) } dd { (moment(ends)) } }
                }
            }
            @if !kept.cut.is_empty() {
                details {
                    summary { (t.exhibit_cut(kept.cut.len())) }
                    ul { @for cut in &kept.cut { li { (english(format!("{}: {}", cut.what, cut.why))) } } }
                }
            }
        }
        @if exhibit.state == ExhibitState::Kept {
            p class="small" { code { "groundstate exhibit export " (exhibit.job) " --out FILE" } }
        }
    }
}
