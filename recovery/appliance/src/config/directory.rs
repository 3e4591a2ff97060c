//! The site's directory, where people may come from beside those on record here.

use std::{collections::BTreeMap, path::PathBuf};

use recovery_protocol::people::Role;
use serde::Deserialize;

use super::Wrong;
use crate::directory::{Filter, Part};

/// An LDAP directory. Only over TLS; the appliance has no account in it: whoever signs in is asked about by their own name and password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// `ldaps://10.7.0.9`, or `ldap://10.7.0.9` with `starttls`; `:port` where it is another.
    pub url: String,
    /// TLS begins by LDAP's own word (RFC 4511 §4.14).
    #[serde(default)]
    pub starttls: bool,
    /// The authority that signed its certificate, or that certificate itself (PEM).
    pub ca_file: PathBuf,
    /// Whom to bind as, with `{name}` in it: `uid={name},ou=people,dc=plant`, or `{name}@plant.example` for Active Directory.
    pub bind: String,
    /// Where their entry is looked for when `bind` is no DN: `users = { base = "dc=plant", filter = "(sAMAccountName={name})" }`.
    #[serde(default)]
    pub users: Option<Users>,
    /// Where groups are.
    pub groups_base: String,
    /// Which of them they are in: `{dn}` is their entry, `{name}` their name.
    #[serde(default = "group_filter")]
    pub group_filter: String,
    /// For how many hours what somebody has here (token, badge, session) counts since the directory, or an OpenID provider, said last who they are.
    #[serde(default = "believed_h")]
    pub believed_h: u32,
    /// A group's DN, and what its members are here. Nobody is admin by a directory.
    pub roles: BTreeMap<String, Role>,
}

/// Where entries of people are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// The DN above them.
    pub base: String,
    /// With `{name}` in it.
    pub filter: String,
}

/// Where a directory listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryAt {
    /// Its host, an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Over a weekend.
pub const BELIEVED_H: u32 = 72;
const BELIEVED_H_MOST: u32 = 24 * 365;

fn believed_h() -> u32 {
    BELIEVED_H
}

fn group_filter() -> String {
    "(|(member={dn})(uniqueMember={dn}))".to_owned()
}

impl Directory {
    /// Where it listens.
    ///
    /// # Errors
    /// What is wrong with its URL.
    pub fn at(&self) -> Result<DirectoryAt, String> {
        let (at, port) = match (self.url.split_once("://"), self.starttls) {
            (Some(("ldaps", at)), false) => (at, 636),
            (Some(("ldap", at)), true) => (at, 389),
            (Some(("ldaps", _)), true) => return Err("begins TLS twice".to_owned()),
            _ => return Err("is not over TLS".to_owned()),
        };
        let at = at.strip_suffix('/').unwrap_or(at);
        let in_brackets = at.strip_prefix('[').and_then(|at| at.split_once(']'));
        let (host, port) = match in_brackets {
            Some((host, "")) => (host, Some(port)),
            Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
            None => at.split_once(':').map_or((at, Some(port)), |(host, port)| (host, port.parse().ok())),
        };
        let port = port.filter(|port| *port != 0).ok_or("has a port that is none")?;
        let fits = |sign: char| sign.is_ascii_alphanumeric() || "-.:_".contains(sign);
        if host.is_empty() || !host.chars().all(fits) {
            return Err("names no host".to_owned());
        }
        Ok(DirectoryAt { host: host.to_owned(), port })
    }

    pub(super) fn check(&self) -> Result<(), Wrong> {
        let wrong = |key: &str, why: String, now: &str| {
            Err(Wrong::new(vec!["directory".to_owned(), key.to_owned()], why, now))
        };
        if let Err(why) = self.at() {
            return wrong("url", why, "write ldaps://10.7.0.9, or ldap://10.7.0.9 with starttls = true");
        }
        if !self.bind.contains("{name}") {
            let now = "write it like uid={name},ou=people,dc=plant";
            return wrong("bind", "has no {name} in it".to_owned(), now);
        }
        let users = self.users.as_ref().map(|users| (Filter::parse(&users.filter), Part::Name));
        match users {
            None if !self.bind.contains('=') => {
                return wrong(
                    "users",
                    "is missing, and bind is no DN".to_owned(),
                    "say where the entries of people are",
                );
            }
            Some((Err(why), _)) => return wrong("users", why, "write filter = \"(sAMAccountName={name})\""),
            Some((Ok(filter), name)) if !filter.asks_for(&name) => {
                let now = "write filter = \"(sAMAccountName={name})\"";
                return wrong("users", "has no {name} in its filter".to_owned(), now);
            }
            None | Some((Ok(_), _)) => {}
        }
        match Filter::parse(&self.group_filter) {
            Err(why) => return wrong("group_filter", why, "write it like (member={dn})"),
            Ok(filter) if !filter.asks_for(&Part::Dn) && !filter.asks_for(&Part::Name) => {
                return wrong("group_filter", "asks for nobody".to_owned(), "write it like (member={dn})");
            }
            Ok(_) => {}
        }
        if !(1..=BELIEVED_H_MOST).contains(&self.believed_h) {
            let now = "write the hours for which the directory's last word counts, such as 72";
            return wrong("believed_h", format!("is not between 1 and {BELIEVED_H_MOST}"), now);
        }
        if self.roles.is_empty() {
            return wrong("roles", "names no group".to_owned(), "name a group's DN and a role");
        }
        let given = self.roles.iter().find(|(_, role)| matches!(role, Role::Admin | Role::Automation));
        given.map_or(Ok(()), |(group, _)| {
            let key = vec!["directory".to_owned(), "roles".to_owned(), group.clone()];
            let now = "make admins and programs here: `groundstate person add`";
            Err(Wrong::new(key, "gives a role that no directory gives", now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(more: &str) -> Result<Directory, String> {
        let text = format!("ca_file = \"a\"\ngroups_base = \"dc=plant\"\n{more}");
        toml::from_str::<Directory>(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn where_it_is_and_that_it_is_over_tls() {
        let at = |url: &str, starttls: bool| {
            let text =
                format!("url = {url:?}\nstarttls = {starttls}\nbind = \"uid={{name}}\"\nroles = {{}}\n");
            directory(&text).unwrap().at().map(|at| format!("{}|{}", at.host, at.port))
        };
        assert_eq!(at("ldaps://10.7.0.9", false).unwrap(), "10.7.0.9|636");
        assert_eq!(at("ldap://dir.plant:1389/", true).unwrap(), "dir.plant|1389");
        assert_eq!(at("ldaps://[fd00::9]:63", false).unwrap(), "fd00::9|63");
        for (url, starttls) in [
            ("ldap://a", false),
            ("ldaps://a", true),
            ("http://a", false),
            ("ldaps://", false),
            ("ldaps://a:0", false),
            ("ldaps://a:x", false),
            ("ldaps://a b", false),
            ("ldaps://u@a", false),
        ] {
            assert!(at(url, starttls).is_err(), "{url}");
        }
    }

    #[test]
    fn a_directory_that_could_ask_for_nobody_or_make_an_admin_is_refused() {
        let check = |more: &str| directory(&format!("url = \"ldaps://a\"\n{more}")).unwrap().check();
        let roles = "[roles]\n\"cn=a\" = \"technician\"\n";
        assert!(check(&format!("bind = \"uid={{name}},dc=plant\"\n{roles}")).is_ok());
        let users = "users = { base = \"dc=plant\", filter = \"(a={name})\" }\n";
        assert!(check(&format!("bind = \"{{name}}@plant\"\n{users}{roles}")).is_ok());
        for wrong in [
            format!("bind = \"uid=a\"\n{roles}"),
            format!("bind = \"uid={{name}}\"\nbelieved_h = 0\n{roles}"),
            format!("bind = \"{{name}}@plant\"\n{roles}"),
            format!("bind = \"{{name}}@plant\"\nusers = {{ base = \"\", filter = \"(a=b)\" }}\n{roles}"),
            format!("bind = \"{{name}}@plant\"\nusers = {{ base = \"\", filter = \"a={{name}}\" }}\n{roles}"),
            format!("bind = \"uid={{name}}\"\ngroup_filter = \"(a=b)\"\n{roles}"),
            format!("bind = \"uid={{name}}\"\ngroup_filter = \"(a={{dn}}\"\n{roles}"),
            "bind = \"uid={name}\"\nroles = {}\n".to_owned(),
            "bind = \"uid={name}\"\n[roles]\n\"cn=a\" = \"admin\"\n".to_owned(),
            "bind = \"uid={name}\"\n[roles]\n\"cn=a\" = \"automation\"\n".to_owned(),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
