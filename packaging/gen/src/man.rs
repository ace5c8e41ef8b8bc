//! The man pages: hand-written prose, with the options filled in from the table; and a short page for each verb.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use fs_err as fs;

use dkms_core::error::exit_status::EXIT_STATUS;

use crate::examples::USES;

/// The line of dkms.8 that the options take the place of.
const OPTIONS: &str = ".\\\" @OPTIONS@\n";
/// That of the exit statuses.
const EXIT_STATUSES: &str = ".\\\" @EXIT_STATUS@\n";
/// The pages that are installed as they were written.
const PLAIN: &[&str] = &["dkms.conf.5", "dkms-framework.conf.5", "dkms-mok.8"];

/// Every page's name and text. `source` holds the hand-written ones; `documentation` is the tree of commands.
///
/// # Errors
/// If a page can't be read, or has no place for the options.
pub fn pages(source: &Path, documentation: &Command) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(source.join("dkms.8"))?;
    anyhow::ensure!(text.contains(EXIT_STATUSES), "dkms.8 has no line for the exit statuses");
    let text = text.replace(EXIT_STATUSES, &exit_statuses());
    let (before, after) = text.split_once(OPTIONS).context("dkms.8 has no line for the options")?;
    let mut pages = vec![("dkms.8".to_owned(), format!("{before}{}{after}", options(documentation)?))];
    for name in PLAIN {
        pages.push(((*name).to_owned(), fs::read_to_string(source.join(name))?));
    }
    for verb in documentation.get_subcommands() {
        let name = format!("dkms-{}.8", verb.get_name());
        if PLAIN.contains(&name.as_str()) {
            continue;
        }
        let generated = verb_page(documentation, verb, &text)?;
        // A verb that there is more to say of has a page by hand.
        let page = match fs::read_to_string(source.join(&name)) {
            Ok(text) => {
                let (before, after) =
                    text.split_once(OPTIONS).with_context(|| format!("{name} has no place for the options"))?;
                format!("{before}{}{after}", section(&generated, "OPTIONS"))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => generated,
            Err(error) => return Err(error.into()),
        };
        pages.push((name, page));
    }
    Ok(pages)
}

/// All options of all verbs, each once, as `.TP` paragraphs.
fn options(documentation: &Command) -> Result<String> {
    let mut all = Command::new("dkms").disable_help_flag(true).disable_version_flag(true);
    let mut seen = BTreeSet::new();
    let commands = std::iter::once(documentation).chain(documentation.get_subcommands());
    for arg in commands.flat_map(Command::get_opts_and_flags) {
        if seen.insert(arg.get_id().clone()) {
            all = all.arg(arg.clone());
        }
    }
    let mut text = Vec::new();
    Man::new(all).render_options_section(&mut text)?;
    let text = plain_apostrophes(&String::from_utf8(text)?);
    // The section's own heading: dkms.8 has one, with words of introduction.
    Ok(text.lines().filter(|line| !line.starts_with(".SH")).flat_map(|line| [line, "\n"]).collect())
}

/// The table of exit statuses as roff.
fn exit_statuses() -> String {
    let words = |text: &str| {
        let parts = text.replace('-', "\\-");
        let parts = parts.split('`').enumerate();
        parts
            .map(|(index, part)| if index % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() })
            .collect::<String>()
    };
    EXIT_STATUS.iter().map(|(code, text)| format!(".TP\n.B {code}\n{}\n", words(text))).collect()
}

/// The lines of a section of `page`, without its heading.
fn section(page: &str, name: &str) -> String {
    let heading = |line: &str| line.strip_prefix(".SH ").map(|title| title.trim_matches('"').to_owned());
    page.lines()
        .skip_while(|line| heading(line).as_deref() != Some(name))
        .skip(1)
        .take_while(|line| heading(line).is_none())
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The date that dkms.8 bears: `.TH DKMS 8 DATE …`.
fn date(page: &str) -> Result<&str> {
    let title = page.lines().find_map(|line| line.strip_prefix(".TH ")).context("dkms.8 has no title")?;
    title.split(' ').nth(2).context("dkms.8 has no date")
}

/// The page of a verb: its description and its exit codes are those of dkms.8, `text`.
fn verb_page(documentation: &Command, verb: &Command, text: &str) -> Result<String> {
    let date = date(text)?;
    let name = format!("dkms-{}", verb.get_name());
    let command = verb.clone().display_name(name).bin_name(format!("dkms {}", verb.get_name()));
    let man = Man::new(command)
        .section("8")
        .date(date)
        .manual("System Administration")
        .source(format!("dkms {}", env!("CARGO_PKG_VERSION")));
    let rendered = |section: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| -> Result<String> {
        let mut text = Vec::new();
        section(&mut text)?;
        Ok(plain_apostrophes(&String::from_utf8(text)?))
    };
    let mut page = rendered(&|text| man.render_title(text))?;
    page += &rendered(&|text| man.render_name_section(text))?;
    page += &rendered(&|text| man.render_synopsis_section(text))?;
    page += ".SH DESCRIPTION\n";
    page += &description(text, verb.get_name())?;
    if verb.get_opts_and_flags().next().is_some() {
        page += &rendered(&|text| man.render_options_section(text))?;
    } else {
        page += ".SH OPTIONS\n";
    }
    page += ".PP\nThe options of all commands are described in\n.BR dkms (8):\n";
    let general: Vec<_> =
        documentation.get_opts_and_flags().filter(|arg| arg.is_global_set()).filter_map(clap::Arg::get_long).collect();
    page += &general
        .iter()
        .map(|long| format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")))
        .collect::<Vec<_>>()
        .join(",\n");
    page += ".\n";
    if let Some((_, examples, codes)) = USES.iter().find(|(name, ..)| *name == verb.get_name()) {
        page += ".SH EXAMPLES\n";
        for (line, what) in *examples {
            page += &format!(".TP\n.B {}\n{what}.\n", line.replace('-', "\\-"));
        }
        page += ".SH \"EXIT STATUS\"\n";
        for code in *codes {
            page += &exit_status(text, code).with_context(|| format!("dkms.8 has no exit status {code}"))?;
        }
    }
    Ok(format!("{page}.SH \"SEE ALSO\"\n.BR dkms (8),\n.BR dkms.conf (5)\n"))
}

/// What dkms.8 says of a verb.
fn description(text: &str, verb: &str) -> Result<String> {
    let heading = |line: &str| {
        let rest = line.strip_prefix(".SS \"dkms ").and_then(|rest| rest.strip_prefix(verb));
        rest.is_some_and(|rest| rest.starts_with([' ', '"']))
    };
    let lines: Vec<_> = text
        .lines()
        .skip_while(|line| !heading(line))
        .skip(1)
        .take_while(|line| !line.starts_with(".SS") && !line.starts_with(".SH"))
        .collect();
    anyhow::ensure!(!lines.is_empty(), "dkms.8 says nothing of {verb}");
    Ok(lines.iter().flat_map(|line| [*line, "\n"]).collect())
}

/// The paragraph of dkms.8 about an exit code.
fn exit_status(text: &str, code: &str) -> Option<String> {
    let (_, rest) = text.split_once(".SH \"EXIT STATUS\"\n")?;
    let rest = rest.split("\n.SH ").next()?;
    let tag = |paragraph: &&str| {
        paragraph.lines().next().is_some_and(|line| line.strip_prefix(".B ").unwrap_or(line) == code)
    };
    rest.split(".TP\n").find(tag).map(|paragraph| format!(".TP\n{}\n", paragraph.trim_end()))
}

/// clap_mangen writes an apostrophe as a string that each section defines anew, and that is not there in a section by itself.
fn plain_apostrophes(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(".ie \\n(.g .ds Aq") && !line.starts_with(".el .ds Aq"));
    lines.flat_map(|line| [line, "\n"]).collect::<String>().replace("\\*(Aq", "\\(aq")
}

trait OptsAndFlags {
    fn get_opts_and_flags(&self) -> Box<dyn Iterator<Item = &clap::Arg> + '_>;
}

impl OptsAndFlags for Command {
    fn get_opts_and_flags(&self) -> Box<dyn Iterator<Item = &clap::Arg> + '_> {
        Box::new(self.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()))
    }
}

#[cfg(test)]
mod tests {
    use dkms_core::cli::parser::documentation;

    use super::*;

    fn made() -> Vec<(String, String)> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../man");
        pages(&source, &documentation()).unwrap()
    }

    #[test]
    fn every_verb_is_described() {
        let pages = made();
        let page = &pages.iter().find(|(name, _)| name == "dkms.8").unwrap().1;
        for verb in documentation().get_subcommands() {
            let heading = format!(".SS \"dkms {}", verb.get_name());
            assert!(page.contains(&heading), "dkms.8 says nothing of {}", verb.get_name());
            assert!(pages.iter().any(|(name, _)| *name == format!("dkms-{}.8", verb.get_name())));
        }
    }

    /// A reader of any verb's page finds what it does, examples and exit codes, and the roff of all pages is sound.
    #[test]
    fn every_page_has_its_sections() {
        for (name, page) in made() {
            assert!(!page.contains("\\*("), "{name} uses a string that nobody defines");
            assert!(
                !page.lines().any(|line| line.starts_with('\'')),
                "{name}: a line that begins with an apostrophe is a request"
            );
            if !name.starts_with("dkms-") || !name.ends_with(".8") {
                continue;
            }
            for section in ["DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
                let heading =
                    |line: &str| line.strip_prefix(".SH ").is_some_and(|title| title.trim_matches('"') == section);
                assert!(page.lines().any(heading), "{name} has no {section}");
            }
        }
    }

    /// The examples are command lines that dkms takes.
    #[test]
    fn examples_are_understood() {
        for (verb, examples, _) in USES {
            for (line, _) in *examples {
                let words = line.split(' ').skip(1).map(std::ffi::OsString::from);
                let args = dkms_core::cli::args::Args::parse(words).unwrap();
                assert!(args.unknown.is_empty(), "{line}");
                assert_eq!(args.verb_name(), *verb, "{line}");
            }
        }
    }

    /// Pages by hand are those of verbs, are used, and have the verb's options.
    #[test]
    fn pages_by_hand() {
        let pages = made();
        for (verb, words) in [
            ("mkpkg", ["dkms\\-prebuilt", "kernel\\-package"]),
            ("mkdriverdisk", ["OEMDRV", "release"]),
            ("mktarball", ["What is refused", "source\\-only"]),
        ] {
            let page = &pages.iter().find(|(page, _)| *page == format!("dkms-{verb}.8")).unwrap().1;
            assert!(page.contains(words[0]), "{verb}");
            assert!(page.contains(&format!("\\fB\\-\\-{}\\fR", words[1])), "{verb}: {page}");
        }
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../man")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(pages.iter().any(|(page, _)| *page == name), "{name} is installed by nobody");
        }
    }

    #[test]
    fn every_option_of_a_verb_is_there_once() {
        let page = made().swap_remove(0).1;
        let documentation = documentation();
        let mut options: BTreeSet<&str> = documentation
            .get_opts_and_flags()
            .filter(|arg| arg.is_global_set())
            .filter_map(clap::Arg::get_long)
            .collect();
        for verb in documentation.get_subcommands() {
            options.extend(verb.get_opts_and_flags().filter_map(clap::Arg::get_long));
        }
        assert!(options.len() > 30, "{options:?}");
        for option in options {
            let tag = format!("\\fB\\-\\-{}\\fR", option.replace('-', "\\-"));
            let lines = page.lines().filter(|line| line.starts_with("\\fB") && line.contains(&tag));
            assert_eq!(lines.count(), 1, "{tag}");
        }
    }

    /// dkms.conf(5) and dkms-framework.conf(5) name whatever the program knows.
    #[test]
    fn every_directive_and_setting_is_described() {
        let pages = made();
        let text = |name: &str| pages.iter().find(|(page, _)| page == name).unwrap().1.clone();
        for (page, names) in [
            ("dkms.conf.5", dkms_core::conf::directive::PACKAGE),
            ("dkms-framework.conf.5", dkms_core::conf::directive::FRAMEWORK),
        ] {
            let text = text(page);
            let words: BTreeSet<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
            for name in names {
                assert!(words.contains(name), "{page} says nothing of {name}");
            }
        }
    }
}
