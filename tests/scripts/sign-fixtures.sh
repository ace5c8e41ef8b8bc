#!/bin/bash
# Makes core/tests/data/sign: test keys, a tiny module, and the module as signed by the kernel's
# own sign-file. Run it only to renew them. Needs gcc, openssl, and the path of a sign-file.
#   sign-fixtures.sh SIGN-FILE OUTPUT-DIRECTORY
# These keys sign nothing but test data; they are public on purpose.
set -eu
sign_file=$(realpath "$1")
cd "$2"

cat > module.c <<'C'
/* A miniature kernel module: relocatable, with .modinfo, an import and an export. */
#define INFO(n, text) static const char info_##n[] __attribute__((section(".modinfo"), used, aligned(1))) = text
INFO(1, "license=GPL");
INFO(2, "version=1.2-test");
INFO(3, "srcversion=0123456789ABCDEF0123456");
INFO(4, "alias=pci:v00008086d*");
INFO(5, "alias=of:N*T*Ctest");
INFO(6, "depends=usbcore,videodev");
INFO(7, "name=tiny");
INFO(8, "vermagic=6.12.117+deb13-amd64 SMP preempt mod_unload modversions ");
extern int _printk(const char *, ...);
int tiny_answer(void) { return _printk("tiny\n"); }
static const char exported[] __asm__("__ksymtab_tiny_answer") __attribute__((used, section("__ksymtab"))) = "x";
C
gcc -g -O1 -ffreestanding -fno-pic -mcmodel=kernel -c module.c -o module.ko
rm module.c

pair() { # name, openssl genpkey arguments
  name=$1; shift
  openssl genpkey -quiet "$@" -out "$name.key" 2>/dev/null || openssl genpkey "$@" -out "$name.key"
  openssl req -new -x509 -sha256 -key "$name.key" -days 36500 -subj "/O=dkms tests/CN=dkms test $name" -out "$name.pem"
}
for bits in 2048 3072 4096; do
  pair rsa$bits -algorithm RSA -pkeyopt rsa_keygen_bits:$bits
  for hash in sha256 sha384 sha512; do
    "$sign_file" $hash rsa$bits.key rsa$bits.pem module.ko rsa$bits.$hash.signed
  done
done
"$sign_file" sha1 rsa2048.key rsa2048.pem module.ko rsa2048.sha1.signed
openssl x509 -in rsa2048.pem -outform DER -out rsa2048.der
openssl pkey -in rsa2048.key -outform DER -out rsa2048.key.der
openssl rsa -in rsa2048.key -traditional -out rsa2048.pkcs1.key 2>/dev/null
openssl rsa -in rsa2048.key -traditional -outform DER -out rsa2048.pkcs1.key.der 2>/dev/null
cat rsa2048.key rsa2048.pem > rsa2048.both.pem
openssl pkey -in rsa2048.key -aes256 -passout pass:test -out rsa2048.encrypted.key
openssl rsa -in rsa2048.key -traditional -aes256 -passout pass:test -out rsa2048.encrypted.pkcs1.key 2>/dev/null
pair ec -algorithm EC -pkeyopt ec_paramgen_curve:P-384
pair rsa1024 -algorithm RSA -pkeyopt rsa_keygen_bits:1024
openssl req -new -key rsa2048.key -subj "/CN=dkms test expired" -out csr.tmp
openssl x509 -req -in csr.tmp -signkey rsa2048.key -days -1 -out expired.pem 2>/dev/null
rm csr.tmp
