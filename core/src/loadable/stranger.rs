//! Whether a kernel would take a module that was built elsewhere, before it is put anywhere: by what the module says of itself, by what the
//! kernel is known to export, and by what the kernel's own modules were built against. A kernel without headers says little more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gather::allows_any_namespace;
use super::index::{Index, module_name};
use super::needed::{self, Taker, There};
use super::{Why, other_magic, stock};
use crate::compress;
use crate::elf::Module;
use crate::elf::symbols::Symbols;
use crate::kernel::symvers::Symvers;
use crate::names;
use crate::tree::Trees;
use crate::tree::manifest::{InstalledFile, KernelManifest};

/// What is known of a kernel.
#[derive(Debug)]
pub struct Kernel<'a> {
    named: &'a names::Kernel,
    dir: PathBuf,
    index: Option<Index>,
    /// What dkms has installed for it: the index may not name it yet.
    beside: Arc<KernelManifest>,
    magic: Option<String>,
    symvers: Option<Symvers>,
    /// Symbols that its own modules need, with the checksums that they were built against.
    built_against: BTreeMap<String, u32>,
    any_namespace: bool,
}

impl<'a> Kernel<'a> {
    /// Looks at what is installed of `kernel`.
    pub fn of(trees: &Trees, kernel: &'a names::Kernel) -> Self {
        let dir = trees.modules_dir(&kernel.release);
        let beside = KernelManifest::known(trees, &kernel.release);
        let index = Index::read(&dir, true).ok().flatten();
        let few = index.as_ref().map(|index| stock::few(&dir, index, &beside)).unwrap_or_default();
        let few = few.iter().filter_map(|path| Symbols::parse(&compress::read_module(path).ok()?).ok());
        Self {
            named: kernel,
            magic: index.as_ref().and_then(|index| stock::magic(&dir, index, &beside)),
            index,
            beside,
            dir,
            symvers: Symvers::of(trees, &kernel.release),
            built_against: agreed(few),
            any_namespace: allows_any_namespace(trees, &kernel.release),
        }
    }

    /// Whether it would take the module `file`. `own`: the modules that come with it, by name.
    ///
    /// # Errors
    /// Why it would not.
    pub fn takes(&self, file: &Path, bytes: &[u8], own: &BTreeMap<String, Arc<Symbols>>) -> Result<(), Why> {
        let damaged = |error: crate::elf::ElfError| Why::Damaged(error.to_string());
        let module = Module::parse(bytes).map_err(damaged)?;
        let release = &self.named.release;
        if !module.is_linked {
            return Err(Why::Damaged("it is an object file, and no module".to_owned()));
        }
        if !module.runs_on(self.named.arch.as_str()) {
            return Err(Why::OtherMachine);
        }
        // Of any release, however it goes by the versions of symbols: it was built for this one, or it is another's.
        let vermagic = module.field("vermagic").unwrap_or_default();
        let built_for = vermagic.split_whitespace().next().unwrap_or_default();
        if built_for != release.as_str() {
            return Err(Why::OtherKernel(built_for.to_owned()));
        }
        if let Some(why) = self.magic.as_deref().and_then(|magic| other_magic(vermagic, magic)) {
            return Err(why);
        }
        let symbols = Symbols::parse(bytes).map_err(damaged)?;
        let layout = symbols.layout.map(|crc| (LAYOUT, crc));
        let needs = symbols.needs.iter().filter_map(|(symbol, crc)| Some((symbol.as_str(), (*crc)?)));
        for (symbol, crc) in needs.chain(layout) {
            if self.built_against.get(symbol).is_some_and(|known| *known != crc) {
                return Err(Why::OtherSymbol { symbol: symbol.to_owned(), exporter: "the kernel".to_owned() });
            }
        }
        let mut there = There {
            kernel: self.symvers.as_ref(),
            stock: Vec::new(),
            others: BTreeMap::new(),
            any_namespace: self.any_namespace,
        };
        let name = module_name(file);
        for needed in module.depends().into_iter().map(|needed| module_name(Path::new(needed))) {
            if let Some(symbols) = own.get(&needed) {
                there.others.insert(needed, Arc::clone(symbols));
                continue;
            }
            let index = self.index.as_ref();
            if index.is_some_and(|index| index.is_built_in(&needed)) {
                continue;
            }
            let is_it = |file: &&InstalledFile| module_name(Path::new(&file.file)) == needed;
            let ours = self.beside.installed.iter().flat_map(|entry| &entry.files).find(is_it);
            let listed = index.and_then(|index| index.path_of(&needed)).map(Path::to_owned);
            let path = ours.map(|file| file.path.join(&file.file)).or(listed);
            match path.filter(|path| self.dir.join(path).is_file()) {
                Some(path) if ours.is_none() && path.starts_with("kernel") => there.stock.push(needed),
                Some(path) => {
                    let bytes = compress::read_module(&self.dir.join(path)).unwrap_or_default();
                    there.others.insert(needed, Arc::new(Symbols::parse(&bytes).unwrap_or_default()));
                }
                None if index.is_none() => {}
                None => return Err(Why::NeedsFile(PathBuf::from(needed))),
            }
        }
        let imports: Vec<&str> = module.fields("import_ns").collect();
        let licence = module.field("license").unwrap_or_default();
        needed::judge(&symbols, Taker { name: &name, licence, imports: &imports }, &there)
    }
}

/// The checksums on which these modules agree: somebody may have put one among the kernel's that was built for another, and then nobody
/// knows which of them is right.
fn agreed(modules: impl Iterator<Item = Symbols>) -> BTreeMap<String, u32> {
    let mut found: BTreeMap<String, Option<u32>> = BTreeMap::new();
    for symbols in modules {
        let needs = symbols.needs.into_iter().filter_map(|(symbol, crc)| Some((symbol, crc?)));
        for (symbol, crc) in needs.chain(symbols.layout.map(|crc| (LAYOUT.to_owned(), crc))) {
            let known = found.entry(symbol).or_insert(Some(crc));
            *known = known.filter(|known| *known == crc);
        }
    }
    found.into_iter().filter_map(|(symbol, crc)| Some((symbol, crc?))).collect()
}

/// What stands for the kernel's own structures among the symbols.
const LAYOUT: &str = "module_layout";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::symbols::tests::module;

    const MAGIC: &str = "6.1 SMP mod_unload modversions ";

    #[test]
    fn what_modules_differ_in_decides_nothing() {
        let with = |needs: &[(&str, u32)], layout| Symbols {
            needs: needs.iter().map(|(symbol, crc)| ((*symbol).to_owned(), Some(*crc))).collect(),
            layout: Some(layout),
            ..Symbols::default()
        };
        let own = || with(&[("a", 1), ("b", 2)], 9);
        let all = |modules: Vec<Symbols>| agreed(modules.into_iter());
        let expected = |pairs: &[(&str, u32)]| pairs.iter().map(|(symbol, crc)| ((*symbol).to_owned(), *crc)).collect();
        assert_eq!(all(vec![own(), own()]), expected(&[("a", 1), ("b", 2), (LAYOUT, 9)]));
        // One of another kernel's among them, first, last, or between.
        let theirs = || with(&[("b", 3), ("c", 4)], 8);
        for modules in [vec![theirs(), own(), own()], vec![own(), theirs(), own()], vec![own(), own(), theirs()]] {
            assert_eq!(all(modules), expected(&[("a", 1), ("c", 4)]));
        }
    }

    #[test]
    fn what_a_kernel_would_refuse() {
        let release = names::Kernel::new("6.1", "x86_64").unwrap();
        let kernel = |symvers: Option<&str>| Kernel {
            named: &release,
            dir: PathBuf::from("/nowhere"),
            index: Some(Index::parse("kernel/usb.ko:\n", "kernel/built_in.ko\n")),
            beside: Arc::default(),
            magic: Some(MAGIC.to_owned()),
            symvers: symvers.and_then(Symvers::parse),
            built_against: [("_printk".to_owned(), 1), (LAYOUT.to_owned(), 9)].into(),
            any_namespace: false,
        };
        let magic = |text: &str| format!("vermagic={text}");
        let fit = magic(MAGIC);
        let asked = |kernel: &Kernel<'_>, needs: &[(&str, u32)], modinfo: &[&str]| {
            kernel.takes(Path::new("x/new.ko"), &module(needs, &[], modinfo), &BTreeMap::new())
        };
        let plain = kernel(None);
        assert_eq!(asked(&plain, &[("_printk", 1), ("unknown", 5)], &[&fit]), Ok(()));
        assert!(
            matches!(asked(&plain, &[("_printk", 2)], &[&fit]), Err(Why::OtherSymbol { symbol, .. }) if symbol == "_printk")
        );
        assert!(
            matches!(asked(&plain, &[(LAYOUT, 8)], &[&fit]), Err(Why::OtherSymbol { symbol, .. }) if symbol == LAYOUT)
        );
        // modversions or not: it is for this release.
        for other in ["6.2 SMP mod_unload modversions ", ""] {
            assert!(matches!(asked(&plain, &[], &[&magic(other)]), Err(Why::OtherKernel(_))), "{other}");
        }
        assert!(matches!(asked(&plain, &[], &[&magic("6.1 SMP mod_unload ")]), Err(Why::OtherMagic { .. })));
        assert!(matches!(asked(&plain, &[], &[]), Err(Why::Damaged(_))));
        // What it needs first.
        assert_eq!(asked(&plain, &[], &[&fit, "depends=built-in"]), Ok(()));
        assert!(
            matches!(asked(&plain, &[], &[&fit, "depends=gone"]), Err(Why::NeedsFile(name)) if name == Path::new("gone"))
        );
        let own = [(
            "gone".to_owned(),
            Arc::new(Symbols { offers: [("theirs".to_owned(), Some(3))].into(), ..Symbols::default() }),
        )];
        let with_own = |crc| {
            plain.takes(
                Path::new("n.ko"),
                &module(&[("theirs", crc)], &[], &[&fit, "depends=gone"]),
                &own.clone().into(),
            )
        };
        assert!(with_own(3).is_ok() && matches!(with_own(4), Err(Why::OtherSymbol { .. })));
        // Where it is known what the kernel exports.
        let known = kernel(Some(
            "0x1\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x9\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x7\tgpl\tvmlinux\tEXPORT_SYMBOL_GPL\t\n",
        ));
        assert_eq!(asked(&known, &[("_printk", 1), ("gpl", 7)], &[&fit, "license=GPL"]), Ok(()));
        assert!(matches!(asked(&known, &[("gpl", 7)], &[&fit, "license=Mine"]), Err(Why::NotForItsLicence { .. })));
        assert!(matches!(asked(&known, &[("unknown", 5)], &[&fit]), Err(Why::Needs { .. })));
        let arm = names::Kernel::new("6.1", "aarch64").unwrap();
        assert_eq!(asked(&Kernel { named: &arm, ..kernel(None) }, &[], &[&fit]), Err(Why::OtherMachine));
        assert!(plain.takes(Path::new("x.ko"), b"garbage", &BTreeMap::new()).is_err());
    }
}
