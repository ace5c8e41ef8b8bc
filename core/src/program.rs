//! The `dkms` program: from words to a run, and from its outcome to an exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Weak};

use crate::cli::args::{self, Args};
use crate::cli::table::Id;
use crate::cli::{parser, surroundings};
use crate::context::Context;
use crate::error::{Error, UsageError};
use crate::process::stop;
use crate::report::{Console, Event, Json, Reporter};
use crate::{VERSION, command, event, probes};

/// The verb that another program takes apart.
const SHARE: &str = "share";

/// The whole `dkms` program.
pub fn main() -> ExitCode {
    let words = surroundings::words();
    if args::asks_for_version(&words) {
        say(VERSION);
        return ExitCode::SUCCESS;
    }
    if words.len() > 1 && words[0] == SHARE && !words[1].as_encoded_bytes().starts_with(b"-") {
        // Its verbs have words of their own, which this program does not know.
        return ExitCode::from(command::share());
    }
    probes::stage(&words).unwrap_or_else(|| ExitCode::from(run(words)))
}

fn run(words: Vec<OsString>) -> u8 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let meant = args::guess(&words);
    let (args, refused) = match Args::parse(words) {
        Ok(args) => (args, None),
        Err(error) => (meant, Some(error)),
    };
    // What is logged for debugging is written past all bars.
    let is_terminal = surroundings::is_terminal() && !args.flag("debug");
    let console = Console::new(is_terminal, surroundings::wants_colour(), args.flag("quiet"))
        .in_journal(surroundings::is_journal())
        .with_coloured_lists(surroundings::wants_coloured_lists());
    let console = Arc::new(console);
    let json = args.wants_json().then(|| Arc::new(Json::new(args.prints_document(), args.flag("quiet"))));
    let reporter: Arc<dyn Reporter> = match &json {
        Some(json) => Arc::<Json>::clone(json),
        None => Arc::<Console>::clone(&console),
    };
    let (code, changed) = match refused {
        Some(error) => (refuse(error, json.is_none(), &*reporter), false),
        None => perform(&args, &reporter),
    };
    if let Some(json) = &json {
        json.end(code, changed);
    }
    // What a change comes to does not depend on who listens; a list that nobody got is no list.
    let lists = args.verb.is_some_and(|verb| verb.id == Id::Status) || args.value("format") == Some("json");
    match json.as_ref().map_or_else(|| console.lost(), |json| json.lost()) {
        Some(why) if lists && code == 0 => {
            let error = Error::from(std::io::Error::new(why.kind(), format!("cannot write the output: {why}")));
            reporter.report(Event::Error(error.lines()));
            error.code()
        }
        _ => code,
    }
}

/// Says why the words could not be taken apart, to a person with the usage where that helps; gives the exit code.
fn refuse(error: UsageError, is_person: bool, reporter: &dyn Reporter) -> u8 {
    let unknown = matches!(error, UsageError::UnknownOption(_));
    let error = Error::Usage(error);
    reporter.report(Event::Error(error.lines()));
    if unknown && is_person {
        say(&usage());
    }
    error.code()
}

/// Does what the words ask for; gives the exit code, and whether anything was changed.
fn perform(args: &Args, shared: &Arc<dyn Reporter>) -> (u8, bool) {
    let reporter = &**shared;
    if args.flag("version") {
        reporter.line(&VERSION);
        return (0, false);
    }
    if args.flag("help") {
        reporter.line(&help(args));
        return (0, false);
    }
    if args.flag("debug") {
        env_logger::Builder::new().filter_level(log::LevelFilter::Debug).init();
    } else if log::set_boxed_logger(Box::new(Warnings(Arc::downgrade(shared)))).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    for option in &args.deprecated {
        reporter.report(Event::Deprecated(format!("--{option}")));
    }
    if let Err(error) = args.entry() {
        return (refuse(error, false, reporter), false);
    }
    for word in args.unknown.iter().filter(|_| args.verb.is_some_and(|verb| verb.rules.classic)) {
        reporter.warning(&[&format!("Unexpected argument: {word}.")]);
    }
    match surroundings::context(args) {
        Ok(ctx) => {
            tell_of_framework(&ctx, reporter);
            let code = event::run(&ctx, args, reporter);
            (stop::requested().map_or(code, stop::Stop::code), ctx.trees.snapshot().has_acted())
        }
        Err(error) => {
            reporter.report(Event::Error(error.lines()));
            (error.code(), false)
        }
    }
}

/// What any room logs as a warning is said as one, by whoever says the rest: nothing is written into the middle of what is drawn, or between
/// lines of JSON.
struct Warnings(Weak<dyn Reporter>);

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(reporter) = self.0.upgrade().filter(|_| self.enabled(record.metadata())) {
            reporter.warning(&[record.args()]);
        }
    }

    fn flush(&self) {}
}

/// Says what is wrong with framework.conf.
fn tell_of_framework(ctx: &Context, reporter: &dyn Reporter) {
    if !ctx.framework.stderr.is_empty() {
        reporter.report(Event::Note(ctx.framework.stderr.trim_end().to_owned()));
    }
    for (name, value) in &ctx.framework.unusable {
        if *name == "policy" {
            // A slip of the pen must not switch off that failures count.
            reporter.report(Event::Error(vec![
                format!("framework.conf: policy={value:?} is not valid: \"fail\" is used until it is corrected."),
                "It is warn or fail; see dkms-framework.conf(5).".to_owned(),
            ]));
            continue;
        }
        if *name == "build_locally" && value == "never" {
            reporter.warning(&[
                &"framework.conf: build_locally=\"never\" needs a share and the result cache (share, result_cache): packages are built here.",
            ]);
            continue;
        }
        // Nor make scripts root.
        let used =
            if *name == "scripts_as" { "\"nobody\" is used until it is corrected" } else { "the default is used" };
        reporter
            .warning(&[&format!("framework.conf: {name}={value:?} is not valid; {used}. See dkms-framework.conf(5).")]);
    }
    for unknown in &ctx.framework.unknown {
        reporter.warning(&[&unknown]);
    }
}

/// The help of a verb, or of the program.
fn help(args: &Args) -> String {
    let mut documentation = parser::documentation();
    documentation.build();
    let text = match args.verb.and_then(|verb| documentation.find_subcommand_mut(verb.name)) {
        Some(verb) => verb.render_long_help(),
        None => documentation.render_long_help(),
    };
    text.to_string().trim_end().to_owned()
}

fn usage() -> String {
    let mut documentation = parser::documentation();
    documentation.build();
    documentation.render_usage().to_string()
}

/// A line on standard output, which may be closed.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
