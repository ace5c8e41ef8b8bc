//! What compiles in the compilers' place, at the administrator's wish.

/// The value of `compiler_launcher`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompilerLauncher {
    /// ccache, where it is installed.
    #[default]
    Auto,
    /// ccache(1).
    Ccache,
    /// Nothing.
    None,
}

impl CompilerLauncher {
    /// What a value of `compiler_launcher` means; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ccache" => Some(Self::Ccache),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}
