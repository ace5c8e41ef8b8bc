//! What keeps a build apart from the system: its user, its namespaces, and how root handles the files that it wrote.

mod become_user;
pub mod beneath;
pub mod confine;
pub mod confinement;
pub mod copy_out;
pub mod handover;
mod init;
mod looks;
mod system_calls;
pub mod user;

pub use become_user::own_nothing;
pub use confinement::{Bind, Confinement, Looks, Namespaces};
pub use user::{BuildUser, Demotion};
