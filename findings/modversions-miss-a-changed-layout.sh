#!/bin/bash
# Guess: with MODVERSIONS, the checksum of an exported function covers the layout of every structure that its parameters reach: when
# offsets or sizes in it change, the checksum does.
# genksyms of Linux 6.12.117 (Debian): it reads the source's words, not the compiler's layout. __attribute__((packed)) on a
# structure and #pragma pack are not seen. An array of sizeof(struct x) elements, and a member typeof(variable), are the
# words sizeof and typeof, whatever struct x and the variable are by now. A structure that is defined in the .c file, not in a
# header, counts as unknown, with all in it. So: an equal checksum does not mean that two builds fit together; compare BTF or
# DWARF where it has to be known.
. "$(dirname "$0")/lib.sh"
kbuild_root
cat >"$T/root/checksum" <<'CODE'
grep -q -x CONFIG_MODVERSIONS=y /usr/src/linux-headers-*-amd64/.config
# checksum HEADER [SOURCE]: the checksum of f, and the size of struct s
checksum() {
	rm -rf /tmp/x
	mkdir /tmp/x
	printf '%s\n' "$1" 'int f(struct s *p);' >/tmp/x/x.h
	module x one "#include \"x.h\"
${2-}
int f(struct s *p) { return 0; }
EXPORT_SYMBOL_GPL(f);
unsigned char size[sizeof(struct s)];"
	kbuild x modules
	echo "$code $(cut -f 1 /tmp/x/Module.symvers) $(readelf -sW /tmp/x/one.ko | awk '$8 == "size" { print $3 }')"
}
# two WHAT HEADER SOURCE HEADER SOURCE
two() {
	local first second
	read -r -a first <<<"$(checksum "$2" "$3")"
	read -r -a second <<<"$(checksum "$4" "$5")"
	echo "$1: ${first[0]} ${second[0]}, checksum $([ "${first[1]}" = "${second[1]}" ] && echo same || echo other), size ${first[2]} ${second[2]}"
}
CODE
run_inside <<'CODE'
. /checksum
two 'a member more' 'struct s { char c; int a; };' '' 'struct s { char c; int a, b; };' ''
two packed 'struct s { char c; int a; };' '' 'struct s { char c; int a; } __attribute__((packed));' ''
two pragma 'struct s { char c; int a; };' '' '#pragma pack(1)
struct s { char c; int a; };
#pragma pack()' ''
two sizeof 'struct x { char c[4]; }; struct s { char a[sizeof(struct x)]; };' '' 'struct x { char c[8]; }; struct s { char a[sizeof(struct x)]; };' ''
two typeof 'extern struct x { int a; } v; struct s { typeof(v) a; };' 'struct x v;' 'extern struct x { int a, b; } v; struct s { typeof(v) a; };' 'struct x v;'
two 'in the .c file' 'struct s;' 'struct s { int a; };' 'struct s;' 'struct s { int a, b; };'
CODE
same 'for comparison: a member more' 'a member more: 0 0, checksum other, size 8 12' "$(line 1)"
same 'packed' 'packed: 0 0, checksum same, size 8 5' "$(line 2)"
same '#pragma pack' 'pragma: 0 0, checksum same, size 8 5' "$(line 3)"
same 'sizeof' 'sizeof: 0 0, checksum same, size 4 8' "$(line 4)"
same 'typeof' 'typeof: 0 0, checksum same, size 4 8' "$(line 5)"
same 'a structure of the .c file' 'in the .c file: 0 0, checksum same, size 4 8' "$(line 6)"
