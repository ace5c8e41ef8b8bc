//! A kernel small enough for unit tests: `make -C build M=dir` compiles each `obj-m` into a real ELF `.ko` with a
//! `.modinfo` section in some 30 ms, as an ordinary user, on a machine without kernel headers.
//!
//! It has what dkms looks at: `.config`, `include/config/auto.conf`, `include/generated/{autoconf,utsrelease,compile}.h`,
//! `Module.symvers`, `modules.order`, and stock modules if asked for. It is no kbuild: of a module's Makefile it reads
//! `obj-m`, `<name>-y` and `<name>-objs`, `ccflags-y`, and directories in `obj-m`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::{command, run};

/// Describes a kernel called `release` to be laid down by [`MiniKernel::build_in`].
#[derive(Debug, Clone)]
pub struct MiniKernel {
    release: String,
    config: Vec<String>,
    compiler: String,
    compression: Option<&'static str>,
    stock: Vec<(String, String)>,
}

/// A [`MiniKernel`] on disk.
#[derive(Debug, Clone)]
pub struct Laid {
    /// Its `lib/modules/<release>`.
    pub modules: PathBuf,
    /// Its headers, a real directory; `modules/build` is a link to it.
    pub headers: PathBuf,
}

impl Laid {
    /// One line for each `make` that was run: `KERNELRELEASE=… ARCH=… CROSS_COMPILE=… LLVM=… CC=… M=… MAKEFLAGS=…`.
    pub fn calls(&self) -> Result<Vec<String>> {
        match fs_err::read_to_string(self.headers.join("calls")) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl MiniKernel {
    /// A gcc-built kernel without compressed or stock modules.
    pub fn new(release: &str) -> Self {
        Self {
            release: release.to_owned(),
            config: Vec::new(),
            compiler: "gcc".to_owned(),
            compression: None,
            stock: Vec::new(),
        }
    }

    /// Adds a line to its configuration, for example `CONFIG_MODVERSIONS=y`.
    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// Says that clang and lld built it.
    #[must_use]
    pub fn built_by_clang(mut self) -> Self {
        "clang".clone_into(&mut self.compiler);
        self
    }

    /// Its own modules carry this suffix: `.gz`, `.xz` or `.zst`. It then has at least one of them.
    #[must_use]
    pub fn compressed(mut self, suffix: &'static str) -> Self {
        self.compression = Some(suffix);
        self
    }

    /// Gives it a module of its own: `stock("kernel/drivers/net/dummy", "1.0")`; version may be empty.
    #[must_use]
    pub fn stock(mut self, path: &str, version: &str) -> Self {
        self.stock.push((path.to_owned(), version.to_owned()));
        self
    }

    /// Lays it down: modules in `lib_modules/<release>`, headers in `headers/linux-headers-<release>`.
    pub fn build_in(&self, lib_modules: &Path, headers: &Path) -> Result<Laid> {
        let laid = Laid {
            modules: lib_modules.join(&self.release),
            headers: std::path::absolute(headers)?.join(format!("linux-headers-{}", self.release)),
        };
        self.write_headers(&laid.headers)?;
        // Builds are nobody, and note their calls all the same.
        let calls = laid.headers.join("calls");
        fs_err::write(&calls, "")?;
        fs_err::set_permissions(calls, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        fs_err::create_dir_all(laid.modules.join("kernel"))?;
        fs_err::os::unix::fs::symlink(&laid.headers, laid.modules.join("build"))?;
        for file in ["modules.builtin", "modules.builtin.modinfo"] {
            fs_err::write(laid.modules.join(file), "")?;
        }
        let mut stock = self.stock.clone();
        if stock.is_empty() && self.compression.is_some() {
            stock.push(("kernel/lib/stock".into(), String::new()));
        }
        let mut order = String::new();
        for (path, version) in &stock {
            order += &format!("{path}.ko\n");
            self.write_stock(&laid, path, version).with_context(|| format!("stock module {path}"))?;
        }
        fs_err::write(laid.modules.join("modules.order"), order)?;
        Ok(laid)
    }

    fn write_headers(&self, headers: &Path) -> Result<()> {
        let clang = self.compiler == "clang";
        let mut config = vec![
            "CONFIG_MODULES=y".to_owned(),
            if clang { "CONFIG_CC_IS_CLANG=y" } else { "CONFIG_CC_IS_GCC=y" }.to_owned(),
            if clang { "CONFIG_LD_IS_LLD=y" } else { "CONFIG_LD_IS_BFD=y" }.to_owned(),
            format!(
                "CONFIG_CC_VERSION_TEXT=\"{}\"",
                if clang { "clang version 19.1.7" } else { "gcc (Debian) 14.2.0" }
            ),
            format!("CONFIG_GCC_VERSION={}", if clang { 0 } else { 140_200 }),
            format!("CONFIG_CLANG_VERSION={}", if clang { 190_107 } else { 0 }),
        ];
        if let Some(suffix) = self.compression {
            let name = match suffix {
                ".gz" => "GZIP",
                ".xz" => "XZ",
                _ => "ZSTD",
            };
            config.push(format!("CONFIG_MODULE_COMPRESS_{name}=y"));
        }
        config.extend(self.config.iter().cloned());
        let text = config.join("\n") + "\n";
        let macros: String = config
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| format!("#define {name} {}\n", if value == "y" { "1" } else { value }))
            .collect();
        let release = &self.release;
        for (path, contents) in [
            (".config", text.clone()),
            ("include/config/auto.conf", text),
            ("include/config/kernel.release", format!("{release}\n")),
            ("include/generated/autoconf.h", macros),
            ("include/generated/utsrelease.h", format!("#define UTS_RELEASE \"{release}\"\n")),
            ("include/generated/compile.h", "#define UTS_MACHINE \"x86_64\"\n#define LINUX_COMPILER \"gcc\"\n".into()),
            ("include/linux/module.h", MODULE_H.into()),
            ("include/linux/init.h", "#include <linux/module.h>\n".into()),
            ("include/linux/kernel.h", "#include <linux/module.h>\n".into()),
            ("Module.symvers", "0x12345678\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n".into()),
            ("Makefile", MAKEFILE.into()),
        ] {
            let path = headers.join(path);
            fs_err::create_dir_all(path.parent().unwrap_or(headers))?;
            fs_err::write(path, contents)?;
        }
        Ok(())
    }

    fn write_stock(&self, laid: &Laid, path: &str, version: &str) -> Result<()> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let work = tempfile::tempdir()?;
        let version = if version.is_empty() { String::new() } else { format!("MODULE_VERSION(\"{version}\");\n") };
        let code = format!("#include <linux/module.h>\n{version}MODULE_LICENSE(\"GPL\");\nint {name}_stock;\n");
        fs_err::write(work.path().join(format!("{name}.c")), code)?;
        fs_err::write(work.path().join("Makefile"), format!("obj-m := {name}.o\n"))?;
        run(command("make").arg("-C").arg(&laid.headers).arg(format!("M={}", work.path().display())), b"")?.ok()?;
        fs_err::write(laid.headers.join("calls"), "")?;
        let mut built = work.path().join(format!("{name}.ko"));
        if let Some(suffix) = self.compression {
            let program: &[&str] = match suffix {
                ".gz" => &["gzip"],
                ".xz" => &["xz", "--check=crc32"],
                _ => &["zstd", "-q", "--rm"],
            };
            run(command(program[0]).args(&program[1..]).arg(&built), b"")?.ok()?;
            built.as_mut_os_string().push(suffix);
        }
        let to = laid.modules.join(format!("{path}.ko{}", self.compression.unwrap_or_default()));
        fs_err::create_dir_all(to.parent().unwrap_or(&laid.modules))?;
        fs_err::copy(built, to)?;
        Ok(())
    }
}

/// Own words; it knows only what a test module says of itself.
const MODULE_H: &str = r#"#ifndef MINI_MODULE_H
#define MINI_MODULE_H
#include <generated/utsrelease.h>
#define MINI_JOIN_(a, b) a##b
#define MINI_JOIN(a, b) MINI_JOIN_(a, b)
#define MODULE_INFO(tag, text) \
	static const char MINI_JOIN(mini_##tag, __COUNTER__)[] \
	__attribute__((used, section(".modinfo"), aligned(1))) = #tag "=" text
#define MODULE_LICENSE(text) MODULE_INFO(license, text)
#define MODULE_VERSION(text) MODULE_INFO(version, text)
#define MODULE_DESCRIPTION(text) MODULE_INFO(description, text)
#define MODULE_AUTHOR(text) MODULE_INFO(author, text)
#define MODULE_ALIAS(text) MODULE_INFO(alias, text)
#define EXPORT_SYMBOL(name) extern void *mini_export_##name
#define EXPORT_SYMBOL_GPL(name) EXPORT_SYMBOL(name)
#define __init
#define __exit
#define module_init(f) int init_module(void) __attribute__((alias(#f)))
#define module_exit(f) void cleanup_module(void) __attribute__((alias(#f)))
int _printk(const char *format, ...);
#define printk _printk
#define pr_info(...) _printk(__VA_ARGS__)
#endif
"#;

const MAKEFILE: &str = r#"# A stand-in for kbuild, enough for one-file and few-file modules.
tree := $(CURDIR)
release := $(shell cat $(tree)/include/config/kernel.release)
CC := $(CROSS_COMPILE)gcc
export KERNELRELEASE ?= $(release)
src := $(M)
obj := $(M)

.PHONY: modules clean
modules:
ifneq ($(MINI_BELOW),1)
	@echo 'KERNELRELEASE=$(KERNELRELEASE) ARCH=$(ARCH) CROSS_COMPILE=$(CROSS_COMPILE) LLVM=$(LLVM) CC=$(CC) M=$(M) MAKEFLAGS=$(MAKEFLAGS)' >>$(tree)/calls
endif

ifneq ($(M),)
-include $(tree)/.config
-include $(firstword $(wildcard $(M)/Kbuild $(M)/Makefile))
.DEFAULT_GOAL := modules
kos := $(patsubst %.o,$(M)/%.ko,$(filter %.o,$(obj-m)))
below := $(patsubst %/,%,$(filter %/,$(obj-m)))
flags := -g -O1 -ffreestanding -fno-pic -fno-asynchronous-unwind-tables -nostdinc -DMODULE \
	-include $(tree)/include/generated/autoconf.h -I$(tree)/include $(ccflags-y) $(EXTRA_CFLAGS)

modules: $(kos) $(addprefix mini-below-,$(below))

mini-below-%:
	@$(MAKE) --no-print-directory -f $(tree)/Makefile M=$(M)/$* MINI_BELOW=1 modules

# The parts of module $1, without suffix.
parts = $(or $(patsubst %.o,%,$($1-y) $($1-objs)),$1)

$(M)/%.ko: FORCE
	@set -e; cd $(M); \
	for part in $(call parts,$*); do \
		echo "  CC [M]  $$part.o"; \
		$(CC) $(flags) -DKBUILD_MODNAME='"$*"' -c $$part.c -o $$part.o; \
	done; \
	echo "  LD [M]  $*.ko"; \
	sum=$$(cat $(addsuffix .c,$(call parts,$*)) | md5sum | cut -c1-23 | tr a-f A-F); \
	printf '.section .modinfo,"a"\n'"$(foreach field,vermagic name depends retpoline srcversion,.asciz \"$(field)=%s\"\n)" \
		'$(release) SMP preempt mod_unload ' '$(subst -,_,$*)' '' Y "$$sum" >$*.mini.s; \
	$(CC) -c $*.mini.s -o $*.mini.o; \
	$(CROSS_COMPILE)ld -r -o $*.ko $(addsuffix .o,$(call parts,$*)) $*.mini.o; \
	rm -f $*.mini.*
	@: >>$(M)/Module.symvers

clean:
	@cd $(M) && rm -f *.o *.ko Module.symvers
FORCE:
endif
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::{module, package};
    use std::time::Instant;

    fn modinfo(path: &Path, field: &str) -> String {
        let program = crate::needs::find("modinfo").unwrap();
        run(command(program).args(["-F", field]).arg(path), b"").unwrap().ok().unwrap().trim().to_owned()
    }

    #[test]
    fn a_module_is_compiled_into_a_real_ko() {
        let dir = tempfile::tempdir().unwrap();
        let laid = MiniKernel::new("6.1.0-mini")
            .compressed(".xz")
            .stock("kernel/drivers/net/dummy", "0.9")
            .build_in(&dir.path().join("modules"), dir.path())
            .unwrap();
        assert_eq!(modinfo(&laid.modules.join("kernel/drivers/net/dummy.ko.xz"), "version"), "0.9");
        assert_eq!(laid.calls().unwrap(), Vec::<String>::new());

        let source = package("hello")
            .version("2.0")
            .module(module("hello"))
            .module(module("other-one").in_directory("sub"))
            .build_in(dir.path())
            .unwrap();
        let started = Instant::now();
        let built = run(
            command("make").arg("-C").arg(laid.modules.join("build")).arg(format!("M={}", source.display())).args([
                "KERNELRELEASE=6.1.0-mini",
                "LLVM=1",
                "modules",
            ]),
            b"",
        )
        .unwrap();
        built.ok().unwrap();
        // Generous: machines that run tests are busy.
        assert!(started.elapsed().as_secs() < 5, "a fixture that is this slow is no fixture");
        let ko = source.join("hello.ko");
        assert_eq!(modinfo(&ko, "version"), "2.0");
        assert_eq!(modinfo(&ko, "name"), "hello");
        assert_eq!(modinfo(&ko, "srcversion").len(), 23);
        assert!(modinfo(&ko, "vermagic").starts_with("6.1.0-mini SMP"));
        assert_eq!(modinfo(&source.join("sub/other-one.ko"), "name"), "other_one");
        let calls = laid.calls().unwrap();
        assert_eq!(calls.len(), 1);
        assert!(calls[0].contains("LLVM=1"), "{calls:?}");
    }

    #[test]
    fn broken_code_fails_the_make_with_a_diagnostic() {
        let dir = tempfile::tempdir().unwrap();
        let laid = MiniKernel::new("6.1.0-mini").build_in(&dir.path().join("modules"), dir.path()).unwrap();
        let source = package("bad").that_fails().build_in(dir.path()).unwrap();
        let built =
            run(command("make").arg("-C").arg(&laid.headers).arg(format!("M={}", source.display())), b"").unwrap();
        assert_eq!(built.code, 2);
        assert!(built.stderr.contains("bad.c:1:"), "{}", built.tail());
    }
}
