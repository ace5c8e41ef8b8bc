//! A directory that a web server shows: for reading.

use dkms_core::digest::Digest;
use ureq::http::Method;

use super::http::{Ask, Client, Sent, unexpected};
use crate::address::Site;
use crate::artefact;
use crate::error::Error;
use crate::share::{LONGEST_LIST, LONGEST_MANIFEST, Road, Tags, checked};

pub struct Web {
    site: Site,
    base: String,
    client: Client,
}

impl Web {
    pub fn new(site: &Site, client: Client) -> Self {
        let base = format!("{}/{}", site.origin(), site.path).trim_end_matches('/').to_owned();
        Self { site: site.clone(), base, client }
    }

    fn get(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        self.client.get(&Ask { url: format!("{}/{path}", self.base), accept: "*/*", most })
    }

    fn read_only<T>(&self) -> Result<T, Error> {
        Err(Error::ReadOnly(self.base.clone()))
    }
}

impl Road for Web {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        self.get(&format!("manifests/{tag}"), LONGEST_MANIFEST)
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let found = self.get(&format!("blobs/sha256/{digest}"), size)?;
        checked(found.ok_or_else(|| artefact::incomplete(digest))?, digest)
    }

    fn put_blob(&self, _: &Digest, _: &[u8]) -> Result<(), Error> {
        self.read_only()
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let url = format!("{}/blobs/sha256/{digest}", self.base);
        match self.client.send(&Sent { url, method: Method::HEAD, media: "", bytes: None })?.status {
            200 => Ok(true),
            404 => Ok(false),
            status => Err(unexpected(&self.site, status)),
        }
    }

    fn put_manifest(&self, _: &str, _: &[u8]) -> Result<(), Error> {
        self.read_only()
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        let mut tags =
            self.get("tags/list", LONGEST_LIST)?.map_or_else(|| Ok(Vec::new()), |bytes| Tags::parse(&bytes))?;
        tags.sort();
        Ok(tags)
    }

    fn delete(&self, _: &[u8], _: &[String]) -> Result<(), Error> {
        self.read_only()
    }
}
