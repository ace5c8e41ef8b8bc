//! DKMS for pacman: what the alpm hooks in `hook-files/arch` run (alpm-hooks(5)).
//!
//! The program links nothing but libc: the transaction that it runs in may be replacing libalpm or any other library.
//! What only libalpm can tell is asked of a second program, [`launcher`], which may be missing or broken without harm.
//!
//! | moment | hook | what happens |
//! |---|---|---|
//! | before | `00-dkms-preflight` | [`preflight`]: kernels that come without headers, modules known not to build |
//! | before | `70-dkms-upgrade` | [`note`]: what comes is noted, so that the next hook leaves its predecessor alone |
//! | before | `71-dkms-remove` | [`arrive::leaving`]: modules whose source goes for good are removed while the source is there |
//! | after | `70-dkms-install` | [`arrive::arrived`]: register, reconcile, then drop what has been replaced or has lost its kernel |
//! | after | `zz-dkms-summary` | [`summary`]: what that came to, said last |

pub mod arrive;
pub mod launcher;
pub mod note;
pub mod places;
pub mod preflight;
#[cfg(test)]
#[path = "../../tests/fronts/preflight_table.rs"]
mod preflight_table;
pub mod sources;
pub mod summary;
pub mod targets;

/// Where everything is said: pacman shows it and writes it to its log.
pub fn console() -> dkms_core::report::Console {
    dkms_core::report::Console::new(false, dkms_core::cli::surroundings::wants_colour(), false)
}
