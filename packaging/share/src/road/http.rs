//! Asking a server: how long, how much, and as whom.
//!
//! Nothing of an answer is read beyond what was expected. A user and a password go to the server of the share and to whom
//! it names over TLS, and nowhere else: not after a redirect, and not in the clear but to this machine itself.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dkms_core::durable;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, ResponseExt};

use super::login::{self, Challenge, Token};
use super::resolver::Getent;
use crate::address::Site;
use crate::error::Error;
use crate::share::Limits;

/// A server that gives less than this in a second is as good as none.
const SLOWEST: u64 = 16 << 10;
const REDIRECTS: u32 = 5;
const LONGEST_TOKEN: u64 = 1 << 20;

pub struct Client {
    agent: Agent,
    site: Site,
    limits: Limits,
    /// User and password.
    login: Option<String>,
    /// What is said to the server: it has asked for it.
    authorization: RefCell<Option<String>>,
}

/// A question.
pub struct Ask<'a> {
    pub url: String,
    /// The exact type: registries have nothing of any other.
    pub accept: &'a str,
    /// The most bytes that the answer may have.
    pub most: u64,
}

/// What is sent.
pub struct Sent<'a> {
    pub url: String,
    pub method: Method,
    pub media: &'a str,
    pub bytes: Option<&'a [u8]>,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    /// `trust`: the directory with certificates and passwords.
    pub fn new(site: &Site, trust: &Path, limits: Limits) -> Result<Self, Error> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(site.secure)
            .max_redirects(REDIRECTS)
            .user_agent(concat!("dkms/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(limits.answer))
            .timeout_connect(Some(limits.answer))
            .timeout_send_request(Some(limits.answer))
            .timeout_recv_response(Some(limits.answer))
            .timeout_per_read(Some(limits.answer))
            .timeout_per_write(Some(limits.answer));
        if site.secure {
            let tls = TlsConfig::builder()
                .root_certs(roots(trust)?)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .build();
            config = config.tls_config(tls);
        }
        let resolver = Getent { limit: limits.answer };
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), resolver);
        let login = login::basic(trust, site)?;
        Ok(Self { agent, site: site.clone(), limits, login, authorization: RefCell::default() })
    }

    /// What is at an address; `None` if there is nothing.
    pub fn get(&self, ask: &Ask<'_>) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.get_reply(ask)?;
        Ok(reply.map(|reply| reply.body))
    }

    /// The same with its headers.
    pub fn get_reply(&self, ask: &Ask<'_>) -> Result<Option<Reply>, Error> {
        let reply = self.exchange(&Method::GET, &ask.url, &[(ACCEPT.as_str(), ask.accept)], None, ask.most)?;
        match reply.status {
            200 => Ok(Some(reply)),
            404 => Ok(None),
            status => Err(unexpected(&self.site, status)),
        }
    }

    /// Sends something; the answer may be any.
    pub fn send(&self, sent: &Sent<'_>) -> Result<Reply, Error> {
        let headers = [(CONTENT_TYPE.as_str(), sent.media)];
        let headers = if sent.media.is_empty() { &headers[..0] } else { &headers[..] };
        self.exchange(&sent.method, &sent.url, headers, sent.bytes, LONGEST_TOKEN)
    }

    /// One question and its answer; once more if the server wants to know who asks.
    fn exchange(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        bytes: Option<&[u8]>,
        most: u64,
    ) -> Result<Reply, Error> {
        let mut response = self.call(method, url, headers, bytes)?;
        if response.status() == 401 && self.is_ours(&response.get_uri().to_string()) {
            let wanted = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
            if let Some(authorization) =
                wanted.and_then(Challenge::parse).map(|it| self.authorize(&it)).transpose()?.flatten()
            {
                *self.authorization.borrow_mut() = Some(authorization);
                response = self.call(method, url, headers, bytes)?;
            }
        }
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let no_body = *method == Method::HEAD;
        let body = if no_body { Vec::new() } else { self.read(response.into_body(), most, status)? };
        Ok(Reply { status, headers, body })
    }

    fn call(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        bytes: Option<&[u8]>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder().method(method.clone()).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = self.authorization.borrow().as_deref().filter(|_| self.is_ours(url)) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let left = self.limits.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.away(&"it takes too long"));
        }
        let bad = |error: ureq::http::Error| Error::Refused(format!("{url}: {error}"));
        let answer = if let Some(bytes) = bytes {
            let request = request.body(bytes).map_err(bad)?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(left)).build())
        } else {
            let request = request.body(()).map_err(bad)?;
            self.agent.run(self.agent.configure_request(request).timeout_global(Some(left)).build())
        };
        answer.map_err(|error| self.away(&error))
    }

    /// Whether an address belongs to the server of the share.
    pub fn is_ours(&self, url: &str) -> bool {
        url.strip_prefix(&self.site.origin()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn away(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Away(format!("{}: {why}", self.site.host))
    }

    /// What the server is told of who asks; `None`: there is nothing to tell.
    fn authorize(&self, challenge: &Challenge) -> Result<Option<String>, Error> {
        let may_be_told = self.site.secure || self.site.is_local();
        let login = self.login.as_deref().filter(|_| may_be_told);
        if self.login.is_some() && login.is_none() {
            return Err(self.away(&"it wants a password, which is not sent without TLS"));
        }
        match challenge {
            Challenge::Basic => Ok(login.map(str::to_owned)),
            Challenge::Bearer { realm, parameters } => {
                let safe = realm.starts_with("https://") || (!self.site.secure && self.is_local(realm));
                if !safe {
                    return Err(self.away(&format!("it wants a token from {realm}, which has no TLS")));
                }
                let mut request = self.agent.get(realm);
                for (name, value) in parameters {
                    request = request.query(name, value);
                }
                if let Some(login) = login {
                    request = request.header(AUTHORIZATION, login);
                }
                let response = request.call().map_err(|error| self.away(&error))?;
                let status = response.status().as_u16();
                let bytes = self.read(response.into_body(), LONGEST_TOKEN, status)?;
                if status != 200 {
                    return Err(unexpected(&self.site, status));
                }
                let token: Token = serde_json::from_slice(&bytes).map_err(|error| self.away(&error))?;
                Ok(token.header())
            }
        }
    }

    fn is_local(&self, url: &str) -> bool {
        let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        self.site.is_local() && Site { host: host.to_owned(), ..self.site.clone() }.is_local()
    }

    /// Reads an answer: no more than `most` bytes, and not at any speed.
    fn read(&self, body: Body, most: u64, status: u16) -> Result<Vec<u8>, Error> {
        let too_long = |length: u64| {
            Error::Refused(format!("{} answers with {length} bytes or more where {most} are expected", self.site.host))
        };
        // What is said of an error is of no use to anybody.
        let is_error = !(200..300).contains(&status);
        if let Some(length) = body.content_length().filter(|length| *length > most) {
            return if is_error { Ok(Vec::new()) } else { Err(too_long(length)) };
        }
        let mut reader = body.into_with_config().limit(u64::MAX).reader();
        let begun = Instant::now();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) if is_error => return Ok(Vec::new()),
                Err(error) => return Err(self.away(&error)),
            };
            bytes.extend_from_slice(&buffer[..count]);
            if bytes.len() as u64 > most {
                return if is_error { Ok(Vec::new()) } else { Err(too_long(bytes.len() as u64)) };
            }
            let taken = begun.elapsed();
            if taken > self.limits.answer && (bytes.len() as u64) < taken.as_secs().saturating_mul(SLOWEST) {
                return Err(self.away(&format!("it sends less than {} KiB in a second", SLOWEST >> 10)));
            }
            if Instant::now() > self.limits.ends {
                return Err(self.away(&"it takes too long"));
            }
        }
    }
}

/// What a status says that is neither yes nor no.
pub fn unexpected(site: &Site, status: u16) -> Error {
    let why = match status {
        401 | 403 => " (who asks may not: see /etc/dkms/share.d/auth.json)",
        429 => " (too many questions)",
        _ => "",
    };
    Error::Away(format!("{} answers with status {status}{why}", site.host))
}

/// The certificates of this system, and those of the share's own.
fn roots(trust: &Path) -> Result<RootCerts, Error> {
    let system = rustls_native_certs::load_native_certs();
    system.errors.iter().for_each(|error| log::debug!("{error}"));
    let mut certificates: Vec<Certificate<'static>> =
        system.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    for entry in std::fs::read_dir(trust).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|suffix| suffix != "crt") {
            continue;
        }
        let unfit = |why: String| Error::Unfit { path: path.clone(), why };
        let bytes = durable::read_at_most(&path, LONGEST_TOKEN).map_err(|error| unfit(error.to_string()))?;
        for item in ureq::tls::parse_pem(&bytes) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| unfit(error.to_string()))? {
                certificates.push(certificate);
            }
        }
    }
    Ok(RootCerts::from(certificates))
}
