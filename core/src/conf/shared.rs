//! The options of framework.conf about a share of builds.

use std::path::PathBuf;
use std::time::Duration;

use super::directive::Raw;
use super::values::{time, yes_or_no};

/// Where builds are shared, and what this machine does there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The address of the share; `None`: there is none.
    pub address: Option<String>,
    /// What is built here is pushed.
    pub push: bool,
    /// The private key that signs what is pushed, as an inside path.
    pub key: PathBuf,
    /// How long an answer of the share may take.
    pub time_limit: Duration,
    /// What the share lacks is built here. False only where a share can be used.
    pub build_locally: bool,
}

/// Long enough for a server far away, short enough for whoever waits in front of a terminal.
const TIME_LIMIT: Duration = Duration::from_secs(5);
const KEY: &str = "/etc/dkms/share.key";

impl Shared {
    /// Types the options. What has none of the possible values is added to `unusable`. `keeps`: there is a result cache, through
    /// which all goes that is shared.
    pub(super) fn from_raw(raw: &Raw, keeps: bool, unusable: &mut Vec<(&'static str, String)>) -> Self {
        let text = |name| raw.text(name, 0).filter(|text| !text.trim().is_empty());
        let mut bad = |name, text: &str| unusable.push((name, text.to_owned()));
        let push = text("share_push").is_some_and(|text| {
            yes_or_no(text).unwrap_or_else(|| {
                bad("share_push", text);
                false
            })
        });
        let time_limit = text("share_time_limit").map_or(TIME_LIMIT, |text| {
            time(text).unwrap_or_else(|| {
                bad("share_time_limit", text);
                TIME_LIMIT
            })
        });
        let address = text("share").map(str::to_owned);
        let build_locally = text("build_locally").is_none_or(|text| match text {
            // Without a share nothing would ever be built.
            "never" if address.is_none() || !keeps => {
                bad("build_locally", text);
                true
            }
            "never" => false,
            "yes" => true,
            other => {
                bad("build_locally", other);
                true
            }
        });
        Self {
            address,
            push,
            key: text("share_key").map_or_else(|| PathBuf::from(KEY), PathBuf::from),
            time_limit,
            build_locally,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(options: &[(&str, &str)]) -> (Shared, Vec<&'static str>) {
        with_cache(options, true)
    }

    fn with_cache(options: &[(&str, &str)], keeps: bool) -> (Shared, Vec<&'static str>) {
        let mut raw = Raw::default();
        for (name, value) in options {
            raw.set(name, 0, value);
        }
        let mut unusable = Vec::new();
        let shared = Shared::from_raw(&raw, keeps, &mut unusable);
        (shared, unusable.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn who_can_use_no_share_builds() {
        let never = ("build_locally", "never");
        let is_built = |(shared, unusable): (Shared, Vec<&'static str>)| {
            assert_eq!(unusable, if shared.build_locally { vec!["build_locally"] } else { vec![] });
            shared.build_locally
        };
        assert!(is_built(shared(&[never])) && is_built(shared(&[never, ("share", " ")])));
        assert!(is_built(with_cache(&[never, ("share", "oci://h/r")], false)));
        assert!(!is_built(shared(&[never, ("share", "oci://h/r")])));
    }

    #[test]
    fn options_and_slips() {
        let default = Shared {
            address: None,
            push: false,
            key: PathBuf::from("/etc/dkms/share.key"),
            time_limit: Duration::from_secs(5),
            build_locally: true,
        };
        assert_eq!(shared(&[]), (default.clone(), vec![]));
        assert_eq!(shared(&[("share", " ")]), (default.clone(), vec![]));
        let options = [
            ("share", "oci://h/r"),
            ("share_push", "YES"),
            ("share_key", "/k"),
            ("share_time_limit", "2m"),
            ("build_locally", "never"),
        ];
        let all = Shared {
            address: Some("oci://h/r".to_owned()),
            push: true,
            key: PathBuf::from("/k"),
            time_limit: Duration::from_secs(120),
            build_locally: false,
        };
        assert_eq!(shared(&options), (all, vec![]));
        let slips = [("share_push", "often"), ("share_time_limit", "5"), ("build_locally", "no")];
        assert_eq!(shared(&slips), (default, vec!["share_push", "share_time_limit", "build_locally"]));
    }
}
