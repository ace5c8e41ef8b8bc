//! Who this machine is to a server: users and passwords in `auth.json`, as containers-auth.json(5) has them, and tokens.

use std::collections::BTreeMap;
use std::path::Path;

use base64ct::{Base64, Encoding};
use dkms_core::durable;
use serde::Deserialize;

use crate::address::Site;
use crate::error::Error;

/// The file in the directory of what is trusted; `skopeo login --authfile` writes one.
const FILE: &str = "auth.json";
const LONGEST: u64 = 1 << 20;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
}

/// What `Authorization: Basic` says to `site`; `None`: this machine has no name there.
pub fn basic(trust: &Path, site: &Site) -> Result<Option<String>, Error> {
    let path = trust.join(FILE);
    let unfit = |why: String| Error::Unfit { path: path.clone(), why };
    let bytes = match durable::read_at_most(&path, LONGEST) {
        Ok(bytes) => bytes,
        Err(error) if durable::missing(&error) => return Ok(None),
        Err(error) => return Err(unfit(error.to_string())),
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| unfit(error.to_string()))?;
    let full = format!("{}/{}", site.host, site.path);
    // The longest that fits: of a host, or of a part of it.
    let fits = |name: &str| full == name || full.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    let found = file.auths.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| name.len());
    let Some(auth) = found.and_then(|(_, auth)| auth.auth.as_deref()) else { return Ok(None) };
    let is_login = Base64::decode_vec(auth).is_ok_and(|login| login.contains(&b':'));
    if is_login {
        Ok(Some(format!("Basic {auth}")))
    } else {
        Err(unfit("an auth is not base64 of USER:PASSWORD".to_owned()))
    }
}

/// What a server wants to see (RFC 9110, "WWW-Authenticate").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token from `realm`, for these parameters.
    Bearer {
        /// Who gives it.
        realm: String,
        /// What to ask for.
        parameters: Vec<(String, String)>,
    },
}

impl Challenge {
    /// Reads the header; `None` if it is of no kind that is known.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut realm = None;
        let mut parameters = Vec::new();
        let mut rest = rest.trim();
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=')?;
            let (value, left) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            match name.trim() {
                "realm" => realm = Some(value.to_owned()),
                "service" | "scope" => parameters.push((name.trim().to_owned(), value.to_owned())),
                _ => {}
            }
            rest = left.trim_start_matches([',', ' ']);
        }
        realm.map(|realm| Self::Bearer { realm, parameters })
    }
}

/// A server's answer to who asks for a token ("Token Response Fields" of the distribution's token specification).
#[derive(Deserialize)]
pub struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// What `Authorization` says with it.
    pub fn header(self) -> Option<String> {
        let token = self.token.or(self.access_token)?;
        token.bytes().all(|byte| byte.is_ascii_graphic()).then(|| format!("Bearer {token}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, parameters: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Some(Challenge::Bearer { realm: realm.to_owned(), parameters: parameters.iter().map(own).collect() })
        };
        for (header, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:d/m:pull,push\"",
                bearer("https://a/t", &[("service", "s"), ("scope", "repository:d/m:pull,push")]),
            ),
            ("Bearer realm=https://a/t,service=s", bearer("https://a/t", &[("service", "s")])),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"open", None),
            ("Bearer x", None),
            ("Digest realm=\"x\"", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn the_longest_name_counts() {
        let dir = tempfile::tempdir().unwrap();
        let site = |path: &str| Site { secure: true, host: "h:1".to_owned(), path: path.to_owned() };
        assert_eq!(basic(dir.path(), &site("a")).unwrap(), None);
        let [one, two] = ["u:p", "v:q"].map(|login| Base64::encode_string(login.as_bytes()));
        let text =
            format!(r#"{{"auths":{{"h:1":{{"auth":"{one}"}},"h:1/a/b":{{"auth":"{two}"}},"h":{{"auth":"x"}}}}}}"#);
        fs_err::write(dir.path().join(FILE), text).unwrap();
        assert_eq!(basic(dir.path(), &site("a/bc")).unwrap(), Some(format!("Basic {one}")));
        assert_eq!(basic(dir.path(), &site("a/b/c")).unwrap(), Some(format!("Basic {two}")));
        for text in ["", "7", r#"{"auths":{"h:1":{"auth":"%"}}}"#] {
            fs_err::write(dir.path().join(FILE), text).unwrap();
            assert!(matches!(basic(dir.path(), &site("a")), Err(Error::Unfit { .. })), "{text}");
        }
    }
}
