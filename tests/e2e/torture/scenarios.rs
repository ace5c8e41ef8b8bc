//! What is tortured: every verb that changes something, and the healing of what a killed one left.

use crate::calls::Kind;
use crate::sweep::{Scenario, is};

const K: &str = "6.1.0-torture";

/// Makes scenarios short to write.
const fn verb(name: &'static str, setup: &'static str, command: &'static [&'static str]) -> Scenario {
    Scenario { name, setup, killed: None, command }
}

const HELLO: &str = "cp -a /srv/torture/hello-1.0 /srv/torture/hello-2.0 /usr/src/; dkms add hello/1.0; dkms add hello/2.0; dkms build hello/1.0 -k 6.1.0-torture";
const DUMMY: &str = "cp -a /srv/torture/dummy-1.0 /srv/torture/dummy-2.0 /usr/src/; dkms add dummy/1.0; dkms add dummy/2.0; dkms build dummy/1.0 -k 6.1.0-torture";
const DUMMY_INSTALLED: &str = "cp -a /srv/torture/dummy-1.0 /srv/torture/dummy-2.0 /usr/src/; dkms add dummy/1.0; dkms add dummy/2.0; dkms install --force dummy/1.0 -k 6.1.0-torture; dkms build dummy/2.0 -k 6.1.0-torture; update-initramfs -u -k 6.1.0-torture";
const MANY_ADDED: &str =
    "cp -a /srv/torture/{base-1.0,needs-1.0,hello-1.0} /usr/src/; for p in base needs hello; do dkms add $p/1.0; done";
const MANY_INSTALLED: &str = "cp -a /srv/torture/{base-1.0,needs-1.0,dummy-1.0} /usr/src/; for p in base needs dummy; do dkms add $p/1.0; done; for k in 6.1.0-torture 6.6.0-torture; do dkms autoinstall -k $k; update-initramfs -u -k $k; done";

/// All scenarios.
pub const ALL: &[Scenario] = &[
    verb("add_directory", "true", &["add", "/srv/torture/hello-1.0"]),
    verb("add", "cp -a /srv/torture/hello-1.0 /usr/src/", &["add", "hello/1.0"]),
    verb("build", "cp -a /srv/torture/hello-1.0 /usr/src/; dkms add hello/1.0", &["build", "hello/1.0", "-k", K]),
    verb(
        "build_that_fails",
        "cp -a /srv/torture/fails-1.0 /usr/src/; dkms add fails/1.0",
        &["build", "fails/1.0", "-k", K],
    ),
    verb("unbuild", HELLO, &["unbuild", "hello/1.0", "-k", K]),
    verb("install", HELLO, &["install", "hello/1.0", "-k", K]),
    verb("install_over_the_kernels_own", DUMMY, &["install", "--force", "dummy/1.0", "-k", K]),
    verb("install_over_another_version", DUMMY_INSTALLED, &["install", "--force", "dummy/2.0", "-k", K]),
    verb("uninstall", DUMMY_INSTALLED, &["uninstall", "dummy/1.0", "-k", K]),
    verb("remove", DUMMY_INSTALLED, &["remove", "dummy/1.0", "--all"]),
    verb("remove_of_two_kernels", MANY_INSTALLED, &["remove", "base/1.0", "--all"]),
    verb("autoinstall", MANY_ADDED, &["autoinstall", "-k", K]),
    verb("reconcile_all", MANY_ADDED, &["reconcile", "--all-kernels"]),
    verb(
        "reconcile_what_is_lost",
        "cp -a /srv/torture/dummy-1.0 /usr/src/; dkms add dummy/1.0; dkms autoinstall -k 6.1.0-torture; update-initramfs -u -k 6.1.0-torture; rm /usr/lib/modules/6.1.0-torture/updates/dkms/*; depmod 6.1.0-torture; update-initramfs -u -k 6.1.0-torture",
        &["reconcile", "-k", K],
    ),
    verb(
        "reconcile_a_kernel_that_went",
        "cp -a /srv/torture/dummy-1.0 /usr/src/; dkms add dummy/1.0; dkms autoinstall -k 6.1.0-torture; rm -r /usr/lib/modules/6.1.0-torture/kernel /usr/src/linux-headers-6.1.0-torture /boot/*6.1.0*",
        &["reconcile", "--all-kernels"],
    ),
    verb("kernel_postinst", MANY_ADDED, &["kernel_postinst", "-k", K]),
    verb("kernel_preinst", MANY_INSTALLED, &["kernel_preinst", "-k", K]),
    verb("kernel_prerm", MANY_INSTALLED, &["kernel_prerm", "-k", K]),
    verb(
        "match",
        "cp -a /srv/torture/{base-1.0,needs-1.0} /usr/src/; for p in base needs; do dkms add $p/1.0; dkms install $p/1.0 -k 6.6.0-torture; done",
        &["match", "--templatekernel", "6.6.0-torture", "-k", K],
    ),
    verb(
        "sign",
        "cp -a /srv/torture/{base-1.0,dummy-1.0} /usr/src/; for p in base dummy; do dkms add $p/1.0; dkms install --force $p/1.0 -k 6.1.0-torture; done; rm /var/lib/dkms/mok.*; dkms generate_mok",
        &["sign", "--all"],
    ),
    verb("generate_mok", "rm /var/lib/dkms/mok.*", &["generate_mok"]),
    verb("mktarball", HELLO, &["mktarball", "hello/1.0", "-k", K, "--archive", "/root/hello.tar.gz"]),
    verb(
        "ldtarball",
        "cp -a /srv/torture/hello-1.0 /usr/src/; dkms add hello/1.0; dkms build hello/1.0 -k 6.1.0-torture; dkms mktarball hello/1.0 -k 6.1.0-torture --archive /root/hello.tar.gz; dkms remove hello/1.0 --all; rm -r /usr/src/hello-1.0",
        &["ldtarball", "/root/hello.tar.gz"],
    ),
    verb(
        "fsck",
        "cp -a /srv/torture/{base-1.0,dummy-1.0} /usr/src/; for p in base dummy; do dkms add $p/1.0; done; dkms autoinstall -k 6.1.0-torture; rm /usr/lib/modules/6.1.0-torture/updates/dkms/dummy.ko*; echo >/usr/src/.dkms-new-4194305-1; rm /var/lib/dkms/base/1.0/source; echo x >/var/lib/dkms/base/1.0/6.1.0-torture/x86_64/.dkms-manifest.json",
        &["fsck", "--repair"],
    ),
    verb(
        "fsck_after_the_loss_of_var",
        "cp -a /srv/torture/{base-1.0,dummy-1.0} /usr/src/; for p in base dummy; do dkms add $p/1.0; done; dkms autoinstall -k 6.1.0-torture; rm -r /var/lib/dkms/{base,dummy,.dkms}",
        &["fsck", "--repair"],
    ),
    // Killed before its files were all written, and after the first of them was in its place.
    Scenario {
        name: "healing_backwards",
        setup: DUMMY,
        killed: Some((&["install", "--force", "dummy/1.0", "-k", K], |call| {
            is(call, Kind::Sync, "/updates/dkms/.dkms-new-")
        })),
        command: &["install", "--force", "dummy/1.0", "-k", K],
    },
    Scenario {
        name: "healing_forwards",
        setup: DUMMY_INSTALLED,
        killed: Some((&["install", "--force", "dummy/2.0", "-k", K], |call| {
            is(call, Kind::Rename, "/dummy/kernel-6.1.0-torture-x86_64")
        })),
        command: &["install", "--force", "dummy/2.0", "-k", K],
    },
    Scenario {
        name: "healing_a_removal",
        setup: DUMMY_INSTALLED,
        killed: Some((&["uninstall", "dummy/1.0", "-k", K], |call| is(call, Kind::Remove, "/.dkms-old-"))),
        command: &["reconcile", "-k", K],
    },
];
