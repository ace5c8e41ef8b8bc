//! Which compiler a kernel wants its modules built with.

use std::path::Path;

use object::read::ReadCache;
use object::{Object, ObjectSection};

use crate::durable;
use crate::kernel::kernelvariables::Variables;
use crate::kernel::{Config, Headers};

/// What goes to make. `None` leaves the choice to kbuild.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchain {
    /// What the headers' `.kernelvariables` sets `CC` to, which make takes whatever the environment says.
    pub fragment_cc: Option<String>,
    /// `CC` in the environment of make and scripts.
    pub cc: Option<String>,
    /// `KERNEL_CC`.
    pub kernel_cc: Option<String>,
    /// `LD` and `KERNEL_LD`.
    pub ld: Option<String>,
    /// Whether make gets `LLVM=1`.
    pub llvm: bool,
    /// The kernel's own compiler as its configuration names it (`CONFIG_CC_VERSION_TEXT`).
    pub text: Option<String>,
    /// What a kernel of another architecture needs besides.
    pub cross: Option<Cross>,
}

/// Building for another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cross {
    /// `ARCH`, kbuild's name of the kernel's architecture.
    pub arch: &'static str,
    /// `CROSS_COMPILE`, if a compiler with such a prefix exists (clang needs none).
    pub prefix: Option<&'static str>,
}

/// What the choice depends on besides the headers.
pub struct Surroundings<'a> {
    /// Whether a command exists on the PATH where make will run.
    pub exists: &'a dyn Fn(&str) -> bool,
    /// Asks make for `CC` of a `.kernelvariables` (outer path) that can't be understood without it.
    pub make_cc: &'a dyn Fn(&Path) -> Option<String>,
    /// The machine's name as `uname -m` prints it.
    pub machine: &'a str,
    /// The user set `ARCH` or `CROSS_COMPILE`: nothing is proposed.
    pub cross_is_set: bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Surroundings({})", self.machine)
    }
}

impl Toolchain {
    /// Chooses by the classic's rules: `.kernelvariables`, then over it the compiler named by
    /// `config`, if there is a command of that name; `LLVM=1` for a kernel built by clang.
    pub fn choose(headers: &Headers, config: Option<&Config>, at: &Surroundings<'_>) -> Self {
        let fragment_cc = from_kernelvariables(&headers.dir, at.make_cc);
        let mut chosen = Self { cc: fragment_cc.clone(), fragment_cc, ..Self::default() };
        let by_clang = config.is_some_and(|c| c.yes("CONFIG_CC_IS_CLANG"));
        chosen.llvm = comment_names_clang(&headers.dir.join("vmlinux")).unwrap_or(by_clang);
        let Some(config) = config else {
            return chosen;
        };
        if !at.cross_is_set {
            chosen.cross = cross(config, at, by_clang);
        }
        chosen.text = config.value("CONFIG_CC_VERSION_TEXT").map(str::to_owned);
        let named = chosen.text.as_deref().and_then(first_word).map(|cc| {
            match chosen.cross.as_ref().and_then(|c| c.prefix) {
                // A kernel that was built on its own kind of machine says plain `gcc`.
                Some(prefix) if !cc.contains("-linux-") && !by_clang => {
                    let exact = format!("{prefix}{cc}");
                    if (at.exists)(&exact) { exact } else { format!("{prefix}gcc") }
                }
                _ => cc.to_owned(),
            }
        });
        if let Some(cc) = named.filter(|cc| (at.exists)(cc)) {
            chosen.kernel_cc = Some(cc.clone());
            chosen.cc = Some(cc);
        }
        if by_clang && (at.exists)("clang") {
            chosen.kernel_cc = Some("clang".to_owned());
            chosen.cc = Some("clang".to_owned());
        }
        if config.yes("CONFIG_LD_IS_LLD") && (at.exists)("ld.lld") {
            chosen.ld = Some("ld.lld".to_owned());
        }
        chosen
    }
}

fn first_word(text: &str) -> Option<&str> {
    text.split_whitespace().next()
}

fn from_kernelvariables(dir: &Path, ask: &dyn Fn(&Path) -> Option<String>) -> Option<String> {
    let file = dir.join(".kernelvariables");
    let bytes = durable::bytes(&file).ok()?;
    let cc = Variables::parse(&String::from_utf8_lossy(&bytes)).value("CC");
    cc.or_else(|| ask(&file)).filter(|cc| !cc.is_empty())
}

/// Whether the `.comment` of a vmlinux mentions clang; `None` without such a section (Debian ships
/// a vmlinux of nothing but type information).
fn comment_names_clang(vmlinux: &Path) -> Option<bool> {
    let cache = ReadCache::new(durable::open_regular(vmlinux).ok()?);
    let elf = object::File::parse(&cache).ok()?;
    let comment = elf.section_by_name(".comment")?;
    let bytes = comment.data().ok()?;
    Some(bytes.windows(5).any(|w| w == b"clang"))
}

/// An architecture: the option that is set for it, kbuild's `ARCH`, machines that are native to it,
/// usual compiler prefixes.
struct Target {
    option: &'static str,
    also: Option<&'static str>,
    arch: &'static str,
    machines: &'static [&'static str],
    prefixes: &'static [&'static str],
}

/// The more special entries come first.
const TARGETS: [Target; 10] = [
    Target {
        option: "CONFIG_X86",
        also: None,
        arch: "x86",
        machines: &["x86_64", "i386", "i486", "i586", "i686"],
        prefixes: &["x86_64-linux-gnu-", "x86_64-suse-linux-", "x86_64-pc-linux-gnu-"],
    },
    Target {
        option: "CONFIG_ARM64",
        also: None,
        arch: "arm64",
        machines: &["aarch64"],
        prefixes: &["aarch64-linux-gnu-", "aarch64-suse-linux-", "aarch64-unknown-linux-gnu-"],
    },
    Target {
        option: "CONFIG_ARM",
        also: None,
        arch: "arm",
        machines: &["armv5tel", "armv6l", "armv7l", "armv8l"],
        prefixes: &["arm-linux-gnueabihf-", "arm-linux-gnueabi-", "arm-linux-gnu-"],
    },
    Target {
        option: "CONFIG_RISCV",
        also: Some("CONFIG_64BIT"),
        arch: "riscv",
        machines: &["riscv64"],
        prefixes: &["riscv64-linux-gnu-", "riscv64-suse-linux-"],
    },
    Target {
        option: "CONFIG_PPC64",
        also: Some("CONFIG_CPU_LITTLE_ENDIAN"),
        arch: "powerpc",
        machines: &["ppc64le"],
        prefixes: &["powerpc64le-linux-gnu-", "powerpc64le-suse-linux-"],
    },
    Target {
        option: "CONFIG_PPC64",
        also: None,
        arch: "powerpc",
        machines: &["ppc64"],
        prefixes: &["powerpc64-linux-gnu-"],
    },
    Target { option: "CONFIG_PPC", also: None, arch: "powerpc", machines: &["ppc"], prefixes: &["powerpc-linux-gnu-"] },
    Target {
        option: "CONFIG_S390",
        also: None,
        arch: "s390",
        machines: &["s390x"],
        prefixes: &["s390x-linux-gnu-", "s390x-suse-linux-"],
    },
    Target {
        option: "CONFIG_LOONGARCH",
        also: None,
        arch: "loongarch",
        machines: &["loongarch64"],
        prefixes: &["loongarch64-linux-gnu-"],
    },
    Target {
        option: "CONFIG_MIPS",
        also: None,
        arch: "mips",
        machines: &["mips", "mips64", "mipsel"],
        prefixes: &["mips64el-linux-gnuabi64-", "mipsel-linux-gnu-"],
    },
];

fn target(config: &Config) -> Option<&'static Target> {
    TARGETS.iter().find(|t| config.yes(t.option) && t.also.is_none_or(|also| config.yes(also)))
}

/// The machines (`uname -m`) of which one runs a kernel of this configuration; `None` if it does not tell.
pub fn machines(config: &Config) -> Option<&'static [&'static str]> {
    match (config.yes("CONFIG_X86_64"), config.yes("CONFIG_X86")) {
        (true, _) => Some(&["x86_64"]),
        (false, true) => Some(&["i686"]),
        (false, false) => target(config).map(|target| target.machines),
    }
}

fn cross(config: &Config, at: &Surroundings<'_>, by_clang: bool) -> Option<Cross> {
    let target = target(config)?;
    if target.machines.contains(&at.machine) {
        return None;
    }
    let prefix =
        target.prefixes.iter().copied().find(|p| (at.exists)(&format!("{p}gcc")) || (at.exists)(&format!("{p}ld")));
    let clang = by_clang && (at.exists)("clang");
    (prefix.is_some() || clang).then_some(Cross { arch: target.arch, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Chooses for a configuration and a fragment where the `commands` exist.
    fn choose(config: &str, fragment: Option<&str>, commands: &[&str]) -> Toolchain {
        choose_at(config, fragment, commands, false)
    }

    fn choose_at(config: &str, fragment: Option<&str>, commands: &[&str], set: bool) -> Toolchain {
        let tmp = tempfile::tempdir().unwrap();
        if let Some(text) = fragment {
            fs_err::write(tmp.path().join(".kernelvariables"), text).unwrap();
        }
        let headers = Headers { dir: tmp.path().to_owned(), inside: PathBuf::from("/h") };
        let config = (!config.is_empty()).then(|| Config::new(config));
        let at = Surroundings {
            exists: &|name| commands.contains(&name),
            make_cc: &|_| Some("asked".to_owned()),
            machine: "x86_64",
            cross_is_set: set,
        };
        Toolchain::choose(&headers, config.as_ref(), &at)
    }

    const GCC: &str = "CONFIG_X86=y\nCONFIG_CC_VERSION_TEXT=\"gcc-14 (D) 14\"\n";
    const CLANG: &str = "CONFIG_X86=y\nCONFIG_CC_VERSION_TEXT=\"Debian clang version 19\"\n\
        CONFIG_CC_IS_CLANG=y\nCONFIG_LD_IS_LLD=y\n";

    #[test]
    fn order_of_the_sources() {
        let cc = |t: Toolchain| (t.cc, t.kernel_cc);
        let both = |cc: &str| (Some(cc.to_owned()), Some(cc.to_owned()));
        assert_eq!(cc(choose("", None, &[])), (None, None));
        assert_eq!(cc(choose(GCC, None, &[])), (None, None));
        assert_eq!(cc(choose(GCC, None, &["gcc-14"])), both("gcc-14"));
        let fragment = Some("CC = my-gcc\n");
        let fragment_only = (Some("my-gcc".to_owned()), None);
        assert_eq!(cc(choose("", fragment, &[])), fragment_only);
        assert_eq!(cc(choose(GCC, fragment, &["gcc"])), fragment_only);
        assert_eq!(cc(choose(GCC, fragment, &["gcc-14"])), both("gcc-14"));
        let asked = choose("", Some("CC = $(shell x)\n"), &[]);
        assert_eq!(asked.cc.as_deref(), Some("asked"));
    }

    #[test]
    fn clang() {
        let with = choose(CLANG, None, &["clang", "ld.lld"]);
        assert_eq!(with.cc.as_deref(), Some("clang"));
        assert_eq!(with.ld.as_deref(), Some("ld.lld"));
        assert!(with.llvm && with.cross.is_none());
        let without = choose(CLANG, None, &["gcc"]);
        assert_eq!((without.cc, without.ld, without.llvm), (None, None, true));
        assert!(!choose(GCC, None, &["clang"]).llvm);
    }

    #[test]
    fn vmlinux_decides_when_it_has_a_comment() {
        // /bin/true would do, but a made object says which compiler for certain.
        let tmp = tempfile::tempdir().unwrap();
        let vmlinux = tmp.path().join("vmlinux");
        assert_eq!(comment_names_clang(&vmlinux), None);
        fs_err::write(tmp.path().join("a.s"), ".ident \"Debian clang version 19\"\n").unwrap();
        let status =
            crate::process::command("as").current_dir(tmp.path()).args(["a.s", "-o", "vmlinux"]).status().unwrap();
        assert!(status.success());
        assert_eq!(comment_names_clang(&vmlinux), Some(true));
        fs_err::write(tmp.path().join("a.s"), ".ident \"GCC: 14\"\n").unwrap();
        let status =
            crate::process::command("as").current_dir(tmp.path()).args(["a.s", "-o", "vmlinux"]).status().unwrap();
        assert!(status.success());
        assert_eq!(comment_names_clang(&vmlinux), Some(false));
    }

    #[test]
    fn other_machines() {
        let arm = "CONFIG_ARM64=y\nCONFIG_CC_VERSION_TEXT=\"gcc (GCC) 14\"\n";
        let tools = ["gcc", "aarch64-linux-gnu-gcc"];
        let chosen = choose(arm, None, &tools);
        assert_eq!(chosen.cc.as_deref(), Some("aarch64-linux-gnu-gcc"));
        assert_eq!(chosen.cross, Some(Cross { arch: "arm64", prefix: Some("aarch64-linux-gnu-") }));
        assert_eq!(choose(arm, None, &["gcc"]).cross, None);
        assert_eq!(choose_at(arm, None, &tools, true).cross, None);
        let debian = "CONFIG_ARM64=y\nCONFIG_CC_VERSION_TEXT=\"aarch64-linux-gnu-gcc-14 (D) 14\"\n";
        let chosen = choose(debian, None, &["aarch64-linux-gnu-gcc-14", "aarch64-linux-gnu-ld"]);
        assert_eq!(chosen.cc.as_deref(), Some("aarch64-linux-gnu-gcc-14"));
        let clang = "CONFIG_ARM64=y\nCONFIG_CC_IS_CLANG=y\n";
        let cross = choose(clang, None, &["clang"]).cross;
        assert_eq!(cross, Some(Cross { arch: "arm64", prefix: None }));
    }
}
