# Packages and kernels, read from their directories; dkms itself is never called.

# The value of the option $1 on the line so far, or $2.
_dkms_option() {
	local -i i
	local value=$2
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		"$1")
			value=${COMP_WORDS[i + 1]-}
			# bash takes "--option=value" for three words.
			[[ $value != = ]] || value=${COMP_WORDS[i + 2]-}
			;;
		esac
	done
	printf '%s\n' "$value"
}

_dkms_root() {
	local root
	root=$(_dkms_option --root '')
	printf '%s\n' "${root%/}"
}

# name/version of what is registered, and with $1 = source also of what could be.
_dkms_packages() {
	local root tree source dir base
	root=$(_dkms_root)
	tree=$root$(_dkms_option --dkmstree /var/lib/dkms)
	source=$root$(_dkms_option --sourcetree /usr/src)
	for dir in "$tree"/*/*/source; do
		[[ -e $dir || -L $dir ]] || continue
		dir=${dir%/source}
		base=${dir%/*}
		printf '%s\n' "${base##*/}/${dir##*/}"
	done
	[[ ${1-} = source ]] || return 0
	for dir in "$source"/*-*/dkms.conf; do
		[[ -e $dir ]] || continue
		dir=${dir%/dkms.conf}
		base=${dir##*/}
		printf '%s\n' "${base%-*}/${base##*-}"
	done
}

_dkms_kernels() {
	local dir
	for dir in "$(_dkms_root)$(_dkms_option --installtree /lib/modules)"/*/; do
		[[ -d $dir ]] || continue
		dir=${dir%/}
		printf '%s\n' "${dir##*/}"
	done
}

_dkms_places() {
	local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} offered='' verb='' word
	if [[ $previous = = ]]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	elif [[ $cur = = ]]; then
		cur=''
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		add | build | install | uninstall | unbuild | remove | status | match | mktarball | mkpkg | mkdeb | mkrpm | mkdriverdisk | sign | why | logs | hold | unhold) verb=$word ;;
		esac
	done
	case $previous in
	-k | --kernelver | --templatekernel) offered=$(_dkms_kernels) ;;
	-m | --module) offered=$(_dkms_packages source) ;;
	esac
	if [[ -z $offered && $cur != -* && $previous != -* ]]; then
		case $verb in
		add | build | install) offered=$(_dkms_packages source) ;;
		?*) offered=$(_dkms_packages) ;;
		esac
	fi
	if [[ -z $offered ]]; then
		_dkms "$@"
		return
	fi
	COMPREPLY=()
	while IFS= read -r word; do
		[[ $word != "$cur"* ]] || COMPREPLY+=("$word")
	done < <(sort -u <<<"$offered")
	# Nothing of ours begins so: bash offers paths then.
}
complete -F _dkms_places -o bashdefault -o default dkms
