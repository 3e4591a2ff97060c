//! Who looks, and which of a page's buttons would do something for them. A button that would only lead to a refusal is dead, and says why beside it.
//!
//! The answer comes from the table of routes itself ([`crate::api::needs`]), so a page cannot promise what the gate refuses.

use maud::{Markup, html};
use recovery_protocol::{Problem, people::Role};

use super::page::sentence;
use crate::api::{gate::Who, needs};

/// Who looks.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Their name.
    pub name: String,
    role: Role,
    against: Vec<(&'static str, String)>,
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
            let why = format!("{}: {}", problem.title, problem.detail);
            self.against.extend(routes.iter().map(|route| (*route, why.clone())));
        }
    }

    /// Why a form of this route would be refused; `None`: it would not, as far as can be said now.
    #[must_use]
    pub fn why_not(&self, route: &str) -> Option<String> {
        let Some(wanted) = needs(route).map(|needs| needs.write) else {
            return Some("there is nothing behind this".to_owned());
        };
        if !self.role.may(wanted) {
            let (role, words, may) = (self.role, wanted.words(), Role::who_may(wanted));
            return Some(format!(
                "you are {role} here, and may not {words}: ask somebody who is {}",
                may.replace(", ", " or ")
            ));
        }
        self.against.iter().find(|(against, _)| *against == route).map(|(_, why)| why.clone())
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
                p class="small why-not" id={ (id) "-why" } { (sentence(&why)) }
            },
        }
    }

    /// A plain button.
    #[must_use]
    pub fn plain(&self, route: &str, class: &str, id: &str, word: &str) -> Markup {
        self.button(route, Button { class, id, sends: None, word: html! { (word) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
