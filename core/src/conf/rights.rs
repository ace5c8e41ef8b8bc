//! Whose rights builds and scripts have.

/// Who builds are, when dkms is run by root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BuildAs {
    /// A user who owns nothing, where the system lets us.
    #[default]
    Unprivileged,
    /// Root.
    Root,
}

impl BuildAs {
    /// What a value of `build_as` or `DKMS_BUILD_AS` means; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "unprivileged" => Some(Self::Unprivileged),
            "root" => Some(Self::Root),
            _ => None,
        }
    }
}

/// Who POST_ADD, PRE_INSTALL, POST_INSTALL and POST_REMOVE are, when dkms is run by root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ScriptsAs {
    /// Root.
    #[default]
    Root,
    /// A user who owns nothing, on a system that can only be read.
    Nobody,
    /// They are not run.
    None,
}

impl ScriptsAs {
    /// What a value of `scripts_as` or `DKMS_SCRIPTS_AS` means; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "root" => Some(Self::Root),
            "nobody" => Some(Self::Nobody),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}
