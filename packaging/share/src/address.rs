//! Where a share is: what `share` in framework.conf says.

use std::path::PathBuf;

use crate::error::Error;

/// The place of a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `file:///DIR`.
    Directory(PathBuf),
    /// `https://…`: such a directory, shown by a web server.
    Web(Site),
    /// `oci://HOST/REPOSITORY`.
    Registry(Site),
}

/// A place that is reached by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Whether by TLS.
    pub secure: bool,
    /// The host, with its port if it has another one than usual.
    pub host: String,
    /// What follows, without slashes at its ends.
    pub path: String,
}

impl Site {
    /// The beginning of all its addresses.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }

    /// Whether it is this machine: nobody listens on the way.
    pub fn is_local(&self) -> bool {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        matches!(name, "localhost" | "[::1]")
            || name.strip_prefix("127.").is_some_and(|rest| rest.split('.').count() == 3)
    }
}

impl Address {
    /// Reads what `share` says.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| {
            let forms = "It is oci://HOST/REPOSITORY, https://HOST/PATH or file:///DIRECTORY.";
            Error::Usage(format!("share={text:?} {why}. {forms}"))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("is no address"))?;
        if scheme == "file" {
            let path = PathBuf::from(rest);
            let is_plain = path.is_absolute() && path.components().all(|part| part != std::path::Component::ParentDir);
            return if is_plain { Ok(Self::Directory(path)) } else { Err(bad("names no absolute directory")) };
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/').to_owned();
        if host.contains('@') {
            return Err(bad("has a user in it, who belongs into /etc/dkms/share.d/auth.json"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        if host.is_empty() || !host.chars().all(fits) {
            return Err(bad("names no host"));
        }
        let site = |secure| Site { secure, host: host.to_ascii_lowercase(), path: path.clone() };
        match scheme {
            "https" => Ok(Self::Web(site(true))),
            "http" => Ok(Self::Web(site(false))),
            "oci" | "oci+http" => {
                // "Pulling manifests" of the OCI distribution specification.
                let is_word = |word: &str| {
                    let edges = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                    word.starts_with(edges)
                        && word.ends_with(edges)
                        && word.chars().all(|c| edges(c) || "._-".contains(c))
                };
                if path.is_empty() || !path.split('/').all(is_word) {
                    return Err(bad("names no repository (small letters, digits, . _ - and /)"));
                }
                Ok(Self::Registry(site(scheme == "oci")))
            }
            _ => Err(bad("begins with nothing that is known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(secure: bool, host: &str, path: &str) -> Site {
        Site { secure, host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn addresses() {
        let address = |text: &str| Address::parse(text).unwrap();
        assert_eq!(address("file:///srv/share"), Address::Directory(PathBuf::from("/srv/share")));
        assert_eq!(address("https://Host:8443/a/b/"), Address::Web(site(true, "host:8443", "a/b")));
        assert_eq!(address("http://host"), Address::Web(site(false, "host", "")));
        assert_eq!(address("oci://host/dkms/modules"), Address::Registry(site(true, "host", "dkms/modules")));
        assert_eq!(address("oci+http://127.0.0.1:5000/d"), Address::Registry(site(false, "127.0.0.1:5000", "d")));
        for text in [
            "",
            "/srv",
            "file://srv",
            "file:///a/../b",
            "oci://host",
            "oci://host/A",
            "oci:///x",
            "oci://u:p@h/x",
            "ftp://h/x",
            "https://",
            "https://a b/",
        ] {
            assert!(matches!(Address::parse(text), Err(Error::Usage(_))), "{text}");
        }
    }

    #[test]
    fn this_machine() {
        for (host, local) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:1", true),
            ("[::1]:5", true),
            ("127.0.0.1.example.org", false),
            ("127.example.org", false),
            ("localhost.example.org", false),
        ] {
            assert_eq!(site(false, host, "").is_local(), local, "{host}");
        }
    }
}
