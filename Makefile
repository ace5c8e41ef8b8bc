# Targets for people: `make help`. Each asks for what it lacks by way of tests/scripts/need.sh, which says what it will
# install before it does (root) or what is missing (anybody else).

# A pipeline fails if any part of it does.
SHELL = /bin/bash
.SHELLFLAGS = -o pipefail -c

DESTDIR =
PREFIX = /usr
SBINDIR = $(PREFIX)/sbin
LIBDIR = $(PREFIX)/lib
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share
# Where kernels keep their modules; Arch has /usr/lib/modules.
MODDIR = /lib/modules

# cargo on PATH, or rustup's place, or Debian's.
export PATH := $(PATH):$(HOME)/.cargo/bin
NEED = bash tests/scripts/need.sh
# The system that this machine is, and the one that programs are built for: another if a distribution builds across.
BUILD = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
HOST = $(BUILD)
# How programs that are shipped are compiled. Static: a hook must not need a library that the running transaction
# replaces. No path of this machine is in them. The target has to be named, or the flags would reach proc-macros, which
# can't be static.
export CARGO_HOME := $(or $(CARGO_HOME),$(HOME)/.cargo)
FLAGS = -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=/dkms-rs --remap-path-prefix=$(CARGO_HOME)=/cargo
FLAGGED = CFLAGS="$$CFLAGS -ffile-prefix-map=$(CURDIR)=/dkms-rs -ffile-prefix-map=$(CARGO_HOME)=/cargo" RUSTFLAGS='$(FLAGS)'
# `dev` compiles in a third of the time, for those who try the packaging and not the programs.
PROFILE = release
COMPILE = $(FLAGGED) cargo build --locked --profile $(PROFILE)
# Cargo unites the features of the packages that one call names. So each call names all, and says with --bin what it wants:
# what the programs have in common is compiled once. mkpkg stays out, since it would change how dkms compresses.
TOGETHER = -p dkms-core -p dkms-gen -p dkms-hooks-apt -p dkms-debhelper -p dkms-hooks-dnf -p dkms-hooks-pacman \
	$(if $(RUST_188),-p dkms-share --features dkms-hooks-dnf/read-rpm)
SHIPPED = $(COMPILE) --target $(HOST) $(TOGETHER)
BUILT = target/$(HOST)/$(patsubst dev,debug,$(PROFILE))
PROGRAM = target/dkms
# Says yes if rustc is 1.88 or newer, which the rpm crate takes. Asked when it is needed: cargo may be installed by then.
RUST_188 = $(shell [ "$$(printf '%s\n1.88\n' "$$(rustc -V 2>/dev/null | cut -d' ' -f2)" | sort -V | head -n 1)" != 1.88 ] || echo yes)
# What `dkms mkpkg` runs. It needs Rust 1.88; an older one leaves it out.
MKPKG = $(dir $(PROGRAM))dkms-mkpkg
# What `dkms share` runs; the same.
SHARE = $(dir $(PROGRAM))dkms-share
# Where the rules below look for what cargo has built, whatever the caller's own cargo uses.
export CARGO_TARGET_DIR := $(CURDIR)/target

.PHONY: help
help:
	@echo 'make release    build the program, $(PROGRAM), its man pages and completions'
	@echo 'make install    install them (DESTDIR= PREFIX=$(PREFIX) SBINDIR= LIBDIR= MODDIR=$(MODDIR))'
	@echo 'make uninstall  take away what make install put there'
	@echo 'make deb        build the Debian packages: target/packages/deb/'
	@echo 'make demo       build, install and show a real module in a private root, target/demo'
	@echo 'make rpm        the packages for rpm distributions: target/packages/rpm'
	@echo 'make dist       the source with all crates, for distributions that build without a network: target/dist'
	@echo 'make debian-source  the same as a source package of Debian'
	@echo 'make copyright  the lists of licences in packages, after crates have changed'
	@echo 'make test       all tests that this user and this machine can run'
	@echo 'make test-unit  the unit tests of the core, in a minute'
	@echo 'make test-long  also those that take many minutes'
	@echo 'make archive-sweep  build every *-dkms package of Debian (SWEEP_SUITE=trixie SWEEP_FLAVOUR=cloud); takes hours'
	@echo 'make beds       the systems that tests run in, made beforehand'
	@echo 'make torture    what goes wrong at every step: errors and kills at each system call, damaged files, hostile packages'
	@echo 'make bench      measure against the classic and against the floor'
	@echo 'make arch       the pacman package, in target/packages/arch'
	@echo 'make pictures   the pictures of terminals in the guide, from real runs'
	@echo 'make book       the guide and the manual pages as a website: target/book/html'
	@echo 'make lint       format, clippy, links in docstrings, shellcheck'

.PHONY: release
release:
	@$(NEED) build
	@$(MAKE) --no-print-directory release-now

# All in one call: two programs are linked side by side.
.PHONY: release-now
release-now:
	$(SHIPPED) --bin dkms $(if $(RUST_188),--bin dkms-share) $(if $(filter $(HOST),$(BUILD)),--bin dkms-gen)
	@$(MAKE) --no-print-directory $(PROGRAM)-now mkpkg-now share-now documents-now

# Man pages and completions, from the table of commands: target/man, target/completions. By a program for this machine.
.PHONY: documents-now
documents-now:
	$(COMPILE) --target $(BUILD) $(TOGETHER) --bin dkms-gen
	@install -m 0755 target/$(BUILD)/$(notdir $(BUILT))/dkms-gen target/dkms-gen
	target/dkms-gen documents packaging target

.PHONY: $(PROGRAM)-now
$(PROGRAM)-now:
	$(SHIPPED) --bin dkms
	@install -m 0755 $(BUILT)/dkms $(PROGRAM)

# Builds the program $1 with $2. It needs Rust 1.88: an older one leaves it out.
define build-188
@program=$(dir $(PROGRAM))$(1); if [ "$(RUST_188)" != yes ]; then \
	rm -f $$program; echo "$(1) is left out: it needs Rust 1.88, this is $$(rustc -V)"; exit 0; fi; set -e; \
$(2); \
install -m 0755 $(BUILT)/$(1) $$program
endef

.PHONY: mkpkg-now
mkpkg-now:
	$(call build-188,dkms-mkpkg,$(COMPILE) --target $(HOST) -p dkms-mkpkg)

.PHONY: share-now
share-now:
	$(call build-188,dkms-share,$(SHIPPED) --bin dkms-share)

# Installs what has been built, best by `make release` as an ordinary user. An administrator's framework.conf stays.
.PHONY: install
install:
	@[ -x $(PROGRAM) ] || { echo 'make release first' >&2; exit 1; }
	@[ -e target/man/dkms.8 ] || $(MAKE) --no-print-directory documents-now
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(SBINDIR)/dkms
	@[ ! -e $(MKPKG) ] || { set -x; install -D -m 0755 $(MKPKG) $(DESTDIR)$(LIBDIR)/dkms/dkms-mkpkg; }
	@[ ! -e $(SHARE) ] || { set -x; install -D -m 0755 $(SHARE) $(DESTDIR)$(LIBDIR)/dkms/dkms-share; }
	install -d -m 0755 $(DESTDIR)/var/lib/dkms $(DESTDIR)/etc/dkms/framework.conf.d
	install -d -m 0755 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8
	install -m 0644 target/man/*.5 $(DESTDIR)$(MANDIR)/man5
	install -m 0644 target/man/*.8 $(DESTDIR)$(MANDIR)/man8
	install -D -m 0644 target/completions/dkms.bash $(DESTDIR)$(DATADIR)/bash-completion/completions/dkms
	install -D -m 0644 target/completions/_dkms $(DESTDIR)$(DATADIR)/zsh/site-functions/_dkms
	install -D -m 0644 target/completions/dkms.fish $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/dkms.fish
	[ -e $(DESTDIR)/etc/dkms/framework.conf ] || \
		install -D -m 0644 hook-files/common/etc/dkms/framework.conf $(DESTDIR)/etc/dkms/framework.conf
	install -D -m 0755 hook-files/common/usr/lib/dracut/modules.d/90dkms/module-setup.sh \
		$(DESTDIR)$(PREFIX)/lib/dracut/modules.d/90dkms/module-setup.sh
	install -D -m 0644 hook-files/common/usr/share/dkms/json-1.schema.json $(DESTDIR)$(DATADIR)/dkms/json-1.schema.json
	@set -e; for file in $(wildcard packaging/systemd/*.service); do \
		install -D -m 0644 $$file $(DESTDIR)$(LIBDIR)/systemd/system/$${file##*/}; \
		sed -i 's,/usr/sbin/dkms,$(SBINDIR)/dkms,' $(DESTDIR)$(LIBDIR)/systemd/system/$${file##*/}; done
ifneq ($(MODDIR),/lib/modules)
	echo 'install_tree="$(MODDIR)"' >$(DESTDIR)/etc/dkms/framework.conf.d/00-install-tree.conf
endif
	@[ -n '$(DESTDIR)' ] || bash packaging/installed.sh

# Takes away what `install` put there, with the same DESTDIR and directories; configuration and the tree stay.
.PHONY: uninstall
uninstall:
	@rm -rf target/uninstall
	@$(MAKE) --no-print-directory install DESTDIR=$(CURDIR)/target/uninstall >/dev/null
	@bash packaging/uninstall.sh target/uninstall '$(DESTDIR)' '$(LIBDIR)/dkms/dkms-mkpkg' '$(LIBDIR)/dkms/dkms-share'
	@rm -rf target/uninstall

# The programs of Debian's packages, from where DEB_PROGRAMS says (target/debug while developing).
DEB_PROGRAMS = $(CURDIR)/target
DEB_DIR = target/packages/deb

.PHONY: deb
deb:
	@$(NEED) build deb
	@$(MAKE) --no-print-directory deb-programs
	@$(MAKE) --no-print-directory deb-now

.PHONY: deb-programs
deb-programs:
	@$(MAKE) --no-print-directory $(PROGRAM)-now mkpkg-now share-now
	$(SHIPPED) --bin dkms-apt --bin dh_dkms
	@install -m 0755 $(BUILT)/dkms-apt $(BUILT)/dh_dkms target/

# The same where Debian builds, and the tests there: always of these packages together, so that nothing is compiled twice
# (cargo unites the features of what is built in one call).
DEBIAN = -p dkms-core -p dkms-hooks-apt -p dkms-debhelper -p dkms-gen
.PHONY: debian-build-now
debian-build-now:
	$(COMPILE) --target $(HOST) --bins $(DEBIAN)
	@install -m 0755 $(BUILT)/dkms $(BUILT)/dkms-apt $(BUILT)/dh_dkms target/
	@$(MAKE) --no-print-directory mkpkg-now share-now TOGETHER='$(DEBIAN) $(if $(RUST_188),-p dkms-share)'
	@if [ '$(HOST)' = '$(BUILD)' ]; then set -x; $(BUILT)/dkms-gen documents packaging target; \
		else $(MAKE) --no-print-directory documents-now TOGETHER='$(DEBIAN)'; fi

.PHONY: deb-now
deb-now:
	rm -rf $(DEB_DIR)
	mkdir -p $(DEB_DIR)/build
	cp -a packaging/debian $(DEB_DIR)/build/debian
	@# Its Build-Depends are those of who compiles with Debian's Rust: -d.
	cd $(DEB_DIR)/build && DKMS_TOP=$(CURDIR) DKMS_PROGRAMS=$(DEB_PROGRAMS) dpkg-buildpackage --build=binary --no-sign -d
	rm -rf $(DEB_DIR)/build
	@ls $(DEB_DIR)

# What Debian's packages hold, below $(DESTDIR)/dkms and $(DESTDIR)/dh-dkms.
.PHONY: install-debian
install-debian:
	$(MAKE) --no-print-directory install DESTDIR=$(DESTDIR)/dkms PROGRAM=$(PROGRAMS)/dkms
	install -D -m 0755 $(PROGRAMS)/dkms-apt $(DESTDIR)/dkms/usr/lib/dkms/dkms-apt
	@for name in common.postinst apt-preflight dkms_autoinstaller; do ln -sf dkms-apt $(DESTDIR)/dkms/usr/lib/dkms/$$name; done
	cp -a --no-preserve=ownership hook-files/debian/. $(DESTDIR)/dkms/
	@set -e; for name in dkms-mkpkg dkms-share; do [ -e $(DESTDIR)/dkms/usr/lib/dkms/$$name ] || continue; \
		set -x; mkdir -p $(DESTDIR)/$$name/usr/lib/dkms; mv $(DESTDIR)/dkms/usr/lib/dkms/$$name $(DESTDIR)/$$name/usr/lib/dkms/; done
	install -D -m 0755 $(PROGRAMS)/dh_dkms $(DESTDIR)/dh-dkms/usr/bin/dh_dkms
	mkdir -p $(DESTDIR)/dh-dkms/usr/share
	mv $(DESTDIR)/dkms/usr/share/perl5 $(DESTDIR)/dh-dkms/usr/share/perl5
	@cd $(DESTDIR)/dkms/usr/share && if [ -d zsh/site-functions ]; then mv zsh/site-functions zsh/vendor-completions; fi

# What the rpm package holds, in the places where its distribution wants it. PROGRAM and HOOKS have been built.
RPMMACRODIR = /usr/lib/rpm/macros.d
PYTHON_SITELIB = $(or $(shell rpm --eval '%{?python3_sitelib}' 2>/dev/null),/usr/lib/python3/dist-packages)
RPM_HOOKS = target/dkms-rpm
.PHONY: install-rpm
install-rpm: install
	install -D -m 0755 $(RPM_HOOKS) $(DESTDIR)/usr/lib/dkms/dkms-rpm
	cd hook-files/rpm && find usr/lib/kernel usr/lib/systemd usr/lib/dkms/common.postinst etc -type f | while read -r file; do \
		install -D -m $$([ -x $$file ] && echo 0755 || echo 0644) $$file $(DESTDIR)/$$file || exit 1; done
	install -D -m 0644 hook-files/rpm/usr/lib/rpm/macros.d/macros.dkms $(DESTDIR)$(RPMMACRODIR)/macros.dkms
	install -D -m 0644 hook-files/rpm/usr/lib/dkms/dnf4/dkms.py $(DESTDIR)$(PYTHON_SITELIB)/dnf-plugins/dkms.py

# The packages, in target/packages/rpm. Whoever has rpmbuild can make them; nothing of theirs depends on this machine.
.PHONY: rpm
rpm:
	@$(NEED) build rpm
	@$(MAKE) --no-print-directory $(PROGRAM)-now $(RPM_HOOKS)-now mkpkg-now share-now
	@$(MAKE) --no-print-directory rpm-prebuilt

# With Rust 1.88 it looks into packages before a transaction; without, it goes by their names.
.PHONY: $(RPM_HOOKS)-now
$(RPM_HOOKS)-now:
	$(SHIPPED) --bin dkms-rpm
	@install -m 0755 $(BUILT)/dkms-rpm $(RPM_HOOKS)

# The same with the programs PROGRAM and RPM_HOOKS as they are.
RPM_OUT = $(CURDIR)/target/packages/rpm
RPM_TOP = $(CURDIR)/target/rpmbuild
.PHONY: rpm-prebuilt
rpm-prebuilt:
	@rm -rf $(RPM_TOP) && mkdir -p $(RPM_TOP)/stage $(RPM_OUT)
	@$(MAKE) --no-print-directory install-rpm DESTDIR=$(RPM_TOP)/stage >/dev/null
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) rpmbuild -bb --quiet --with prebuilt $(if $(wildcard $(MKPKG)),--with mkpkg) $(if $(wildcard $(SHARE)),--with share) --define '_topdir $(RPM_TOP)' --define '_rpmdir $(RPM_OUT)' \
		--define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
		--define 'dkms_stage $(RPM_TOP)/stage' --define 'dkms_source $(CURDIR)' --define '_buildhost localhost' \
		--define 'source_date_epoch_from_changelog 0' --define 'use_source_date_epoch_as_buildtime 1' \
		--define 'clamp_mtime_to_source_date_epoch 1' --define 'python3_sitelib $(PYTHON_SITELIB)' $(RPM_DEFINES) packaging/rpm/dkms-rs.spec
	@ls $(RPM_OUT)

# What a distribution builds from: the source as committed, the crates of Cargo.lock as far as Linux needs them, and the
# word to cargo that they are there; beside it the spec and the PKGBUILD. Nothing that is built from it needs a network.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST = target/dist/dkms-rs-$(VERSION)
# What is packed, and how: tests pack the source as it is, quickly. One thread: then equal input gives equal bytes.
DIST_OF = HEAD
DIST_XZ = xz -T1 -6
# When the source was committed or, outside of a repository, of which day the changelog is: for all that has a date. A
# distribution says it in its own way.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || \
	date -d "$$(sed -n 's/^ -- .*>  //p' packaging/debian/changelog | head -n 1)" +%s)
# What programs are built for; crates that none of these needs stay out of `dist` and of the lists of licences.
SYSTEMS = x86_64-unknown-linux-gnu i686-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf riscv64gc-unknown-linux-gnu powerpc64le-unknown-linux-gnu s390x-unknown-linux-gnu loongarch64-unknown-linux-gnu
METADATA = cargo metadata --locked --format-version 1 --all-features
CRATES = $(METADATA) $(SYSTEMS:%=--filter-platform %)
GEN = cargo run --locked --quiet -p dkms-gen --
.PHONY: dist
dist:
	@$(NEED) build dist
	@rm -rf target/dist && mkdir -p $(DIST)
	@if git rev-parse --quiet --verify HEAD >/dev/null 2>&1; then git archive $(DIST_OF); \
		else tar c --exclude=./target --exclude=./.git .; fi | tar x -C $(DIST)
	@cd $(DIST) && mkdir .cargo && cargo vendor --locked --versioned-dirs vendor >.cargo/config.toml 2>../vendor.log || \
		{ cat ../vendor.log; exit 1; }
	@$(CRATES) | $(GEN) prune $(DIST)/vendor
	@tar c -C target/dist --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime='@$(SOURCE_DATE_EPOCH)' \
		dkms-rs-$(VERSION) | $(DIST_XZ) >$(DIST).tar.xz
	@rm -rf $(DIST) target/dist/vendor.log
	@cp packaging/rpm/dkms-rs.spec packaging/rpm/dkms-rs.rpmlintrc packaging/arch/dkms.install target/dist/
	@sum=$$(sha256sum $(DIST).tar.xz | cut -d' ' -f1) && \
		sed "s/^sha256sums=.*/sha256sums=($$sum)/" packaging/arch/PKGBUILD >target/dist/PKGBUILD
	@ls -l target/dist

# Debian's source package, of the same source: target/dist/dkms-rs_*.dsc and what it names.
DEBIAN_VERSION = $(shell sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
.PHONY: debian-source
debian-source: dist
	@$(NEED) deb
	@$(MAKE) --no-print-directory debian-source-now

.PHONY: debian-source-now
debian-source-now:
	@rm -rf target/dist/debian-source && mkdir target/dist/debian-source
	@ln -f $(DIST).tar.xz target/dist/dkms-rs_$(VERSION).orig.tar.xz
	@tar x -C target/dist/debian-source --strip-components=1 -f $(DIST).tar.xz
	@cp -a packaging/debian target/dist/debian-source/debian
	@cd target/dist && dpkg-source --build debian-source
	@rm -rf target/dist/debian-source

# The lists of licences in packages, after crates have changed: debian/copyright, in the spec License and what is bundled, and
# license in the PKGBUILD.
RPM_DKMS = dkms-core dkms-hooks-dnf
bundled = { $(CRATES) | $(GEN) license-tag packaging/licences $(1) && $(CRATES) | $(GEN) bundled $(1); }
.PHONY: copyright
copyright:
	@$(CRATES) | $(GEN) copyright packaging/licences >packaging/debian/copyright.new
	@mv packaging/debian/copyright.new packaging/debian/copyright
	@$(CRATES) | $(GEN) license-tag packaging/licences $(RPM_DKMS) dkms-mkpkg dkms-share >target/license
	@$(call bundled,$(RPM_DKMS)) >target/bundled
	@$(call bundled,dkms-mkpkg) >target/bundled-mkpkg
	@$(call bundled,dkms-share) >target/bundled-share
	@sed -i -e '/^# license: begin$$/,/^# license: end$$/{/: begin$$/{p;r target/license' -e '};/: end$$/p;d}' \
		-e '/^# bundled: begin$$/,/^# bundled: end$$/{/: begin$$/{p;r target/bundled' -e '};/: end$$/p;d}' \
		-e '/^# bundled in mkpkg: begin$$/,/^# bundled in mkpkg: end$$/{/: begin$$/{p;r target/bundled-mkpkg' -e '};/: end$$/p;d}' \
		-e '/^# bundled in share: begin$$/,/^# bundled in share: end$$/{/: begin$$/{p;r target/bundled-share' -e '};/: end$$/p;d}' \
		packaging/rpm/dkms-rs.spec
	@$(CRATES) | $(GEN) license-tag packaging/licences dkms-core dkms-hooks-pacman dkms-hooks-pacman-preflight dkms-mkpkg dkms-share | \
		sed "s/^License: *\(.*\)/license=('\1')/" >target/license
	@sed -i -e '/^# license: begin$$/,/^# license: end$$/{/: begin$$/{p;r target/license' -e '};/: end$$/p;d}' packaging/arch/PKGBUILD

# The Arch family: what its packages add to `release` and `install`. The preflight program needs libalpm, and may be
# missing: see hooks-pacman.
.PHONY: release-arch
release-arch:
	@$(NEED) build
	@$(MAKE) --no-print-directory release-arch-now

# It links a library, and is compiled apart from the static programs.
.PHONY: release-arch-now
release-arch-now:
	@$(MAKE) --no-print-directory $(PROGRAM)-now mkpkg-now share-now documents-now target/dkms-alpm-now
	@if pkg-config --exists libalpm 2>/dev/null; then set -x; \
		$(subst -C target-feature=+crt-static,,$(FLAGGED)) cargo build --locked --profile $(PROFILE) -p dkms-hooks-pacman-preflight --features libalpm && \
		install -m 0755 target/$(patsubst dev,debug,$(PROFILE))/dkms-alpm-preflight target/dkms-alpm-preflight; \
	else echo 'no libalpm here: dkms-alpm-preflight is left out'; fi

.PHONY: target/dkms-alpm-now
target/dkms-alpm-now:
	$(SHIPPED) --bin dkms-alpm
	@install -m 0755 $(BUILT)/dkms-alpm target/dkms-alpm

.PHONY: install-arch
install-arch:
	install -D -m 0755 target/dkms-alpm $(DESTDIR)$(PREFIX)/lib/dkms/dkms-alpm
	@[ ! -e target/dkms-alpm-preflight ] || \
		install -D -m 0755 target/dkms-alpm-preflight $(DESTDIR)$(PREFIX)/lib/dkms/dkms-alpm-preflight
	install -d -m 0755 $(DESTDIR)$(DATADIR)/libalpm/hooks $(DESTDIR)$(DATADIR)/libalpm/scripts
	ln -sfn ../../../lib/dkms/dkms-alpm $(DESTDIR)$(DATADIR)/libalpm/scripts/dkms
	install -m 0644 hook-files/arch/usr/share/libalpm/hooks/*.hook $(DESTDIR)$(DATADIR)/libalpm/hooks/
	install -D -m 0644 hook-files/arch/usr/lib/initcpio/install/dkms $(DESTDIR)$(PREFIX)/lib/initcpio/install/dkms
	install -D -m 0644 hook-files/arch/etc/mkinitcpio.conf.d/zz-dkms.conf $(DESTDIR)/etc/mkinitcpio.conf.d/zz-dkms.conf

.PHONY: arch
arch:
	@$(NEED) build
	@$(MAKE) --no-print-directory $(PROGRAM)-now target/dkms-alpm-now mkpkg-now share-now
	@bash packaging/arch/make-package.sh target

.PHONY: demo
demo:
	@$(NEED) build demo
	@$(MAKE) --no-print-directory $(PROGRAM)-now
	@bash tests/scripts/demo.sh

# Makes the systems that suites run in, which each suite else makes when it comes to it.
ALL_FEATURES = $(if $(RUST_188),--features "dkms-hooks-dnf/read-rpm dkms-tests/read-rpm")
.PHONY: beds
beds:
	@$(NEED) build test
	cargo build --locked --workspace $(ALL_FEATURES) --bin beds
	target/debug/beds

.PHONY: test
test:
	@$(NEED) build test
	$(SHIPPED) --bins
	@$(MAKE) --no-print-directory $(PROGRAM)-now $(RPM_HOOKS)-now mkpkg-now share-now target/dkms-alpm-now documents-now
	@# Packages that can't be made here are not tried as they once were.
	@rm -rf $(DEB_DIR) $(RPM_OUT)
	@if command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then $(MAKE) --no-print-directory deb-programs deb-now >target/deb.log 2>&1 || \
		{ tail -n 40 target/deb.log; exit 1; }; fi
	@if command -v rpmbuild >/dev/null; then $(MAKE) rpm-prebuilt >target/rpm.log 2>&1 || { tail -n 40 target/rpm.log; exit 1; }; fi
	@DKMS_BIN='$(if $(DKMS_BIN),$(DKMS_BIN),$(CURDIR)/$(PROGRAM))' bash tests/scripts/test.sh

# The unit tests of what must build with Debian 13's compiler.
.PHONY: test-unit
test-unit:
	@$(NEED) build unit
	@$(MAKE) --no-print-directory test-unit-now

.PHONY: test-unit-now
UNIT = -p dkms-core -p dkms-hooks-apt --lib --bins
test-unit-now:
	rustc --version
	cargo test --locked $(UNIT)

# The same where a distribution builds. With PROFILE=dev, what the programs are made of is compiled once for both.
CHECKED = $(UNIT)
.PHONY: check-now
check-now:
	rustc --version
	$(FLAGGED) cargo test --locked --target $(HOST) $(CHECKED)

.PHONY: test-long
test-long: export DKMS_LONG = 1
test-long: test

# Every *-dkms package of a Debian suite, built with this program and, where that fails, with the archive's own. Takes hours.
SWEEP_SUITE = trixie
SWEEP_FLAVOUR = cloud
.PHONY: archive-sweep
archive-sweep:
	@$(NEED) build test
	@$(MAKE) --no-print-directory $(PROGRAM)-now
	@bash tests/scripts/archive-sweep.sh $(PROGRAM) $(SWEEP_SUITE) $(SWEEP_FLAVOUR) target/sweep/$(SWEEP_SUITE)-$(SWEEP_FLAVOUR).tsv

# All points, where `make test-long` tries a sample. With DKMS_SUBJECT=classic: the same of Debian's classic.
.PHONY: torture
torture: export DKMS_TORTURE ?= all
torture: export DKMS_LONG = 1
torture:
	@$(NEED) build test
	@$(MAKE) --no-print-directory $(PROGRAM)-now
	@DKMS_BIN='$(if $(DKMS_BIN),$(DKMS_BIN),$(CURDIR)/$(PROGRAM))' cargo test --locked -p dkms-tests --test torture

.PHONY: bench
bench:
	@$(NEED) build test
	@$(MAKE) --no-print-directory $(PROGRAM)-now
	cargo run --locked --release -p dkms-tests --bin bench

# The pictures of the guide, from real runs: docs/guide/*.svg. Look at them before they are committed.
.PHONY: pictures
pictures:
	@$(NEED) build test
	cargo run --locked -p dkms-tests --bin pictures

.PHONY: book
book:
	@$(NEED) build book
	@[ -d target/man ] || $(MAKE) --no-print-directory documents-now
	@bash docs/make-book.sh

.PHONY: lint
lint:
	@$(NEED) build lint
	@bash tests/scripts/lint-shell.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@[ "$(RUST_188)" != yes ] || { set -x; cargo clippy --locked -p dkms-hooks-dnf -p dkms-tests --features dkms-hooks-dnf/read-rpm,dkms-tests/read-rpm --all-targets -- -D warnings; }
	@# Private items are for the same readers: a link to one is no fault.
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --locked --workspace --no-deps --document-private-items
