//! The uncompressed bytes of an archive, within the limits on all of it.

use std::fs::File;
use std::io::{self, Read};

use super::fault::{Fault, io_fault};
use super::limits::{BLOCK, Limits};

/// Counts the compressed bytes.
pub(super) struct Counted {
    pub(super) inner: File,
    pub(super) count: std::rc::Rc<std::cell::Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// The uncompressed archive, with the limits on all of it.
pub(super) struct Source<'a> {
    pub(super) inner: Box<dyn Read + 'a>,
    pub(super) limits: &'a Limits,
    pub(super) consumed: std::rc::Rc<std::cell::Cell<u64>>,
    pub(super) produced: u64,
}

impl Source<'_> {
    pub(super) fn some(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let n = loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(io_fault("it cannot be read or decompressed"))?,
            }
        };
        self.produced += n as u64;
        if self.produced > self.limits.total_bytes {
            return Err(Fault::Limit { what: "bytes", limit: self.limits.total_bytes });
        }
        let allowed = self.consumed.get().saturating_mul(self.limits.ratio);
        if self.produced > self.limits.ratio_after && self.produced > allowed {
            return Err(Fault::Limit { what: "bytes for each compressed byte", limit: self.limits.ratio });
        }
        Ok(n)
    }

    /// Fills `buffer`; an end before that is a truncated archive.
    pub(super) fn exactly(&mut self, mut buffer: &mut [u8]) -> Result<(), Fault> {
        while !buffer.is_empty() {
            match self.some(buffer)? {
                0 => return Err(Fault::Truncated),
                n => buffer = &mut buffer[n..],
            }
        }
        Ok(())
    }

    pub(super) fn small(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
        self.exactly(&mut content)?;
        self.padding(size)?;
        Ok(content)
    }

    pub(super) fn padding(&mut self, size: u64) -> Result<(), Fault> {
        let left = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let mut block = [0; BLOCK];
        self.exactly(&mut block[..usize::try_from(left).unwrap_or_default()])
    }
}
