//! A kernel's configuration: `.config` or `include/config/auto.conf`.

use std::path::Path;

use memchr::memmem;

use crate::kernel::Error;

/// What a kernel configuration sets: its text, of which little is ever asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    text: String,
}

impl Config {
    /// Takes the text of either file (Documentation/kbuild/kconfig.rst; they share one syntax).
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Reads the file at the outer path `file`. Bytes that are not UTF-8 are replaced.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let bytes = crate::durable::bytes(file).map_err(Error::read("the kernel configuration", file))?;
        Ok(Self {
            text: String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        })
    }

    /// The value of `CONFIG_X`, given with its prefix, without quotes; `None` if it is not set. Of several the last one counts, as
    /// for kconfig.
    pub fn value(&self, name: &str) -> Option<&str> {
        if !name.starts_with("CONFIG_") {
            return None;
        }
        let is_line = |at: usize| at == 0 || self.text.as_bytes()[at - 1] == b'\n';
        let values = memmem::rfind_iter(self.text.as_bytes(), name).filter(|at| is_line(*at));
        let value = values.map(|at| &self.text[at + name.len()..]).find_map(|rest| rest.strip_prefix('='))?;
        let value = value.lines().next().unwrap_or_default().trim_end();
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
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
            "CONFIG_Z=m\n# CONFIG_B is not set\nNO_CONFIG_B=y\nCONFIG_E=\nCONFIG_A=y\nCONFIG_AB=m\nCONFIG_T=\"gcc-14 (D) 14\"\nCONFIG_N=13\nCONFIG_N=14\n",
        );
        assert!(config.yes("CONFIG_A"));
        assert!(config.value("CONFIG_AB") == Some("m") && !config.yes("CONFIG_AB"));
        assert!(config.value("CONFIG_B").is_none() && !config.yes("CONFIG_N"));
        assert_eq!(config.value("CONFIG_T"), Some("gcc-14 (D) 14"));
        assert_eq!(config.value("CONFIG_N"), Some("14"));
        assert_eq!(config.value("CONFIG_E"), Some(""));
        assert_eq!(config.value("CONFIG_Z"), Some("m"));
        for name in ["CONFIG_", "CONFIG_C", "ONFIG_A", "A", ""] {
            assert_eq!(config.value(name), None, "{name}");
        }
    }
}
