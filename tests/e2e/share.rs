//! Builds that machines share: by way of Debian's registry, a directory and a web server. Whatever befalls a share, the outcome is a build
//! of one's own, or a record that says what is waited for.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// What every script begins with. `hello` and `other` are in /usr/src; the network is one of the case's own.
const PRELUDE: &str = r#"
k={k}; cache=/var/cache/dkms; conf=/etc/dkms/framework.conf.d/share.conf; keys=/etc/dkms/share.d
ip link set lo up
fail() { echo "FAILED: $*" >&2; cat /tmp/said >&2; exit 99; }
has() { grep -qF -- "$1" /tmp/said || fail "no '$1'"; }
hasnt() { (! grep -qF -- "$1" /tmp/said) || fail "'$1'"; }
said() { "$@" >/tmp/said 2>&1 || fail "$*: exit $?"; }
ends() { local code=0; "${@:2}" >/tmp/said 2>&1 || code=$?; [ $code = $1 ] || fail "${*:2}: exit $code"; }
# listens PORT: waits for it.
listens() { timeout 60 bash -c "until (: </dev/tcp/127.0.0.1/$1) 2>/dev/null; do read -rt 0.05 <> <(:) || true; done" || fail "nothing listens at $1"; }
# registry PORT [LINE...]: Debian's, with its files in /srv/PORT.
registry() {
	mkdir -p /srv/$1
	printf '%s\n' 'version: 0.1' 'log: {level: error, accesslog: {disabled: true}}' \
		"storage: {filesystem: {rootdirectory: /srv/$1}, delete: {enabled: true}}" \
		"http:" "  addr: 127.0.0.1:$1" "  secret: x" "${@:2}" >/srv/$1.yml
	docker-registry serve /srv/$1.yml >/srv/$1.log 2>&1 & pid=$!; listens $1
}
share() { printf 'share="%s"\nshare_time_limit="2s"\n' "$1" >$conf; [ $# = 1 ] || printf '%s\n' "${@:2}" >>$conf; }
# fresh: as another machine, which has not built anything yet.
fresh() { dkms unbuild hello/1.0 -k $k >/dev/null 2>&1 || true; rm -rf $cache/results $cache/share; }
module() { xz -dc /var/lib/dkms/hello/1.0/$k/x86_64/module/hello.ko.xz; }
clean() { [ -z "$(find $cache /srv/dir -name '.dkms-*' 2>/dev/null)" ] || fail "left: $(find $cache /srv/dir -name '.dkms-*')"; }
built() { fresh; said dkms build hello/1.0 -k $k; has 'Building module(s)...'; hasnt 'Taken from'; clean; }
shared() { fresh; said dkms build hello/1.0 -k $k; has 'Taken from the share '; hasnt 'Building module'; module | cmp - /root/first || fail 'another module'; clean; }
key() { dkms share list hello --format json | jq -r .key; }
# A private authority, and a server's key with its certificate, in the working directory.
certificates() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost 2>/dev/null
	openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out s.crt -days 2 -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) 2>/dev/null
}
login() { printf '{"auths":{"localhost:5000":{"auth":"%s"}}}' $(printf %s "$1" | base64) >$keys/auth.json; }
"#;

fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || run(text, &[], ["hello", "other"].map(str::to_owned))
}

fn fleet() -> Result<()> {
    run(FLEET, &[], (1..=8).map(|n| format!("fleet{n}")))
}

fn slurm() -> Result<()> {
    run(SLURM, &["slurm-wlm", "munge", "procps", "hostname"], (1..=60).map(|n| format!("task{n:02}")))
}

/// Runs a script in a bed with these packages of Debian's, and sources of ours.
fn run(text: &str, packages: &[&str], sources: impl IntoIterator<Item = String>) -> Result<()> {
    let bed = Bed::subject(&Base::fleet(packages)?)?;
    let program = settings::beside("dkms-share").context("there is no dkms-share")?;
    bed.copy_in(&program, "/usr/lib/dkms/dkms-share")?;
    for (file, place) in [
        ("docs/examples/share", "/root/share"),
        ("tests/corpus/kubernetes/job-1.33.json", "/root/job-1.33.json"),
        ("tests/scripts/hostile-registry.py", "/usr/local/bin/hostile-registry"),
        ("tests/scripts/token-server.py", "/usr/local/bin/token-server"),
    ] {
        bed.copy_in(&settings::project().join(file), place)?;
    }
    let hand = tempfile::tempdir()?;
    for name in sources {
        package(&name).build_in(hand.path())?;
    }
    bed.copy_in(hand.path(), "/root/sources")?;
    bed.ok("chmod 755 /root/sources; cp -r /root/sources/. /usr/src")?;
    let text = fill(bed.base(), &format!("{PRELUDE}{text}"));
    let outcome = bed.run(&["unshare", "--net", "bash", "-ec", &text])?;
    ensure!(outcome.code == 0, "exit code {}\n{}", outcome.code, outcome.tail());
    Ok(())
}

/// One machine builds, the next ones fetch; skopeo copies it elsewhere; minisign checks what was signed; what is deleted is gone.
const REGISTRY: &str = r#"
registry 5000; registry 5001
# Without a word of a share, nothing of it runs.
strace -f -e trace=execve -o /tmp/trace dkms build hello/1.0 -k $k >/tmp/said 2>&1 || fail build
(! grep -q dkms-share /tmp/trace) || fail 'the program was started'
share oci+http://127.0.0.1:5000/dkms/modules 'share_push="yes"'
ends 2 dkms share prune; ends 2 dkms share sing; said dkms share --help; has keygen
said dkms share keygen ci --expires 2099-12-31; has "copy it to every machine"; ends 2 dkms share keygen ci
built; has 'Pushed to the share oci+http://127.0.0.1:5000/dkms/modules.'; module >/root/first
shared; has 'Taken from the share oci+http://127.0.0.1:5000/dkms/modules, built on '
said dkms status; has ': built'
# Once more it is this machine's own.
dkms unbuild hello/1.0 -k $k >/dev/null; said dkms build hello/1.0 -k $k; has 'Taken from the result cache'
said dkms share list; has "hello/1.0, $k (x86_64): trusted"; has 'signed by ci'
said dkms share list hello/1.1; hasnt hello; said dkms share list -k 6.0; hasnt hello
said dkms share verify hello -k $k; has 'whole'; said dkms share push; has 'there already'
key=$(key); [ ${#key} = 64 ] || fail "key $key"
# A person finds it by its names.
skopeo list-tags --tls-verify=false docker://127.0.0.1:5000/dkms/modules >/tmp/said; has "$key"; has "hello_1.0_${k//+/_}_x86_64.${key:0:12}"
# Another program checks the signature.
skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/dkms/modules:$key >/tmp/manifest
jq -r '.annotations["org.dkms.signature"]' /tmp/manifest >/tmp/record.minisig
cp /srv/5000/docker/registry/v2/blobs/sha256/*/$(jq -r .config.digest /tmp/manifest | cut -d: -f2)/data /tmp/record
said minisign -V -p $keys/ci.pub -m /tmp/record; has "hello/1.0 for kernel $k (x86_64), key $key"
# The registry's own cleaning leaves it.
docker-registry garbage-collect --delete-untagged /srv/5000.yml >/dev/null 2>&1; shared
# Another client copies it elsewhere, and it is taken from there.
skopeo copy --quiet --src-tls-verify=false --dest-tls-verify=false docker://127.0.0.1:5000/dkms/modules:$key docker://127.0.0.1:5001/copy:$key
share oci+http://127.0.0.1:5001/copy; shared
# Or over a disk.
skopeo copy --quiet --src-tls-verify=false docker://127.0.0.1:5001/copy:$key oci-archive:/tmp/disk.tar:x
skopeo copy --quiet --dest-tls-verify=false oci-archive:/tmp/disk.tar:x docker://127.0.0.1:5001/second:$key
share oci+http://127.0.0.1:5001/second; shared
# By hand.
share oci+http://127.0.0.1:5000/dkms/modules; fresh; said dkms share pull hello; has pulled; said dkms build hello/1.0 -k $k; has 'Taken from the result cache'
said dkms share push other; hasnt other; said dkms build other/1.0 -k $k; said dkms share push other --dry-run; has 'would be pushed'
said dkms share list; hasnt other; said dkms share push other; has 'pushed, '; said dkms share list; has 'other/1.0'
# What is deleted is built again; what is younger stays.
said dkms share prune hello --older-than 1; hasnt deleted; shared
touch -d '2 days ago' /tmp/then; said dkms share prune hello --older-than 0 --dry-run; has 'would be deleted'; shared
said dkms share prune hello --older-than 0; has deleted; said dkms share list; hasnt hello; has other; built
"#;

/// Whatever a registry does, the module is built here, nothing is left behind, and the next time it is taken.
const HOSTILE: &str = r#"
registry 5001; echo pass >/tmp/mode; hostile-registry 5000 5001 /tmp/mode /tmp/log & listens 5000
share oci+http://127.0.0.1:5000/d 'share_push="yes"'; said dkms share keygen
# It dies while it is pushed to: nothing can be found there, and the build is as good as any.
echo dies >/tmp/mode; built; has 'could not be pushed'; module >/root/first
echo pass >/tmp/mode; said dkms share list; hasnt hello; said dkms share push; has 'pushed, '
said dkms build other/1.0 -k $k; said dkms share push other; other=$(dkms share list other --format json | jq -r .key); [ ${#other} = 64 ] || fail "key $other"
sed -i /share_push/d $conf
for mode in 500 401 403 404 429 hang loop away garbage huge endless slow cut flip unsigned record "other $other"; do
	echo "$mode" >/tmp/mode; : >/tmp/log; SECONDS=0; built; [ $SECONDS -lt 30 ] || fail "$mode takes $SECONDS s"; grep -q GET /tmp/log || fail "$mode: not asked"
	case $mode in
	404) hasnt Warning ;;
	garbage | huge | endless | flip | unsigned | record | other*) has 'is not used: ' ;;
	*) has 'could not be asked for hello/1.0' ;;
	esac
	cp /tmp/said /root/said.${mode% *}
	echo pass >/tmp/mode; shared
done
cp /root/said.unsigned /tmp/said; has 'the artefact is not signed'; cp /root/said.record /tmp/said; has 'was changed after it was signed'
cp /root/said.other /tmp/said; has 'has another artefact under this key: other/1.0'
# Who is away is left alone, and asked again later; the others' packages do not wait.
echo 500 >/tmp/mode; built; dkms unbuild hello/1.0 -k $k >/dev/null; rm -r $cache/results; : >/tmp/log
said dkms build hello/1.0 -k $k; has 'Building module'; hasnt Warning; [ ! -s /tmp/log ] || fail 'it was asked again'
echo pass >/tmp/mode; sed -i 's/"since":[0-9]*/"since":1/' $cache/share/away.json; dkms unbuild hello/1.0 -k $k >/dev/null; rm -r $cache/results
said dkms build hello/1.0 -k $k; has 'Taken from the share'; [ ! -e $cache/share/away.json ] || fail 'it is still away'
# Nobody listens at all; no such host; an address that is none; no program.
for address in oci+http://127.0.0.1:9/d oci://nowhere.invalid/d oci://127.0.0.1:5000/d nonsense file:///nowhere; do share $address; built; has 'could not be asked for'; done
share oci+http://127.0.0.1:5000/d; shared; mv /usr/lib/dkms/dkms-share /root; built; has 'is not installed'; ends 127 dkms share list; has dkms-share
mv /root/dkms-share /usr/lib/dkms; echo garbage >/tmp/mode; ends 23 dkms share list; echo 500 >/tmp/mode; ends 22 dkms share list
"#;

/// Whom this machine believes.
const TRUST: &str = r#"
share file:///srv/dir 'share_push="yes"'; mkdir /srv/dir; said dkms share keygen one; cp /etc/dkms/share.key /root/one.key
built; module >/root/first; shared; key=$(key)
refused() { built; has 'is not used: '; has "$1"; shared_again; }
shared_again() { :; }
sed -i /share_push/d $conf
mv $keys/one.pub /root; refused 'nobody is trusted here'
# Another key, which is trusted, has not signed it.
rm /etc/dkms/share.key; said dkms share keygen two; refused 'which is not trusted here'; mv /root/one.pub $keys; shared
identity=$(sed -n '1s/.*key \([0-9A-F]*\).*/\1/p' $keys/one.pub)
sed -i '1s/$/ expires=2020-01-01/' $keys/one.pub; refused 'which has expired'; sed -i '1s/2020/2120/' $keys/one.pub; shared
echo "$identity # lost" >$keys/revoked; refused 'which is revoked'; echo "$key" >$keys/revoked; refused 'the artefact is revoked'
# A list that can't be read stops everything.
echo oops >$keys/revoked; built; has 'is neither'; rm $keys/revoked; shared
chmod 666 $keys/one.pub; refused 'others may write to it'; chmod 644 $keys/one.pub; shared; chmod 777 $keys; built; has 'others may write to it'; chmod 755 $keys; shared
# What a stranger has pushed is replaced by who is trusted.
mv $keys/one.pub /root; printf 'share_push="yes"\n' >>$conf; built; has 'Pushed'; module >/root/first; shared; said dkms share list; has 'signed by two'
# The key stays private.
chmod 644 /etc/dkms/share.key; rm -r /srv/dir/*; built; has 'others may read this private key'
"#;

/// A registry that wants a password, by TLS from a private authority; a directory; the same through a web server.
const ROADS: &str = r#"
cd /root; certificates
perl -e 'print "dkms:" . crypt("secret", q($2y$05$abcdefghijklmnopqrstuu)) . "\n"' >/srv/users
registry 5000 '  tls: {certificate: /root/s.crt, key: /root/s.key}' 'auth: {htpasswd: {realm: r, path: /srv/users}}'
share oci://localhost:5000/d 'share_push="yes"'; said dkms share keygen
built; has 'could not be asked for'; cp ca.crt $keys/private.crt; built; has '401'
login dkms:wrong; built; has '401'; login dkms:secret; built; has 'Pushed'; module >/root/first; shared
said dkms share verify; has whole
# In the clear a password goes nowhere but to this machine.
said dkms share list; has 'hello/1.0'
# A directory, and two machines that miss at once: both build, both push, both are right.
share file:///srv/dir 'share_push="yes"'; mkdir /srv/dir; fresh
for m in a b; do
	mkdir -p /srv/tree.$m /srv/cache.$m; dkms add hello/1.0 --dkmstree /srv/tree.$m >/dev/null
	unshare -m bash -ec "mount --bind /srv/cache.$m $cache; dkms build hello/1.0 -k $k --dkmstree /srv/tree.$m" >/root/said.$m 2>&1 & eval $m=$!
done
wait $a || fail a; wait $b || fail b; cat /root/said.[ab] >/tmp/said; has Pushed
# (Built in another directory, it has another build-id.)
fresh; said dkms build hello/1.0 -k $k; has 'Taken from the share'; module >/root/first
shared; said dkms share verify; has whole; [ $(dkms share list --format json | wc -l) = 1 ] || fail 'not one artefact'
# The same through a web server, which can only be read.
(cd /srv/dir; exec python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) & listens 8000
share http://127.0.0.1:8000/; shared; said dkms share list; has 'hello/1.0'; said dkms share verify; has whole; ends 2 dkms share prune --older-than 0
# Damaged there: built; pushed again: mended.
share file:///srv/dir 'share_push="yes"'
for f in /srv/dir/blobs/sha256/*; do printf X | dd of=$f bs=1 conv=notrunc status=none; done; built; has 'something else under the digest'; module >/root/first; shared
find /srv/dir/blobs -type f -exec touch -d '2 days ago' {} +; said dkms share prune --older-than 0; [ -z "$(find /srv/dir/blobs -type f)" ] || fail 'blobs are left'
# A machine that does not build waits, and says so.
share file:///srv/dir 'build_locally="never"'; fresh; ends 22 dkms build hello/1.0 -k $k; has 'The share has no build of hello/1.0'
said dkms status --long; has 'waiting for a build in the share'
said dkms reconcile -k $k; has 'waiting for a build in the share'; [ ! -e /lib/modules/$k/updates/dkms/hello.ko.xz ] || fail 'it was built'
share file:///srv/dir 'share_push="yes"'; built; share file:///srv/dir 'build_locally="never"'; fresh
said dkms reconcile -k $k; [ -e /lib/modules/$k/updates/dkms/hello.ko.xz ] || fail 'it was not installed'; said dkms status; has ': installed'
"#;

/// A registry that sends its clients to a server for tokens: nobody may pull, who has a name may push, and a wrong one is told of.
const TOKENS: &str = r#"
cd /root; certificates; token-server 5443 s.crt s.key /tmp/tokens & listens 5443
registry 5000 '  tls: {certificate: /root/s.crt, key: /root/s.key}' \
	'auth: {token: {realm: "https://localhost:5443/token", service: fleet, issuer: tokens, rootcertbundle: /root/ca.crt}}'
share oci://localhost:5000/d/m 'share_push="yes"'; said dkms share keygen; cp ca.crt $keys/private.crt
built; has 'could not be pushed'; has 'status 401'; grep -qx 'nobody repository:d/m:pull' /tmp/tokens || fail "$(cat /tmp/tokens)"
login dkms:wrong; built; has 'status 401'; grep -q '^dkms ' /tmp/tokens || fail "$(cat /tmp/tokens)"
login dkms:secret; built; has 'Pushed'; module >/root/first; grep -qx 'dkms repository:d/m:pull,push' /tmp/tokens || fail "$(cat /tmp/tokens)"
shared; said dkms share verify; has whole; rm $keys/auth.json; shared
# The password is for the server of tokens alone, and that only by TLS.
login dkms:secret; sed 's|https://localhost:5443|http://localhost:5443|; s|127.0.0.1:5000|127.0.0.1:5002|; s|/srv/5000|/srv/5002|' /srv/5000.yml >/srv/5002.yml
docker-registry serve /srv/5002.yml >/srv/5002.log 2>&1 & listens 5002; sed -i 's/5000/5002/' $keys/auth.json
share oci://localhost:5002/d/m; : >/tmp/tokens; built; has 'which has no TLS'; [ ! -s /tmp/tokens ] || fail 'it was asked'
"#;

/// A machine without a compiler and without headers takes what was built for this build of its kernel, and nothing else.
const BARE: &str = r#"
share file:///srv/dir 'share_push="yes"'; mkdir /srv/dir; said dkms share keygen; built; module >/root/first; said dkms build other/1.0 -k $k
# Headers of another build than the image: what follows from them is not for this kernel.
share file:///srv/dir 'build_locally="never"'; cp /boot/vmlinuz-$k /root; LC_ALL=C sed -i '0,/) #1 SMP/s/) #1 SMP/) #9 SMP/' /boot/vmlinuz-$k
ends 22 dkms build hello/1.0 -k $k --force; has 'has no build of'; cp /root/vmlinuz-$k /boot; said dkms build hello/1.0 -k $k --force; has Taken
fresh; dkms unbuild other/1.0 -k $k >/dev/null; mkdir /root/away; mv /usr/bin/*gcc* /usr/bin/cc /usr/bin/make /usr/bin/ld* /usr/bin/as /usr/bin/*-ld* /usr/bin/*-as /root/away 2>/dev/null || true
rm -r /usr/src/linux-headers-* /usr/src/linux-kbuild-* /usr/lib/linux-kbuild-* /lib/modules/$k/build /lib/modules/$k/source 2>/dev/null || true
[ ! -e /lib/modules/$k/build/include ] || fail 'headers are left'; for p in gcc cc make ld as; do (! command -v $p) || fail "$p is left"; done
# Who would build says what is missing.
share file:///srv/dir; ends 21 dkms build hello/1.0 -k $k; has 'Your kernel headers'
share file:///srv/dir 'build_locally="never"'; said dkms build hello/1.0 -k $k; has 'Taken from the share file:///srv/dir, for this build of the kernel, built on '
module | cmp - /root/first || fail 'another module'; clean; dkms why hello -k $k >/tmp/said 2>&1 || true; has 'none are needed'
fresh; said dkms reconcile -k $k; hasnt 'Building module'; said dkms status; [ $(grep -c ': installed' /tmp/said) = 2 ] || fail status
said dkms reconcile -k $k; hasnt Taken; dkms doctor >/tmp/said 2>&1 || true; hasnt headers
# Another source, another build of the kernel, another command: nothing of that is there.
echo >>/usr/src/hello-1.0/hello.c; ends 22 dkms build hello/1.0 -k $k --force; has 'The share has no build of hello/1.0'; sed -i '$d' /usr/src/hello-1.0/hello.c
cp /boot/vmlinuz-$k /root; LC_ALL=C sed -i '0,/) #1 SMP/s/) #1 SMP/) #9 SMP/' /boot/vmlinuz-$k; ends 22 dkms build hello/1.0 -k $k --force; has 'has no build of'; cp /root/vmlinuz-$k /boot
echo 'MAKE="make FEATURE=1"' >/etc/dkms/hello.conf; ends 22 dkms build hello/1.0 -k $k --force; has 'has no build of'; rm /etc/dkms/hello.conf
echo 'PRE_BUILD="own-step.sh"' >/etc/dkms/hello.conf; ends 22 dkms build hello/1.0 -k $k --force; has 'PRE_BUILD, which may look at anything'; rm /etc/dkms/hello.conf
said dkms build hello/1.0 -k $k --force; has 'Taken from the share'
# Nobody trusted, nobody there: said, waited for, and no more than once a run.
mv $keys/builder.pub /root; fresh; ends 22 dkms build hello/1.0 -k $k; has 'nobody is trusted here'; mv /root/builder.pub $keys
share file:///nowhere 'build_locally="never"'; for p in hello other; do dkms unbuild $p/1.0 -k $k >/dev/null; done; rm -rf $cache/results
ends 22 dkms autoinstall -k $k; has 'waits for a build in the share of module(s) hello other'; [ $(grep -c 'the share could not be asked for' /tmp/said) = 1 ] || fail 'not said once'
# What depends on what waits, waits; nothing has failed.
echo 'BUILD_DEPENDS="hello"' >/etc/dkms/other.conf; ends 22 dkms autoinstall -k $k; has 'waits for a build in the share of module(s) hello other'; hasnt 'failed to install'; rm /etc/dkms/other.conf
share file:///srv/dir 'build_locally="never"'; mv /usr/lib/dkms/dkms-share /root; dkms reconcile -k $k >/tmp/said 2>&1 || true
[ $(grep -c 'the share could not be asked for' /tmp/said) = 1 ] || fail 'not said once'; has 'is not installed (package dkms-share)'; has 'waiting for a build in the share'
mv /root/dkms-share /usr/lib/dkms; said dkms reconcile -k $k; said dkms status; [ $(grep -c ': installed' /tmp/said) = 2 ] || fail status
"#;

/// What the guide gives to a cluster is what its scheduler takes, by the schema that it publishes.
const KUBERNETES: &str = r#"
cat >/tmp/check.py <<'END'
import copy, json, jsonschema, yaml
job = yaml.safe_load(open("/root/share/kubernetes-job.yaml"))
schema = jsonschema.Draft202012Validator(json.load(open("/root/job-1.33.json")))
print(*(f"{list(error.path)}: {error.message}" for error in schema.iter_errors(job)))
# The same with a mistake: is it seen?
pod = lambda job: job["spec"]["template"]["spec"]
for mistake in [
    lambda job: job.update(apiVersion="batch/v2"),
    lambda job: job["spec"].update(completion=3),
    lambda job: job["spec"].update(completions="many"),
    lambda job: pod(job)["containers"][0].pop("name"),
    lambda job: pod(job)["volumes"][0].update(configMap={"named": "x"}),
]:
    wrong = copy.deepcopy(job)
    mistake(wrong)
    print("seen" if not schema.is_valid(wrong) else "missed")
END
said python3 /tmp/check.py; [ "$(tr '\n' ' ' </tmp/said)" = ' seen seen seen seen seen ' ] || fail 'not as the schema says'
"#;

/// Tasks for a scheduler: what is lacking is planned, done once, and refused where it would be another build.
const TASKS: &str = r#"
share file:///srv/dir; mkdir /srv/dir; said dkms share keygen; said dkms add hello/1.0; said dkms add other/1.0
cp -r /usr/src/hello-1.0 /usr/src/hidden-1.0; sed -i 's/"hello"/"hidden"/; s/^PACKAGE_NAME=.*/PACKAGE_NAME=hidden/' /usr/src/hidden-1.0/dkms.conf
printf '#!/bin/sh\n:\n' >/usr/src/hidden-1.0/x.sh; chmod +x /usr/src/hidden-1.0/x.sh; echo PRE_BUILD=x.sh >>/usr/src/hidden-1.0/dkms.conf; said dkms add hidden/1.0
dkms share plan -k $k 2>/tmp/said >/srv/tasks; has 'hidden/1.0 for kernel'; has 'is not shared'; [ $(wc -l </srv/tasks) = 2 ] || fail "$(cat /srv/tasks)"
said dkms share build --tasks /srv/tasks --index 0 --dry-run; has 'would be built and pushed'; [ -z "$(ls /srv/dir)" ] || fail 'a dry run pushed'
said dkms share build --tasks /srv/tasks --index 0; has 'Building module(s)...'; has 'pushed, '
said dkms share build --tasks /srv/tasks --index 0; has 'there already'; hasnt Building; [ $(dkms share plan -k $k 2>/dev/null | wc -l) = 1 ] || fail plan
# In two places at once.
task=$(sed -n 2p /srv/tasks); dkms share build --task "$task" >/root/a 2>&1 & a=$!; dkms share build --task "$task" >/root/b 2>&1 || fail b; wait $a || fail a
[ -z "$(dkms share plan -k $k 2>/dev/null)" ] || fail plan; said dkms share verify; [ $(grep -c whole /tmp/said) = 2 ] || fail verify
# What is built is taken elsewhere; what is another source's is no part of the plan.
fresh; said dkms build hello/1.0 -k $k; has 'Taken from the share'; rm -r /srv/dir/*; fresh; echo ' ' >>/usr/src/hello-1.0/hello.c
ends 23 dkms share build --tasks /srv/tasks --index 0; has 'than was planned'; ends 18 dkms share build --tasks /srv/tasks --index 5; ends 2 dkms share build --task '{}'
# One that can't be built.
echo '#error no' >/usr/src/hello-1.0/hello.c; ends 10 dkms share build --task "$(dkms share plan hello -k $k)"; has 'was not built'; [ -z "$(ls /srv/dir)" ] || fail pushed
"#;

/// A thousand machines with the same kernel get eight modules that one has built; nobody else compiles.
const FLEET: &str = r#"
registry 5000; share oci+http://127.0.0.1:5000/fleet 'share_push="yes"'; said dkms share keygen
for n in 1 2 3 4 5 6 7 8; do said dkms add fleet$n/1.0; done
cp -a /var/lib/dkms /srv/tree; said dkms autoinstall -k $k; [ $(grep -c 'Building module' /tmp/said) = 8 ] || fail 'not eight builds'
[ $(grep -c 'Pushed to' /tmp/said) = 8 ] || fail 'not eight pushed'
for n in 1 2 3 4 5 6 7 8; do dkms remove fleet$n/1.0 --all >/dev/null; done; rm -rf $cache; mkdir $cache; sed -i /share_push/d $conf
cat >/root/machine <<'END'
set -e
mount -t tmpfs -o size=64m tmpfs /mnt; mkdir /mnt/tree /mnt/cache /mnt/up /mnt/work; cp -a /srv/tree/. /mnt/tree
mount --bind /mnt/tree /var/lib/dkms; mount --bind /mnt/cache /var/cache/dkms
mount -t overlay -o lowerdir=/lib/modules/$2,upperdir=/mnt/up,workdir=/mnt/work overlay /lib/modules/$2
dkms autoinstall -k $2 >/root/said.$1 2>&1
[ $(ls /lib/modules/$2/updates/dkms/*.ko.xz | wc -l) = 8 ]
END
bytes=$(cat /proc/net/dev | sed -n 's/.*lo: *\([0-9]*\).*/\1/p'); SECONDS=0
seq 1000 | xargs -P 4 -I{} unshare -m bash /root/machine {} $k || fail 'a machine failed'
echo "1000 machines: $SECONDS s, $((($(sed -n 's/.*lo: *\([0-9]*\).*/\1/p' /proc/net/dev) - bytes) / 1000)) bytes a machine"
[ "$(cat /root/said.* | grep -c 'Building module')" = 0 ] || fail 'somebody compiled'
[ "$(cat /root/said.* | grep -c 'Taken from the share')" = 8000 ] || fail 'not everything was taken'
"#;

/// Slurm on two nodes, one of which dies: everything is there in the end, and nothing is done twice.
const SLURM: &str = r#"
share file:///srv/dir; mkdir /srv/dir; said dkms share keygen
for n in $(seq -w 60); do said dkms add task$n/1.0; done
dkms share plan -k $k >/srv/tasks; [ $(wc -l </srv/tasks) = 60 ] || fail plan
mkdir -p /run/munge /srv/slurm/state; chown munge: /run/munge; head -c 1024 /dev/urandom >/etc/munge/munge.key; chown munge: /etc/munge/munge.key; chmod 400 /etc/munge/munge.key
runuser -u munge -- munged; echo CgroupPlugin=disabled >/etc/slurm/cgroup.conf
cat >/etc/slurm/slurm.conf <<END
ClusterName=c
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
StateSaveLocation=/srv/slurm/state
SlurmdSpoolDir=/srv/slurm/%n
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldPidFile=/run/slurmctld.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
ReturnToService=2
SlurmdTimeout=10
NodeName=n[1-2] NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2
PartitionName=p Nodes=n[1-2] Default=YES State=UP
END
slurmctld -D >/srv/slurm/ctld 2>&1 &
# All that runs on it dies with it.
unshare --pid --fork --kill-child --mount-proc slurmd -D -N n1 >/srv/slurm/n1.log 2>&1 & n1=$!; slurmd -D -N n2 >/srv/slurm/n2.log 2>&1 &
timeout 120 bash -c 'until [ "$(sinfo -h -o %D -t idle 2>/dev/null)" = 2 ]; do read -rt 0.2 <> <(:) || true; done' || { sinfo; tail /srv/slurm/*; fail 'no nodes'; }
cd /srv; job=$(sbatch --parsable --array=0-59 --output=/srv/slurm/%a.out --open-mode=append /root/share/slurm-array.sh /srv/tasks)
# In the middle, a node dies with all that runs there.
timeout 600 bash -c 'until [ "$(dkms share list --format json | wc -l)" -ge 15 ]; do read -rt 0.2 <> <(:) || true; done' || fail 'nothing comes'
kill -9 $n1; scontrol update nodename=n1 state=down reason=dead
timeout 900 bash -c 'until [ -z "$(squeue -h)" ]; do read -rt 0.5 <> <(:) || true; done' || { squeue; fail 'it does not end'; }
[ -z "$(dkms share plan -k $k)" ] || fail 'something is lacking'; said dkms share verify; [ $(grep -c whole /tmp/said) = 60 ] || fail 'not sixty'
cat /srv/slurm/*.out >/tmp/said; [ $(grep 'pushed, ' /tmp/said | sort | uniq -d | wc -l) = 0 ] || fail 'something was done twice'
"#;

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Beside("dkms-share")])
        .case("a_registry_serves_what_one_machine_has_built", script(REGISTRY))
        .case("whatever_a_registry_does_no_build_fails", script(HOSTILE))
        .case("only_who_is_trusted_is_believed", script(TRUST))
        .case("passwords_certificates_directories_and_machines_that_do_not_build", script(ROADS))
        .case("what_a_share_lacks_is_planned_and_done_once", script(TASKS))
        .case_needing(&[Need::Long], "a_registry_that_wants_tokens_gets_them", script(TOKENS))
        .case("a_machine_without_a_compiler_takes_what_is_for_its_kernel", script(BARE))
        .case("what_the_guide_gives_to_kubernetes_fits_its_schema", script(KUBERNETES))
        .case_needing(&[Need::Long], "a_thousand_machines_and_one_build", fleet)
        .case_needing(&[Need::Long], "slurm_with_a_node_that_dies", slurm)
        .main()
}
