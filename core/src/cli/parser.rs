//! What clap makes of the tables: the parser, and the tree of commands that help, man pages and completions are made from.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};

use super::options::{GENERAL, NAMING, OPTIONS, Opt};
use super::table::{DIRECTORY, PACKAGE, SOURCE, VERBS, values};

/// An option for clap. `flag`: the action of one without a value; help puts dots behind those that are counted.
fn argument(opt: &Opt, flag: ArgAction) -> Arg {
    let mut arg = Arg::new(opt.long).long(opt.long).help(opt.help).hide(opt.deprecated);
    if let Some(short) = opt.short {
        arg = arg.short(short);
    }
    match opt.value {
        Some(name) => arg.value_name(name).action(ArgAction::Append).allow_hyphen_values(true),
        None => arg.action(flag),
    }
}

/// The parser: flat, since options and the verb may stand in any order.
pub fn parser() -> Command {
    Command::new("dkms")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(OPTIONS.iter().map(|opt| argument(opt, ArgAction::Count)))
        .arg(Arg::new("words").action(ArgAction::Append))
}

/// The same table as a tree of commands: what help, man pages and completions are made from.
pub fn documentation() -> Command {
    // What the help says of the words is in the value's name, or in its text.
    let shown = |verb: &str, opt: &Opt| {
        let arg = argument(opt, ArgAction::SetTrue);
        match values(verb, opt.long) {
            Some(words) => arg.value_parser(PossibleValuesParser::new(words)).hide_possible_values(true),
            None => arg,
        }
    };
    let pick = |verb: &str, names: &[&str]| {
        OPTIONS.iter().filter(|opt| names.contains(&opt.long)).map(|opt| shown(verb, opt)).collect::<Vec<_>>()
    };
    Command::new("dkms")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Keep kernel modules that live outside the kernel built for every kernel installed")
        .disable_help_subcommand(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .args(pick("", GENERAL).into_iter().map(|arg| arg.global(true)))
        .args(pick("", NAMING))
        .subcommands(VERBS.iter().map(|verb| {
            let command = Command::new(verb.name)
                .about(verb.about)
                .disable_help_flag(true)
                .disable_version_flag(true)
                .args(pick(verb.name, verb.options))
                .args(if verb.names_package() { pick(verb.name, NAMING) } else { Vec::new() });
            if verb.operands.is_empty() {
                command
            } else {
                let optional = verb.operands.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let name = optional.unwrap_or(verb.operands);
                let mut arg = Arg::new("operand").value_name(name).help(about(verb.operands));
                let words: Vec<_> = name.split(" | ").filter(|word| verb.names_word(word)).collect();
                if !words.is_empty() {
                    arg = arg.value_parser(PossibleValuesParser::new(words)).hide_possible_values(true);
                }
                command.arg(arg.required(optional.is_none()))
            }
        }))
}

/// What a verb's operands are, for its help.
fn about(operands: &str) -> &'static str {
    match operands {
        SOURCE => "A registered package; or its source or an archive of it, which is registered first",
        "NAME[/VERSION]" | PACKAGE | "[NAME/VERSION]" => "A registered package",
        "[NAME[/VERSION]]" => "Only this package; wildcards of the shell are understood",
        "[NAME]" => "Only this package",
        "NAME" => "The package",
        "TARBALL" => "The archive",
        DIRECTORY => "The source's directory (default: this one)",
        _ => "What to do",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Args;
    use crate::cli::verb::Verb;
    use crate::error::Error;

    #[test]
    fn the_table_is_a_valid_parser() {
        parser().debug_assert();
        documentation().debug_assert();
    }

    /// The help of a verb lists no option that names a package where the verb refuses one.
    #[test]
    fn help_lists_no_package_where_none_is_taken() {
        for verb in documentation().get_subcommands() {
            let listed = verb.get_arguments().any(|arg| arg.get_short() == Some('m'));
            let kernel = if ["kernel_preinst", "kernel_postinst", "kernel_prerm"].contains(&verb.get_name()) {
                &["-k", "6.1"][..]
            } else {
                &[]
            };
            let words = [&[verb.get_name(), "-m", "a/1"], kernel].concat();
            let words = words.iter().map(std::ffi::OsString::from);
            let refused = Args::parse(words).map_err(Error::from).and_then(|args| Verb::of(&args)).is_err();
            assert!(!listed || !refused, "{}", verb.get_name());
            assert!(listed || verb.get_name() != "install");
        }
    }
}
