//! systemd's journal: one entry for each result, with fields that `journalctl` finds it by
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use log::{Level, Record};
use systemd_journal_logger::JournalLog;

use super::syslog::Severity;

/// Sends one entry, with `fields` of our own (capital letters and underscores), if there is a journal at its usual place. Says
/// whether it was taken: what is done does not depend on it.
pub fn send(severity: Severity, message: &str, fields: &[(&str, String)]) -> bool {
    let level = match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        // The level that the crate makes a notice.
        Severity::Notice => Level::Info,
    };
    let Ok(journal) = JournalLog::empty() else { return false };
    let journal = journal
        .with_syslog_identifier("dkms".to_owned())
        .with_extra_fields(fields.iter().map(|(name, value)| (*name, value.as_str())));
    let sent =
        journal.journal_send(&Record::builder().level(level).target("dkms").args(format_args!("{message}")).build());
    sent.is_ok()
}
