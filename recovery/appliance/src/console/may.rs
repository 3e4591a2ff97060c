//! Who looks, and which of a page's buttons would do something for them. A button that would only lead to a refusal is dead, and says why beside it.
//!
//! The answer comes from the table of routes itself ([`crate::api::needs`]), so a page cannot promise what the gate refuses.

use maud::{Markup, Render, html};
use recovery_protocol::{
    Problem,
    people::{Permission, Role},
};

use super::{
    page::{code_text, sentence},
    texts::Texts,
    words::{self, english},
};
use crate::api::{gate::Who, needs};

tokio::task_local! {
    static LOOKS: Role;
}

/// What is made while `work` runs is seen by somebody of this role.
pub async fn seen_by<T>(role: Role, work: impl Future<Output = T>) -> T {
    LOOKS.scope(role, work).await
}

/// Whether a link to what needs this leads whoever looks anywhere; yes where nobody in particular does.
#[must_use]
pub fn leads_on(wanted: Permission) -> bool {
    LOOKS.try_with(|role| role.may(wanted)).unwrap_or(true)
}

/// Who looks.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Their name.
    pub name: String,
    role: Role,
    against: Vec<(&'static str, Against)>,
}

/// Why a button is dead: in the page's language, or as the record says it.
#[derive(Debug, Clone)]
enum Against {
    Said(String),
    Record(String),
}

impl Against {
    fn of(problem: &Problem) -> Self {
        match code_text(&problem.code, "what") {
            Some(what) => Self::Said(what),
            None => Self::Record(format!("{}: {}", problem.title, problem.detail)),
        }
    }
}

impl Render for Against {
    fn render(&self) -> Markup {
        match self {
            Self::Said(why) => html! { (sentence(why)) },
            Self::Record(why) => english(sentence(why)),
        }
    }
}

/// A button: its class, its id, its word.
pub struct Button<'a> {
    /// `primary`, `danger`, or nothing.
    pub class: &'a str,
    /// Unique on the page.
    pub id: &'a str,
    /// Name and value that it sends.
    pub sends: Option<(&'a str, &'a str)>,
    /// What it says.
    pub word: Markup,
}

impl Viewer {
    /// Who asked for the page.
    #[must_use]
    pub fn of(who: &Who) -> Self {
        Self { name: who.name.clone(), role: who.role, against: Vec::new() }
    }

    /// Somebody of this role, for tests of pages without a gate.
    #[cfg(test)]
    pub fn role(role: Role) -> Self {
        Self { name: role.as_str().to_owned(), role, against: Vec::new() }
    }

    /// What stands against these routes for them, beside their role.
    pub fn against(&mut self, routes: &[&'static str], problem: Result<(), Problem>) {
        if let Err(problem) = problem {
            let why = Against::of(&problem);
            self.against.extend(routes.iter().map(|route| (*route, why.clone())));
        }
    }

    /// The same, said by the page itself.
    pub fn against_because(&mut self, route: &'static str, why: String) {
        self.against.push((route, Against::Said(why)));
    }

    /// Whether their role lets them do this.
    #[must_use]
    pub fn may(&self, wanted: Permission) -> bool {
        self.role.may(wanted)
    }

    /// Why a form of this route would be refused; `None`: it would not, as far as can be said now.
    #[must_use]
    pub fn why_not(&self, route: &str) -> Option<Markup> {
        let t = Texts::here();
        let Some(wanted) = needs(route).map(|needs| needs.write) else {
            return Some(html! { (t.why_not_nothing()) });
        };
        if !self.role.may(wanted) {
            let who: Vec<String> =
                Role::ALL.into_iter().filter(|role| role.may(wanted)).map(words::role).collect();
            let who = who.join(&format!(" {} ", t.or_word()));
            return Some(html! { (t.why_not_role(words::role(self.role), permission(wanted), who)) });
        }
        self.against.iter().find(|(against, _)| *against == route).map(|(_, why)| why.render())
    }

    /// The button of a form of this route, alive or dead.
    #[must_use]
    pub fn button(&self, route: &str, button: Button<'_>) -> Markup {
        let Button { class, id, sends, word } = button;
        let (name, value) = sends.unzip();
        match self.why_not(route) {
            None => html! { button class=(class) id=(id) name=[name] value=[value] { (word) } },
            Some(why) => html! {
                button class=(class) id=(id) disabled aria-describedby={ (id) "-why" } { (word) }
                p class="small why-not" id={ (id) "-why" } { (why) }
            },
        }
    }

    /// A plain button.
    #[must_use]
    pub fn plain(&self, route: &str, class: &str, id: &str, word: impl Render) -> Markup {
        self.button(route, Button { class, id, sends: None, word: html! { (word) } })
    }
}

/// What a permission lets somebody do.
fn permission(wanted: Permission) -> String {
    let name = serde_json::to_value(wanted)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default();
    Texts::here()
        .by_code(&format!("permission-{name}"), "words", [])
        .unwrap_or_else(|| wanted.words().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permission_has_words_in_the_texts() {
        for needs in crate::api::closed_routes().into_iter().map(|(_, _, needs)| needs) {
            for wanted in [needs.read, needs.write] {
                assert_eq!(permission(wanted), wanted.words(), "code-permission-…-words");
            }
        }
    }

    #[test]
    fn a_dead_button_says_why_and_who_may() {
        let auditor = Viewer::role(Role::Auditor);
        let dead = auditor.plain("/endpoints/{endpoint}/recover", "hold", "recover", "Recover").into_string();
        for wanted in [
            "disabled",
            "aria-describedby=\"recover-why\"",
            "You are auditor here, and may not order a recovery",
            "technician or engineer",
        ] {
            assert!(dead.contains(wanted), "{dead}");
        }
        let mut engineer = Viewer::role(Role::Engineer);
        let alive =
            |engineer: &Viewer| engineer.plain("/jobs/{job}/approve", "", "approve", "Approve").into_string();
        assert!(!alive(&engineer).contains("disabled"));
        engineer.against(&["/jobs/{job}/approve"], Err(Problem::new(409, "x", "Not you", "<b>", "")));
        assert!(alive(&engineer).contains("disabled") && alive(&engineer).contains("Not you: &lt;b&gt;"));
        assert!(engineer.why_not("/nothing").is_some());
    }
}
