//! Signatures and keys: byte for byte those of the kernel's own `sign-file`, with every kind of key, by every
//! distribution's rules; keys that nobody else sees; signing anew; and a user who is told before the reboot.
//!
//! All of it on a small made-up kernel (`$k`) in a Debian bed, with Debian's real `sign-file` and openssl.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::hello::{module, package};
use dkms_tests::mini_kernel::MiniKernel;
use dkms_tests::needs::Need;
use dkms_tests::settings::project;
use dkms_tests::suite::Suite;

const KERNEL: &str = "6.1.0-mini";

/// What every script begins with.
const PRELUDE: &str = r#"
k=6.1.0-mini; headers=/usr/src/linux-headers-$k; configs="$headers/.config $headers/include/config/auto.conf"; keys=/root/keys; updates=/lib/modules/$k/updates/dkms; conf=/etc/dkms/framework.conf
fail() { echo "FAILED: $*" >&2; exit 99; }
# has TEXT FILE: a line of FILE contains TEXT
has() { grep -qF -- "$1" "$2" || { cat "$2" >&2; fail "no '$1' in $2"; }; }
# hasnt TEXT FILE: no line does
hasnt() { if grep -qF -- "$1" "$2"; then cat "$2" >&2; fail "'$1' is in $2"; fi; }
signer() { modinfo -F signer "$1"; }
# The hello module as it comes from a build with the present configuration; all that is said goes to /tmp/said.
install_hello() {
  { ! [ -d /var/lib/dkms/hello/1.0/$k ] || dkms unbuild hello/1.0 -k $k; dkms install hello/1.0 -k $k; } >/tmp/said 2>&1 ||
    { cat /tmp/said >&2; fail "install"; }
}
"#;

fn bed() -> Result<Bed> {
    let bed = Bed::subject(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let laid = MiniKernel::new(KERNEL)
        .config("CONFIG_MODULE_SIG=y")
        .config("CONFIG_MODULE_SIG_HASH=\"sha256\"")
        .compressed(".xz")
        .build_in(&hand.path().join("modules"), hand.path())?;
    bed.copy_in(&laid.modules, &format!("/lib/modules/{KERNEL}"))?;
    bed.copy_in(&laid.headers, &format!("/usr/src/linux-headers-{KERNEL}"))?;
    bed.copy_in(&project().join("core/tests/data/sign"), "/root/keys")?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    let two = package("two").module(module("one")).module(module("other"));
    bed.copy_in(&two.build_in(hand.path())?, "/usr/src/two-1.0")?;
    bed.ok(&format!(
        "ln -sfn /usr/src/linux-headers-{KERNEL} /lib/modules/{KERNEL}/build
         install -D $(ls /usr/lib/linux-kbuild-*/scripts/sign-file | head -n 1) \
             /usr/src/linux-headers-{KERNEL}/scripts/sign-file
         chmod 600 /root/keys/*.key*; rm -f /var/lib/dkms/mok.* /etc/dkms/framework.conf; depmod {KERNEL}"
    ))?;
    Ok(bed)
}

/// A case that is one script.
fn script(text: &'static str) -> impl FnOnce() -> Result<()> + Send + 'static {
    move || {
        let outcome = bed()?.run(&["bash", "-ec", &format!("{PRELUDE}{text}")])?;
        ensure!(outcome.code == 0, "exit code {}\n{}", outcome.code, outcome.tail());
        Ok(())
    }
}

/// One combination follows another with a different key, so that each signature is really made.
const EQUALITY: &str = r#"
mkdir -p /root/big
printf 'obj-m += big.o\n' >/root/big/Makefile
printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nstatic char big[4 << 20] __attribute__((used)) = {1};\n' >/root/big/big.c
printf 'PACKAGE_NAME=big\nPACKAGE_VERSION=1\nDEST_MODULE_LOCATION=/extra\nSTRIP=no\n' >/root/big/dkms.conf
echo 'try_sign_modules=false' >$conf
dkms install /root/big -k $k >/dev/null; dkms install hello/1.0 -k $k >/dev/null
cd /root
for m in hello big; do
  xz -dc $updates/$m.ko.xz >$m.ko; [ -z "$(signer /root/$m.ko)" ] || fail "signed although policy says no"
done
[ $(stat -c %s big.ko) -gt 4000000 ] || fail "not big"
for bits in 2048 3072 4096; do
  openssl x509 -in $keys/rsa$bits.pem -outform DER -out $bits.cert.der
  cp $keys/rsa$bits.pem $bits.cert.pem; cp $keys/rsa$bits.key $bits.key.pem
  openssl pkey -in $keys/rsa$bits.key -outform DER -out $bits.key.der
  openssl rsa -in $keys/rsa$bits.key -traditional -out $bits.pkcs1.pem 2>/dev/null
  cat $bits.key.pem $bits.cert.pem >$bits.both.pem
done
chmod 600 *.pem *.der
cases=0
for hash in sha256 sha384 sha512; do
  sed "s/sha256/$hash/" /usr/src/linux-headers-$k/.config >config.$hash
  for bits in 2048 3072 4096; do for m in hello big; do
    /usr/src/linux-headers-$k/scripts/sign-file $hash $bits.key.pem $bits.cert.pem $m.ko $m.$hash.$bits
  done; done
  for pair in key.pem:cert.pem key.pem:cert.der key.der:cert.der pkcs1.pem:cert.pem both.pem:both.pem; do
    for bits in 2048 3072 4096; do
      printf "mok_signing_key=/root/$bits.${pair%:*}\nmok_certificate=/root/$bits.${pair#*:}\n" >$conf
      dkms sign -k $k --config /root/config.$hash >said 2>&1 || { cat said >&2; fail "$hash $bits $pair"; }
      has 'hello/1.0, 6.1.0-mini, x86_64: signed' said
      for m in hello big; do
        cases=$((cases + 1))
        xz -dc $updates/$m.ko.xz | cmp - $m.$hash.$bits || fail "$m $hash $bits $pair differs from sign-file's"
        cmp $updates/$m.ko.xz /var/lib/dkms/$m/*/$k/*/module/$m.ko.xz || fail "tree and modules differ"
      done
    done
  done
  for bits in 2048 3072 4096; do for m in hello big; do
    length=$((16#$(tail -c 32 $m.$hash.$bits | head -c 4 | od -An -tx1 | tr -d ' ')))
    tail -c $((length + 40)) $m.$hash.$bits | head -c $length >p7s
    openssl cms -verify -binary -inform DER -in p7s -noverify -certfile $bits.cert.pem -content $m.ko -out /dev/null \
      2>/dev/null || fail "openssl refuses $m $hash $bits"
  done; done
done
[ $cases = 90 ] || fail "$cases cases"
"#;

/// Keys change; what is built stays.
const RESIGN: &str = r#"
dkms generate_mok >/dev/null
dkms install hello/1.0 -k $k >/dev/null; dkms install two/1.0 -k $k --symlink-modules >/dev/null
log=$(stat -c %Y.%i /var/lib/dkms/hello/1.0/$k/*/log/make.log)
old=$(modinfo -F sig_key $updates/hello.ko.xz)
dkms sign -k $k >/tmp/said; has 'hello/1.0, 6.1.0-mini, x86_64: signed with this key already' /tmp/said
before=$(stat -c %i.%Y $updates/hello.ko.xz)
rm /var/lib/dkms/mok.*; dkms generate_mok >/dev/null
dkms sign -k $k --dry-run >/tmp/said; has 'Would sign hello/1.0' /tmp/said; has 'another key' /tmp/said
[ "$before" = "$(stat -c %i.%Y $updates/hello.ko.xz)" ] || fail "dry run changed it"
dkms sign --all >/tmp/said || fail "sign"
has 'hello/1.0, 6.1.0-mini, x86_64: signed' /tmp/said; has 'two/1.0, 6.1.0-mini, x86_64: 2 modules signed' /tmp/said
new=$(modinfo -F sig_key $updates/hello.ko.xz); [ "$new" != "$old" ] || fail "the old key's signature"
for m in one other; do [ -L $updates/$m.ko.xz ] || fail "link"; [ "$(modinfo -F sig_key $updates/$m.ko.xz)" = "$new" ] || fail $m; done
grep -qF "\"key_id\":\"$new\"" /lib/modules/$k/.dkms-manifest.json || fail "the manifest beside the modules"
grep -qF "\"key_id\":\"$new\"" /var/lib/dkms/hello/1.0/$k/*/.dkms-manifest.json || fail "the artefact's manifest"
dkms status >/tmp/said; has 'hello/1.0, 6.1.0-mini, x86_64: installed' /tmp/said; hasnt Differences /tmp/said
[ "$log" = "$(stat -c %Y.%i /var/lib/dkms/hello/1.0/$k/*/log/make.log)" ] || fail "it was built again"
[ -z "$(ls /var/lib/dkms/.dkms/journal /var/lib/dkms/.dkms/work 2>/dev/null | grep -v :)" ] || fail "something is left"
dkms status --long >/tmp/said; has "hello.ko.xz: signed by DKMS module signing key (sha256, $new)" /tmp/said
dkms status --long --format json >/tmp/said; has "\"key_id\": \"$new\"" /tmp/said
# Trees of the classic have no manifests.
rm /lib/modules/$k/.dkms-manifest.json /var/lib/dkms/*/1.0/$k/*/.dkms-manifest.json /var/lib/dkms/mok.*
dkms generate_mok >/dev/null; dkms sign hello/1.0 -k $k >/tmp/said; has 'x86_64: signed' /tmp/said
cmp $updates/hello.ko.xz /var/lib/dkms/hello/1.0/$k/*/module/hello.ko.xz
[ "$(modinfo -F sig_key $updates/hello.ko.xz)" != "$new" ] || fail "the classic's modules were not signed anew"
[ ! -e /lib/modules/$k/.dkms-manifest.json ] || fail "a manifest of nothing"
# Nobody vouches for what was not built here.
install_hello; rm /var/lib/dkms/mok.*; dkms generate_mok >/dev/null
file=$(echo /var/lib/dkms/hello/1.0/$k/*/module/hello.ko.xz)
xz -d $file; sed -i 's/a module of the/a modulE of the/' ${file%.xz}; xz --check=crc32 ${file%.xz}
sum=$(cat $file $updates/hello.ko.xz | sha256sum)
dkms sign hello/1.0 -k $k >/tmp/said 2>&1 && fail "signed what was changed"
has 'is not what was built; it is not signed' /tmp/said
[ "$sum" = "$(cat $file $updates/hello.ko.xz | sha256sum)" ] || fail "changed"
# An unsigned image is signed later.
echo try_sign_modules=false >$conf; install_hello; [ -z "$(signer $updates/hello.ko.xz)" ]
dkms sign hello/1.0 -k $k >/tmp/said && fail "0 although nothing is signed here"; has 'disabled by policy' /tmp/said
rm $conf; dkms sign hello/1.0 -k $k >/dev/null; [ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ]
"#;

const GENERATE: &str = r#"
# /dev is the host's own: what openssl reads there is no file of ours.
strace -f -y -e trace=mkdir,mkdirat,open,openat,creat,chmod,fchmod,fchmodat,rename,renameat,renameat2,execve \
  -o /root/trace dkms generate_mok >/tmp/said || fail "generate_mok"
has 'Signing key: /var/lib/dkms/mok.key' /tmp/said; has 'Public certificate (MOK): /var/lib/dkms/mok.pub' /tmp/said
[ "$(stat -c %a /var/lib/dkms/mok.key)" = 600 ] && [ "$(stat -c %a /var/lib/dkms/mok.pub)" = 644 ] || fail modes
# Born 0600 in a directory that was born 0700, never opened up, and renamed from there.
grep -E 'mkdir.*\.dkms-mok-' /root/trace | grep -v 0700 && fail "a directory others can enter"
grep -E 'O_CREAT' /root/trace | grep -E '\.dkms-mok-[^/]*/key"' >/tmp/born; grep -q 'O_EXCL.*0600' /tmp/born || fail "key not born 0600"
grep -E 'chmod.*(mok\.key|/key")' /root/trace | grep -v 0600 && fail "opened up"
grep -E 'O_CREAT.*mok\.key"' /root/trace && fail "written in place"
grep -E 'rename.*/key", .*mok\.key"' /root/trace >/dev/null || fail "not renamed"
ls -A /var/lib/dkms | grep -F .dkms-mok && fail "something is left"
# Never overwritten.
sum=$(cat /var/lib/dkms/mok.* | sha256sum); dkms generate_mok >/tmp/said; has 'Signing key:' /tmp/said
[ "$sum" = "$(cat /var/lib/dkms/mok.* | sha256sum)" ] || fail overwritten
openssl x509 -inform DER -in /var/lib/dkms/mok.pub -noout -text >/tmp/said
has 'Public-Key: (2048 bit)' /tmp/said; has 'Code Signing, 1.3.6.1.4.1.2312.16.1.2' /tmp/said
mv /var/lib/dkms/mok.key /root/saved
dkms generate_mok >/tmp/said && fail "0 although the key is lost"; has 'restore the key' /tmp/said
mv /root/saved /var/lib/dkms/mok.key; rm /var/lib/dkms/mok.pub
dkms generate_mok >/dev/null || fail "no certificate for a key"; [ -e /var/lib/dkms/mok.pub ] || fail "no certificate"
rm /var/lib/dkms/mok.*; mkdir /root/bin; for p in bash env; do ln -s $(command -v $p) /root/bin/; done
PATH=/root/bin /usr/sbin/dkms generate_mok >/tmp/said 2>&1 && fail "0 without openssl"
has openssl /tmp/said; [ ! -e /var/lib/dkms/mok.key ] || fail "half a pair"
# Where framework.conf says, also by kernel.
printf 'mok_signing_key="/root/new/${kernelver}/k"\nmok_certificate="/root/new/${kernelver}/c"\n' >$conf
dkms generate_mok -k $k >/tmp/said; has "Signing key: /root/new/$k/k" /tmp/said
[ "$(stat -c %a /root/new/$k/k)" = 600 ] || fail "mode"; install_hello; [ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ]
"#;

/// Whatever is wrong with a key: it is said, and the module is whole and unsigned; or `sign-file` can do it.
const MATERIAL: &str = r#"
sed -i '/MODULE_DESCRIPTION/d' /usr/src/hello-1.0/hello.c
try() { # KEY CERT EXPECTED-SIGNER TEXT
  printf "mok_signing_key='$1'\nmok_certificate='$2'\n" >$conf
  install_hello
  [ "$(signer $updates/hello.ko.xz)" = "$3" ] || { cat /tmp/said >&2; fail "$1 $2: signed by '$(signer $updates/hello.ko.xz)'"; }
  [ -z "$4" ] || has "$4" /tmp/said
  if [ -z "$3" ]; then has '"signer":null' /lib/modules/$k/.dkms-manifest.json; else hasnt '"signer":null' /lib/modules/$k/.dkms-manifest.json; fi
  if [ -z "$3" ]; then xz -dc $updates/hello.ko.xz | tail -c 28 | grep -aq 'Module signature' && fail "$1: half signed"; fi
  true
}
mkdir /root/directory; echo nonsense >/root/nonsense
try $keys/rsa2048.key $keys/rsa2048.pem 'dkms test rsa2048' ''
try /root/nowhere $keys/rsa2048.pem '' 'restore the key'
try /root/directory $keys/rsa2048.pem '' 'is not a regular file'
try /root/nonsense $keys/rsa2048.pem '' 'holds no private key'
try $keys/rsa2048.pem $keys/rsa2048.pem '' 'holds no private key'
try $keys/rsa2048.key /root/nonsense '' 'holds no X.509 certificate'
try $keys/rsa2048.key $keys/rsa3072.pem '' 'does not belong to the certificate'
try $keys/rsa2048.key $keys/expired.pem '' 'has expired'
# Nothing would come of signing anew.
dkms sign hello/1.0 -k $k --dry-run >/tmp/said; hasnt 'Would sign' /tmp/said
# For the kernel's own program.
try $keys/ec.key $keys/ec.pem 'dkms test ec' ''
try $keys/rsa1024.key $keys/rsa1024.pem 'dkms test rsa1024' ''
try $keys/rsa2048.encrypted.key $keys/rsa2048.pem '' 'Failed to sign module'
export KBUILD_SIGN_PIN=test
try $keys/rsa2048.encrypted.key $keys/rsa2048.pem 'dkms test rsa2048' ''
unset KBUILD_SIGN_PIN
sed -i 's/"sha256"/"sha1"/' $configs
try $keys/rsa2048.key $keys/rsa2048.pem 'dkms test rsa2048' ''
[ "$(modinfo -F sig_hashalgo $updates/hello.ko.xz)" = sha1 ] || fail sha1
sed -i 's/"sha1"/"sha256"/' $configs
# A token's key is a word for the program alone; a configured program gets all of them.
cat >/root/signer <<'X'
#!/bin/bash
echo "$*" >>/root/signer.log
exec /usr/src/linux-headers-6.1.0-mini/scripts/sign-file "$1" /root/keys/rsa3072.key /root/keys/rsa3072.pem "$4"
X
chmod +x /root/signer
install -m 755 /root/signer /usr/src/linux-headers-$k/scripts/signer; mv /usr/src/linux-headers-$k/scripts/sign-file /root/real
sed -i s,/usr/src/linux-headers-6.1.0-mini/scripts/sign-file,/root/real, /root/signer; cp /root/signer /usr/src/linux-headers-$k/scripts/sign-file
try 'pkcs11:token=me;object=key' $keys/rsa3072.pem 'dkms test rsa3072' ''
has 'sha256 pkcs11:token=me;object=key /root/keys/rsa3072.pem' /root/signer.log; rm /root/signer.log
printf "sign_file=/root/signer\nmok_signing_key=$keys/rsa2048.key\nmok_certificate=$keys/rsa2048.pem\n" >$conf
install_hello; has 'Sign command: /root/signer' /tmp/said; has "sha256 $keys/rsa2048.key" /root/signer.log
printf '#!/bin/sh\nprintf half >>"$4"; exit 1\n' >/root/signer; install_hello
has 'Failed to sign module' /tmp/said; [ -z "$(signer $updates/hello.ko.xz)" ] || fail half
[ "$(xz -dc $updates/hello.ko.xz | tail -c 4)" != half ] || fail "half a signature"
"#;

/// Where policy allows no unsigned modules, bad key material is one error, and the module before stays.
const MUST: &str = r#"
printf "mok_signing_key=$keys/rsa2048.key\nmok_certificate=$keys/rsa2048.pem\n" >$conf
install_hello; before=$(sha256sum <$updates/hello.ko.xz)
cp -a /usr/src/hello-1.0 /usr/src/hello-2.0; sed -i 's/1\.0/2.0/' /usr/src/hello-2.0/{dkms.conf,hello.c}; dkms add hello/2.0 >/dev/null
refused() { # COMMAND...
  local code=0; "$@" >/tmp/said 2>&1 || code=$?
  [ $code = 11 ] || { cat /tmp/said >&2; fail "$*: $code"; }
  [ "$(grep -c 'Error! ' /tmp/said)" = 1 ] || { cat /tmp/said >&2; fail "not one error"; }
  has "can't be signed" /tmp/said; has 'policy=warn' /tmp/said; has 'hello/1.0 stays installed for it' /tmp/said
  [ "$before" = "$(sha256sum <$updates/hello.ko.xz)" ] || fail "$*: another module"
  dkms status >/tmp/said; has 'hello/1.0, 6.1.0-mini, x86_64: installed' /tmp/said
  [ ! -e /var/lib/dkms/hello/2.0/$k ] || fail "an unsigned artefact"
}
bad="mok_signing_key=/root/nowhere\nmok_certificate=$keys/rsa2048.pem\n"
printf "${bad}policy=fail\n" >$conf; refused dkms reconcile -k $k
# The program that signs fails in the middle.
printf "mok_signing_key=$keys/rsa2048.encrypted.key\nmok_certificate=$keys/rsa2048.pem\npolicy=fail\n" >$conf
refused dkms reconcile -k $k
printf "$bad" >$conf; refused dkms reconcile -k $k --strict
# Policy warn, and the classic's verbs: unsigned, and said aloud.
dkms reconcile -k $k >/tmp/said 2>&1 || fail warn
has "modules won't be signed" /tmp/said; [ -z "$(signer $updates/hello.ko.xz)" ] || fail signed
dkms status >/tmp/said; has 'hello/2.0, 6.1.0-mini, x86_64: installed' /tmp/said
printf "${bad}policy=fail\n" >$conf; dkms install --force hello/1.0 -k $k >/tmp/said 2>&1 || fail "the classic's verb"
"#;

/// `dkms sign` killed before each of its changes to the disk: every file is whole at any time, and the next run heals.
const KILLED: &str = r#"
use_key() { printf "mok_signing_key=$keys/$1.key\nmok_certificate=$keys/$1.pem\n" >$conf; }
use_key rsa2048; install_hello
killed=0 old=0 new=0
for call in fsync rename renameat renameat2 unlink unlinkat; do for ((n = 1; ; n++)); do
  use_key rsa2048; dkms sign --all >/dev/null 2>&1; [ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa2048' ] || fail "start $call $n"
  use_key rsa3072; code=0
  { strace -f -qq -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=$n dkms sign --all || code=$?; } >/dev/null 2>&1
  [ $code != 0 ] || break
  killed=$((killed + 1))
  for file in $updates/hello.ko.xz /var/lib/dkms/hello/1.0/$k/*/module/hello.ko.xz; do
    xz -t $file || fail "$call $n: $file is broken"
    case $(signer $file) in 'dkms test rsa2048') old=$((old + 1)) ;; 'dkms test rsa3072') new=$((new + 1)) ;; *) fail "$call $n: half signed" ;; esac
  done
  dkms status >/tmp/said; has 'hello/1.0, 6.1.0-mini, x86_64: installed' /tmp/said
  dkms sign --all >/tmp/said 2>&1 || { cat /tmp/said >&2; fail "$call $n: not healed"; }
  cmp $updates/hello.ko.xz /var/lib/dkms/hello/1.0/$k/*/module/hello.ko.xz || fail "$call $n: tree and modules differ"
  [ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa3072' ] || fail "$call $n: not signed after all"
  dkms status >/tmp/said; hasnt Differences /tmp/said
  [ -z "$(ls -A /var/lib/dkms/.dkms/journal /var/lib/dkms/.dkms/work | grep -v ':$')" ] || fail "$call $n: something is left"
  [ -z "$(find /lib/modules /var/lib/dkms/hello -name '.dkms-new-*' -o -name '.dkms-old-*')" ] || fail "$call $n: a temporary is left"
done; done
[ $killed -gt 20 ] && [ $old -gt 10 ] && [ $new -gt 10 ] || fail "killed $killed times: $old old, $new new"
"#;

const POLICY: &str = r#"
dkms generate_mok >/dev/null
install_hello; hasnt Warning /tmp/said
signed() { install_hello; [ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ] || { cat /tmp/said >&2; fail "unsigned: $1"; }; }
unsigned() { install_hello; [ -z "$(signer $updates/hello.ko.xz)" ] || fail "signed: $1"; has "$1" /tmp/said; }
for word in true not_in_chroot else ''; do echo "try_sign_modules=$word" >$conf; signed "$word"; done
echo try_sign_modules=false >$conf; unsigned "Module signing is disabled by policy, modules won't be signed"
rm $conf
# A private mount namespace is no chroot (rpm's scriptlets, PrivateTmp units); another root directory is one.
unshare --mount bash -c 'mount -t tmpfs t /tmp; mkdir -p /tmp/x; dkms build --force hello/1.0 -k 6.1.0-mini' >/tmp/said 2>&1
has 'Signing module' /tmp/said
mkdir -p /srv/root /run/u /run/w; mount -t overlay overlay -o lowerdir=/,upperdir=/run/u,workdir=/run/w /srv/root
mount -t proc p /srv/root/proc; mount --rbind /dev /srv/root/dev
chroot /srv/root dkms build --force hello/1.0 -k $k >/tmp/said 2>&1 || fail "build in the chroot"
has "Running in chroot, modules won't be signed" /tmp/said; hasnt 'Signing module' /tmp/said
echo try_sign_modules=true >/srv/root$conf
chroot /srv/root dkms build --force hello/1.0 -k $k >/tmp/said 2>&1; has 'Signing module' /tmp/said
umount -l /srv/root
FAKECHROOT=true dkms build --force hello/1.0 -k $k >/tmp/said 2>&1; has 'Running in chroot' /tmp/said
# Kernels without the facility, and without a configuration.
sed -i /MODULE_SIG/d $configs
unsigned "The kernel is built without module signing facility, modules won't be signed"
rm $configs; unsigned "Kernel config /lib/modules/$k/build/.config not found, modules won't be signed"
"#;

const DISTRIBUTIONS: &str = r#"
os() { rm -f /etc/os-release; printf "$1\n" >/etc/os-release; rm -f /var/lib/dkms/mok.* $conf; }
# Ubuntu: shim-signed's keys, made by its own program.
os 'ID=ubuntu\nID_LIKE=debian'
cat >/usr/sbin/update-secureboot-policy <<'X'
#!/bin/sh
echo "$* notrigger=$SHIM_NOTRIGGER" >>/root/policy.log
[ "$1" != --new-key ] || { mkdir -p /var/lib/shim-signed/mok; [ ! -e /var/lib/shim-signed/mok/MOK.der ] || exit 3
  install -m 600 /root/keys/rsa2048.key /var/lib/shim-signed/mok/MOK.priv; cp /root/keys/rsa2048.der /var/lib/shim-signed/mok/MOK.der; }
X
install_hello; has "Binary update-secureboot-policy not found, modules won't be signed" /tmp/said
chmod +x /usr/sbin/update-secureboot-policy; install_hello
[ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa2048' ] || { cat /tmp/said >&2; fail ubuntu; }
has 'generating them using update-secureboot-policy' /tmp/said; has '--new-key notrigger=y' /root/policy.log; has '--enroll-key notrigger=y' /root/policy.log
rm /var/lib/shim-signed/mok/MOK.priv; install_hello; [ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa2048' ] || fail "a lone certificate stops it"
[ ! -e /var/lib/dkms/mok.key ] || fail "a second key"
# Gentoo: variables, make.conf, the kernel's own configuration.
os 'ID=gentoo'; export MODULES_SIGN_KEY=$keys/rsa3072.key MODULES_SIGN_CERT=$keys/rsa3072.pem; install_hello
[ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa3072' ] || { cat /tmp/said >&2; fail "gentoo's variables"; }
unset MODULES_SIGN_KEY MODULES_SIGN_CERT; mkdir -p /etc/portage
printf "USE='x'\nMODULES_SIGN_KEY=\"$keys/rsa4096.key\"\nMODULES_SIGN_CERT=\"$keys/rsa4096.pem\"\n" >/etc/portage/make.conf; install_hello
[ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa4096' ] || { cat /tmp/said >&2; fail "gentoo's make.conf"; }
rm /etc/portage/make.conf; mkdir -p /usr/src/linux-headers-$k/certs
install -m 600 $keys/rsa2048.both.pem /usr/src/linux-headers-$k/certs/signing_key.pem
for c in $configs; do echo 'CONFIG_MODULE_SIG_KEY="certs/signing_key.pem"' >>$c; done; install_hello
[ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa2048' ] || { cat /tmp/said >&2; fail "gentoo's kernel key"; }
# Elsewhere the kernel's own key is not ours to use; that of akmods is, until we have one.
os 'ID=fedora'; mkdir -p /etc/pki/akmods/private /etc/pki/akmods/certs
install -m 600 $keys/rsa3072.key /etc/pki/akmods/private/private_key.priv
openssl x509 -in $keys/rsa3072.pem -outform DER -out /etc/pki/akmods/certs/public_key.der
updates=/lib/modules/$k/extra; install_hello; [ "$(signer $updates/hello.ko.xz)" = 'dkms test rsa3072' ] || { cat /tmp/said >&2; fail akmods; }
[ ! -e /var/lib/dkms/mok.key ] || fail "a second key"
mv /etc/pki/akmods /root; install_hello; [ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ] || fail "our own"
mv /root/akmods /etc/pki; install_hello; [ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ] || fail "ours may be enrolled"
"#;

/// The private key is seen by nobody: not in arguments, environments, logs, or open files of a build.
const SECRECY: &str = r#"
dkms generate_mok >/dev/null
secret=$(sed -n 2p /var/lib/dkms/mok.key); [ ${#secret} = 64 ] || fail "no key"
cat >/usr/src/hello-1.0/spy <<'X'
#!/bin/bash
[ ! -w /srv/told ] || for p in /proc/[0-9]*; do echo "== $p"; tr '\0' '\n' <$p/cmdline; tr '\0' '\n' <$p/environ; ls -l $p/fd; done >/srv/told/seen 2>/dev/null
exec make -C "$1" M="$PWD" modules
X
chmod +x /usr/src/hello-1.0/spy; mkdir -m 0777 /srv/told
sed -i 's,^MAKE.*,MAKE[0]="bash ./spy $kernel_source_dir",' /usr/src/hello-1.0/dkms.conf
KBUILD_SIGN_PIN=geheim strace -f -v -s 65536 -e trace=execve,openat,open -o /root/trace dkms install hello/1.0 -k $k >/tmp/said 2>&1 || { cat /tmp/said >&2; fail install; }
[ "$(signer $updates/hello.ko.xz)" = 'DKMS module signing key' ] || fail unsigned
[ -s /srv/told/seen ] || fail "the spy saw nothing at all"
hasnt geheim /srv/told/seen; hasnt mok.key /srv/told/seen; hasnt "$secret" /srv/told/seen; chmod 0755 /srv/told
hasnt "$secret" /root/trace; hasnt "$secret" /tmp/said
grep -rlF "$secret" /var/lib/dkms /lib/modules/$k /tmp /var/tmp 2>/dev/null | grep -v '^/var/lib/dkms/mok.key$' && fail "copied"
grep -F 'mok.key"' /root/trace | grep open | grep -v ENOENT >/tmp/opens; [ -s /tmp/opens ] || fail "who reads the key?"
grep -v O_CLOEXEC /tmp/opens && fail "not close-on-exec"
for thread in $(cut -d' ' -f1 /tmp/opens | sort -u); do
  grep -E "^$thread +execve" /root/trace | grep -vE 'execve\("(/usr/sbin/dkms|/proc/self/exe)"' && fail "another program opened it"
done
grep execve /root/trace | grep -F mok.key && fail "its name is an argument"
# A build by somebody else can't read it, and says so.
runuser -u nobody -- cat /var/lib/dkms/mok.key 2>/dev/null && fail "anybody reads it"
install -d -o nobody /srv/own; chmod 666 $headers/calls
runuser -u nobody -- dkms build hello/1.0 -k $k --dkmstree /srv/own >/tmp/said 2>&1 || { cat /tmp/said >&2; fail "build as nobody"; }
has "can't read the signing key /var/lib/dkms/mok.key" /tmp/said
[ -z "$(signer /srv/own/hello/1.0/$k/*/module/hello.ko.xz)" ] || fail "signed by nobody"
"#;

/// Secure Boot's state, made up: EFI variables are four bytes of attributes and the value.
const ADVICE: &str = r#"
shim=605dab50-e046-4300-abb6-3dd810dd8b23; efi=/sys/firmware/efi/efivars
mount -t tmpfs t /sys/firmware; mkdir -p $efi; mount -t tmpfs t /sys/kernel/security
bytes() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\0\\0"; }
# A signature list (UEFI 32.4.1) with one X.509 certificate.
list() { size=$(stat -c %s $1); printf '\6\0\0\0\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72'
  bytes $((size + 44)); printf '\0\0\0\0'; bytes $((size + 16)); printf 0123456789abcdef; cat $1; }
dkms generate_mok >/dev/null
secure() { printf "\6\0\0\0\\$1" >$efi/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c; echo "$2" >/sys/kernel/security/lockdown; }
secure 0 '[none] integrity confidentiality'; list $keys/rsa2048.der >$efi/MokListRT-$shim
install_hello; hasnt 'Secure Boot' /tmp/said
secure 1 'none [integrity] confidentiality'
install_hello; has 'Warning: Secure Boot is on in this machine: it refuses to load the modules' /tmp/said
has 'Certificate: /var/lib/dkms/mok.pub (DKMS module signing key)' /tmp/said; has 'Enrol it with: dkms mok enroll' /tmp/said
dkms status --long >/tmp/said 2>&1; has 'hello.ko.xz: signed by DKMS module signing key' /tmp/said
has ', not trusted by this machine' /tmp/said; has 'dkms mok enroll' /tmp/said
dkms status >/tmp/said 2>&1; hasnt 'Secure Boot' /tmp/said
dkms mok status >/tmp/said; has 'Secure Boot:              on' /tmp/said; has 'Trusted now:              no' /tmp/said
has 'Enrol the certificate with: dkms mok enroll' /tmp/said
dkms mok status --format json >/tmp/said; has '"trust": "not-trusted"' /tmp/said; has '"refuses_untrusted": true' /tmp/said
# mokutil does it; it wants DER.
rm -f /usr/bin/mokutil; dkms mok enroll >/tmp/said 2>&1 && fail "0 without mokutil"; has 'apt install mokutil' /tmp/said
printf '#!/bin/sh\necho "$1" >/root/mokutil.log; cp "$2" /root/imported; read a; echo "$a" >>/root/mokutil.log\n' >/usr/bin/mokutil; chmod +x /usr/bin/mokutil
echo password | dkms mok enroll >/tmp/said 2>&1 || { cat /tmp/said >&2; fail enroll; }
has --import /root/mokutil.log; has password /root/mokutil.log; cmp /root/imported /var/lib/dkms/mok.pub; has 'Now reboot' /tmp/said
list /var/lib/dkms/mok.pub >$efi/MokNew-$shim
dkms mok status >/tmp/said; has 'Trusted now:              no' /tmp/said; has 'yes, if you confirm' /tmp/said
install_hello; has 'Reboot, choose "Enroll MOK"' /tmp/said
dkms mok enroll >/tmp/said </dev/null; has 'waits for you' /tmp/said
rm $efi/MokNew-$shim; list /var/lib/dkms/mok.pub >$efi/MokListRT1-$shim
install_hello; hasnt 'Secure Boot' /tmp/said; dkms mok enroll >/tmp/said </dev/null; has 'is enrolled already' /tmp/said
dkms mok status >/tmp/said; has 'Trusted at next boot:     yes' /tmp/said; dkms status --long >/tmp/said; has ', trusted' /tmp/said
list /var/lib/dkms/mok.pub >$efi/MokDel-$shim; dkms mok status >/tmp/said; has 'Trusted at next boot:     no' /tmp/said; rm $efi/MokDel-$shim
# Unsigned modules are as useless there.
echo try_sign_modules=false >$conf; install_hello; has 'which are not signed' /tmp/said; rm $conf
# The key is enrolled by now, but that module has no signature: told also where nothing is done.
dkms status --long >/tmp/said 2>&1; has "hello.ko.xz is not signed. To sign it: dkms sign hello/1.0 -k $k" /tmp/said
dkms install hello/1.0 -k $k >/tmp/said 2>&1; has 'already installed' /tmp/said; has 'hello.ko.xz is not signed' /tmp/said
dkms sign hello/1.0 -k $k >/dev/null 2>&1; dkms status --long >/tmp/said 2>&1; hasnt 'is not signed' /tmp/said
# PEM certificates, too, can be enrolled.
printf "mok_signing_key=$keys/rsa3072.key\nmok_certificate=$keys/rsa3072.pem\n" >$conf
echo x | dkms mok enroll >/dev/null; openssl x509 -inform DER -in /root/imported -noout || fail "mokutil got PEM"; rm $conf
# Another root's modules are none of this machine's business.
rm $efi/MokListRT1-$shim; mkdir -p /srv/r/usr/lib/modules /srv/r/usr/src /srv/r/etc; ln -s usr/lib /srv/r/lib
cp -a /lib/modules/$k /srv/r/lib/modules/; cp -a /usr/src/linux-headers-$k /usr/src/hello-1.0 /srv/r/usr/src/; cp /usr/lib/os-release /srv/r/etc/
rm -rf /srv/r/lib/modules/$k/updates /srv/r/lib/modules/$k/.dkms-manifest.json
dkms --root /srv/r install hello/1.0 -k $k >/tmp/said 2>&1 || { cat /tmp/said >&2; fail root; }
hasnt 'Secure Boot' /tmp/said; [ "$(signer /srv/r$updates/hello.ko.xz)" = 'DKMS module signing key' ] || fail "unsigned in the root"
cmp -s /srv/r/var/lib/dkms/mok.pub /var/lib/dkms/mok.pub && fail "the root has the host's key"
dkms --root /srv/r mok status >/tmp/said 2>&1; hasnt 'Secure Boot' /tmp/said; has 'Trusted now:              not known' /tmp/said
dkms --root /srv/r mok enroll >/tmp/said 2>&1 && fail "enrolled for another machine"; true
"#;

/// The prelude's own checks can fail.
fn the_scripts_notice() -> Result<()> {
    let bed = bed()?;
    for text in ["echo a >/tmp/x; has b /tmp/x", "echo a >/tmp/x; hasnt a /tmp/x", "dkms install nothing/1 -k $k"] {
        ensure!(bed.run(&["bash", "-ec", &format!("{PRELUDE}{text}")])?.code != 0, "{text} went unnoticed");
    }
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Subject, Need::Ours])
        .case("equality", script(EQUALITY))
        .case("resign", script(RESIGN))
        .case("generate_mok", script(GENERATE))
        .case("key_material", script(MATERIAL))
        .case("policy", script(POLICY))
        .case("policy_fail", script(MUST))
        .case("sign_killed_anywhere", script(KILLED))
        .case("distributions", script(DISTRIBUTIONS))
        .case("secrecy", script(SECRECY))
        .case("advice", script(ADVICE))
        .case("the_scripts_notice", the_scripts_notice)
        .main()
}
