#!/bin/bash
# Guess: `docker-registry garbage-collect -m` (--delete-untagged) removes manifests that nothing leads to any more. What a tagged
# index lists is in use.
# docker-registry 2.8.3 with oras 1.2.0: a manifest that has no tag of its own goes, whether an index lists it or not. oras attaches a
# signature as such a manifest, and notes it in an index under the tag sha256-DIGEST, since this registry knows no referrers. After
# the collection that index is there, `oras discover` shows the signature, exit 0, and its manifest is 404. An index of
# several architectures loses its parts the same way. So: never -m on a registry with signatures; or tag each attached
# manifest, too.
. "$(dirname "$0")/lib.sh"
registry_root oras=1.2.0-1+b9
run_inside <<'CODE'
serve() {
	registry
	server=$!
}
end() {
	kill "$server"
	wait "$server" || true
}
look() {
	code=0
	oras discover --plain-http 127.0.0.1:5000/trial:tag >told 2>/dev/null || code=$?
	echo "$1: discover $code, signatures $(grep -c application/x-trial told || true), $(curl -s -o /dev/null -w '%{http_code}' \
		-H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://127.0.0.1:5000/v2/trial/manifests/$signature")"
}
cd /tmp
serve
echo module >x.ko
echo signature >s
oras push --plain-http 127.0.0.1:5000/trial:tag x.ko >/dev/null 2>&1
signature=$(oras attach --plain-http --artifact-type application/x-trial 127.0.0.1:5000/trial:tag s 2>/dev/null | sed -n 's/^Digest: //p')
look attached
# A manifest that only an index lists, and one that has a tag as well.
oci=application/vnd.oci.image
of=http://127.0.0.1:5000/v2/trial/manifests
put() { curl -s -o /dev/null -w '%{http_code}' -X PUT -H "Content-Type: $oci.$1.v1+json" --data-binary "@$2" "$of/$3"; }
found() { curl -s -o /dev/null -w '%{http_code}' -H "Accept: $oci.manifest.v1+json, $oci.index.v1+json" "$of/$1"; }
digest() { echo "sha256:$(sha256sum "$1" | cut -d ' ' -f 1)"; }
curl -s -o whole -H "Accept: $oci.manifest.v1+json" "$of/tag"
sed 's/"annotations":{/"annotations":{"one":"1",/' whole >one
sed 's/"annotations":{/"annotations":{"two":"2",/' whole >two
for file in one two; do entries="${entries:+$entries,}{\"mediaType\":\"$oci.manifest.v1+json\",\"digest\":\"$(digest "$file")\",\"size\":$(stat -c %s "$file")}"; done
echo "{\"schemaVersion\":2,\"mediaType\":\"$oci.index.v1+json\",\"manifests\":[$entries]}" >index
echo "put: $(put manifest one "$(digest one)") $(put manifest two two) $(put index index index)"
end
docker-registry garbage-collect /registry.yml >/dev/null 2>&1
serve
look collected
end
docker-registry garbage-collect -m /registry.yml >/dev/null 2>&1
serve
look 'collected with -m'
echo "index: $(found index), one $(found "$(digest one)"), two $(found "$(digest two)")"
echo "tags: $(oras repo tags --plain-http 127.0.0.1:5000/trial 2>/dev/null | sed 's/-.*//' | sort | paste -sd ' ')"
end
CODE
same 'attached' 'attached: discover 0, signatures 1, 200' "$(line 1)"
same 'two manifests and an index' 'put: 201 201 201' "$(line 2)"
same 'after garbage-collect' 'collected: discover 0, signatures 1, 200' "$(line 3)"
same 'after garbage-collect -m' 'collected with -m: discover 0, signatures 1, 404' "$(line 4)"
same 'the index, its part without a tag, its part with one' 'index: 200, one 404, two 200' "$(line 5)"
same 'the tags then' 'tags: index sha256 tag two' "$(line 6)"
