//! A line of `dkms status`, with what `--long` says below it.

use serde::Serialize;

use crate::names::Kernel;
use crate::plan::FollowUp;
use crate::report::{Event, Reporter};
use crate::sign::will_load::Signature;
use crate::tree::record::{Outcome, Record};

/// One result.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(in crate::command) struct Row {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arch: Option<String>,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) original_modules: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<&'static str>,
    /// What became of the latest tries that came to nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) results: Vec<Record>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) modules: Vec<Signature>,
    /// Modules that would not be loaded, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) not_loadable: Vec<NotLoadable>,
    /// The source is another one than what is built was made from.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) source_changed: bool,
    /// It was not built but taken from the result cache, for which it was built at this time, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) taken_from_cache: Option<i64>,
    /// It was built for another kernel, whose inputs are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reused: Option<ReusedFrom>,
    /// Why it was built although it had been built for another kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_reused: Option<NotReused>,
    /// What the administrator has set for its builds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) builds: Vec<String>,
    /// Follow-ups that an interrupted run left undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) overdue: Vec<FollowUp>,
}

/// The kernel that modules were built for.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(in crate::command) struct ReusedFrom {
    /// Its release.
    pub(super) kernel: String,
    /// The modules' vermagic names that kernel, not this one.
    pub(super) names_it: bool,
}

/// Why modules that were built for another kernel are not used.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(in crate::command) struct NotReused {
    /// The release of that kernel.
    pub(super) kernel: String,
    /// What differs.
    pub(super) why: String,
}

/// A module that is installed and would not be loaded.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(in crate::command) struct NotLoadable {
    pub(super) module: String,
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Row {
    pub(super) fn is_of(&self, kernel: &Kernel) -> bool {
        self.kernel.as_deref() == Some(kernel.release.as_str()) && self.arch.as_deref() == Some(kernel.arch.as_str())
    }

    pub(super) fn print(&self, reporter: &dyn Reporter) {
        let Self { name, version, state, .. } = self;
        let mut text = format!("{name}/{version}");
        if let (Some(kernel), Some(arch)) = (&self.kernel, &self.arch) {
            text.extend([", ", kernel, ", ", arch]);
        }
        text.extend([": ", state]);
        if let Some(from) = &self.from {
            text.extend([" from ", from]);
        }
        if self.original_modules {
            text += " (Original modules exist)";
        }
        if let Some(difference) = self.difference {
            text.extend([" (", difference, ")"]);
        }
        reporter.line(&text);
        for record in &self.results {
            if let Some(line) = describe(record, !self.is_of(&record.kernel)) {
                reporter.line(&format!("    {line}"));
            }
        }
        for module in &self.modules {
            reporter.line(&format!("    {}", module.line()));
        }
        if let Some(ReusedFrom { kernel, names_it }) = &self.reused {
            let vermagic = if *names_it { " (its vermagic names that kernel)" } else { "" };
            reporter.line(&format!("    reused from kernel {kernel}{vermagic}"));
        }
        if let Some(NotReused { kernel, why }) = &self.not_reused {
            reporter.line(&format!("    not reused from kernel {kernel}: {why}"));
        }
        if let Some(built_at) = self.taken_from_cache {
            let date = crate::clock::date(u64::try_from(built_at).unwrap_or_default());
            reporter.line(&format!("    taken from the result cache, built on {date}"));
        }
        if self.source_changed {
            reporter.line(&format!(
                "    its source has changed since it was built: dkms reconcile, or dkms install {name}/{version} --force, builds it again"
            ));
        }
        if !self.builds.is_empty() {
            reporter.line(&format!("    its builds {}", self.builds.join(", ")));
        }
        for NotLoadable { module, why, mend } in &self.not_loadable {
            let mend = mend.as_ref().map(|command| format!(". To fix it: {command}")).unwrap_or_default();
            reporter.line(&format!("    {module} would not be loaded: {why}{mend}"));
        }
        for what in &self.overdue {
            reporter.line(&format!("    an interrupted run left {what} undone. To do it: dkms reconcile"));
        }
        if self.state == "broken" {
            reporter.report(Event::Error(vec![
                format!("{name}/{version}: Missing the module source directory or the symbolic link pointing to it."),
                format!("Put the source back, or run: dkms remove {name}/{version} --all"),
            ]));
        }
    }
}

fn describe(record: &Record, with_kernel: bool) -> Option<String> {
    let text = match &record.outcome {
        Outcome::Installed | Outcome::Built | Outcome::Added => return None,
        Outcome::Skipped { why } => format!("not meant for it: {why}"),
        Outcome::Waiting { what } => format!("waiting for {what}"),
        Outcome::Failed { step, diagnostic, log, .. } => {
            let mut text = format!("{step} failed");
            if let Some(diagnostic) = diagnostic {
                text.extend([": ", diagnostic]);
            }
            if let Some(log) = log {
                text.extend([" (see ", &log.to_string_lossy(), ")"]);
            }
            text
        }
    };
    let at = crate::clock::date(u64::try_from(record.at).unwrap_or(0));
    Some(if with_kernel {
        format!("kernel {}: {text}, {at}", record.kernel)
    } else {
        format!("last try: {text}, {at}")
    })
}
