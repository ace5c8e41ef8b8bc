# Sourced by the findings. Makes a temporary directory in $T, removed at the end, and fetches pinned public packages
# into it. Nothing outside $T changes.
# shellcheck shell=bash
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

# mirror: the archive that this machine's apt uses.
mirror() {
	apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' | sed -n 's#/*$##; s/^Debian //p' | grep -v security | head -n 1
}

# debian SUITE PACKAGE=VERSION…: unpacks these packages of a Debian suite below $T/SUITE.
debian() {
	local suite=$1 apt=$T/apt-$1 file
	shift
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$T/$suite"
	# What this machine has installed must not choose the version.
	: >"$apt/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $suite main" >"$apt/sources.list"
	local options=(-qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$apt/lists" -o "Dir::State::Status=$apt/status" -o "Dir::Cache=$apt/cache" -o Dir::Etc::Preferences=/dev/null
		-o Dir::Etc::PreferencesParts=/dev/null -o APT::Sandbox::User=root)
	apt-get "${options[@]}" update
	(cd "$apt/debs" && apt-get "${options[@]}" download "$@")
	for file in "$apt"/debs/*.deb; do dpkg-deb -x "$file" "$T/$suite"; done
}

# in_suite SUITE PROGRAM NAME [ARGUMENT…]: runs a program unpacked by `debian`, with that suite's own libraries, under
# the name NAME.
in_suite() {
	local root=$T/$1 program=$2 name=$3 libraries loader
	shift 3
	libraries=$(printf '%s:' "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu)
	for loader in "$root"/lib64/ld-linux* "$root"/usr/lib64/ld-linux* "$root"/lib/ld-linux* "$root"/usr/lib/ld-linux*; do
		[ ! -e "$loader" ] || break
	done
	"$loader" --argv0 "$name" --library-path "$libraries" "$root/$program" "$@"
}

# root SUITE PACKAGE=VERSION…: a small Debian below $T/root with these packages installed, for programs that work on a whole
# root. Asks for root's rights and mmdebstrap. FINDINGS_CACHE names a directory that keeps such roots for the next run.
root() {
	local suite=$1 packages cache
	shift
	packages=$(printf '%s,' "$@")
	mkdir -p "$T/root" "${FINDINGS_CACHE:=$T/roots}"
	cache=$FINDINGS_CACHE/$(echo "$suite,$packages" | sha256sum | cut -c 1-16).tar
	[ -e "$cache" ] || {
		mmdebstrap --quiet --mode=root --variant=essential --include="${packages%,}" "$suite" "$T/new.tar" "$(mirror)" 2>"$T/mmdebstrap" || {
			cat "$T/mmdebstrap" >&2
			exit 1
		}
		mv "$T/new.tar" "$cache"
	}
	tar -C "$T/root" --numeric-owner -xpf "$cache"
}

# run_inside: runs the shell code of standard input in that root, with processes, mounts and a (silent) network of its own.
# `line N` gives a line of what it said.
run_inside() {
	cat >"$T/root/trial"
	said=$(unshare --net -- bash "$(dirname "${BASH_SOURCE[0]}")/../tests/scripts/in-bed.sh" "$T/root" \
		bash -euo pipefail -c '[ ! -e /helpers ] || . /helpers; . /trial')
}
line() { sed -n "$1p" <<<"$said"; }

# registry_root PACKAGE=VERSION…: such a root with docker-registry 2.8.3 and these, and a function `registry` for `run_inside`, which
# starts it at 127.0.0.1:5000; its process is `$!` then.
registry_root() {
	root trixie docker-registry=2.8.3+ds1-2+b8 curl=8.14.1-2+deb13u7 iproute2 "$@"
	cat >"$T/root/registry.yml" <<-'YML'
		version: 0.1
		storage:
		  filesystem: {rootdirectory: /registry}
		  delete: {enabled: true}
		http: {addr: "127.0.0.1:5000"}
		log: {level: error}
	YML
	cat >"$T/root/helpers" <<-'CODE'
		registry() {
			ip link set lo up
			docker-registry serve /registry.yml >/dev/null 2>&1 &
			curl -s -o /dev/null --retry 50 --retry-delay 1 --retry-connrefused http://127.0.0.1:5000/v2/
		}
	CODE
}

# kbuild_root: such a root with the headers of Linux 6.12.117, and two functions for `run_inside`.
kbuild_root() {
	root trixie linux-headers-6.12.117+deb13-amd64=6.12.117-1 make=4.4.1-2 kmod=34.2-2 xz-utils
	cat >"$T/root/helpers" <<-'CODE'
		# module DIRECTORY NAME [CODE]: a module's source, and its line in the Makefile
		module() {
			mkdir -p "/tmp/$1"
			printf '%s\n' '#include <linux/module.h>' 'MODULE_LICENSE("GPL");' 'MODULE_DESCRIPTION("trial");' "${3-}" >"/tmp/$1/$2.c"
			echo "obj-m += $2.o" >>"/tmp/$1/Makefile"
		}
		# kbuild DIRECTORY WORD…: runs make; its exit code is in $code, what it said in /told
		kbuild() {
			local dir=/tmp/$1
			shift
			code=0
			make -s -C /usr/src/linux-headers-*-amd64 "M=$dir" "$@" >/told 2>&1 || code=$?
		}
	CODE
}

# crate_trial DEPENDENCY…: a program in $T/trial, of the code of standard input and these lines of its Cargo.toml.
crate_trial() {
	mkdir -p "$T/trial/src"
	printf '%s\n' '[package]' 'name = "trial"' 'version = "0.0.0"' 'edition = "2021"' '[dependencies]' "$@" >"$T/trial/Cargo.toml"
	cat >"$T/trial/src/main.rs"
}

# kmod NAME [ARGUMENT…]: depmod, modprobe or modinfo of the kmod in use: `each_kmod` sets SUITE and KMOD.
# shellcheck disable=SC2153
kmod() {
	local name=$1
	shift
	in_suite "$SUITE" "$KMOD" "$name" "$@"
}

# each_kmod FUNCTION: calls it with kmod 30 of Debian 12 and kmod 34.2 of Debian 13.
each_kmod() {
	debian bookworm kmod=30+20221128-1 libkmod2=30+20221128-1 libzstd1 liblzma5 libssl3 libc6
	debian trixie kmod=34.2-2 libkmod2=34.2-2 libzstd1 liblzma5 libssl3t64 libc6
	SUITE=bookworm KMOD=bin/kmod "$1"
	SUITE=trixie KMOD=usr/bin/kmod "$1"
}

# module FILE NAME [DEPENDS [DESCRIPTION [CODE [FIELD]]]]: a kernel module, as far as kmod looks at one. FIELD is one more
# KEY=VALUE of its .modinfo.
module() {
	mkdir -p "$(dirname "$1")"
	{
		printf 'const char modinfo[] __attribute__((section(".modinfo"), used)) = '
		printf '"license=GPL\\0name=%s\\0depends=%s\\0description=%s%s";\n' "$2" "${3-}" "${4-}" "${6:+\\0$6}"
		printf 'struct module { char bytes[1024]; } __this_module __attribute__((section(".gnu.linkonce.this_module"))) = {{0}};\n'
		printf '%s\n' "${5-}"
	} >"$T/module.c"
	gcc -c -o "$1" "$T/module.c"
}

# exports SYMBOL, needs SYMBOL: code for `module`: it exports this symbol to modules, it uses that of another module.
exports() { printf 'const char name_of_%s[] __attribute__((section("__ksymtab_strings"), used)) = "%s";' "$1" "$1"; }
needs() { printf 'extern int %s; int *to_%s = &%s;' "$1" "$1" "$1"; }

# index DIRECTORY: the files beside a kernel's modules that depmod reads and a kernel package brings.
index() {
	touch "$1/modules.order" "$1/modules.builtin" "$1/modules.builtin.modinfo"
}

# same WHAT EXPECTED SEEN: fails if what was seen has changed.
same() {
	[ "$2" = "$3" ] || {
		printf 'changed: %s\n expected: %s\n seen: %s\n' "$1" "$2" "$3" >&2
		exit 1
	}
	printf 'seen: %s: %s\n' "$1" "$3"
}
