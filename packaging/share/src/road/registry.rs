//! A registry (OCI distribution specification, version 1.1, and what registries before it do).

use dkms_core::digest::Digest;
use ureq::http::Method;
use ureq::http::header::{LINK, LOCATION};

use super::http::{Ask, Client, Reply, Sent, unexpected};
use crate::address::Site;
use crate::artefact;
use crate::error::Error;
use crate::share::{LONGEST_LIST, LONGEST_MANIFEST, Road, Tags, checked};

/// How many parts a list of tags may come in.
const MOST_PAGES: usize = 1000;

pub struct Registry {
    site: Site,
    base: String,
    client: Client,
}

impl Registry {
    pub fn new(site: &Site, client: Client) -> Self {
        Self { site: site.clone(), base: format!("{}/v2/{}", site.origin(), site.path), client }
    }

    fn expect(&self, reply: &Reply, statuses: &[u16]) -> Result<(), Error> {
        if statuses.contains(&reply.status) { Ok(()) } else { Err(unexpected(&self.site, reply.status)) }
    }

    /// The address in a header, which may begin at the root.
    fn address(&self, text: &str) -> String {
        if text.starts_with('/') { format!("{}{text}", self.site.origin()) } else { text.to_owned() }
    }
}

impl Road for Registry {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        self.client.get(&Ask {
            url: format!("{}/manifests/{tag}", self.base),
            accept: artefact::MANIFEST,
            most: LONGEST_MANIFEST,
        })
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let ask = Ask { url: format!("{}/blobs/sha256:{digest}", self.base), accept: "*/*", most: size };
        checked(self.client.get(&ask)?.ok_or_else(|| artefact::incomplete(digest))?, digest)
    }

    fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        if self.has_blob(digest)? {
            return Ok(());
        }
        let url = format!("{}/blobs/uploads/", self.base);
        let begun = self.client.send(&Sent { url, method: Method::POST, media: "", bytes: Some(b"") })?;
        self.expect(&begun, &[202])?;
        let place = begun.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let place = place.ok_or_else(|| Error::Away(format!("{} does not say where to upload", self.site.host)))?;
        let place = self.address(place);
        let url = format!("{place}{}digest=sha256:{digest}", if place.contains('?') { '&' } else { '?' });
        let media = "application/octet-stream";
        let put = self.client.send(&Sent { url, method: Method::PUT, media, bytes: Some(bytes) })?;
        self.expect(&put, &[201])
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let url = format!("{}/blobs/sha256:{digest}", self.base);
        let there = self.client.send(&Sent { url, method: Method::HEAD, media: "", bytes: None })?;
        self.expect(&there, &[200, 404])?;
        Ok(there.status == 200)
    }

    fn put_manifest(&self, tag: &str, bytes: &[u8]) -> Result<(), Error> {
        let url = format!("{}/manifests/{tag}", self.base);
        let put =
            self.client.send(&Sent { url, method: Method::PUT, media: artefact::MANIFEST, bytes: Some(bytes) })?;
        self.expect(&put, &[201])
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags = Vec::new();
        let mut next = Some(format!("{}/tags/list?n=1000", self.base));
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { break };
            let ask = Ask { url, accept: "application/json", most: LONGEST_LIST };
            let Some(reply) = self.client.get_reply(&ask)? else { break };
            tags.append(&mut Tags::parse(&reply.body)?);
            let link = reply.headers.get(LINK).and_then(|value| value.to_str().ok());
            next = link
                .filter(|link| link.contains("rel=\"next\""))
                .and_then(|link| link.split_once('<')?.1.split_once('>'))
                .map(|(url, _)| self.address(url))
                .filter(|url| self.client.is_ours(url));
        }
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    fn delete(&self, manifest: &[u8], _: &[String]) -> Result<(), Error> {
        // By its digest: all its tags go with it.
        let url = format!("{}/manifests/sha256:{}", self.base, Digest::of(manifest));
        let gone = self.client.send(&Sent { url, method: Method::DELETE, media: "", bytes: None })?;
        if gone.status == 405 {
            let why = "does not delete (for docker-registry: storage.delete.enabled)";
            return Err(Error::Usage(format!("{} {why}", self.site.host)));
        }
        self.expect(&gone, &[202, 404])
    }
}
