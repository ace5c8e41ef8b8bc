//! Whether a kernel would find what a module needs of others: each symbol, from the kernel itself or from the modules that
//! modprobe loads first, with the checksum that the module was built against (resolve_symbol and check_version in its kernel/module).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Why;
use super::index::module_name;
use crate::elf::symbols::Symbols;
use crate::kernel::symvers::{Export, Symvers};

/// Licences that may use what is exported for the GPL alone (license_is_gpl_compatible in the kernel's
/// include/linux/license.h).
const GPL: [&str; 6] = ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// What there is when a module is loaded.
#[derive(Debug)]
pub struct There<'a> {
    /// What the kernel and its own modules export; `None` if nobody knows.
    pub kernel: Option<&'a Symvers>,
    /// The kernel's own modules that are loaded first, by name.
    pub stock: Vec<String>,
    /// The other modules that are loaded first, by name, with what they export.
    pub others: BTreeMap<String, Arc<Symbols>>,
}

/// Whether `symbols` of a module under `licence` find what they need.
pub fn judge(symbols: &Symbols, licence: &str, there: &There<'_>) -> Result<(), Why> {
    let mut missing: Vec<(&str, Option<String>)> = Vec::new();
    for (symbol, built_against) in &symbols.needs {
        let other = there.others.iter().find_map(|(name, other)| Some((name, other.offers.get(symbol)?)));
        if let Some((name, crc)) = other {
            same(*built_against, *crc, symbol, name)?;
            continue;
        }
        let Some(kernel) = there.kernel else { continue };
        match kernel.get(symbol) {
            Some(Export { gpl: true, .. }) if !GPL.contains(&licence) => {
                return Err(Why::NotForItsLicence { symbol: symbol.clone(), licence: licence.to_owned() });
            }
            Some(Export { module: None, crc, .. }) => same(*built_against, *crc, symbol, "the kernel")?,
            Some(Export { module: Some(path), crc, .. }) => {
                let name = module_name(Path::new(path));
                if there.stock.contains(&name) {
                    same(*built_against, *crc, symbol, &name)?;
                } else {
                    missing.push((symbol, Some(name)));
                }
            }
            None => missing.push((symbol, None)),
        }
    }
    if let Some((symbol, module)) = missing.first() {
        return Err(Why::Needs { symbol: (*symbol).to_owned(), more: missing.len() - 1, module: module.clone() });
    }
    let layout = there.kernel.and_then(|kernel| kernel.get("module_layout")).and_then(|export| export.crc);
    same(symbols.layout, layout, "module_layout", "the kernel")
}

/// A kernel asks only where both have a checksum.
fn same(built_against: Option<u32>, found: Option<u32>, symbol: &str, exporter: &str) -> Result<(), Why> {
    match (built_against, found) {
        (Some(one), Some(other)) if one != other => {
            Err(Why::OtherSymbol { symbol: symbol.to_owned(), exporter: exporter.to_owned() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "0x00000011\t_printk\tvmlinux\tEXPORT_SYMBOL\t
0x00000022\tlist_del_gpl\tvmlinux\tEXPORT_SYMBOL_GPL\t
0x00000033\tusb_get\tdrivers/usb/core/usb-core\tEXPORT_SYMBOL\t
0x00000044\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t
0x00000000\tplain\tvmlinux\tEXPORT_SYMBOL\t
";

    fn symbols(needs: &[(&str, Option<u32>)], offers: &[(&str, Option<u32>)]) -> Symbols {
        let map = |all: &[(&str, Option<u32>)]| all.iter().map(|(name, crc)| ((*name).to_owned(), *crc)).collect();
        Symbols { needs: map(needs), offers: map(offers), layout: None }
    }

    fn needs(symbol: &str, more: usize, module: Option<&str>) -> Result<(), Why> {
        Err(Why::Needs { symbol: symbol.into(), more, module: module.map(str::to_owned) })
    }

    fn other(symbol: &str, exporter: &str) -> Result<(), Why> {
        Err(Why::OtherSymbol { symbol: symbol.into(), exporter: exporter.into() })
    }

    #[test]
    fn each_symbol_must_be_found_as_it_was() {
        let kernel = Symvers::parse(KERNEL).unwrap();
        let ours = Arc::new(symbols(&[], &[("ours", Some(0x55)), ("mine", None), ("usb_get", Some(0x66))]));
        type Case<'a> = (&'a [(&'a str, Option<u32>)], &'a [&'a str], bool, &'a str, Result<(), Why>);
        let cases: &[Case<'_>] = &[
            (&[], &[], false, "GPL", Ok(())),
            (&[("_printk", Some(0x11)), ("plain", Some(0x77))], &[], false, "GPL", Ok(())),
            // A kernel without checksums asks for none, nor does one whose module has none.
            (&[("_printk", None), ("plain", None)], &[], false, "GPL", Ok(())),
            (&[("_printk", Some(0x12))], &[], false, "GPL", other("_printk", "the kernel")),
            (&[("nowhere", None)], &[], false, "GPL", needs("nowhere", 0, None)),
            (
                &[("nowhere", Some(1)), ("z", None), ("_printk", Some(0x11))],
                &[],
                false,
                "GPL",
                needs("nowhere", 1, None),
            ),
            // Another module of the kernel's: it must be loaded first.
            (&[("usb_get", Some(0x33))], &["usb_core"], false, "GPL", Ok(())),
            (&[("usb_get", Some(0x34))], &["usb_core"], false, "GPL", other("usb_get", "usb_core")),
            (&[("usb_get", Some(0x33))], &["ext4"], false, "GPL", needs("usb_get", 0, Some("usb_core"))),
            // Another package's, which may stand in for the kernel's.
            (&[("ours", Some(0x55)), ("mine", Some(1))], &[], true, "GPL", Ok(())),
            (&[("ours", Some(0x56))], &[], true, "GPL", other("ours", "exporter")),
            (&[("ours", Some(0x55))], &[], false, "GPL", needs("ours", 0, None)),
            (&[("usb_get", Some(0x66))], &[], true, "GPL", Ok(())),
            (&[("usb_get", Some(0x33))], &[], true, "GPL", other("usb_get", "exporter")),
            (&[("list_del_gpl", Some(0x22))], &[], false, "Dual MIT/GPL", Ok(())),
            (
                &[("list_del_gpl", Some(0x22))],
                &[],
                false,
                "Proprietary",
                Err(Why::NotForItsLicence { symbol: "list_del_gpl".into(), licence: "Proprietary".into() }),
            ),
        ];
        for (wants, stock, with_ours, licence, answer) in cases {
            let there = There {
                kernel: Some(&kernel),
                stock: stock.iter().map(|name| (*name).to_owned()).collect(),
                others: with_ours.then(|| ("exporter".to_owned(), Arc::clone(&ours))).into_iter().collect(),
            };
            assert_eq!(&judge(&symbols(wants, &[]), licence, &there), answer, "{wants:?} {stock:?} {licence}");
        }
        let there = There { kernel: Some(&kernel), stock: Vec::new(), others: BTreeMap::new() };
        let layout = |crc| judge(&Symbols { layout: crc, ..Symbols::default() }, "GPL", &there);
        assert_eq!((layout(None), layout(Some(0x44))), (Ok(()), Ok(())));
        assert_eq!(layout(Some(0x45)), other("module_layout", "the kernel"));
    }

    /// Nobody knows what the kernel exports: what other modules do still counts.
    #[test]
    fn without_symvers_only_modules_are_compared() {
        let ours = Arc::new(symbols(&[], &[("ours", Some(0x55))]));
        let there = There { kernel: None, stock: Vec::new(), others: BTreeMap::from([("exporter".to_owned(), ours)]) };
        assert_eq!(judge(&symbols(&[("nowhere", None), ("ours", Some(0x55))], &[]), "", &there), Ok(()));
        assert_eq!(judge(&symbols(&[("ours", Some(1))], &[]), "", &there), other("ours", "exporter"));
    }
}
