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

/// How a namespace begins that names the modules which get its symbols (EXPORT_SYMBOL_FOR_MODULES, Linux 6.16 and later).
pub const FOR_MODULES: &str = "module:";

/// What a module says about itself that decides which symbols it gets.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its licence.
    pub licence: &'a str,
    /// The namespaces that it imports.
    pub imports: &'a [&'a str],
}

/// What there is when a module is loaded.
#[derive(Debug)]
pub struct There<'a> {
    /// What the kernel and its own modules export; `None` if nobody knows.
    pub kernel: Option<&'a Symvers>,
    /// The kernel's own modules that are loaded first, by name.
    pub stock: Vec<String>,
    /// The other modules that are loaded first, by name, with what they export.
    pub others: BTreeMap<String, Arc<Symbols>>,
    /// The kernel only warns of a namespace that is not imported (CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS).
    pub any_namespace: bool,
}

/// Whether the `symbols` of the module `taker` find what they need.
pub fn judge(symbols: &Symbols, taker: Taker<'_>, there: &There<'_>) -> Result<(), Why> {
    let licence = taker.licence;
    let mut missing: Vec<(&str, Option<String>)> = Vec::new();
    for (symbol, built_against) in &symbols.needs {
        let other = there.others.iter().find_map(|(name, other)| Some((name, other.offers.get(symbol)?)));
        if let Some((name, crc)) = other {
            same(*built_against, *crc, symbol, name)?;
            continue;
        }
        let Some(kernel) = there.kernel else { continue };
        let export = kernel.get(symbol);
        let namespace = export.map(|export| export.namespace.as_str()).unwrap_or_default();
        if !gets(taker, namespace, there.any_namespace) {
            return Err(Why::NotImported { symbol: symbol.clone(), namespace: namespace.to_owned() });
        }
        match export {
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

/// Whether `taker` gets the symbols of `namespace` (verify_namespace_is_imported and verify_module_namespace in the kernel's
/// kernel/module/main.c): one with names of modules (`*` ends a pattern, `-` and `_` are the same) is for those, whatever is
/// imported.
fn gets(taker: Taker<'_>, namespace: &str, any: bool) -> bool {
    if let Some(names) = namespace.strip_prefix(FOR_MODULES) {
        let names = names.replace('-', "_");
        let fits = |name: &str| match name.strip_suffix('*') {
            Some(begin) => taker.name.starts_with(begin),
            None => taker.name == name,
        };
        return any || names.split(',').any(fits);
    }
    namespace.is_empty() || any || taker.imports.contains(&namespace)
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

    fn taker<'a>(licence: &'a str, imports: &'a [&'a str]) -> Taker<'a> {
        Taker { name: "mine_own", licence, imports }
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
                any_namespace: false,
            };
            assert_eq!(
                &judge(&symbols(wants, &[]), taker(licence, &[]), &there),
                answer,
                "{wants:?} {stock:?} {licence}"
            );
        }
        let there = There { kernel: Some(&kernel), stock: Vec::new(), others: BTreeMap::new(), any_namespace: false };
        let layout = |crc| judge(&Symbols { layout: crc, ..Symbols::default() }, taker("GPL", &[]), &there);
        assert_eq!((layout(None), layout(Some(0x44))), (Ok(()), Ok(())));
        assert_eq!(layout(Some(0x45)), other("module_layout", "the kernel"));
    }

    /// Nobody knows what the kernel exports: what other modules do still counts.
    #[test]
    fn without_symvers_only_modules_are_compared() {
        let ours = Arc::new(symbols(&[], &[("ours", Some(0x55))]));
        let others = BTreeMap::from([("exporter".to_owned(), ours)]);
        let there = There { kernel: None, stock: Vec::new(), others, any_namespace: false };
        let of = |needs: &[(&str, Option<u32>)]| judge(&symbols(needs, &[]), taker("", &[]), &there);
        assert_eq!(of(&[("nowhere", None), ("ours", Some(0x55))]), Ok(()));
        assert_eq!(of(&[("ours", Some(1))]), other("ours", "exporter"));
    }

    /// Symbols of a namespace are for those that import it, or that it names.
    #[test]
    fn namespaces() {
        let text = "0x0\ta\tvmlinux\tEXPORT_SYMBOL_GPL\tCRYPTO\n0x0\tb\tvmlinux\tEXPORT_SYMBOL\tmodule:kvm,mine-*\n";
        let text = format!(
            "{text}0x0\tc\tvmlinux\tEXPORT_SYMBOL\tmodule:kvm-*,x\n0x0\td\tvmlinux\tEXPORT_SYMBOL\tmodule:x,mine-own\n"
        );
        let kernel = Symvers::parse(&text).unwrap();
        let mut there =
            There { kernel: Some(&kernel), stock: Vec::new(), others: BTreeMap::new(), any_namespace: false };
        let refused = |symbol: &str, namespace: &str| -> Result<(), Why> {
            Err(Why::NotImported { symbol: symbol.into(), namespace: namespace.into() })
        };
        let cases: [(&str, &[&str], Result<(), Why>); 7] = [
            ("a", &[], refused("a", "CRYPTO")),
            ("a", &["CRYPTOX", "USB"], refused("a", "CRYPTO")),
            ("a", &["USB", "CRYPTO"], Ok(())),
            ("b", &[], Ok(())),
            ("c", &[], refused("c", "module:kvm-*,x")),
            ("d", &[], Ok(())),
            ("c", &["module:kvm-*,x"], refused("c", "module:kvm-*,x")),
        ];
        for (symbol, imports, answer) in &cases {
            assert_eq!(
                &judge(&symbols(&[(symbol, None)], &[]), taker("GPL", imports), &there),
                answer,
                "{symbol} {imports:?}"
            );
        }
        there.any_namespace = true;
        assert_eq!(judge(&symbols(&[("a", None), ("c", None)], &[]), taker("GPL", &[]), &there), Ok(()));
    }
}
