#!/bin/bash
# Guess: `docker-registry garbage-collect` beside a running registry only asks for no pushes meanwhile; afterwards the
# registry sees what is on the disk.
# docker-registry 2.8.3 with the cache of its own example configuration (blobdescriptor: inmemory): the server goes on from
# memory. A collected blob is 200 for HEAD, with its length, and 200 with a broken off body for GET; so clients don't upload
# it again. A push of the collected manifest is answered with 201 and stores nothing: its tag is 404 at once, again after
# all blobs were uploaded anew, and until the server is started again and the push repeated. So: a collection ends
# with a restart, and a push is looked at by reading it back.
. "$(dirname "$0")/lib.sh"
root trixie docker-registry=2.8.3+ds1-2+b8 curl=8.14.1-2+deb13u7 iproute2
cat >"$T/root/registry.yml" <<'YML'
version: 0.1
storage:
  filesystem: {rootdirectory: /registry}
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
http: {addr: "127.0.0.1:5000"}
log: {level: error}
YML
run_inside <<'CODE'
repository=http://127.0.0.1:5000/v2/trial type=application/vnd.oci.image.manifest.v1+json
start() {
	docker-registry serve /registry.yml >/dev/null 2>&1 &
	curl -s -o /dev/null --retry 50 --retry-delay 1 --retry-connrefused http://127.0.0.1:5000/v2/
}
digest() { echo "sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)"; }
code() { curl -s -o /dev/null -w '%{http_code}' "$@" || true; }
upload() {
	local to
	to=$(curl -s -o /dev/null -w '%header{location}' -X POST "$repository/blobs/uploads/")
	code -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" "$to&digest=$(digest "$1")"
}
tagged() { code -H "Accept: $type" "$repository/manifests/latest"; }
push() { code -X PUT -H "Content-Type: $type" --data-binary @manifest "$repository/manifests/latest"; }
say() { echo "$*"; }

ip link set lo up
cd /tmp
echo module >layer
echo '{}' >config
printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":3},' \
	"$type" "$(digest config)" >manifest
printf '"layers":[{"mediaType":"application/x-trial","digest":"%s","size":7}]}' "$(digest layer)" >>manifest
start
say first push: $(upload layer) $(upload config) $(push), then $(tagged)
say deletion: $(code -X DELETE "$repository/manifests/$(digest manifest)")
docker-registry garbage-collect /registry.yml >/dev/null 2>&1
say blobs on the disk: $(find /registry -name data | wc -l)
say the layer: HEAD $(code -I "$repository/blobs/$(digest layer)"), GET $(curl -s -o /dev/null -w '%{http_code} with %{size_download} bytes of %header{content-length}' "$repository/blobs/$(digest layer)" || true)
say second push, of the manifest: $(push), then $(tagged)
say third push, of all: $(upload layer) $(upload config) $(push), then $(tagged)
kill %1
wait || true
start
say restarted: $(tagged)
say fourth push: $(upload layer) $(upload config) $(push), then $(tagged)
kill %%
CODE
same 'before' 'first push: 201 201 201, then 200' "$(line 1)"
same 'deletion' 'deletion: 202' "$(line 2)"
same 'collection' 'blobs on the disk: 0' "$(line 3)"
same 'what the server says' 'the layer: HEAD 200, GET 200 with 0 bytes of 7' "$(line 4)"
same 'pushed again' 'second push, of the manifest: 201, then 404' "$(line 5)"
same 'pushed with its blobs' 'third push, of all: 201 201 201, then 404' "$(line 6)"
same 'after a restart' 'restarted: 404' "$(line 7)"
same 'pushed after the restart' 'fourth push: 201 201 201, then 200' "$(line 8)"
