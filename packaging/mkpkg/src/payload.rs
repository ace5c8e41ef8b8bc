//! The files of a plan as a tar stream, for the formats that are made of one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use dkms_core::archive::writer::put_entry;
use md5::{Digest as _, Md5};

use crate::plan::{File, Node, Plan};

/// Every file of the plan and every directory that leads to one, without the leading slash, in byte order.
pub(crate) fn with_directories(plan: &Plan) -> BTreeMap<String, File> {
    let mut all = BTreeMap::new();
    for (path, file) in &plan.files {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            all.entry(path[..at].to_owned()).or_insert(File { mode: 0o755, node: Node::Directory });
        }
        all.insert(path.to_owned(), file.clone());
    }
    all
}

/// Appends one file as `name`, owned by root and of time `mtime`.
pub(crate) fn append(tar: &mut tar::Builder<impl Write>, name: &str, file: &File, mtime: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(mtime);
    header.set_mode(file.mode);
    match &file.node {
        Node::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            put_entry(tar, &mut header, &format!("{}/", name.trim_end_matches('/')), None, &[])
        }
        Node::Link(target) => {
            header.set_mode(0o777);
            header.set_entry_type(tar::EntryType::Symlink);
            put_entry(tar, &mut header, name, Some(Path::new(target)), &[])
        }
        Node::Regular(content) => {
            header.set_entry_type(tar::EntryType::Regular);
            put_entry(tar, &mut header, name, None, content)
        }
    }
}

/// The MD5 of `content` in hexadecimal: what `md5sums` and mtree(5) files are made of; nothing secret hangs on it.
pub(crate) fn md5(content: &[u8]) -> String {
    Md5::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `content` as gzip, without a name and a time.
pub(crate) fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    use dkms_core::archive::codec::{Format, encode};
    encode(Format::Gzip, Vec::new(), |out| out.write_all(content))
}

/// The lines that a paragraph's line becomes: of fewer than 80 columns, where its words let it.
pub(crate) fn wrapped(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.is_empty() => word.clone_into(last),
            Some(last) if last.len() + word.len() < 78 => last.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
