//! A kernel's configuration: `.config` or `include/config/auto.conf`.

use std::path::Path;

use crate::kernel::Error;

/// The text of a kernel configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    text: String,
}

impl Config {
    /// Takes the text of either file (Documentation/kbuild/kconfig.rst; they share one syntax).
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Reads the file at the outer path `file`. Bytes that are not UTF-8 are replaced.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = fs_err::read(file).map_err(Error::read("the kernel configuration", file))?;
        Ok(Self::new(String::from_utf8_lossy(&bytes)))
    }

    /// The value of `CONFIG_X`, given with its prefix, without quotes; `None` if it is not set.
    /// When a name is set twice, the last one counts, as for kconfig.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().rev().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?.trim_end();
            Some(
                value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap_or(value),
            )
        })
    }

    /// Whether `CONFIG_X` is built in or a module: what `BUILD_EXCLUSIVE_CONFIG` asks.
    pub fn enabled(&self, name: &str) -> bool {
        matches!(self.value(name), Some("y" | "m"))
    }

    /// Whether `CONFIG_X` is `y`.
    pub fn yes(&self, name: &str) -> bool {
        self.value(name) == Some("y")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let config = Config::new(
            "# CONFIG_B is not set\nCONFIG_A=y\nCONFIG_AB=m\nCONFIG_T=\"gcc-14 (D) 14\"\nCONFIG_N=14\n",
        );
        assert!(config.enabled("CONFIG_A") && config.yes("CONFIG_A"));
        assert!(config.enabled("CONFIG_AB") && !config.yes("CONFIG_AB"));
        assert!(!config.enabled("CONFIG_B") && !config.enabled("CONFIG_N"));
        assert_eq!(config.value("CONFIG_T"), Some("gcc-14 (D) 14"));
        assert_eq!(config.value("CONFIG_"), None);
    }
}
