# Targets for people: `make help`. Each asks for what it lacks by way of tests/scripts/need.sh, which says what it will
# install before it does (root) or what is missing (anybody else).

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
HOST = $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
PROGRAM = target/dkms
# Says yes if rustc is 1.88 or newer, which the rpm crate takes. Asked when it is needed: cargo may be installed by then.
RUST_188 = $(shell [ "$$(printf '%s\n1.88\n' "$$(rustc -V 2>/dev/null | cut -d' ' -f2)" | sort -V | head -n 1)" != 1.88 ] || echo yes)
# What `dkms mkpkg` runs. It needs Rust 1.88; an older one leaves it out.
MKPKG = $(dir $(PROGRAM))dkms-mkpkg
# Where the rules below look for what cargo has built, whatever the caller's own cargo uses.
export CARGO_TARGET_DIR := $(CURDIR)/target

.PHONY: help
help:
	@echo 'make release    build the program, $(PROGRAM), its man pages and completions'
	@echo 'make install    install them (DESTDIR= PREFIX=$(PREFIX) SBINDIR= LIBDIR= MODDIR=$(MODDIR))'
	@echo 'make deb        build the Debian packages: target/packages/deb/'
	@echo 'make demo       build, install and show a real module in a private root, target/demo'
	@echo 'make rpm        the packages for rpm distributions: target/packages/rpm'
	@echo 'make dist       the source with all crates, for distributions that build without a network: target/dist'
	@echo 'make test       all tests that this user and this machine can run'
	@echo 'make test-unit  the unit tests of the core, in a minute'
	@echo 'make test-long  also those that take many minutes'
	@echo 'make archive-sweep  build every *-dkms package of Debian (SWEEP_SUITE=trixie SWEEP_FLAVOUR=cloud); takes hours'
	@echo 'make torture    what goes wrong at every step: errors and kills at each system call, damaged files, hostile packages'
	@echo 'make bench      measure against the classic and against the floor'
	@echo 'make arch       the pacman package, in target/packages/arch'
	@echo 'make lint       format, clippy, links in docstrings, shellcheck'

.PHONY: release
release:
	@$(NEED) build
	@$(MAKE) --no-print-directory $(PROGRAM)-now mkpkg-now documents-now

# Man pages and completions, from the table of commands: target/man, target/completions. Built as the program is: what both
# are made of is compiled once.
.PHONY: documents-now
documents-now:
	RUSTFLAGS='-C target-feature=+crt-static' cargo run --locked --release --target $(HOST) -p dkms-gen -- packaging target

# Static: a hook must not need a library that the running transaction replaces. The target has to be named, or the
# flag would reach proc-macros, which can't be static.
.PHONY: $(PROGRAM)-now
$(PROGRAM)-now:
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target $(HOST) -p dkms-core --bin dkms
	@install -m 0755 target/$(HOST)/release/dkms $(PROGRAM)

.PHONY: mkpkg-now
mkpkg-now:
	@if [ "$(RUST_188)" != yes ]; then \
		rm -f $(MKPKG); echo "dkms-mkpkg is left out: it needs Rust 1.88, this is $$(rustc -V)"; exit 0; fi; set -e; \
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target $(HOST) -p dkms-mkpkg; \
	install -m 0755 target/$(HOST)/release/dkms-mkpkg $(MKPKG)

# Installs what has been built, best by `make release` as an ordinary user. An administrator's framework.conf stays.
.PHONY: install
install:
	@[ -x $(PROGRAM) ] || { echo 'make release first' >&2; exit 1; }
	@[ -e target/man/dkms.8 ] || $(MAKE) --no-print-directory documents-now
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(SBINDIR)/dkms
	@[ ! -e $(MKPKG) ] || { set -x; install -D -m 0755 $(MKPKG) $(DESTDIR)$(LIBDIR)/dkms/dkms-mkpkg; }
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
	@set -e; for file in $(wildcard packaging/systemd/*.service); do \
		install -D -m 0644 $$file $(DESTDIR)$(LIBDIR)/systemd/system/$${file##*/}; \
		sed -i 's,/usr/sbin/dkms,$(SBINDIR)/dkms,' $(DESTDIR)$(LIBDIR)/systemd/system/$${file##*/}; done
ifneq ($(MODDIR),/lib/modules)
	echo 'install_tree="$(MODDIR)"' >$(DESTDIR)/etc/dkms/framework.conf.d/00-install-tree.conf
endif

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
	@$(MAKE) --no-print-directory $(PROGRAM)-now mkpkg-now
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target $(HOST) -p dkms-hooks-apt -p dkms-debhelper
	@install -m 0755 target/$(HOST)/release/dkms-apt target/$(HOST)/release/dh_dkms target/

.PHONY: deb-now
deb-now:
	rm -rf $(DEB_DIR)
	mkdir -p $(DEB_DIR)/build
	cp -a packaging/debian $(DEB_DIR)/build/debian
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
	@if [ -e $(DESTDIR)/dkms/usr/lib/dkms/dkms-mkpkg ]; then set -x; mkdir -p $(DESTDIR)/dkms-mkpkg/usr/lib/dkms; \
		mv $(DESTDIR)/dkms/usr/lib/dkms/dkms-mkpkg $(DESTDIR)/dkms-mkpkg/usr/lib/dkms/; fi
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
		install -D -m $$(stat -c %a $$file) $$file $(DESTDIR)/$$file || exit 1; done
	install -D -m 0644 hook-files/rpm/usr/lib/rpm/macros.d/macros.dkms $(DESTDIR)$(RPMMACRODIR)/macros.dkms
	install -D -m 0644 hook-files/rpm/usr/lib/dkms/dnf4/dkms.py $(DESTDIR)$(PYTHON_SITELIB)/dnf-plugins/dkms.py

# The packages, in target/packages/rpm. Whoever has rpmbuild can make them; nothing of theirs depends on this machine.
.PHONY: rpm
rpm:
	@$(NEED) build rpm
	@$(MAKE) --no-print-directory $(PROGRAM)-now $(RPM_HOOKS)-now mkpkg-now
	@$(MAKE) --no-print-directory rpm-prebuilt

# With Rust 1.88 it looks into packages before a transaction; without, it goes by their names.
.PHONY: $(RPM_HOOKS)-now
$(RPM_HOOKS)-now:
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target $(HOST) -p dkms-hooks-dnf \
		$(if $(RUST_188),--features read-rpm,)
	@install -m 0755 target/$(HOST)/release/dkms-rpm $(RPM_HOOKS)

# The same with the programs PROGRAM and RPM_HOOKS as they are.
RPM_OUT = $(CURDIR)/target/packages/rpm
RPM_TOP = $(CURDIR)/target/rpmbuild
.PHONY: rpm-prebuilt
rpm-prebuilt:
	@rm -rf $(RPM_TOP) && mkdir -p $(RPM_TOP)/stage $(RPM_OUT)
	@$(MAKE) --no-print-directory install-rpm DESTDIR=$(RPM_TOP)/stage >/dev/null
	@rpmbuild -bb --quiet --with prebuilt $(if $(wildcard $(MKPKG)),--with mkpkg) --define '_topdir $(RPM_TOP)' --define '_rpmdir $(RPM_OUT)' \
		--define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
		--define 'dkms_stage $(RPM_TOP)/stage' --define '_buildhost localhost' $(RPM_DEFINES) packaging/rpm/dkms.spec
	@ls $(RPM_OUT)

# What a distribution builds from: the source as committed, the crates of Cargo.lock, and the word to cargo that they are
# there; and the spec, from which `rpmbuild -bb --with mkpkg --define "_sourcedir $PWD/target/dist" target/dist/dkms.spec`
# builds the packages without a network (not -tb: crates have specs of their own among their tests).
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
DIST = target/dist/dkms-$(VERSION)
.PHONY: dist
dist:
	@rm -rf target/dist && mkdir -p $(DIST)
	@git archive HEAD | tar x -C $(DIST)
	@cd $(DIST) && mkdir .cargo && cargo vendor --locked vendor >.cargo/config.toml 2>../vendor.log || { cat ../vendor.log; exit 1; }
	@tar cz -C target/dist --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$$(git log -1 --format=%ct)" \
		-f $(DIST).tar.gz dkms-$(VERSION)
	@rm -rf $(DIST) target/dist/vendor.log
	@cp packaging/rpm/dkms.spec target/dist/
	@ls -l target/dist

# The Arch family: what its packages add to `release` and `install`. The preflight program needs libalpm, and may be
# missing: see hooks-pacman.
.PHONY: release-arch
release-arch: release
	@$(MAKE) --no-print-directory target/dkms-alpm-now
	@if pkg-config --exists libalpm 2>/dev/null; then \
		cargo build --locked --release -p dkms-hooks-pacman-preflight --features libalpm && \
		install -m 0755 target/release/dkms-alpm-preflight target/dkms-alpm-preflight; \
	else echo 'no libalpm here: dkms-alpm-preflight is left out'; fi

.PHONY: target/dkms-alpm-now
target/dkms-alpm-now:
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target $(HOST) -p dkms-hooks-pacman --bin dkms-alpm
	@install -m 0755 target/$(HOST)/release/dkms-alpm target/dkms-alpm

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
	@$(MAKE) --no-print-directory $(PROGRAM)-now target/dkms-alpm-now mkpkg-now
	@bash packaging/arch/make-package.sh target

.PHONY: demo
demo:
	@$(NEED) build demo
	@$(MAKE) --no-print-directory $(PROGRAM)-now
	@bash tests/scripts/demo.sh

.PHONY: test
test:
	@$(NEED) build test
	@$(MAKE) --no-print-directory $(PROGRAM)-now $(RPM_HOOKS)-now mkpkg-now target/dkms-alpm-now documents-now
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
	rustc --version
	cargo test --locked -p dkms-core -p dkms-hooks-apt --lib --bins

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

.PHONY: lint
lint:
	@$(NEED) build lint
	@bash tests/scripts/lint-shell.sh
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@[ "$(RUST_188)" != yes ] || { set -x; cargo clippy --locked -p dkms-hooks-dnf -p dkms-tests --features dkms-hooks-dnf/read-rpm,dkms-tests/read-rpm --all-targets -- -D warnings; }
	@# Private items are for the same readers: a link to one is no fault.
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc --locked --workspace --no-deps --document-private-items
