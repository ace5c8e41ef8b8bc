//! A kernel's configuration: `.config` or `include/config/auto.conf`.

use std::collections::HashMap;
use std::path::Path;

use crate::kernel::Error;

/// What a kernel configuration sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: HashMap<String, String>,
}

impl Config {
    /// Takes the text of either file (Documentation/kbuild/kconfig.rst; they share one syntax).
    /// When a name is set twice, the last one counts, as for kconfig. Values lose their quotes.
    pub fn new(text: &str) -> Self {
        let values = text
            .lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| {
                let value = value.trim_end();
                let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                (name.to_owned(), bare.to_owned())
            })
            .collect();
        Self { values }
    }

    /// Reads the file at the outer path `file`. Bytes that are not UTF-8 are replaced.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = crate::durable::bytes(file).map_err(Error::read("the kernel configuration", file))?;
        Ok(Self::new(&String::from_utf8_lossy(&bytes)))
    }

    /// The value of `CONFIG_X`, given with its prefix; `None` if it is not set.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
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
            "# CONFIG_B is not set\nCONFIG_A=y\nCONFIG_AB=m\nCONFIG_T=\"gcc-14 (D) 14\"\nCONFIG_N=13\nCONFIG_N=14\n",
        );
        assert!(config.yes("CONFIG_A"));
        assert!(config.value("CONFIG_AB") == Some("m") && !config.yes("CONFIG_AB"));
        assert!(config.value("CONFIG_B").is_none() && !config.yes("CONFIG_N"));
        assert_eq!(config.value("CONFIG_T"), Some("gcc-14 (D) 14"));
        assert_eq!(config.value("CONFIG_N"), Some("14"));
        assert_eq!(config.value("CONFIG_"), None);
    }
}
