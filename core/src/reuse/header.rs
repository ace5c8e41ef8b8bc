//! What a header says, as far as builds follow from it and kbuild does not note it.

use std::collections::BTreeSet;

use super::version::{self, Comparison};
use crate::digest::Digest;

/// What a text asks for that leaves no note in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// Which headers there are.
    pub headers: bool,
    /// How it compares the kernel's version; `None` if it does anything else with it.
    pub comparisons: Option<BTreeSet<Comparison>>,
}

impl Questions {
    /// Those of C text.
    pub fn of(text: &str) -> Self {
        let headers = text.contains("__has_include") || text.contains("__has_embed");
        Self { headers, comparisons: version::comparisons(text) }
    }
}

/// One header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The digest of its content.
    pub digest: Digest,
    /// What it asks for.
    pub questions: Questions,
    /// What it includes by names in quotes: those are looked for beside it first.
    pub quoted: Vec<String>,
    /// If it is version.h: the number, and the digest of the rest.
    pub version: Option<(u32, Digest)>,
}

impl Header {
    /// That with this content.
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let quoted = text.lines().filter_map(|line| {
            let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
            rest.strip_prefix('"')?.split_once('"').map(|(name, _)| name.to_owned())
        });
        Self {
            digest: Digest::of(bytes),
            questions: Questions::of(&text),
            quoted: quoted.collect(),
            version: version::split(&text).map(|(code, rest)| (code, Digest::of(rest.as_bytes()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says() {
        let header = Header::of(
            b"#include <a.h>\n # include \"b/c.h\" // x\n#define LINUX_VERSION_CODE 7\n#if __has_include(<d.h>)\n",
        );
        assert_eq!(header.quoted, ["b/c.h"]);
        assert!(header.questions.headers);
        assert_eq!(header.version.map(|(code, _)| code), Some(7));
        let header = Header::of(b"#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)\n#endif\n");
        assert_eq!(header.questions.comparisons.map(|all| all.len()), Some(1));
        assert!(header.quoted.is_empty() && !header.questions.headers && header.version.is_none());
        assert_eq!(header.digest, Digest::of(b"#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)\n#endif\n"));
    }
}
