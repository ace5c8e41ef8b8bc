//! Archives that lie, lead out, or end too early.

use anyhow::{Result, bail, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::hello::package;

use crate::{BUILT, is, lay, ok};

/// What a hostile archive is made of: a shell script that writes `/root/bad.tar`, from a good unpacked one in `.`
/// that has `dkms_main_tree/{k}/{a}/module` and `dkms_source_tree`.
pub const HOSTILE: &[(&str, &str)] = &[
    ("name above", "touch ../x; tar -P -cf /root/bad.tar . ../x"),
    ("absolute name", "touch /root/abs; tar -P -cf /root/bad.tar . /root/abs"),
    ("link outside", "ln -s ../../../../etc dkms_source_tree/l; tar -cf /root/bad.tar ."),
    ("absolute link", "ln -s /etc/passwd dkms_source_tree/l; tar -cf /root/bad.tar ."),
    (
        "through a link",
        "ln -s . l; mkdir n; touch n/f; tar -cf /root/bad.tar . && tar --transform=s,n/f,l/f, -rf /root/bad.tar n/f",
    ),
    ("device", "mknod dkms_source_tree/d c 1 3; tar -cf /root/bad.tar ."),
    ("fifo", "mkfifo dkms_source_tree/f; tar -cf /root/bad.tar ."),
    ("setuid", "cp /bin/true dkms_source_tree/t; chmod u+s dkms_source_tree/t; tar -cf /root/bad.tar ."),
    ("twice", "tar -cf /root/bad.tar .; tar -rf /root/bad.tar ./dkms_source_tree/dkms.conf"),
    ("newline", "touch dkms_source_tree/$'a\\nb'; tar -cf /root/bad.tar ."),
    ("not UTF-8", "touch dkms_source_tree/$'a\\xff'; tar -cf /root/bad.tar ."),
    ("bomb", "head -c 200M /dev/zero >dkms_source_tree/z; tar -czf /root/bad.tar ."),
    ("cut short", "tar -cf - . | head -c 9000 >/root/bad.tar"),
    ("no archive", "echo hello >/root/bad.tar"),
    ("empty", ": >/root/bad.tar"),
    ("no ELF", "for m in dkms_main_tree/*/*/module/*; do echo no | xz >$m; done; tar -cf /root/bad.tar ."),
    (
        "another kernel's",
        "mv dkms_main_tree/* dkms_main_tree/9.9.9; rm -f dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "another machine's",
        "mv dkms_main_tree/*/* dkms_main_tree/$(ls dkms_main_tree)/aarch64; rm -f dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "a lying manifest",
        "sed -i 's/\"digest\":\"[^\"]*\"/\"digest\":\"'$(printf 0%.0s $(seq 64))'\"/' dkms_main_tree/*/*/.dkms-manifest.json; tar -cf /root/bad.tar .",
    ),
    (
        "a manifest that leads away",
        "sed -i 's,\"own_location\":\"[^\"]*\",\"own_location\":\"../../../etc\",' dkms_main_tree/*/*/.dkms-manifest.json; tar -cf /root/bad.tar .",
    ),
    (
        "a name of a kernel's directory with ..",
        "tar --transform 's,dkms_main_tree/[^/]*/,dkms_main_tree/../../x/,' -P -cf /root/bad.tar .",
    ),
    (
        "hard link outside",
        "touch h; ln h i; tar -P --transform 's,^./h$,../../../etc/passwd,' -cf /root/bad.tar ./h ./i dkms_source_tree dkms_main_tree",
    ),
    ("block device", "mknod dkms_source_tree/b b 8 0; tar -cf /root/bad.tar ."),
    ("setgid", "touch dkms_source_tree/t; chmod g+s dkms_source_tree/t; tar -cf /root/bad.tar ."),
    ("sticky", "mkdir dkms_source_tree/t; chmod 1777 dkms_source_tree/t; tar -cf /root/bad.tar ."),
    (
        "socket's place taken by a fifo in the artefact",
        "mkfifo $(ls -d dkms_main_tree/*/*/module)/x; tar -cf /root/bad.tar .",
    ),
    ("escape sequence in a name", "touch dkms_source_tree/$'a\\e[2J'; tar -cf /root/bad.tar ."),
    (
        "file and directory of one name",
        "touch n; tar -cf /root/bad.tar .; rm n; mkdir n; touch n/f; tar -rf /root/bad.tar ./n/f",
    ),
    ("sparse", "truncate -s 1M dkms_source_tree/s; echo x >>dkms_source_tree/s; tar -S -cf /root/bad.tar ."),
    ("too deep", "d=dkms_source_tree; for i in $(seq 80); do d=$d/d; done; mkdir -p $d; tar -cf /root/bad.tar ."),
    ("bomb in xz", "head -c 200M /dev/zero >dkms_source_tree/z; tar -c . | xz -0 >/root/bad.tar"),
    ("bomb in zstd", "head -c 200M /dev/zero >dkms_source_tree/z; tar -c . | zstd -q >/root/bad.tar"),
    ("one file too large", "truncate -s 3G dkms_source_tree/z; tar -cf - . | gzip -1 | head -c 1M >/root/bad.tar"),
    ("gzip cut short", "tar -czf - . | head -c 3000 >/root/bad.tar"),
    ("garbage after the end", "tar -cf /root/bad.tar .; echo garbage >>/root/bad.tar"),
    ("two archives", "tar -cf /root/bad.tar .; cat /root/bad.tar /root/bad.tar >/root/b; mv /root/b /root/bad.tar"),
    (
        "a damaged checksum",
        "tar -cf /root/bad.tar .; printf X | dd of=/root/bad.tar bs=1 seek=600 conv=notrunc status=none",
    ),
    ("pax that names another file", "tar --format=pax --pax-option='path:=../../etc/x' -cf /root/bad.tar ."),
    ("pax with a size", "tar --format=pax --pax-option='size:=5' -cf /root/bad.tar dkms_source_tree/dkms.conf"),
    (
        "attributes",
        "setfattr() { :; }; tar --format=pax --pax-option='SCHILY.xattr.security.capability:=x' -cf /root/bad.tar .",
    ),
    (
        "an object that is no module",
        "echo 'int x;' | gcc -c -x c -o x.o -; for m in dkms_main_tree/*/*/module/*.ko.xz; do xz -c x.o >$m; done; rm -f x.o dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "a program for a module",
        "for m in dkms_main_tree/*/*/module/*.ko.xz; do xz -c /bin/true >$m; done; rm -f dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "a module cut short",
        "for m in dkms_main_tree/*/*/module/*.ko.xz; do xz -dc $m | head -c 5000 | xz >x; mv x $m; done; rm -f dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "a module twice",
        "cd $(ls -d dkms_main_tree/*/*/module); xz -dk *.ko.xz; cd - >/dev/null; rm -f dkms_main_tree/*/*/.dkms*; tar -cf /root/bad.tar .",
    ),
    (
        "a link for a module",
        "cd $(ls -d dkms_main_tree/*/*/module); mv hello.ko.xz x; ln -s x hello.ko.xz; cd - >/dev/null; tar -cf /root/bad.tar .",
    ),
    ("no modules", "rm dkms_main_tree/*/*/module/*; tar -cf /root/bad.tar ."),
    (
        "a manifest of another package",
        "sed -i 's/\"name\":\"hello\"/\"name\":\"other\"/' dkms_main_tree/*/*/.dkms-manifest.json; tar -cf /root/bad.tar .",
    ),
    ("a manifest that is none", "echo '{' >$(ls dkms_main_tree/*/*/.dkms-manifest.json); tar -cf /root/bad.tar ."),
    ("a newer format", "echo 3.0.0 >dkms_main_tree/dkms_dbversion; tar -cf /root/bad.tar ."),
    (
        "binaries without a name",
        "mkdir dkms_binaries_only; mv dkms_source_tree/dkms.conf dkms_binaries_only/; rm -r dkms_source_tree; tar -cf /root/bad.tar .",
    ),
    ("no kernel", "mv dkms_main_tree/* dkms_main_tree/source; tar -cf /root/bad.tar ."),
    ("no conf", "rm dkms_source_tree/dkms.conf; tar -cf /root/bad.tar ."),
    ("a bad conf", "echo PACKAGE_NAME= >>dkms_source_tree/dkms.conf; tar -cf /root/bad.tar ."),
    ("another's name", "sed -i s/hello/other/ dkms_source_tree/dkms.conf; tar -cf /root/bad.tar ."),
    (
        "a conf with a path for a name",
        "sed -i 's,PACKAGE_NAME=.*,PACKAGE_NAME=../../etc,' dkms_source_tree/dkms.conf; tar -cf /root/bad.tar .",
    ),
];

/// Each is refused with one error, and nothing has changed.
pub fn hostile() -> Result<()> {
    let base = Base::trixie()?;
    let bed = Bed::subject(&base)?;
    lay(&bed, &[package("hello")])?;
    ok(
        &bed,
        "dkms build hello/1.0 -k {k} && dkms mktarball hello/1.0 -k {k} --archive /root/good.tar
         dkms remove hello/1.0 --all && rm -r /usr/src/hello-1.0",
    )?;
    let print = "cd /; find var/lib/dkms usr/src lib/modules/{k}/updates etc/modprobe.d -path var/lib/dkms/.dkms -prune -o -printf '%p %s %y %m\\n' 2>/dev/null | sort; find /var/lib/dkms/.dkms/work /var/lib/dkms/.dkms/journal -mindepth 1";
    let before = ok(&bed, print)?;
    let mut told = Vec::new();
    ensure!(HOSTILE.len() >= 40, "only {} kinds", HOSTILE.len());
    for (name, script) in HOSTILE {
        let make =
            format!("rm -rf /root/w /root/bad.tar; mkdir -p /root/w/d; cd /root/w/d; tar -xf /root/good.tar; {script}");
        ok(&bed, &make)?;
        let outcome = bed.sh("dkms ldtarball /root/bad.tar")?;
        let errors = outcome.stderr.lines().filter(|line| line.starts_with("Error! ")).count();
        if outcome.code == 0 || outcome.code > 9 || errors != 1 {
            told.push(format!(
                "{name}: ended with {}, {errors} errors:\n{}{}",
                outcome.code, outcome.stdout, outcome.stderr
            ));
        }
        let after = ok(&bed, print)?;
        if after != before {
            told.push(format!("{name}: something has changed:\n{after}\ninstead of\n{before}"));
        }
    }
    if !told.is_empty() {
        bail!("{}", told.join("\n"));
    }
    ok(&bed, "dkms ldtarball /root/good.tar")?;
    is(&bed, BUILT)
}

/// Cut after every 512th byte, an archive of each compression is refused, and nothing is left of it.
pub fn truncated() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    lay(&bed, &[package("hello")])?;
    ok(
        &bed,
        "dkms build hello/1.0 -k {k}; for e in tar tar.gz tar.xz tar.zst tar.bz2; do
             dkms mktarball hello/1.0 -k {k} --archive /root/good.$e; done
         dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0
         for good in /root/good.*; do size=$(stat -c %s $good); at=0
             while [ $at -lt $((size - 1024)) ]; do
                 head -c $at $good >/root/cut
                 if dkms ldtarball /root/cut >/dev/null 2>/root/said; then echo \"$good cut at $at was taken\" >&2; exit 1; fi
                 [ $(grep -c ^Error /root/said) = 1 ] || { cat /root/said >&2; exit 1; }
                 at=$((at + 512))
             done
         done
         test -z \"$(find /var/lib/dkms /usr/src -name '*hello*' ! -path '*/locks/*')\"
         for good in /root/good.*; do dkms ldtarball $good; dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0; done",
    )?;
    Ok(())
}
