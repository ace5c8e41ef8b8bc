# shellcheck shell=bash
# Prints what compilers are made of, for `compilers::Compilers`: fields that each end with a NUL, the first of a line saying what it is.
#   compiler NAME PATH REAL VERSION    the command, where it is found, what that is a link to, what --version says
#   part FILE                          a file that does its work
#   may FILE                           a file that changes its work, and may not be there, or a link to one that does it
# Arguments: the names of the commands.
declare -A known
# links FILE: the links that lead to it, of which any may be made to lead elsewhere.
links() {
    local at=$1 to n
    for ((n = 0; n < 40; n++)); do
        [[ -L $at ]] || return 0
        printf '%s\0' may "$at"
        to=$(readlink -- "$at")
        [[ $to == /* ]] || to=${at%/*}/$to
        at=$to
    done
}
for name; do
    path=$(type -P -- "$name") || continue
    real=$(readlink -f -- "$path") || continue
    printf '%s\0' compiler "$name" "$path" "$real" "$("$path" --version 2>/dev/null </dev/null)"
    links "$path"
    # What stands before many compilers (ccache) goes by its name.
    key=$real
    [[ ${real##*/} =~ gcc|clang|cc1 ]] || key=$path
    if [[ -z ${known[$key]} ]]; then
        files=("$real")
        for tool in cc1 as ld collect2; do
            file=$(type -P -- "$("$path" "-print-prog-name=$tool" 2>/dev/null </dev/null)") || continue
            links "$file"
            file=$(readlink -f -- "$file") && files+=("$file")
        done
        # The libraries of LLVM and of binutils are the better part of them (ldd(1)).
        mapfile -t libraries < <(ldd "${files[@]}" 2>/dev/null | sed -n 's|^.*[[:blank:]]\(/[^ ]*\) (0x[0-9a-f]*)$|\1|p' | sort -u)
        [[ ${#libraries[@]} -eq 0 ]] || mapfile -t libraries < <(readlink -f -- "${libraries[@]}")
        # gcc(1) reads specs from there if there are any.
        for dir in "$(dirname -- "$("$path" -print-libgcc-file-name 2>/dev/null </dev/null)")" "$(dirname -- "${files[1]:-/.}")"; do
            [[ $dir != /* || $dir == / ]] || printf '%s\0' may "$dir/specs"
        done
        # gcc(1) puts a header in front of every source that is not free-standing.
        for header in $("$path" -M -x c /dev/null 2>/dev/null </dev/null); do
            [[ $header != /* || $header == /dev/* ]] || printf '%s\0' may "$(readlink -f -- "$header")"
        done
        # clang says which of those it has read.
        mapfile -t configured < <("$path" --version 2>/dev/null </dev/null | sed -n 's|^Configuration file: \(/.*\)$|\1|p')
        known[$key]=1
        printf 'part\0%s\0' "${files[@]}" "${libraries[@]}" "${configured[@]}"
    fi
done
exit 0
