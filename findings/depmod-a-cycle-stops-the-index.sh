#!/bin/bash
# Guess: two modules that need each other's symbols can't be loaded, so depmod names them, leaves them out and indexes
# the rest.
# kmod 30 and 34.2: it names them, ends with 1 and writes nothing at all. The index of the last run stays: a module that was
# added at the same time, and has nothing to do with the two, is not found, and one that was removed is still listed. A
# module that depmod can't even read does less harm (a message, 0). kbuild makes such a pair without a word when each has
# the other's Module.symvers. So: after a failed depmod the whole kernel's index is old, not only one module's part of it.
. "$(dirname "$0")/lib.sh"

trial() {
	local root=$T/root-$SUITE code=0
	local dir=$root/lib/modules/1.2.3
	module "$dir/kernel/goes.ko" goes
	index "$dir"
	kmod depmod -b "$root" 1.2.3
	rm "$dir/kernel/goes.ko"
	module "$dir/kernel/comes.ko" comes
	module "$dir/updates/hen.ko" hen egg '' "$(exports hens) $(needs eggs)"
	module "$dir/updates/egg.ko" egg hen '' "$(exports eggs) $(needs hens)"
	kmod depmod -b "$root" 1.2.3 2>/dev/null || code=$?
	same "$SUITE: depmod ends with" 1 "$code"
	same "$SUITE: modules.dep" kernel/goes.ko: "$(cat "$dir/modules.dep")"
	same "$SUITE: modprobe comes" 1 "$(kmod modprobe -d "$root" -S 1.2.3 -n comes >/dev/null 2>&1 || echo $?)"
	rm "$dir/updates/egg.ko"
	kmod depmod -b "$root" 1.2.3
	same "$SUITE: without one of the two" 'kernel/comes.ko: updates/hen.ko: ' "$(sort "$dir/modules.dep" | tr '\n' ' ')"
}
each_kmod trial
