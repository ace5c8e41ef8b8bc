#!/bin/bash
# Guess: skopeo delete and oras manifest delete, given a tag, take this tag away, as `docker rmi` and `git tag -d` do.
# skopeo 1.18.0 and oras 1.2.0 with docker-registry 2.8.3: they look the tag's digest up and delete that. Every other tag of
# the same digest is gone with it, exit 0. `stable` and `6.12.0` are often one manifest: cleaning up the old name takes the
# current one. A tag alone can only be moved: point it at a manifest that may go, then delete it. So: look at the digests of
# all tags first.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9 skopeo=1.18.0+ds1-1+b5
run_inside <<'CODE'
registry
trial=127.0.0.1:5000/trial
cd /tmp
tags() { oras repo tags --plain-http "$trial" 2>/dev/null | sort | paste -sd ' '; }
# fresh: three tags, two of them of one manifest
fresh() {
	oras push --plain-http "$trial:old" x.ko >/dev/null 2>&1
	oras tag --plain-http "$trial:old" stable >/dev/null 2>&1
	oras push --plain-http "$trial:other" y.ko >/dev/null 2>&1
}
echo x >x.ko
echo y >y.ko
echo z >z.ko
fresh
echo "tags: $(tags)"
code=0
skopeo delete --tls-verify=false "docker://$trial:old" >/dev/null 2>&1 || code=$?
echo "skopeo: $code, $(tags)"
fresh
code=0
oras manifest delete --plain-http --force "$trial:old" >/dev/null 2>&1 || code=$?
echo "oras: $code, $(tags)"
fresh
oras push --plain-http "$trial:old" z.ko >/dev/null 2>&1
code=0
skopeo delete --tls-verify=false "docker://$trial:old" >/dev/null 2>&1 || code=$?
echo "moved, then deleted: $code, $(tags)"
kill %1
CODE
same 'tags' 'tags: old other stable' "$(line 1)"
same 'skopeo delete old' 'skopeo: 0, other' "$(line 2)"
same 'oras manifest delete old' 'oras: 0, other' "$(line 3)"
same 'old is moved first' 'moved, then deleted: 0, other stable' "$(line 4)"
