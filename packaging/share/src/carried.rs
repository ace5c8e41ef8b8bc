//! An artefact on its way from the process that has talked with the share, which owns nothing, to the one that keeps it, which is root.
//!
//! A line of JSON, and what it says the lengths of. The receiver believes nothing of it: it checks the signature of the record, and each
//! part by the digest that was signed. What it reads before that are a line of lengths and a signature, which is bounded.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How long the line may be, and how many parts it may name.
const LONGEST_LINE: usize = 1 << 20;
const MOST_PARTS: usize = 4096;

/// What is said in the line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Missing,
    Refused(String),
    Away(String),
    Failed(String),
    Found { signature: String, record: usize, parts: Vec<usize> },
}

/// An artefact, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The signature of the record.
    pub signature: String,
    /// The record.
    pub record: Vec<u8>,
    /// What was built, in the order of the record.
    pub parts: Vec<Vec<u8>>,
}

/// Writes what came of looking for an artefact.
pub fn write(out: &mut dyn Write, outcome: Result<Option<Carried>, Error>) -> std::io::Result<()> {
    let (line, carried) = match outcome {
        Ok(None) => (Line::Missing, None),
        Err(Error::Refused(why)) => (Line::Refused(why), None),
        Err(Error::Away(why)) => (Line::Away(why), None),
        Err(error) => (Line::Failed(error.to_string()), None),
        Ok(Some(carried)) => {
            let parts = carried.parts.iter().map(Vec::len).collect();
            let found = Line::Found { signature: carried.signature.clone(), record: carried.record.len(), parts };
            (found, Some(carried))
        }
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")?;
    if let Some(Carried { record, parts, .. }) = carried {
        out.write_all(&record)?;
        parts.iter().try_for_each(|part| out.write_all(part))?;
    }
    out.flush()
}

/// Reads it again.
pub fn read(bytes: &[u8]) -> Result<Option<Carried>, Error> {
    let garbage = || Error::Refused("what the share sends makes no sense".to_owned());
    // It goes to somebody's terminal.
    let plain = |why: String| why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let end = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n').ok_or_else(garbage)?;
    let (line, mut rest) = (&bytes[..end], &bytes[end + 1..]);
    let (signature, record, parts) = match serde_json::from_slice(line).map_err(|_| garbage())? {
        Line::Missing => return Ok(None),
        Line::Refused(why) => return Err(Error::Refused(plain(why))),
        Line::Away(why) => return Err(Error::Away(plain(why))),
        Line::Failed(why) => return Err(Error::Usage(plain(why))),
        Line::Found { parts, .. } if parts.len() > MOST_PARTS => return Err(garbage()),
        Line::Found { signature, record, parts } => (signature, record, parts),
    };
    let mut take = |length: usize| {
        let (part, left) = rest.split_at_checked(length).ok_or_else(garbage)?;
        rest = left;
        Ok::<_, Error>(part.to_vec())
    };
    let record = take(record)?;
    let parts = parts.into_iter().map(&mut take).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(Some(Carried { signature, record, parts })) } else { Err(garbage()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let there = |outcome| {
            let mut bytes = Vec::new();
            write(&mut bytes, outcome).unwrap();
            bytes
        };
        let carried = Carried {
            signature: "a\nb".to_owned(),
            record: b"{}\n".to_vec(),
            parts: vec![Vec::new(), vec![0, 10, 255], vec![7; 300]],
        };
        let bytes = there(Ok(Some(carried.clone())));
        assert_eq!(read(&bytes).unwrap(), Some(carried));
        assert_eq!(read(&there(Ok(None))).unwrap(), None);
        // All that it may be cut to, and more than there should be.
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Err(Error::Refused(_))), "{end}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err());
        let long = br#"{"found":{"signature":"","record":0,"parts":[18446744073709551615,1]}}"#;
        assert!(matches!(read(&[&long[..], b"\nx"].concat()), Err(Error::Refused(_))));
        for (blanks, parts) in [(LONGEST_LINE, 1), (0, MOST_PARTS + 1)] {
            let zeros = vec!["0"; parts].join(",");
            let line = format!(
                "{}{{\"found\":{{\"signature\":\"\",\"record\":0,\"parts\":[{zeros}]}}}}\n",
                " ".repeat(blanks)
            );
            assert!(matches!(read(line.as_bytes()), Err(Error::Refused(_))), "{blanks} {parts}");
        }
        let error_of = |error| read(&there(Err(error))).unwrap_err();
        assert!(matches!(error_of(Error::Away("a\u{1b}[2J\nb".to_owned())), Error::Away(why) if why == "a [2J b"));
        assert!(matches!(error_of(Error::Refused("x".to_owned())), Error::Refused(why) if why == "x"));
        assert!(matches!(error_of(Error::ReadOnly("x".to_owned())), Error::Usage(_)));
    }
}
