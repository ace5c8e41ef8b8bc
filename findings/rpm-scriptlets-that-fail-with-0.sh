#!/bin/bash
# Guess: rpm's exit code tells that a scriptlet has failed, at least one of the package that was named on the command line; which
# scriptlets stop the operation follows from "before" and "after".
# rpm 4.20.1: %post, %posttrans, %postun, %postuntrans and every kind of trigger may fail: a warning, and 0. So may %triggerprein,
# although it runs before the installation; %pre, %pretrans, %preun and %preuntrans stop the package's part, and rpm ends
# with another number. A module that %posttrans or a file trigger could not build is an installed package and exit 0. So: what
# a trigger or %post has done is looked at afterwards; who needs to stop an installation has %pre and %pretrans alone.
. "$(dirname "$0")/lib.sh"
root trixie rpm=4.20.1+dfsg-3
run_inside <<'CODE'
export HOME=/root
# package NAME SECTION…: its scriptlets fail
package() {
	local name=$1
	shift
	printf '%s\n' "Name: $name" 'Version: 1' 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' '%description' trial '%files' >/tmp/x.spec
	[ "$1" = none ] || printf '%s\nexit 3\n' "$@" >>/tmp/x.spec
	rpmbuild -bb --quiet --define '_rpmdir /tmp' /tmp/x.spec >/dev/null 2>&1
}
# state: what rpm says of the packages
run() {
	local code=0
	rpm --nodeps "$@" >/dev/null 2>&1 || code=$?
	echo "$code"
}
has() { rpm -q "$1" >/dev/null 2>&1 && echo installed || echo absent; }
said=
for section in pretrans pre post posttrans; do
	package "$section" "%$section"
	code=$(run -i "/tmp/noarch/$section-1-1.noarch.rpm")
	said+="$section $code $(has "$section"), "
done
echo "$said"
said=
for section in preuntrans preun postun postuntrans; do
	package "$section" "%$section"
	run -i "/tmp/noarch/$section-1-1.noarch.rpm" >/dev/null
	code=$(run -e "$section")
	said+="$section $code $(has "$section"), "
done
echo "$said"
printf '%s\n' 'Name: target' 'Version: 1' 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' '%description' trial '%install' \
	'mkdir -p %{buildroot}/opt; echo >%{buildroot}/opt/target' '%files' /opt/target >/tmp/target.spec
rpmbuild -bb --quiet --define '_rpmdir /tmp' /tmp/target.spec >/dev/null 2>&1
package watcher '%triggerprein -- target' '%triggerin -- target' '%triggerun -- target' '%triggerpostun -- target' \
	'%filetriggerin -- /opt' '%filetriggerun -- /opt' '%filetriggerpostun -- /opt' '%transfiletriggerin -- /opt' '%transfiletriggerun -- /opt' '%transfiletriggerpostun -- /opt'
run -i /tmp/noarch/watcher-1-1.noarch.rpm >/dev/null
failed() { rpm --nodeps "$@" 2>&1 >/dev/null | grep -c 'scriptlet failed, exit status 3' || true; }
code=0
failures=$(failed -i /tmp/noarch/target-1-1.noarch.rpm)
echo "triggers, installation: $failures failed, target $(has target)"
failures=$(failed -e target)
echo "triggers, removal: $failures failed, target $(has target)"
first=$(run -i /tmp/noarch/target-1-1.noarch.rpm)
echo "exit codes: $first $(run -e target)"
CODE
same 'installation' 'pretrans 1 absent, pre 1 absent, post 0 installed, posttrans 0 installed, ' "$(line 1)"
same 'removal' 'preuntrans 1 installed, preun 1 installed, postun 0 absent, postuntrans 0 absent, ' "$(line 2)"
same 'four triggers' 'triggers, installation: 4 failed, target installed' "$(line 3)"
same 'six triggers' 'triggers, removal: 6 failed, target absent' "$(line 4)"
same 'their exit codes' 'exit codes: 0 0' "$(line 5)"
