//! What a dkms.conf can reach, and can do without.

use anyhow::{Result, ensure};
use dkms_tests::hello::{Package, package};

use crate::{ATTEMPTS, TARGETS, attempts, scene};

/// A package of a dkms.conf and a Makefile, which tries everything of [`ATTEMPTS`] while it is evaluated.
pub fn hostile_conf(name: &str) -> Package {
    package(name).file("try.sh", ATTEMPTS).conf_line(&format!(
        "VICTIM=$(cat /usr/src/{name}-1.0/victim) PORT=$(cat /usr/src/{name}-1.0/port) KEY=$(cat /usr/src/{name}-1.0/key)\n\
         cd /usr/src/{name}-1.0; MAKE=\"true KEPT=$(cat /var/lib/dkms/mok.key 2>&1 | tr -d '\\n'); make\"\n\
         TRIED=$(. ./try.sh); printf '%s\\n' \"$TRIED\" >&2\n\
         touch /etc/touched 2>/dev/null; (setsid sleep infinity >/dev/null 2>&1 &)"
    ))
}

/// What a hostile dkms.conf gets: nothing, on every way to its evaluation. As root, where the administrator trusts it, it gets it.
pub fn conf_hostile() -> Result<()> {
    let count = ATTEMPTS.matches("\ntry ").count();
    let lay_targets = "for f in victim:$VICTIM port:$PORT key:$KEY; do echo ${f#*:} >/usr/src/evil-1.0/${f%%:*}; done";
    let keys = "(umask 077; openssl req -new -x509 -newkey rsa:2048 -nodes -keyout /var/lib/dkms/mok.key -outform DER \\
         -out /var/lib/dkms/mok.pub -days 9 -subj /CN=x 2>/dev/null); grep -q PRIVATE /var/lib/dkms/mok.key";
    let run = |before: &str, prefix: &str, command: &str| {
        scene(
            &[hostile_conf("evil")],
            &format!(
                "mkdir -p /etc/dkms; {keys}; {TARGETS}\n{lay_targets}\n{before}\n{prefix} {command} >/run/said 2>&1 || true
                 cat /run/said; [ ! -e /etc/touched ] || echo GOT touched; (! grep -r 'KEPT=-----BEGIN' /var/lib/dkms) || echo GOT the key; nothing_left"
            ),
        )
    };
    let only = |output: &str, open: &[&str]| -> Vec<String> {
        attempts(output, "GOT ").into_iter().filter(|name| !open.contains(name)).map(str::to_owned).collect()
    };
    for command in ["dkms add evil/1.0", "dkms build evil/1.0 -k {k}", "dkms lint /usr/src/evil-1.0"] {
        let output = run("", "", command)?;
        // lint does not repeat what a file says.
        let tried = command.contains("lint") || attempts(&output, "NOT ").len() >= count;
        ensure!(only(&output, &[]).is_empty() && tried, "{command}: a dkms.conf got more:\n{output}");
    }
    // Where there are no namespaces, another user still.
    let output = run("", "setpriv --bounding-set=-sys_admin", "dkms build evil/1.0 -k {k}")?;
    let got = only(&output, &["process", "network", "socket", "shared_file", "shared_memory"]);
    ensure!(got.is_empty() && attempts(&output, "NOT ").contains(&"key"), "without namespaces: {got:?}\n{output}");
    // The list is not vain.
    let trusted = run("echo DKMS_BUILD_AS=root >/etc/dkms/evil.conf", "", "dkms add evil/1.0")?;
    for what in ["key", "shadow", "home", "sources", "etc", "modules", "touched"] {
        ensure!(attempts(&trusted, "GOT ").contains(&what), "root does not get {what}:\n{trusted}");
    }
    Ok(())
}

/// Nothing of one package's evaluation reaches another's. One that never ends, or starts processes without end, is ended.
pub fn conf_side_by_side() -> Result<()> {
    let when = |text: &str| format!("if [ -e /etc/dkms/now ]; then\n{text}\nfi");
    let liar = package("aliar").conf_line(&when(
        "(while :; do printf '%s\\0' v AUTOINSTALL 0 no z 0; done >/proc/1/fd/1 &) 2>/dev/null
         for fd in {0..40}; do printf '%s\\0' f v PACKAGE_NAME 0 lie v DKMS_SCRIPTS_AS 0 root z 0 >&$fd; done 2>/dev/null
         kill -9 $PPID 1 2>/dev/null; kill -STOP 1 $$; enable -n printf read source; builtin() { :; }",
    ));
    let bomb = package("bomb").conf_line(&when("f() { f | f & }; f; while :; do :; done"));
    let script = "
        mkdir -p /etc/dkms; for p in aliar bomb good; do dkms add $p/1.0 >/dev/null; done; touch /etc/dkms/now
        code=0; timeout 500 dkms autoinstall -k $k >/run/out 2>&1 || code=$?; [ $code != 0 ] && [ $code != 124 ] || { cat /run/out; exit 1; }
        grep -q 'bomb-1.0/dkms.conf was still running after' /run/out || grep -q bomb /run/out || { cat /run/out; exit 1; }
        dkms status good | grep installed; nothing_left";
    scene(&[liar, bomb, package("good")], script)?;
    Ok(())
}

/// What honest files read and run; those that other users can't read; and who decides.
pub fn conf_idioms() -> Result<()> {
    let honest = package("honest")
        .file("version.sh", "v=7")
        .conf_line(
            ". $source_tree/honest-1.0/version.sh; f=$(mktemp); echo \"$v\" >\"$f\"; read -r w <\"$f\"
             [ -r $kernel_source_dir/Makefile ] && h=headers; . /etc/os-release; r=$(uname -r | awk '{print NF}' | sed s/1/one/)
             cat /etc/dkms/secret >/dev/null || true
             d=$(dpkg-query -W -f '${Status}' bash | tr ' ' _); i=$(modinfo -k $kernelver -F name dummy); here=$(cat <<<\"$ID\")
             MAKE=\"true $w $h $here $r $d $i $(cat /etc/dkms/secret 2>&1 | tr ' ' _); ${MAKE:-make -C $kernel_source_dir M=$dkms_tree/$module/$module_version/build modules}\"",
        );
    let script = "
        mkdir -p /etc/dkms; (umask 077; echo open >/etc/dkms/secret)
        said() { dkms build honest/1.0 -k $k --force >/run/out 2>&1 || { cat /run/out; return 1; }; log honest | grep '^# command: ' | head -1; cat /run/out >&2; }
        said | grep 'true 7 headers debian one install_ok_installed dummy cat:_/etc/dkms/secret:_Permission_denied' || { said; exit 1; }
        said 2>&1 | grep 'DKMS_BUILD_AS=\"root\" in /etc/dkms/honest.conf'
        echo DKMS_BUILD_AS=root >/etc/dkms/honest.conf; said | grep 'dummy open'
        echo DKMS_BUILD_AS=unprivileged >/etc/dkms/honest.conf; mkdir -p /etc/dkms/framework.conf.d; echo build_as=root >/etc/dkms/framework.conf.d/a.conf
        said | grep Permission_denied; rm /etc/dkms/honest.conf; said | grep 'dummy open'; rm /etc/dkms/framework.conf.d/a.conf
        # Overrides see the package's values, also where only root can read them.
        (umask 077; echo 'MAKE+=\"; true over\"; DKMS_JOBS=1' >/etc/dkms/honest.conf); said | grep 'true 7 headers.*true over'
        rm /etc/dkms/honest.conf; chmod 600 /usr/src/honest-1.0/dkms.conf; said | grep 'true 7 headers'
        chmod 644 /usr/src/honest-1.0/dkms.conf; [ -z \"$(ls -A /var/lib/dkms/.dkms/work)\" ]; nothing_left";
    scene(&[honest], script)?;
    Ok(())
}
