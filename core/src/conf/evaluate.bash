# shellcheck shell=bash
# Arrays whose names the caller fills in (2154), names that confs read (2034), words that are split on purpose, and
# array elements named by a variable.
# shellcheck disable=SC2034,SC2086,SC2154,SC2206,SC1087,SC2128
# Evaluates dkms.conf and framework.conf files for conf/bash.rs, many requests in one process.
#
# $1: the directive names of a package's files, $2: those of the framework's, blank separated.
# stdin: requests; stdout: "h" once, before the first request is read, then answers. A file may be hostile, and whatever comes
# after its turn began may be its own doing: the reader takes nothing on trust.
# Both are sequences of NUL-terminated words:
#   request: package|framework
#            N (name file)*     files in order: what each is called, and where it is
#            N (name value)*    variables the files may use
#            N (name index value)*   directives that are set already, and are not expanded any more
#            N (name index append value)*   directives of the command line; append is + or empty
#            release arch       what the patterns are matched against; both empty: no matching
#   answer:  f                  the next file's turn begins
#            s NAME INDEX       this value's second expansion begins
#            v NAME INDEX VALUE a directive's value
#            m NAME INDEX       this pattern matches     r NAME INDEX   it is not a valid one
#            e KIND TEXT        this request failed: unreadable, exit, syntax, large
#            z STATUS           the answer's end; the status is 0 unless bash gave the request up
#
# Everything here begins with __dkms_ because the files share this shell's name space.

__dkms_package=$1 __dkms_framework=$2
set --
shopt -s extglob # as in the classic: files may use such patterns without asking
# How many bytes of values one file may give.
__dkms_limit=1048576

# KiB of memory, for bash and what the files run: whoever never ends does not take the machine along.
builtin ulimit -S -d 1048576 2>/dev/null

__dkms_say() { builtin printf '%s\0' "$@"; }

# One file, in a process of its own: what it sets besides directives ends with it.
# Prints "v NAME INDEX VALUE" for every value that it changed, then "z"; no z means it left early.
__dkms_source() {
    builtin shopt -u lastpipe
    # A pipe would be waited for, a device never ends; a link to /dev/null is an administrator's empty file.
    if [[ ! -r $__dkms_file || ! ( -f $__dkms_file || $__dkms_file -ef /dev/null ) ]]; then
        __dkms_say e unreadable '' z
        return
    fi
    builtin source "$__dkms_file" </dev/null >/dev/null
    __dkms_status=$?
    { builtin set +euvxnf; builtin set +o posix; } 2>/dev/null
    builtin trap - DEBUG ERR RETURN
    IFS=$' \t\n'
    # A parse error and a false last command both give a status above 0: parse again without running.
    if (( __dkms_status != 0 )) &&
        ! ( builtin eval $'set -n\n'"$(<"$__dkms_file")" ) >/dev/null 2>&1; then
        __dkms_say e syntax '' z
        return
    fi
    builtin set -f
    __dkms_total=0
    for __dkms_name in $__dkms_names; do
        builtin local -n __dkms_ref=$__dkms_name
        for __dkms_i in "${!__dkms_ref[@]}"; do
            [[ $__dkms_i == *[!0-9]* ]] && continue
            __dkms_value=${__dkms_ref[$__dkms_i]}
            # What an earlier file set and this one left alone has been expanded already.
            if [[ -n ${__dkms_before[$__dkms_name $__dkms_i]+set} &&
                ${__dkms_before[$__dkms_name $__dkms_i]} == "$__dkms_value" ]]; then
                continue
            fi
            __dkms_dump "$__dkms_name" "$__dkms_i"
        done
    done
    # The way to set a directive from a loop or a function: DKMS_DIRECTIVE_x='NAME=VALUE'.
    for __dkms_name in "${!DKMS_DIRECTIVE@}"; do
        if [[ ${!__dkms_name} =~ ^([A-Za-z_][A-Za-z0-9_]*)(\[([0-9]+)\])?=(.*)$ &&
            " $__dkms_names " == *" ${BASH_REMATCH[1]} "* ]]; then
            __dkms_value=${BASH_REMATCH[4]}
            __dkms_dump "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-0}"
        fi
    done
    __dkms_say z
}

# First stage: every run of white space becomes one blank, and one carriage return at the end goes.
__dkms_dump() {
    (( __dkms_total += ${#__dkms_value} + 16 )) # 16: empty ones count, too
    if (( __dkms_total > __dkms_limit )); then
        __dkms_say e large '' z
        exit 0
    fi
    if [[ $__dkms_value == *[[:space:]]* ]]; then
        __dkms_value="<$__dkms_value>"
        __dkms_words=( $__dkms_value )
        __dkms_value="${__dkms_words[*]}"
        __dkms_value=${__dkms_value#<}
        __dkms_value=${__dkms_value%>}
        __dkms_value=${__dkms_value%$'\r'}
    fi
    __dkms_say v "$1" "$2" "$__dkms_value"
}

# Whether "$__dkms_text" between double quotes is exactly one word. Two readings at once, neither of
# them run: what could end the one early is a parse error in the other. (No [[ ]] and no array here:
# errors in them derange bash's parser or end the shell.)
__dkms_is_word() {
    builtin eval "if false; then case \"$__dkms_text\" in *) ;; esac
        for __dkms_word in \"$__dkms_text\"; do :; done; fi" 2>/dev/null
}

# Second stage: __dkms_value is expanded as if it stood between double quotes. Where its own quotes
# don't allow that they are kept as text; where nothing does, all of it is.
__dkms_expand() {
    [[ $__dkms_value == *[\"\\\$\`]* ]] || return 0
    __dkms_text=$__dkms_value
    if ! __dkms_is_word; then
        __dkms_text=
        __dkms_rest=$__dkms_value
        __dkms_pattern='^(([^"\\]|\\.)*)"(.*)$'
        while [[ $__dkms_rest =~ $__dkms_pattern ]]; do
            __dkms_text+="${BASH_REMATCH[1]}\\\""
            __dkms_rest=${BASH_REMATCH[3]}
        done
        __dkms_text+=$__dkms_rest
        __dkms_is_word || return 0
    fi
    __dkms_say s "$__dkms_name" "$__dkms_i"
    builtin eval "__dkms_value=\"$__dkms_text\"" </dev/null
}

__dkms_set() {
    builtin printf -v "$__dkms_name[$__dkms_i]" %s "$__dkms_value"
    __dkms_before[$__dkms_name $__dkms_i]=$__dkms_value
    __dkms_say v "$__dkms_name" "$__dkms_i" "$__dkms_value"
}

# Sources __dkms_file and takes what it gives; fails after having said why. A pipe whose reader is this shell: `< <( )` is
# opened as /dev/fd/N, which leads to /proc, and that is not mounted in every chroot.
__dkms_take() {
    builtin local __dkms_ended='' __dkms_said=''
    builtin shopt -s lastpipe
    __dkms_source | {
        builtin shopt -u lastpipe
        while IFS= builtin read -r -d '' __dkms_tag; do
            case $__dkms_tag in
            v)
                IFS= builtin read -r -d '' __dkms_name
                IFS= builtin read -r -d '' __dkms_i
                IFS= builtin read -r -d '' __dkms_value
                __dkms_expand
                __dkms_set
                ;;
            e)
                IFS= builtin read -r -d '' __dkms_kind
                __dkms_say e "$__dkms_kind" ''
                __dkms_said=1
                break
                ;;
            z)
                __dkms_ended=1
                break
                ;;
            esac
        done
    }
    __dkms_status=${PIPESTATUS[0]}
    if [[ -n $__dkms_said ]]; then
        return 1
    fi
    if [[ -z $__dkms_ended ]]; then
        __dkms_say e exit "$__dkms_status"
        return 1
    fi
}

# Which patterns match; bash's own =~ decides, so that they mean what they always did.
__dkms_match() {
    for __dkms_name in $1; do
        builtin local -n __dkms_ref=$__dkms_name
        for __dkms_i in "${!__dkms_ref[@]}"; do
            [[ -n ${__dkms_ref[$__dkms_i]} ]] || continue
            [[ $2 =~ ${__dkms_ref[$__dkms_i]} ]] 2>/dev/null
            case $? in
            0) __dkms_say m "$__dkms_name" "$__dkms_i" ;;
            2) __dkms_say r "$__dkms_name" "$__dkms_i" ;;
            esac
        done
    done
}

# One request, in a process of its own: an expansion that fails ends only this one.
__dkms_request() {
    builtin declare -A __dkms_before
    builtin unset -v $__dkms_names
    read_conf_file=${__dkms_files[0]-}
    for (( __dkms_n = 0; __dkms_n < ${#__dkms_variables[@]}; __dkms_n += 2 )); do
        builtin printf -v "${__dkms_variables[__dkms_n]}" %s "${__dkms_variables[__dkms_n + 1]}"
    done
    for (( __dkms_n = 0; __dkms_n < ${#__dkms_given[@]}; __dkms_n += 3 )); do
        __dkms_name=${__dkms_given[__dkms_n]} __dkms_i=${__dkms_given[__dkms_n + 1]}
        builtin printf -v "$__dkms_name[$__dkms_i]" %s "${__dkms_given[__dkms_n + 2]}"
        __dkms_before[$__dkms_name $__dkms_i]=${__dkms_given[__dkms_n + 2]}
    done
    for (( __dkms_turn = 0; __dkms_turn < ${#__dkms_files[@]}; __dkms_turn += 2 )); do
        _conf_file=${__dkms_files[__dkms_turn]} to_source_file=$_conf_file
        __dkms_file=${__dkms_files[__dkms_turn + 1]}
        __dkms_say f
        __dkms_take || return 0
    done
    for (( __dkms_n = 0; __dkms_n < ${#__dkms_directives[@]}; __dkms_n += 4 )); do
        __dkms_name=${__dkms_directives[__dkms_n]} __dkms_i=${__dkms_directives[__dkms_n + 1]}
        __dkms_value=${__dkms_directives[__dkms_n + 3]}
        if [[ ${__dkms_directives[__dkms_n + 2]} == + ]]; then
            builtin local -n __dkms_ref=$__dkms_name
            __dkms_value=${__dkms_ref[$__dkms_i]-}$__dkms_value
        fi
        __dkms_set
    done
    if [[ -n $__dkms_release$__dkms_arch ]]; then
        __dkms_match 'MAKE_MATCH PATCH_MATCH BUILD_EXCLUSIVE_KERNEL' "$__dkms_release"
        __dkms_match BUILD_EXCLUSIVE_ARCH "$__dkms_arch"
    fi
}

# Reads a count and that many times $2 words into the array $1.
__dkms_list() {
    builtin local -n __dkms_into=$1
    __dkms_into=()
    IFS= builtin read -r -d '' __dkms_n
    for (( __dkms_n *= $2; __dkms_n > 0; __dkms_n-- )); do
        IFS= builtin read -r -d '' __dkms_word
        __dkms_into+=("$__dkms_word")
    done
}

__dkms_say h
while IFS= builtin read -r -d '' __dkms_kind; do
    if [[ $__dkms_kind == framework ]]; then
        __dkms_names=$__dkms_framework
    else
        __dkms_names=$__dkms_package
    fi
    __dkms_list __dkms_files 2
    __dkms_list __dkms_variables 2
    __dkms_list __dkms_given 3
    __dkms_list __dkms_directives 4
    IFS= builtin read -r -d '' __dkms_release
    IFS= builtin read -r -d '' __dkms_arch
    ( __dkms_request </dev/null )
    __dkms_say z "$?"
done
