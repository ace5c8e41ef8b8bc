//! From names of hosts to addresses, by the system's getent(1).
//!
//! A static program can't load what nsswitch.conf(5) names, which may be of another C library's version. getent is of the
//! system's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use dkms_core::process::{self, DEFAULT_PATH, Environment, Task};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How many addresses of a host are tried.
const MOST: usize = 8;

#[derive(Debug)]
pub struct Getent {
    /// How long it may take.
    pub limit: Duration,
}

impl Resolver for Getent {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut found = self.empty();
        for address in self.addresses(host)?.into_iter().take(MOST) {
            found.push(SocketAddr::new(address, port));
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

impl Getent {
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        // RFC 6761, 6.3.
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // No option of the program's.
        if !host.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(Error::HostNotFound);
        }
        let environment: Environment =
            [("PATH", DEFAULT_PATH), ("LC_ALL", "C.UTF-8")].map(|(name, value)| (name.into(), value.into())).into();
        let mut task = Task::new(["getent", "ahosts", host], Path::new("/"), &environment);
        task.limit = Some(self.limit);
        let end = process::run(task).map_err(|error| Error::Io(std::io::Error::other(error)))?;
        Ok(addresses(&end.text()))
    }
}

/// The addresses in what getent prints, each once: `ADDRESS STREAM NAME`.
fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_hosts() {
        let text = "192.0.2.1  STREAM host\n192.0.2.1  DGRAM\n2001:db8::1  STREAM\nfe80::1%eth0 STREAM\n\noops\n";
        let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(addresses(text), expected);
        let getent = Getent { limit: Duration::from_secs(5) };
        assert_eq!(getent.addresses("::1").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(getent.addresses("Localhost").unwrap().len(), 2);
        assert!(getent.addresses("-V").is_err());
        assert!(getent.addresses("nowhere.invalid").unwrap().is_empty());
    }
}
