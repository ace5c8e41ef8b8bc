# Packages and kernels, read from their directories; dkms itself is never called. Nothing is run in a subshell, which would
# take longer than all the rest: functions leave what they found in variables of their caller.

# The value of the option $1 on the line so far, or $2: in `value`.
_dkms_option() {
	local -i i
	value=$2
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		"$1")
			value=${COMP_WORDS[i + 1]-}
			# bash takes "--option=value" for three words.
			[[ $value != = ]] || value=${COMP_WORDS[i + 2]-}
			;;
		esac
	done
}

# name/version of what is registered, and with $1 = source also of what could be: in `offered`.
_dkms_packages() {
	local value root tree source dir base
	_dkms_option --root '' && root=${value%/}
	_dkms_option --dkmstree /var/lib/dkms && tree=$root$value
	_dkms_option --sourcetree /usr/src && source=$root$value
	for dir in "$tree"/*/*/source; do
		[[ -e $dir || -L $dir ]] || continue
		dir=${dir%/source}
		base=${dir%/*}
		offered+=("${base##*/}/${dir##*/}")
	done
	[[ ${1-} = source ]] || return 0
	for dir in "$source"/*-*/dkms.conf; do
		[[ -e $dir ]] || continue
		dir=${dir%/dkms.conf}
		base=${dir##*/}
		offered+=("${base%-*}/${base##*-}")
	done
}

_dkms_kernels() {
	local value root dir
	_dkms_option --root '' && root=${value%/}
	_dkms_option --installtree /lib/modules
	for dir in "$root$value"/*/; do
		[[ -d $dir ]] || continue
		dir=${dir%/}
		offered+=("${dir##*/}")
	done
}

_dkms_places() {
	local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb='' word
	local -a offered=()
	local -A seen=()
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
	-k | --kernelver | --templatekernel) _dkms_kernels ;;
	-m | --module) _dkms_packages source ;;
	esac
	if [[ ${#offered[@]} = 0 && $cur != -* && $previous != -* ]]; then
		case $verb in
		add | build | install) _dkms_packages source ;;
		?*) _dkms_packages ;;
		esac
	fi
	if [[ ${#offered[@]} = 0 ]]; then
		_dkms "$@"
		return
	fi
	COMPREPLY=()
	for word in "${offered[@]}"; do
		[[ $word = "$cur"* && -z ${seen[$word]-} ]] || continue
		seen[$word]=1
		COMPREPLY+=("$word")
	done
	# Nothing of ours begins so: bash offers paths then.
}
complete -F _dkms_places -o bashdefault -o default dkms
