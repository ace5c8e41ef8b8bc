//! What of the caller's environment programs get.

use std::ffi::OsString;

use crate::process::Environment;

/// The caller's environment without what would change a build behind our back: other makes' flags,
/// shell start-up files, the dynamic loader's variables, and compiler settings (docs/contract.md 3).
/// Messages are English, since the first compiler error is looked for in them.
pub fn clean_environment(caller: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let dropped = [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
        "BASH_ENV",
        "ENV",
        "CC",
        "CXX",
        "CFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
        "GNUMAKEFLAGS",
        "MAKEFILES",
        "KBUILD_OUTPUT",
        "KCFLAGS",
        "KCPPFLAGS",
        "KAFLAGS",
        // The passphrase of a signing key, for sign-file alone.
        "KBUILD_SIGN_PIN",
        "SHELLOPTS",
        "BASHOPTS",
        "CDPATH",
    ];
    let mut environment: Environment = caller
        .into_iter()
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            !dropped.contains(&key.as_ref()) && !key.starts_with("LD_") && !key.starts_with("BASH_FUNC_")
        })
        .collect();
    environment.insert("LC_ALL".into(), "C.UTF-8".into());
    environment
}

/// What of the caller's environment is a build's business: how programs are found and speak, and what compilers and kbuild go by.
const LISTED: &[&str] = &[
    "PATH",
    "TERM",
    "COLUMNS",
    "LANG",
    "LANGUAGE",
    "TZ",
    "SHELL",
    "USER",
    "LOGNAME",
    "SOURCE_DATE_EPOCH",
    "V",
    "ARCH",
    "SUBARCH",
    "CROSS_COMPILE",
    "LLVM",
    "LLVM_IAS",
    "DEBIAN_KERNEL_USE_CCACHE",
];
/// The same for whole families of names. `IGNORE_`: a setting of graphics drivers' makefiles (IGNORE_CC_MISMATCH).
const LISTED_FAMILIES: &[&str] = &["LC_", "KBUILD_", "CCACHE_", "SCCACHE_", "DISTCC_", "ICECC_", "DKMS_", "IGNORE_"];

/// Takes out of the caller's environment what is not meant for a build: passwords and tokens, sockets of the session, places that
/// it could not use. `build_environment` brings in what a site's builds need besides.
pub fn only_listed(environment: &mut Environment) {
    environment.retain(|key, _| {
        let key = key.to_string_lossy();
        LISTED.contains(&key.as_ref()) || LISTED_FAMILIES.iter().any(|family| key.starts_with(family))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_flags_do_not_reach_a_build() {
        let caller = [
            ("MAKEFLAGS", "-j9"),
            ("LD_PRELOAD", "x"),
            ("BASH_ENV", "y"),
            ("CC", "z"),
            ("KBUILD_SIGN_PIN", "p"),
            ("GNUMAKEFLAGS", "-j9"),
            ("MAKEFILES", "/tmp/x"),
            ("KBUILD_OUTPUT", "/tmp"),
            ("KCFLAGS", "-O0"),
            ("HOME", "/root"),
            ("BASH_FUNC_make%%", "()"),
        ];
        let env = clean_environment(caller.map(|(key, value)| (key.into(), value.into())));
        assert_eq!(env.keys().collect::<Vec<_>>(), ["HOME", "LC_ALL"]);
    }

    #[test]
    fn what_a_build_gets_of_its_callers_environment() {
        let kept = ["CCACHE_DIR", "IGNORE_CC_MISMATCH", "LC_ALL", "PATH"];
        let dropped =
            ["AWS_SECRET_ACCESS_KEY", "DBUS_SESSION_BUS_ADDRESS", "PATHS", "SSH_AUTH_SOCK", "XDG_CACHE_HOME", "HOME"];
        let mut environment: Environment = kept.iter().chain(&dropped).map(|key| ((*key).into(), "x".into())).collect();
        only_listed(&mut environment);
        assert_eq!(environment.keys().collect::<Vec<_>>(), kept);
    }
}
