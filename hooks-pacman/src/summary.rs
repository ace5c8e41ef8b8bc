//! What a transaction came to, kept until its last hook says it: what is said in between scrolls away.

use std::io;
use std::path::PathBuf;

use dkms_core::diagnosis::summary::HEADING;
use dkms_core::report::{Event, Reporter};
use dkms_core::tree::Trees;

fn path(trees: &Trees) -> PathBuf {
    trees.state("alpm-summary")
}

/// Keeps `lines` for [`say`].
pub fn keep(trees: &Trees, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        let _ = std::fs::remove_file(path(trees));
        return Ok(());
    }
    fs_err::create_dir_all(trees.own())?;
    let heading = lines.first().is_none_or(|first| !first.starts_with(HEADING)).then(|| format!("{HEADING}\n"));
    fs_err::write(path(trees), format!("{}{}\n", heading.unwrap_or_default(), lines.join("\n")))
}

/// Says what was kept, once.
pub fn say(trees: &Trees, reporter: &dyn Reporter) {
    if let Ok(text) = std::fs::read_to_string(path(trees)) {
        reporter.report(Event::Note(text.trim_end().to_owned()));
        let _ = std::fs::remove_file(path(trees));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::report::Buffer;
    use dkms_core::root::Root;

    #[test]
    fn it_is_said_once() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let buffer = Buffer::default();
        keep(&trees, &["6.1: installed hello/1.0".to_owned()]).unwrap();
        say(&trees, &buffer);
        say(&trees, &buffer);
        assert_eq!(buffer.take(), [Event::Note("DKMS summary\n6.1: installed hello/1.0".to_owned())]);
        keep(&trees, &["DKMS summary".to_owned(), "x".to_owned()]).unwrap();
        keep(&trees, &[]).unwrap();
        say(&trees, &buffer);
        assert!(buffer.take().is_empty());
    }
}
