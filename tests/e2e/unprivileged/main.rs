//! Builds, and the evaluation of dkms.conf, are not root: what hostile ones get at, what honest ones still can do, and who may
//! switch it off.

mod conf;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use conf::{conf_hostile, conf_idioms, conf_side_by_side};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::fill;
use dkms_tests::hello::{Package, package};
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// The users that builds become: none of their files may be left, nor a process.
const NOTHING_LEFT: &str = "
nothing_left() {
  local left; left=$(find / -xdev \\( -path /proc -o -path /sys -o -path /mnt \\) -prune -o -uid +2130706431 -print)
  [ -z \"$left\" ] || { echo \"left by a build: $left\"; return 1; }
  left=$(find /proc -maxdepth 1 -name '[0-9]*' -uid +2130706431)
  [ -z \"$left\" ] || { echo \"running: $left\"; return 1; }
}
";

/// What a build must not get. Each is harmless where it works, and says so.
const ATTEMPTS: &str = r#"
try() { if (eval "$2") >/dev/null 2>&1; then echo "GOT $1"; else echo "NOT $1"; fi; }
try key 'grep -q PRIVATE /var/lib/dkms/mok.key'
try shadow 'grep -q root /etc/shadow'
try home 'ls /root/secret'
try sources 'touch /usr/src/planted && rm /usr/src/planted'
try own_source 'touch /usr/src/hostile-1.0/planted && rm /usr/src/hostile-1.0/planted'
try etc 'touch /etc/dkms/planted && rm /etc/dkms/planted'
try modules 'touch /lib/modules/planted && rm /lib/modules/planted'
try tree 'touch /var/lib/dkms/planted && rm /var/lib/dkms/planted'
try journal 'ls /var/lib/dkms/.dkms/journal'
try others 'ls /var/lib/dkms/.dkms/work'
try mount 'mount -t tmpfs none /mnt && umount /mnt'
try unmount 'mount --bind /etc /etc && umount /etc'
try sysctl ': >>/proc/sys/vm/swappiness'
try sysfs ': >>/sys/kernel/mm/transparent_hugepage/enabled'
try device 'mknod planted-device c 1 3 && : <planted-device'
try setid 'cp /bin/id ./id-of-root && chown 0:0 ./id-of-root && chmod u+s ./id-of-root && setpriv --reuid 4242 --clear-groups ./id-of-root -u | grep -qx 0 && touch /etc/as-root && rm /etc/as-root'
try terminal ': <>/dev/tty'
try process '[ -n "$VICTIM" ] && kill -0 "$VICTIM"'
try network ': <>/dev/tcp/127.0.0.1/"$PORT"'
try socket 'perl -MIO::Socket::UNIX -e "IO::Socket::UNIX->new(Peer => q(/run/open)) or die"'
try descriptor 'grep -q . <&7'
try shared_file 'grep -q . "/dev/shm/dkms-test-$KEY"'
try shared_memory 'perl -e "exit !defined shmget($KEY, 0, 0)"'
"#;

/// A process to be killed, and a port to be connected to, in `VICTIM` and `PORT`, and a service's socket that is open to
/// everybody; gone with the shell.
const TARGETS: &str = r#"
perl -MIO::Socket::INET -e '$|=1; $s=IO::Socket::INET->new(Listen=>5,LocalAddr=>"127.0.0.1",LocalPort=>0) or die;
  print $s->sockport,"\n"; 1 while $s->accept' >/run/port & listener=$!
perl -MIO::Socket::UNIX -e '$|=1; $s=IO::Socket::UNIX->new(Listen=>5,Local=>"/run/open") or die;
  chmod 0666, "/run/open" or die; print "open\n"; 1 while $s->accept' >/run/ready & service=$!
sleep infinity & export VICTIM=$!
trap 'kill $listener $service $VICTIM' EXIT
until [ -s /run/ready ]; do kill -0 $service; done
until [ -s /run/port ]; do kill -0 $listener; done; export PORT=$(cat /run/port)
echo secret >/root/secret; exec 7</root/secret
# Beds share the memory of this machine.
export KEY=$((RANDOM * 32768 + RANDOM + 1))
(umask 000; echo secret >/dev/shm/dkms-test-$KEY)
perl -e "defined shmget($KEY, 64, 01666) or die"
trap 'kill $listener $service $VICTIM; perl -e "shmctl(shmget($KEY, 0, 0), 0, 0)"; rm /dev/shm/dkms-test-$KEY' EXIT
(umask 077; echo root:secret: >/etc/shadow)
"#;

fn lay(bed: &Bed, packages: &[Package]) -> Result<()> {
    let hand = tempfile::tempdir()?;
    for package in packages {
        let source = package.build_in(hand.path())?;
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        bed.copy_in(&source, &format!("/usr/src/{name}"))?;
    }
    Ok(())
}

/// A bed with packages in which a script runs; `log NAME` prints the log of a build that succeeded.
fn scene(packages: &[Package], script: &str) -> Result<String> {
    scene_in(&Bed::subject(&Base::trixie()?)?, packages, script)
}

fn scene_in(bed: &Bed, packages: &[Package], script: &str) -> Result<String> {
    lay(bed, packages)?;
    let log = "log() { cat /var/lib/dkms/$1/1.0/{k}/{a}/log/make.log; }";
    bed.ok(&fill(bed.base(), &format!("k={{k}} k2={{k2}}\n{log}\n{NOTHING_LEFT}\n{script}")))
}

fn hostile_package() -> Package {
    package("hostile").file("try.sh", ATTEMPTS).script("PRE_BUILD", ". ./try.sh")
}

/// Lines that begin with `GOT ` or `NOT `.
fn attempts<'a>(output: &'a str, begin: &str) -> Vec<&'a str> {
    output.lines().filter_map(|line| line.strip_prefix(begin)).collect()
}

/// A hostile build gets nothing. The same attempts by root, in the same place, succeed: the list is not vain.
fn hostile() -> Result<()> {
    let run = |conf: &str, command: &str| {
        scene(
            &[hostile_package()],
            &format!("mkdir -p /etc/dkms; {conf}\n{TARGETS}\n{command} >/dev/null\nlog hostile; nothing_left"),
        )
    };
    let count = ATTEMPTS.matches("\ntry ").count();
    // With a terminal, as somebody at work has one.
    let build = "script -qec 'dkms build hostile/1.0 -k {k}' /dev/null";
    let ours = run("", build)?;
    ensure!(attempts(&ours, "GOT ").is_empty() && attempts(&ours, "NOT ").len() == count, "a build got more:\n{ours}");
    let root = run("echo 'DKMS_BUILD_AS=root' >/etc/dkms/hostile.conf", build)?;
    // Out of reach of builds by root, too.
    let apart = ["process", "network", "descriptor", "shared_memory"];
    let not = attempts(&root, "NOT ");
    ensure!(not == apart, "root does not get {not:?}:\n{root}");
    let outside = scene(&[hostile_package()], &format!("{TARGETS}\ncd /root; . /usr/src/hostile-1.0/try.sh"))?;
    let got = attempts(&outside, "GOT ");
    ensure!(apart.iter().all(|what| got.contains(what)), "there is nothing to reach:\n{outside}");
    Ok(())
}

/// Where user namespaces are refused, builds are another user without one; also where there are no namespaces at all.
fn fallbacks() -> Result<()> {
    let build = "dkms build hostile/1.0 -k {k}";
    // As in a container that may not mount: without the capability there is no namespace of any kind for dkms.
    let powerless = format!("setpriv --bounding-set=-sys_admin {build}");
    for (command, users, open) in [
        (build, false, &[][..]),
        (powerless.as_str(), true, &["process", "network", "socket", "shared_file", "shared_memory"][..]),
    ] {
        let bed = Bed::subject(&Base::trixie()?)?;
        let bed = if users { bed } else { bed.without_user_namespaces() };
        let idioms = hostile_package().script(
            "POST_BUILD",
            "set -e; id -u; touch $HOME/x $TMPDIR/x; echo more >$(dirname $PWD)/$kernelver/$arch/module/more; echo a word >>/dev/stderr",
        );
        let script =
            format!("{TARGETS}\n{command} >/dev/null\nlog hostile; nothing_left; dkms status hostile -k {{k}}");
        let output = scene_in(&bed, &[idioms], &script)?;
        let got: Vec<&str> = attempts(&output, "GOT ").into_iter().filter(|name| !open.contains(name)).collect();
        ensure!(got.is_empty(), "{command}: a build got {got:?}:\n{output}");
        ensure!(output.contains("NOT key") && output.contains("a word"), "{command}: {output}");
        // Not root, not even to itself.
        ensure!(output.lines().any(|line| line.starts_with("213") && line.len() == 10), "{command}: {output}");
        ensure!(output.contains(": built"), "{command}: {output}");
    }
    Ok(())
}

/// What honest packages do with root's rights in their own directory.
fn idioms() -> Result<()> {
    let work = r#"set -e
[ "$(id -u)" = 0 ]
mkdir -p box; echo 1 >box/one; chown -R 12:34 box; chown nobody box/one
tar czf box.tar.gz box; rm -r box; tar xzf box.tar.gz; [ "$(stat -c %U:%g box/one)" = nobody:34 ]
install -o root -g root -m 0755 -D box/one out/one; cp -a /usr/src/idioms-1.0/Makefile copied; chown root: copied
chmod u+s out/one; echo warn >/dev/stderr; echo say >/dev/stdout; echo both | tee /dev/stderr >/dev/null
cd "$HOME"; echo 1 >in-home; [ -w "$TMPDIR" ]; f=$(mktemp); echo 1 >$f
for dir in /tmp /var/tmp; do echo 1 >$dir/fixed; done
"#;
    let make = "set -e; sh ./work; make -C ${kernel_source_dir} M=${dkms_tree}/idioms/1.0/build modules; echo made >/dev/stderr";
    let idioms = package("idioms").script("PRE_BUILD", work).file("work", work).make(make);
    for verbose in ["", "--verbose"] {
        // Others' files of the same names in everybody's directories are in nobody's way.
        let output = scene(
            std::slice::from_ref(&idioms),
            &format!(
                "touch /tmp/fixed /var/tmp/fixed; dkms install idioms/1.0 -k $k {verbose} >/dev/null; log idioms; nothing_left; dkms status idioms"
            ),
        )?;
        ensure!(output.starts_with("DKMS ("), "the log's first line is gone:\n{output}");
        for (word, times) in [("warn", 2), ("say", 2), ("both", 2), ("made", 1)] {
            let found = output.lines().filter(|line| *line == word).count();
            ensure!(found == times, "{word} is there {found} times:\n{output}");
        }
        ensure!(output.contains(": installed"), "{output}");
    }
    Ok(())
}

/// `POST_BUILD` adds to the artefact, as that of zfs does; what must not stay there undoes the build.
fn post_build() -> Result<()> {
    let good = "set -e; tail -c 28 good.ko | grep -q 'Module signature appended'
        into=/var/lib/dkms/good/1.0/$kernelver/$arch; cp Makefile $into/zfs_config.h; mkdir $into/module/more
        cp -a good.c $into/module/more/; ln -s ../good.c $into/module/more/link || true; chmod -R 6777 $into/module/more
        ln -s zfs_config.h $into/inner";
    let bad = "cd /var/lib/dkms/bad/1.0/$kernelver/$arch; [ ! -e /usr/src/bad-1.0/evil ] || . /usr/src/bad-1.0/evil";
    let script = "
        dkms install good/1.0 -k $k >/dev/null; d=/var/lib/dkms/good/1.0/$k/{a}; nothing_left
        [ -z \"$(find $d ! -user root -o ! -group root -o -perm /6022 ! -type l)\" ]; ls -lR $d
        cmp $d/zfs_config.h /usr/src/good-1.0/Makefile; cmp $d/module/more/good.c /usr/src/good-1.0/good.c
        modinfo -k $k good | grep -q ^signature; grep -q module/more/good.c $d/.dkms-manifest.json
        dkms install bad/1.0 -k $k >/dev/null; d=/var/lib/dkms/bad/1.0/$k/{a}
        (cd $d; find . -type f -exec sha256sum {} +) >/run/before
        n=0; while read -r evil; do
          echo \"$evil\" >/usr/src/bad-1.0/evil; n=$((n + 1))
          code=0; dkms build bad/1.0 -k $k --force >/run/out 2>&1 || code=$?
          [ $code = 7 ] || { echo \"$evil: $code\"; cat /run/out; exit 1; }
          [ $(grep -c '^Error! ' /run/out) = 1 ]; grep -q 'previous build was restored' /run/out
          (cd $d; find . -type f -exec sha256sum {} +) | cmp - /run/before; nothing_left
          dkms status bad | grep -q installed
        done <<'END'
ln -s /etc/shadow module/x
ln -s ../../../../../../../etc/shadow module/x
ln -sf /etc/shadow module/bad.ko.xz
ln -sf ../log/make.log module/bad.ko.xz
mkdir -p d/e; ln -s ../.. d/e/up; ln -s ../d/e/up/d/e/up/d/e/up/../../../../../../../etc/shadow module/x
mkfifo x
rm -r log; ln -s /etc log
END
        [ $n = 7 ]; [ -e /var/lib/dkms/bad/1.0/build/make.log ]";
    scene(&[package("good").script("POST_BUILD", good), package("bad").script("POST_BUILD", bad)], script)?;
    Ok(())
}

/// A build that plants things for root to stumble over.
fn planted() -> Result<()> {
    let make = "make -C ${kernel_source_dir} M=${dkms_tree}/planter/1.0/build modules; . ./evil";
    let script = "
        cp -a /var/lib/dkms/mok.key /run/key; while read -r evil; do
          echo \"$evil\" >/usr/src/planter-1.0/evil
          code=0; timeout 120 dkms build planter/1.0 -k $k >/run/out 2>&1 || code=$?
          [ $code = 7 ] || { echo \"$evil: $code\"; cat /run/out; exit 1; }
          (! grep -q PRIVATE /run/out); nothing_left; cmp /run/key /var/lib/dkms/mok.key
          [ ! -L /var/lib/dkms/planter/1.0/build/make.log ]; grep -q '^DKMS' /var/lib/dkms/planter/1.0/build/make.log
          [ \"$(stat -c %U:%a /var/lib/dkms/mok.key)\" = root:600 ]; [ -z \"$(find /var/lib/dkms -perm /6000)\" ]
        done <<'END'
ln -sf /var/lib/dkms/mok.key planter.ko; ln -sf /etc/shadow make.log
rm planter.ko; mkfifo planter.ko; cp /bin/id setid; chmod 6755 setid
rm planter.ko; mkdir planter.ko
rm planter.ko Module.symvers; echo nothing >planter.ko
rm planter.ko; truncate -s 3G planter.ko
END
        echo 'ln -sf /var/lib/dkms/mok.key Module.symvers' >/usr/src/planter-1.0/evil
        dkms build planter/1.0 -k $k >/run/out 2>&1; grep -q 'exported symbols is left out' /run/out
        [ ! -e /var/lib/dkms/planter/1.0/$k/{a}/module/Module.symvers ]; dkms unbuild planter/1.0 -k $k >/dev/null
        echo 'rm make.log; ln -s /etc/passwd make.log; ln -s planter.ko x' >/usr/src/planter-1.0/evil; cp /etc/passwd /run/passwd
        dkms build planter/1.0 -k $k >/dev/null; log planter | head -n 1 | grep -q ^DKMS; cmp /etc/passwd /run/passwd; nothing_left";
    scene(&[package("planter").make(make).file("evil", "")], script)?;
    Ok(())
}

/// Who decides: the administrator, for all packages or for one; never the package.
fn who_decides() -> Result<()> {
    let needs_root = package("needs").conf_line("DKMS_BUILD_AS=root").script("PRE_BUILD", "touch /usr/src/by-$module");
    let script = "
        code=0; dkms build needs/1.0 -k $k >/run/out 2>&1 || code=$?; cat /run/out; [ $code = 1 ]; [ ! -e /usr/src/by-needs ]
        grep -q 'DKMS_BUILD_AS=\"root\" in /etc/dkms/needs.conf' /run/out; grep -q 'counts in /etc/dkms/needs.conf only' /run/out
        [ $(grep -c '^Error! ' /run/out) = 1 ]
        try() { rm -f /usr/src/by-needs; code=0; dkms build needs/1.0 -k $k --force \"$@\" >/run/out 2>&1 || code=$?
          echo \"$code $([ -e /usr/src/by-needs ] && echo root)\"; }
        mkdir -p /etc/dkms/framework.conf.d
        echo 'DKMS_BUILD_AS=\"root\"' >/etc/dkms/needs.conf; [ \"$(try)\" = '0 root' ]
        echo build_as=root >/etc/dkms/framework.conf.d/a.conf; rm /etc/dkms/needs.conf; [ \"$(try)\" = '0 root' ]
        echo DKMS_BUILD_AS=unprivileged >/etc/dkms/needs.conf; [ \"$(try)\" = '1 ' ]
        [ \"$(try --directive DKMS_BUILD_AS=root)\" = '0 root' ]
        echo DKMS_BUILD_AS=somebody >/etc/dkms/needs.conf; [ \"$(try)\" = '8 ' ]; grep -q somebody /run/out
        rm /etc/dkms/needs.conf; echo build_as=somebody >/etc/dkms/framework.conf.d/a.conf; [ \"$(try)\" = '1 ' ]
        grep -q 'build_as=\"somebody\" is not valid' /run/out; rm /etc/dkms/framework.conf.d/a.conf
        chmod 0700 /var/lib/dkms; [ \"$(try)\" = '0 root' ]; grep -q 'built as root, since /var/lib/dkms is closed' /run/out";
    scene(&[needs_root], script)?;
    Ok(())
}

/// A build reaches the network where the administrator says so, for it or for all; its own word does not count. Where it does
/// not, that is said, also if a script goes on without.
fn network() -> Result<()> {
    let reach = "(: <>/dev/tcp/127.0.0.1/$(cat port)) && touch reached";
    let asks = package("asks").conf_line("DKMS_BUILD_NETWORK=yes").script("PRE_BUILD", reach);
    let goes_on = package("goes_on").script("PRE_BUILD", &format!("{reach}; true")).make("test -e reached");
    let script = format!(
        "{TARGETS}
        for p in asks goes_on; do echo $PORT >/usr/src/$p-1.0/port; done; mkdir -p /etc/dkms/framework.conf.d
        try() {{ code=0; dkms build asks/1.0 -k $k --force \"$@\" >/run/out 2>&1 || code=$?; [ $code = $want ] || {{ cat /run/out; exit 1; }}; }}
        advice='DKMS_BUILD_NETWORK=\"yes\" in /etc/dkms/asks.conf'
        want=1; try; grep -q 'Builds have no network' /run/out; grep -q \"$advice\" /run/out
        grep -q 'DKMS_BUILD_NETWORK counts in /etc/dkms/asks.conf only' /run/out
        (! dkms status --long asks | grep 'its builds have')
        echo 'DKMS_BUILD_NETWORK=\"yes\"' >/etc/dkms/asks.conf; want=0; try; log asks | grep '^# network: .*DKMS_BUILD_NETWORK'
        dkms status --long asks | grep \"its builds have this machine's network (DKMS_BUILD_NETWORK)\"
        echo build_network=yes >/etc/dkms/framework.conf.d/a.conf; rm /etc/dkms/asks.conf; try; log asks | grep '^# network: .*build_network'
        dkms status --long asks | grep 'network (build_network)'
        echo DKMS_BUILD_NETWORK=no >/etc/dkms/asks.conf; want=1; try
        want=0; try --directive DKMS_BUILD_NETWORK=yes
        echo DKMS_BUILD_NETWORK=sometimes >/etc/dkms/asks.conf; want=8; try; grep -q sometimes /run/out
        rm /etc/dkms/framework.conf.d/a.conf
        code=0; dkms build goes_on/1.0 -k $k >/run/out 2>&1 || code=$?; [ $code = 10 ]
        [ $(grep -c 'Builds have no network' /run/out) = 2 ] || {{ cat /run/out; exit 1; }}"
    );
    scene(&[asks, goes_on], &script)?;
    Ok(())
}

/// Two builds at once are two users; neither finds the other's directory.
fn side_by_side() -> Result<()> {
    let left =
        package("left").script("PRE_BUILD", "timeout 300 cat /proc/self/uid_map >/srv/meet/way; touch $TMPDIR/x");
    let right = package("right").script(
        "PRE_BUILD",
        "read _ other _ < <(timeout 300 cat /srv/meet/way); read _ own _ </proc/self/uid_map; echo \"$own and $other\"
         [ $own != $other ] && [ -n \"$other\" ] && (! ls /var/lib/dkms/.dkms/work)",
    );
    let script =
        "mkdir -pm 0777 /srv/meet; chmod 0777 /srv/meet; mkfifo -m 0666 /srv/meet/way; chmod 0666 /srv/meet/way
        for p in left right; do dkms add $p/1.0 >/dev/null; done
        dkms autoinstall -k $k -j 2; dkms status -k $k | grep -c installed; nothing_left";
    let output = scene(&[left, right], script)?;
    ensure!(output.lines().any(|line| line == "2"), "{output}");
    Ok(())
}

/// Killed while `POST_BUILD` has the artefact: nothing goes on, and the next command puts everything right.
fn killed() -> Result<()> {
    let post = "into=/var/lib/dkms/stuck/1.0/$kernelver/$arch; touch $into/mine; setsid cat /srv/meet/never &
        [ ! -p /srv/meet/hold ] || { exec 3>/srv/meet/hold; echo in >&3; cat /srv/meet/never; }";
    let script = "mkdir -p /srv/meet; chmod 0777 /srv/meet
        dkms install stuck/1.0 -k $k >/dev/null; d=/var/lib/dkms/stuck/1.0/$k/{a}; find $d | sort >/run/before
        mkfifo /srv/meet/hold /srv/meet/never; chmod 0666 /srv/meet/*
        dkms build stuck/1.0 -k $k --force >/dev/null & dkms=$!
        exec 4</srv/meet/hold; read -r line <&4; [ \"$line\" = in ]
        [ -n \"$(find /proc -maxdepth 1 -name '[0-9]*' -uid +2130706431 2>/dev/null)\" ]
        kill -9 $dkms; cat <&4; wait $dkms || true
        rm /srv/meet/hold; (! dkms add nothing/1.0 2>/dev/null)
        dkms build other/1.0 -k $k >/dev/null; nothing_left; find $d | sort | cmp - /run/before
        dkms status stuck/1.0 | grep -q installed; [ -z \"$(ls /var/lib/dkms/.dkms/work /var/lib/dkms/.dkms/journal | grep -v :)\" ]";
    scene(&[package("stuck").script("POST_BUILD", post), package("other")], script)?;
    Ok(())
}

/// A build that listens to no signal, and has made itself forget that it is to die with its parent, does not outlive a dkms that
/// is killed.
fn stubborn() -> Result<()> {
    let program = r#"$SIG{$_} = "IGNORE" for qw(HUP INT QUIT TERM PIPE);
        # prctl(PR_SET_PDEATHSIG, 0)
        syscall(qx(uname -m) =~ /x86/ ? 157 : 167, 1, 0, 0, 0, 0) == 0 or die;
        unless (fork) { setpgrp; }
        open F, ">", "/srv/meet/hold" or die; syswrite F, "in\n"; sleep 1 while 1"#;
    let stubborn = package("stubborn").file("stubborn.pl", program).make("exec perl stubborn.pl");
    let script = "mkdir -p /srv/meet /etc/dkms; mkfifo /srv/meet/hold; chmod 0777 /srv/meet; chmod 0666 /srv/meet/hold
        for who in unprivileged root; do
            echo DKMS_BUILD_AS=$who >/etc/dkms/stubborn.conf
            dkms build stubborn/1.0 -k $k >/dev/null & dkms=$!
            exec 4</srv/meet/hold; read -r line <&4; read -r line <&4; [ \"$line\" = in ]
            kill -9 $dkms; timeout 60 cat <&4; wait $dkms || true
            timeout 60 bash -c 'while grep -aqs stubborn[.]pl /proc/[0-9]*/cmdline; do :; done'
        done
        rm /etc/dkms/stubborn.conf; (! dkms add nothing/1.0 2>/dev/null); nothing_left";
    scene(&[stubborn], script)?;
    Ok(())
}

/// `dkms` in a build's scripts: looking works, changing says why it does not. Afterwards it does.
fn nested() -> Result<()> {
    let outer = package("outer")
        .script("PRE_BUILD", "dkms status inner; dkms install inner/1.0 -k $kernelver; echo code $?")
        .script("POST_INSTALL", "dkms install inner/1.0 -k $kernelver");
    let output = scene(
        &[outer, package("inner")],
        "dkms add inner/1.0 >/dev/null; dkms install outer/1.0 -k $k >/dev/null; log outer; dkms status -k $k; nothing_left",
    )?;
    for line in ["inner/1.0: added", "code 1", "Error! No write access to DKMS tree at /var/lib/dkms"] {
        ensure!(output.lines().any(|found| found == line), "no {line:?}:\n{output}");
    }
    ensure!(output.contains("POST_INSTALL"), "no advice:\n{output}");
    ensure!(output.matches(": installed").count() == 2, "{output}");
    Ok(())
}

/// Who the scripts are that run when a package is added, installed and removed.
fn scripts_as() -> Result<()> {
    let word = "echo ran $(id -u) $(touch /etc/by-$$ 2>&1 && echo could) $(cat /var/lib/dkms/mok.key >/dev/null 2>&1 && echo read) $(: 2>&1 <>/dev/tcp/127.0.0.1/$(cat /run/port) && echo reached)";
    let mut scripted = package("scripted").conf_line("DKMS_SCRIPTS_AS=root");
    for which in ["POST_ADD", "PRE_INSTALL", "POST_INSTALL", "POST_REMOVE"] {
        scripted = scripted.script(which, word);
    }
    let script = format!(
        "{TARGETS}
        mkdir -p /etc/dkms/framework.conf.d
        all() {{ {{ dkms install scripted/1.0 -k $k; dkms remove scripted/1.0 --all; }} >/run/out 2>&1 || {{ cat /run/out; return 1; }}; rm -f /etc/by-*; }}
        ran() {{ [ \"$(grep -c \"^ran $1\" /run/out)\" = 4 ] || {{ cat /run/out; exit 1; }}; }}
        all; all; ran '0 could read reached'
        echo scripts_as=nobody >/etc/dkms/framework.conf.d/a.conf; all; ran '213[0-9]*  *[^a-z]*touch'; (! grep -E '^ran .*(could|read|reached)' /run/out)
        echo scripts_as=none >/etc/dkms/framework.conf.d/a.conf; all; (! grep '^ran' /run/out); [ $(grep -c 'is not run (scripts_as' /run/out) = 4 ]
        echo DKMS_SCRIPTS_AS=root >/etc/dkms/scripted.conf; all; ran '0 could read reached'
        rm /etc/dkms/framework.conf.d/a.conf; echo DKMS_SCRIPTS_AS=none >/etc/dkms/scripted.conf; all; (! grep '^ran' /run/out)
        dkms install scripted/1.0 -k $k >/dev/null 2>&1; dkms status --long scripted | grep 'DKMS_SCRIPTS_AS'
        # A package that fails on purpose does not get them run either.
        echo 'exit 1' >>/usr/src/scripted-1.0/dkms.conf; dkms remove scripted/1.0 --all >/run/out 2>&1 || true; (! grep '^ran' /run/out)
        sed -i '/^exit 1/d' /usr/src/scripted-1.0/dkms.conf; rm /etc/dkms/scripted.conf
        echo scripts_as=somebody >/etc/dkms/framework.conf.d/a.conf; all; grep -q 'scripts_as=\"somebody\" is not valid' /run/out; (! grep -E '^ran .*could' /run/out)"
    );
    scene(&[scripted], &script)?;
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours])
        .case("hostile", hostile)
        .case("fallbacks", fallbacks)
        .case("idioms", idioms)
        .case("post_build", post_build)
        .case("planted", planted)
        .case("who_decides", who_decides)
        .case("network", network)
        .case("side_by_side", side_by_side)
        .case("killed", killed)
        .case("stubborn", stubborn)
        .case("nested", nested)
        .case("conf_hostile", conf_hostile)
        .case("conf_side_by_side", conf_side_by_side)
        .case("conf_idioms", conf_idioms)
        .case("scripts_as", scripts_as)
        .main()
}
