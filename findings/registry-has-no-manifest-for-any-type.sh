#!/bin/bash
# Guess: a GET of a manifest without an Accept header, or with */*, gives what is there, as everywhere in HTTP; at worst 406. A HEAD
# that answers 404 says that it is not there.
# docker-registry 2.8.3: an OCI manifest is 404, MANIFEST_UNKNOWN, unless Accept names its media type word for word: with no Accept, */*
# (what curl sends) and application/*, by tag and by digest, for HEAD and GET. The list of tags has the tag all the while.
# A look whether something was pushed before says "no" for what is there; a health check with curl fails. So: send all four types
# (OCI and Docker, manifest and index) with every request for a manifest, and take a 404 for an answer only then.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9
run_inside <<'CODE'
registry
of=http://127.0.0.1:5000/v2/trial
cd /tmp
echo module >x.ko
digest=$(oras push --plain-http 127.0.0.1:5000/trial:tag x.ko 2>/dev/null | sed -n 's/^Digest: //p')
# asked OPTION…: GET and HEAD by tag, GET by digest
asked() {
	echo "$(curl -s -o body -w '%{http_code}' "$@" "$of/manifests/tag") $(curl -sI -o head -w '%{http_code}' "$@" "$of/manifests/tag")" \
		"$(curl -s -o body -w '%{http_code}' "$@" "$of/manifests/$digest") $(grep -o MANIFEST_UNKNOWN body || true)"
}
oci=application/vnd.oci.image.manifest.v1+json
echo "curl's own: $(asked)"
echo "none: $(asked -H Accept:)"
echo "application: $(asked -H 'Accept: application/*')"
echo "docker: $(asked -H 'Accept: application/vnd.docker.distribution.manifest.v2+json')"
echo "oci: $(asked -H "Accept: $oci")"
echo "tags: $(curl -s "$of/tags/list" | grep -o '\["tag"\]')"
kill %1
CODE
same '*/*' "curl's own: 404 404 404 MANIFEST_UNKNOWN" "$(line 1)"
same 'no Accept' 'none: 404 404 404 MANIFEST_UNKNOWN' "$(line 2)"
same 'application/*' 'application: 404 404 404 MANIFEST_UNKNOWN' "$(line 3)"
same "Docker's type" 'docker: 404 404 404 MANIFEST_UNKNOWN' "$(line 4)"
same "the manifest's own type" 'oci: 200 200 200 ' "$(line 5)"
same 'the list of tags' 'tags: ["tag"]' "$(line 6)"
