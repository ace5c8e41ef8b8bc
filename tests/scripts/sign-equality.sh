#!/bin/bash
# Compares our in-process signatures with those of the kernel's own sign-file, byte for byte, over
# hashes x key sizes x key and certificate forms x modules, and lets openssl cms check each.
#   sign-equality.sh SIGN-FILE OUR-SIGNER [MODULE.ko…]
# OUR-SIGNER is called `HASH KEY CERT IN OUT` (target/debug/examples/sign_module). SIGN-FILE may be
# a command with arguments. Prints one line a case; the exit code is 1 if any differs.
set -u
read -ra theirs <<< "$1"
ours=$2
shift 2
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

printf x > "$tmp/one-byte.ko"
head -c 33554432 /dev/urandom > "$tmp/32MiB.ko"
for module in "$@"; do
  # sign-file signs a signed module twice; we replace the signature. Not comparable.
  if tail -c 28 "$module" | grep -aq '^~Module signature appended~$'; then
    echo "$module is signed already" >&2
    exit 1
  fi
done
modules=("$tmp/one-byte.ko" "$tmp/32MiB.ko" "$@")

cases=0 bad=0
for bits in 2048 3072 4096; do
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:$bits -out "$tmp/key.pem" 2>/dev/null
  openssl req -new -x509 -key "$tmp/key.pem" -days 2 -subj "/O=dkms/CN=equality $bits" -out "$tmp/cert.pem"
  openssl x509 -in "$tmp/cert.pem" -outform DER -out "$tmp/cert.der"
  openssl pkey -in "$tmp/key.pem" -outform DER -out "$tmp/key.der"
  openssl rsa -in "$tmp/key.pem" -traditional -out "$tmp/pkcs1.pem" 2>/dev/null
  cat "$tmp/key.pem" "$tmp/cert.pem" > "$tmp/both.pem"
  for hash in sha256 sha384 sha512; do
    for module in "${modules[@]}"; do
      # sign-file reads keys in PEM only, certificates in both forms
      "${theirs[@]}" $hash "$tmp/key.pem" "$tmp/cert.der" "$module" "$tmp/theirs" || exit 1
      for pair in key.pem:cert.pem key.pem:cert.der key.der:cert.der pkcs1.pem:cert.pem both.pem:both.pem; do
        cases=$((cases + 1)) verdict=equal
        "$ours" $hash "$tmp/${pair%:*}" "$tmp/${pair#*:}" "$module" "$tmp/ours" &&
          cmp -s "$tmp/theirs" "$tmp/ours" || { verdict=DIFFERENT; bad=$((bad + 1)); }
        printf '%-9s rsa%s %s %-19s %s\n' $verdict $bits $hash $pair "${module##*/}"
      done
      length=$((16#$(tail -c 32 "$tmp/ours" | head -c 4 | od -An -tx1 | tr -d ' ')))
      tail -c $((length + 40)) "$tmp/ours" | head -c $length > "$tmp/p7s"
      openssl cms -verify -binary -inform DER -in "$tmp/p7s" -noverify -certfile "$tmp/cert.pem" \
        -content "$module" -out /dev/null 2>/dev/null ||
        { echo "openssl cms REFUSES rsa$bits $hash ${module##*/}"; bad=$((bad + 1)); }
    done
  done
done
echo "$cases cases, $bad bad"
[ $bad = 0 ]
