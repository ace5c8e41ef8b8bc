//! Files of `hook-files` that other programs read as a part of their own.

use crate::run::command;

/// mkinitcpio joins its configuration and the drop-ins with cat, and sources the result; HOOKS may be an array or a string,
/// and a file may lack its last newline (mkinitcpio.conf(5)).
#[test]
fn the_drop_in_of_mkinitcpio_adds_one_hook_to_any_configuration() {
    let drop_in = include_str!("../../hook-files/arch/etc/mkinitcpio.conf.d/zz-dkms.conf");
    for before in [
        "HOOKS=(base udev block)\n",
        "HOOKS=\"base udev block\"\n",
        "HOOKS=(base udev block)",
        "HOOKS='base udev block'",
    ] {
        let script = format!("{before}{drop_in}\nprintf '%s,' \"${{HOOKS[@]}}\"");
        let said = command("bash").args(["-euc", &script]).output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{before}: {}", String::from_utf8_lossy(&said.stderr));
        assert_eq!(String::from_utf8_lossy(&said.stdout), "base,udev,block,dkms,", "{before}");
    }
}

/// What mkinitcpio 40 has for the hooks that it sources and whose `build` it calls, as far as ours uses it; it is not in Debian's
/// archive. `add_module` fails for what modprobe would not find, `die` ends the run.
const MKINITCPIO: &str = r#"
KERNELVERSION=6.1 _optmoduleroot=/ _d_kmoduledir=$1
modinfo() {
    [[ "$*" == "-b / -k 6.1 -F filename "* ]] || exit 9
    case ${!#} in
        builtin) echo '(builtin)' ;;
        lost) return 1 ;;
        *) echo "$_d_kmoduledir/updates/dkms/${!#}.ko" ;;
    esac
}
add_module() { modinfo -b / -k 6.1 -F filename "$1" | grep -q ^/ && echo "added $1"; }
die() { printf "==> ERROR: $1\n" "${@:2}"; exit 1; }
source "$2"
build
echo built
"#;

#[test]
fn the_hook_of_mkinitcpio_adds_what_is_listed_or_there_is_no_image() {
    let hook = crate::settings::project().join("hook-files/arch/usr/lib/initcpio/install/dkms");
    let modules = tempfile::tempdir().unwrap();
    for (list, status, said) in [
        (None, 0, "built\n"),
        (Some(""), 0, "built\n"),
        (Some("nvme\nbuiltin\nvirtio_blk\n"), 0, "added nvme\nadded virtio_blk\nbuilt\n"),
        (
            Some("nvme\nlost\nvirtio_blk\n"),
            1,
            "added nvme\n==> ERROR: The module 'lost', which this image needs, can not be found. \
             To fix it: dkms reconcile -k 6.1\n",
        ),
    ] {
        if let Some(list) = list {
            fs_err::write(modules.path().join(".dkms-initramfs"), list).unwrap();
        }
        let mut bash = command("bash");
        let end = bash.args(["-uc", MKINITCPIO, "bash"]).arg(modules.path()).arg(&hook).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&end.stdout), said, "{list:?}: {}", String::from_utf8_lossy(&end.stderr));
        assert_eq!(end.status.code(), Some(status), "{list:?}");
    }
}
