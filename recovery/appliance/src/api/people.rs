//! The calls of [`recovery_protocol::people`]. Whatever changes is told to the gate before it is answered.

use std::{
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use aide::axum::routing::{delete_with, get_with, patch_with, post_with, put_with};
use axum::{
    Extension, Json,
    extract::{Path, State},
    http::HeaderMap,
};
use recovery_protocol::{
    Problem,
    people::{
        ChangePerson, KioskView, NewBadge, NewKiosk, NewPassword, NewPerson, Origin, Permission, PersonView,
        SessionView, SetupCode,
    },
};

use super::{
    Body, Call, Needs, People, Refusal,
    describe::says,
    gate::{self, Elsewhere, Who},
};
use crate::{
    directory::Said,
    passwords,
    provider::{Against, Brought, Provider},
    service::{Actor, kiosks},
    tls::Peer,
};

/// REST under `/api/v1/people`.
pub fn calls() -> Vec<Call> {
    use Permission as P;
    vec![
        (
            "/api/v1/people",
            get_with(list, says("Who may do what here")).post_with(add, says("Add a person or a program")),
            Needs::all(P::People),
        ),
        (
            "/api/v1/people/{person}",
            patch_with(change, says("Change what a person may")),
            Needs::all(P::People),
        ),
        (
            "/api/v1/people/{person}/password",
            put_with(give_password, says("Set a person's password")),
            Needs::all(P::People),
        ),
        (
            "/api/v1/people/{person}/badge",
            put_with(give_badge, says("Give a technician a badge and its PIN")),
            Needs::all(P::People),
        ),
        (
            "/api/v1/people/{person}/unlock",
            post_with(unlock, says("Open a badge again that wrong PINs have closed")),
            Needs::all(P::Kiosk),
        ),
        (
            "/api/v1/account/password",
            put_with(own_password, says("Set one's own password")),
            Needs::all(P::Session),
        ),
        (
            "/api/v1/kiosks",
            get_with(kiosks, says("Kiosks on record"))
                .post_with(kiosk_code, says("A code that pairs a tablet once")),
            Needs::all(P::Kiosk),
        ),
        ("/api/v1/kiosks/{kiosk}", delete_with(end_kiosk, says("Take a kiosk away")), Needs::all(P::Kiosk)),
        (
            "/api/v1/sessions",
            get_with(sessions, says("Open sessions: one's own, or all for whoever manages people")),
            Needs::all(P::Session),
        ),
        (
            "/api/v1/sessions/{session}",
            delete_with(end_session, says("End a session")),
            Needs::all(P::Session),
        ),
        (
            "/api/v1/setup-codes",
            post_with(setup_code, says("A code that makes the first admin, while there is none")),
            Needs::all(P::People),
        ),
    ]
}

impl People {
    /// Who may in has changed.
    pub async fn tell_gate(&self) -> Result<(), Problem> {
        self.gate.learn(&self.service.people_rows().await?, self.service.now());
        self.ask_for_certificates();
        self.write_down().await;
        Ok(())
    }

    /// Where a person looks on, the appliance shows what makes the first admin. It is not logged.
    pub async fn show_setup_code(&self, at: SocketAddr) {
        if std::io::stderr().is_terminal()
            && self.service.no_admin_yet().await.is_ok()
            && let Ok(code) = self.gate.setup_code()
        {
            eprintln!("nobody is admin yet: open https://{at}/setup and write {code} (30 minutes)");
        }
    }

    /// Read everybody and every kiosk anew where that is due: a change of which the gate was never told is learned so.
    pub async fn remind_gate(&self) {
        if !self.gate.forgets() {
            return;
        }
        let read = async { Ok((self.service.kiosk_rows().await?, self.service.people_rows().await?)) };
        let read: Result<_, Problem> = read.await;
        match read {
            Ok((kiosks, people)) => {
                self.gate.learn_kiosks(&kiosks);
                self.gate.learn(&people, self.service.now());
            }
            // Better those of before than nobody at all.
            Err(problem) => tracing::warn!(why = problem.detail, "people cannot be read"),
        }
    }

    /// Open a session by name and password: of who is on record here, or, where it is nobody here, of who the directory says they are.
    pub async fn sign_in_by_name(
        &self,
        name: &str,
        password: String,
        from: IpAddr,
    ) -> Result<String, Problem> {
        let (name, at) = (name.trim(), self.service.now());
        let directory = match self.directory() {
            Some(directory) if self.service.asks_elsewhere(name, Origin::Directory).await? => directory,
            _ => return self.gate.sign_in_by_password(name, password, from, at).await,
        };
        self.gate.asks_elsewhere(name, from)?;
        let said = match directory.ask(name, &password, from).await {
            Ok(Said::Is(role, dn)) => {
                match self.service.sign_on(name, role, (Origin::Directory, Some(&dn))).await {
                    Ok(_) => self.tell_gate().await.map_or_else(Elsewhere::Silent, |()| Elsewhere::Yes),
                    Err(problem) => Elsewhere::Silent(problem),
                }
            }
            Ok(Said::NoRole) => self.no_role(name, (Origin::Directory, None)).await,
            Ok(Said::Not) => Elsewhere::No,
            Err(problem) => Elsewhere::Silent(problem),
        };
        self.gate.elsewhere_said(name, ("directory", said), from, at)
    }

    /// They are nothing here any more: what they had ends now, not when somebody notices.
    async fn no_role(&self, name: &str, who: (Origin, Option<&str>)) -> Elsewhere {
        let ended =
            async { if self.service.sign_off(name, who).await? { self.tell_gate().await } else { Ok(()) } };
        ended.await.map_or_else(Elsewhere::Silent, |()| Elsewhere::NoRole)
    }

    /// Open a session of who the OpenID provider says it is; and where they go on to.
    pub async fn sign_in_by_provider(
        &self,
        provider: &Arc<Provider>,
        (cookie, brought): (&str, Brought),
        from: IpAddr,
    ) -> Result<(String, String), Problem> {
        let at = self.service.now();
        let refused = |against: Against| self.gate.refused_elsewhere(against.how, against.problem, from);
        let person = provider.back(cookie, brought, at / 1000).await.map_err(refused)?;
        let (said, name) = match person.role {
            None => {
                (self.no_role(&person.name, (Origin::Provider, Some(&person.subject))).await, person.name)
            }
            Some(role) => {
                let on =
                    self.service.sign_on(&person.name, role, (Origin::Provider, Some(&person.subject))).await;
                let name =
                    on.map_err(|problem| self.gate.refused_elsewhere("provider-name", problem, from))?;
                let told = self.tell_gate().await;
                (told.map_or_else(Elsewhere::Silent, |()| Elsewhere::Yes), name)
            }
        };
        let opened = self.gate.elsewhere_said(&name, ("provider", said), from, at)?;
        Ok((opened, person.next))
    }

    /// Add a person or a program.
    pub async fn add_person(&self, actor: &Actor, new: NewPerson) -> Result<PersonView, Problem> {
        let added = self.service.add_person(actor, new).await?;
        self.tell_gate().await?;
        Ok(added)
    }

    /// Change what a person may.
    pub async fn change_person(
        &self,
        actor: &Actor,
        name: &str,
        order: ChangePerson,
    ) -> Result<PersonView, Problem> {
        let changed = self.service.change_person(actor, name, order).await?;
        self.tell_gate().await?;
        Ok(changed)
    }

    /// Open a badge again that wrong PINs have closed. A person is of the whole site: their badge opens at every kiosk.
    pub async fn unlock(&self, actor: &Actor, name: &str) -> Result<PersonView, Problem> {
        self.service.may_order_all(actor)?;
        self.service.unlock(actor, name).await
    }

    /// A code that pairs a tablet once.
    pub async fn kiosk_code(&self, actor: &Actor, kiosk: &str) -> Result<SetupCode, Problem> {
        self.service.may_order_all(actor)?;
        self.service.kiosk_name(kiosk).await?;
        let code = self.gate.kiosk_code(kiosk, &actor.name).map_err(|error| gate::random_failed(&error))?;
        let facts = serde_json::json!({ "kiosk": kiosk });
        self.service.note("order.kiosk-code", actor, None, None, facts).await?;
        Ok(SetupCode { code, path: "/kiosk".to_owned(), valid_s: gate::PAIRING_AGE.as_secs() })
    }

    /// Take a kiosk away; sessions at it end at once.
    pub async fn end_kiosk(&self, actor: &Actor, kiosk: &str) -> Result<Vec<KioskView>, Problem> {
        self.service.may_order_all(actor)?;
        let left = self.service.end_kiosk(actor, kiosk).await?;
        self.gate.learn_kiosks(&self.service.kiosk_rows().await?);
        self.write_down().await;
        Ok(left)
    }

    /// Set a person's password: checked, sealed, kept, told to the gate. Empty: none any more.
    pub async fn set_password(
        &self,
        who: &Who,
        name: &str,
        order: NewPassword,
        peer: Option<&Peer>,
    ) -> Result<PersonView, Problem> {
        who.at_own_computer()?;
        let from = gate::address(peer);
        let phc = if order.password.is_empty() && name != who.name {
            None
        } else {
            passwords::strong(&order.password, name, self.service.site())?;
            let current = (name == who.name).then_some(order.current);
            Some(self.gate.seal(who, current, order.password, from).await?)
        };
        let view = self.service.set_password(&who.actor(), name, phc).await?;
        self.tell_gate().await?;
        Ok(view)
    }
}

async fn list(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Vec<PersonView>>, Refusal> {
    let everybody = people.service.people().await?;
    let facts = serde_json::json!({ "people": everybody.len() });
    people.service.note("account.read", &actor, None, None, facts).await?;
    Ok(Json(everybody))
}

async fn add(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewPerson>,
) -> Result<Json<PersonView>, Refusal> {
    Ok(Json(people.add_person(&actor, new).await?))
}

async fn change(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(order): Body<ChangePerson>,
) -> Result<Json<PersonView>, Refusal> {
    Ok(Json(people.change_person(&actor, &name, order).await?))
}

async fn give_password(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    peer: Option<Extension<Peer>>,
    Path(name): Path<String>,
    Body(order): Body<NewPassword>,
) -> Result<Json<PersonView>, Refusal> {
    let set = people.set_password(&who, &name, order, peer.as_deref()).await;
    people.write_down().await;
    Ok(Json(set?))
}

async fn own_password(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    peer: Option<Extension<Peer>>,
    Body(order): Body<NewPassword>,
) -> Result<Json<PersonView>, Refusal> {
    let set = people.set_password(&who, &who.name, order, peer.as_deref()).await;
    people.write_down().await;
    Ok(Json(set?))
}

async fn give_badge(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    peer: Option<Extension<Peer>>,
    Path(name): Path<String>,
    Body(order): Body<NewBadge>,
) -> Result<Json<PersonView>, Refusal> {
    let badge = if order.badge.trim().is_empty() {
        None
    } else {
        let sha256 = kiosks::check(&order)?;
        Some((sha256, people.gate.seal_new(order.pin, gate::address(peer.as_deref())).await?))
    };
    let view = people.service.set_badge(&actor, &name, badge).await?;
    people.tell_gate().await?;
    Ok(Json(view))
}

async fn unlock(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<PersonView>, Refusal> {
    Ok(Json(people.unlock(&actor, &name).await?))
}

async fn kiosks(State(people): State<People>) -> Result<Json<Vec<KioskView>>, Refusal> {
    Ok(Json(people.service.kiosks().await?))
}

async fn kiosk_code(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewKiosk>,
) -> Result<Json<SetupCode>, Refusal> {
    Ok(Json(people.kiosk_code(&actor, &new.kiosk).await?))
}

async fn end_kiosk(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
    Path(kiosk): Path<String>,
) -> Result<Json<Vec<KioskView>>, Refusal> {
    Ok(Json(people.end_kiosk(&actor, &kiosk).await?))
}

async fn sessions(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Json<Vec<SessionView>> {
    Json(people.gate.sessions(&who, true, &headers))
}

async fn end_session(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(session): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Vec<SessionView>>, Refusal> {
    people.gate.end_session(&who, &session)?;
    people.write_down().await;
    Ok(Json(people.gate.sessions(&who, true, &headers)))
}

async fn setup_code(
    State(people): State<People>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SetupCode>, Refusal> {
    people.service.no_admin_yet().await?;
    let code = people.gate.setup_code().map_err(|error| gate::random_failed(&error))?;
    people.service.note("session.setup-code", &actor, None, None, serde_json::json!({})).await?;
    Ok(Json(SetupCode { code, path: "/setup".to_owned(), valid_s: gate::CODE_AGE.as_secs() }))
}
