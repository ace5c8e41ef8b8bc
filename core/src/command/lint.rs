//! `lint`, which looks at a module author's source, and `init`, which writes a first dkms.conf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::cli::args::Args;
use crate::cli::verb::Listing;
use crate::conf::{Kind, Request};
use crate::context::Context;
use crate::durable;
use crate::error::{Error, RegistrationError};
use crate::facts::shelter;
use crate::lint::draft::Draft;
use crate::lint::{self, CONF, Finding, RULES, Severity};
use crate::report::Reporter;

/// The directory that the words name; this one if they name none.
fn directory(args: &Args) -> PathBuf {
    args.source.clone().unwrap_or_else(|| PathBuf::from("."))
}

/// A word that is no directory: it was taken for a package's name.
fn check_word(args: &Args) -> Result<(), Error> {
    match (&args.module, args.value("module")) {
        (Some(word), None) => Err(Error::Registration(RegistrationError::NoSource(PathBuf::from(word), None))),
        _ => Ok(()),
    }
}

/// Looks; exit 8 if something is wrong, with `--strict` also for a warning.
pub fn run(ctx: &Context, args: &Args, listing: Listing, strict: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_word(args)?;
    let dir = directory(args);
    let file = dir.join(CONF);
    if !file.is_file() {
        return Err(Error::Registration(RegistrationError::NoConf(dir)));
    }
    let text = durable::text(&file).map_err(durable::named(&file))?;
    let whole = fs_err::canonicalize(&file)?;
    let mut evaluator = shelter::evaluator(ctx, &ctx.world.on_host());
    let mut ask = |release: &str, arch: &str| evaluator.evaluate(&request(&whole, release, arch));
    let found = lint::check(whole.parent().unwrap_or(&dir), &text, &mut ask);
    match listing {
        Listing::Text => found.iter().for_each(|finding| tell(&dir, finding, reporter)),
        Listing::Json => {
            let found: Vec<_> = found.iter().map(|finding| Row::new(&dir, finding)).collect();
            super::document(&found, reporter)?;
        }
        Listing::Sarif => super::document(&sarif(&dir, &found), reporter)?,
    }
    let worst = if strict { Severity::Warning } else { Severity::Error };
    Ok(if found.iter().any(|finding| finding.rule.severity <= worst) { 8 } else { 0 })
}

/// Writes a dkms.conf, or with `--dry-run` prints it.
pub fn init(ctx: &Context, args: &Args, reporter: &dyn Reporter) -> Result<u8, Error> {
    check_word(args)?;
    let dir = directory(args);
    let file = dir.join(CONF);
    if file.exists() && !ctx.options.force && !ctx.options.dry_run {
        return Err(Error::Registration(RegistrationError::ConfExists(file)));
    }
    let whole = fs_err::canonicalize(&dir)?;
    let draft = Draft::of(&whole, args.module.as_deref(), args.version.as_deref())
        .map_err(|why| Error::Registration(RegistrationError::NoDraft { dir: dir.clone(), why }))?;
    if ctx.options.dry_run {
        reporter.line(&draft.text().trim_end());
        return Ok(0);
    }
    durable::write_atomic(&file, draft.text().as_bytes(), 0o644)?;
    ctx.trees.snapshot().act();
    reporter.line(&format!("{} is written. Look at it, then: dkms lint {}", file.display(), dir.display()));
    Ok(0)
}

fn request(file: &Path, release: &str, arch: &str) -> Request {
    let headers = format!("/lib/modules/{release}/build");
    let variables = [
        ("kernelver", release),
        ("arch", arch),
        ("kernel_source_dir", headers.as_str()),
        ("dkms_tree", "/var/lib/dkms"),
        ("source_tree", "/usr/src"),
        ("install_tree", "/lib/modules"),
        ("tmp_location", "/tmp"),
        ("parallel_jobs", "1"),
    ];
    Request {
        kind: Kind::Package,
        files: vec![file.to_owned()],
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        directives: Vec::new(),
        kernel: Some((release.to_owned(), arch.to_owned())),
    }
}

/// `FILE:LINE: SEVERITY: MESSAGE [RULE]`, which editors understand, and what to do.
fn tell(dir: &Path, finding: &Finding, reporter: &dyn Reporter) {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let rule = finding.rule;
    let file = place(dir, finding);
    reporter.line(&format!("{}{line}: {}: {} [{}]", file.display(), rule.severity.word(), finding.message, rule.id));
    reporter.line(&format!("    {}", rule.help));
}

/// The file of a finding, as its reader may name it.
fn place(dir: &Path, finding: &Finding) -> PathBuf {
    if dir == Path::new(".") { finding.file.clone() } else { dir.join(&finding.file) }
}

/// A finding for programs.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Row {
    file: String,
    line: Option<usize>,
    severity: &'static str,
    rule: &'static str,
    message: String,
    help: &'static str,
}

impl Row {
    fn new(dir: &Path, finding: &Finding) -> Self {
        Self {
            file: place(dir, finding).display().to_string(),
            line: finding.line,
            severity: finding.rule.severity.word(),
            rule: finding.rule.id,
            message: finding.message.clone(),
            help: finding.rule.help,
        }
    }
}

/// The findings in the Static Analysis Results Interchange Format (OASIS, SARIF 2.1.0).
fn sarif(dir: &Path, found: &[Finding]) -> serde_json::Value {
    let rules: Vec<_> = RULES
        .iter()
        .map(|rule| {
            json!({"id": rule.id, "shortDescription": {"text": rule.help},
                "defaultConfiguration": {"level": rule.severity.word()}})
        })
        .collect();
    let results: Vec<_> = found
        .iter()
        .map(|finding| {
            let mut place = json!({"artifactLocation": {"uri": place(dir, finding).display().to_string()}});
            if let Some(line) = finding.line {
                place["region"] = json!({"startLine": line});
            }
            json!({"ruleId": finding.rule.id, "level": finding.rule.severity.word(),
                "message": {"text": finding.message},
                "locations": [{"physicalLocation": place}]})
        })
        .collect();
    json!({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "dkms lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results}]})
}
