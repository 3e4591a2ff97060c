//! The site's OpenID provider, where people may come from beside those on record here.

use std::{collections::BTreeMap, path::PathBuf};

use recovery_protocol::people::Role;
use serde::Deserialize;

use super::Wrong;

/// An OpenID provider: Keycloak, Entra ID, AD FS, Authentik and others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Its name for itself, as in `https://id.plant/realms/plant`.
    pub issuer: String,
    /// The appliance's name there.
    pub client_id: String,
    /// The file with its secret there. None: a public client, which PKCE alone protects.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The authority that signed its certificate (PEM). None: those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The console's address as browsers know it, as in `https://appliance.plant`. There it says `…/login/return` must be allowed.
    pub address: String,
    /// What the sign-in page calls it.
    #[serde(default = "label")]
    pub label: String,
    /// What is asked for beside `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim with what somebody is called; of an address what stands before the `@`.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The claim with their groups, as in `groups` or `realm_access.roles`.
    #[serde(default = "roles_claim")]
    pub roles_claim: String,
    /// A group, and what its members are here. Nobody is admin by a provider.
    pub roles: BTreeMap<String, Role>,
}

fn label() -> String {
    "the site's account".to_owned()
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned()]
}

fn name_claim() -> String {
    "preferred_username".to_owned()
}

fn roles_claim() -> String {
    "groups".to_owned()
}

impl Provider {
    /// Where browsers come back to.
    #[must_use]
    pub fn redirect(&self) -> String {
        format!("{}/login/return", self.address.trim_end_matches('/'))
    }

    /// What is asked for.
    #[must_use]
    pub fn scope(&self) -> String {
        let more = self.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
        std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.client_secret_file, &mut self.ca_file].into_iter().flatten()
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        let wrong = |key: &str, why: &str, now: &str| {
            Err(Wrong::new(vec!["provider".to_owned(), key.to_owned()], why, now))
        };
        let over_tls = |url: &str| {
            let rest = url.strip_prefix("https://");
            rest.is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"\\".contains(&b))
            })
        };
        if !over_tls(&self.issuer) {
            return wrong(
                "issuer",
                "is not over TLS",
                "write it as the provider does, as in https://id.plant/realms/plant",
            );
        }
        let host = self.address.trim_end_matches('/').strip_prefix("https://").unwrap_or_default();
        if !over_tls(&self.address) || host.contains(['/', '@']) {
            return wrong("address", "is no console's", "write https:// and the host as browsers know it");
        }
        if self.client_id.is_empty() {
            return wrong("client_id", "is empty", "write the name that the appliance has at the provider");
        }
        let odd = |scope: &String| scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic());
        if self.scopes.iter().any(odd) {
            return wrong("scopes", "has one that is none", "write them as in [\"profile\", \"groups\"]");
        }
        if self.roles.is_empty() {
            return wrong("roles", "names no group", "name a group and a role");
        }
        let given = self.roles.iter().find(|(_, role)| matches!(role, Role::Admin | Role::Automation));
        given.map_or(Ok(()), |(group, _)| {
            let key = vec!["provider".to_owned(), "roles".to_owned(), group.clone()];
            let now = "make admins and programs here: `groundstate person add`";
            Err(Wrong::new(key, "gives a role that no provider gives", now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_in_the_clear_or_that_makes_an_admin_is_refused() {
        let check = |from: &str, to: &str| {
            let text = "issuer = \"https://id.plant/realms/plant\"\nclient_id = \"gs\"\naddress = \"https://gs.plant:444/\"\n[roles]\nline = \"technician\"\n";
            let provider: Provider = toml::from_str(&text.replace(from, to)).unwrap();
            provider.check().map(|()| (provider.redirect(), provider.scope()))
        };
        let ours = ("https://gs.plant:444/login/return".to_owned(), "openid profile".to_owned());
        assert_eq!(check("", "").map_err(|wrong| wrong.why).unwrap(), ours);
        for (from, to) in [
            ("https://id", "http://id"),
            ("realms/plant", "realms?x"),
            ("https://gs", "http://gs"),
            ("444/", "444/console"),
            ("gs.plant", "a@gs.plant"),
            ("\"gs\"", "\"\""),
            ("technician", "admin"),
            ("technician", "automation"),
            ("line = \"technician\"", ""),
            ("[roles]", "scopes = [\"a b\"]\n[roles]"),
        ] {
            assert!(check(from, to).is_err(), "{to}");
        }
    }
}
