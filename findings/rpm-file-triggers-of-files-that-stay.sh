#!/bin/bash
# Guess: `%transfiletriggerun -- /lib/modules` is run when files below that directory are removed, %transfiletriggerpostun
# afterwards with the same list; the name is that of a directory, and a trigger is run for what happens after it was installed.
# rpm 4.20.1: the name is the beginning of a string: /lib/modules-load.d and /lib/modules.txt match. %transfiletriggerun is
# told of all files of a package that is upgraded, also those that the new one brings again; %filetriggerun of those that go.
# Both are told of every file of every other package when the package with the trigger is removed: nothing of that goes. When
# it is installed, the `in` forms are told of all that is there already. %transfiletriggerpostun is run with no list. So:
# write /lib/modules/, and in a trigger for removals look which of the files are gone; the list does not say it.
. "$(dirname "$0")/lib.sh"
root trixie rpm=4.20.1+dfsg-3
run_inside <<'CODE'
export HOME=/root
printf '#!/bin/sh\necho "$1 $(sort | tr "\\n" " ")" >>/told\n' >/told-of
chmod +x /told-of
# package NAME VERSION FILES [MORE]
package() {
	{
		printf '%s\n' "Name: $1" "Version: $2" 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' '%description' 'trial' '%install'
		for file in $3; do echo "mkdir -p %{buildroot}$(dirname "$file"); echo $1 >%{buildroot}$file"; done
		printf '%s\n' '%files' $3 "${4-}"
	} >"/tmp/$1.spec"
	rpmbuild -bb --quiet --define '_rpmdir /tmp' "/tmp/$1.spec" >/dev/null 2>&1
}
# run WHAT COMMAND…
run() {
	local what=$1
	shift
	: >/told
	rpm --nodeps "$@" >/dev/null 2>&1
	echo "$what: $(tr '\n' ';' </told)"
}
package kernel 1 '/lib/modules/6/stays /lib/modules/6/goes'
package kernel 2 '/lib/modules/6/stays /lib/modules/6/comes'
package load 1 '/lib/modules-load.d/x /lib/modules.txt'
package watcher 1 /usr/share/watcher "$(for when in transfiletriggerin transfiletriggerun transfiletriggerpostun filetriggerun; do
	printf '%%%s -- /lib/modules\n/told-of %s\n' "$when" "$when"
done)"
run 'watcher comes' -i /tmp/noarch/kernel-1-1.noarch.rpm
run 'watcher comes' -i /tmp/noarch/watcher-1-1.noarch.rpm
run load -i /tmp/noarch/load-1-1.noarch.rpm
run erased -e load
run upgrade -U /tmp/noarch/kernel-2-1.noarch.rpm
run 'watcher goes' -e watcher
CODE
same 'the trigger is installed after the files' 'watcher comes: transfiletriggerin /lib/modules/6/goes /lib/modules/6/stays ;' "$(line 2)"
same 'names that begin so' 'load: transfiletriggerin /lib/modules-load.d/x /lib/modules.txt ;' "$(line 3)"
same 'their removal' 'erased: transfiletriggerun /lib/modules-load.d/x /lib/modules.txt ;filetriggerun /lib/modules-load.d/x /lib/modules.txt ;transfiletriggerpostun ;' "$(line 4)"
same 'an upgrade' 'upgrade: transfiletriggerun /lib/modules/6/goes /lib/modules/6/stays ;filetriggerun /lib/modules/6/goes ;transfiletriggerin /lib/modules/6/comes /lib/modules/6/stays ;transfiletriggerpostun ;' "$(line 5)"
same 'the trigger is removed before the files' 'watcher goes: transfiletriggerun /lib/modules/6/comes /lib/modules/6/stays ;filetriggerun /lib/modules/6/comes /lib/modules/6/stays ;' "$(line 6)"
