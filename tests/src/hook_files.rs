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
