//! Module.symvers: which symbols a kernel or a package exports.

/// One exported symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its checksum; 0 in kernels without `CONFIG_MODVERSIONS`.
    pub crc: u32,
    /// Its name.
    pub name: &'a str,
    /// What exports it: `vmlinux` or a module's path without `.ko`.
    pub module: &'a str,
    /// `EXPORT_SYMBOL` or `EXPORT_SYMBOL_GPL`.
    pub export: &'a str,
    /// Its namespace, or nothing.
    pub namespace: &'a str,
}

/// Reads the text of a Module.symvers (Documentation/kbuild/modules.rst, "Module.symvers"): fields
/// parted by tabs; the namespace has been there since Linux 5.4. Lines of another form are skipped.
pub fn parse(text: &str) -> impl Iterator<Item = Symbol<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        let crc = fields.next()?.strip_prefix("0x")?;
        Some(Symbol {
            crc: u32::from_str_radix(crc, 16).ok()?,
            name: fields.next()?,
            module: fields.next()?,
            export: fields.next()?,
            namespace: fields.next().unwrap_or_default(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_namespace() {
        let text = "0x1a2b3c4d\tusb_x\tdrivers/usb/core/usbcore\tEXPORT_SYMBOL_GPL\tUSB\n\
                    0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\nnonsense\n";
        let got: Vec<Symbol<'_>> = parse(text).collect();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].crc, got[0].namespace), (0x1a2b_3c4d, "USB"));
        assert_eq!((got[1].name, got[1].namespace), ("printk", ""));
    }
}
