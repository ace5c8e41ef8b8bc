use super::*;

const CONFIG: &str = "/lib/modules/6.12.1-x/build/.config";

fn facts() -> PolicyInput<'static> {
    PolicyInput {
        release: "6.12.1-x",
        distribution: ModuleSigning::KbuildPackage,
        try_sign_modules: "not_in_chroot",
        in_chroot: false,
        kernel_config: Path::new(CONFIG),
        sig_hash: Some("\"sha512\""),
        sig_key: Some("\"certs/signing_key.pem\""),
        build_dir: Path::new("/lib/modules/6.12.1-x/build"),
        sign_file: "",
        mok_signing_key: "",
        mok_certificate: "",
        modules_sign_key: None,
        modules_sign_cert: None,
    }
}

/// Decides where exactly `files` exist, each also found in PATH by its name.
fn run(facts: &PolicyInput<'_>, files: &[&str]) -> Decided {
    let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
    let program =
        |name: &str| files.iter().map(PathBuf::from).find(|file| file.file_name().is_some_and(|found| found == name));
    decide(facts, Look { exists: &exists, program: &program })
}

fn plan(decided: Decided) -> Plan {
    match decided.decision {
        Decision::Sign(plan) => plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reasons_not_to_sign_come_in_order() {
    let mut f = PolicyInput { try_sign_modules: "false", in_chroot: true, sig_hash: None, ..facts() };
    let first = |f: &PolicyInput<'_>, files: &[&str]| run(f, files).lines.join("|");
    assert_eq!(first(&f, &[]), "Module signing is disabled by policy, modules won't be signed");
    f.try_sign_modules = "anything";
    assert_eq!(first(&f, &[]), "Running in chroot, modules won't be signed");
    f.try_sign_modules = "true";
    assert_eq!(first(&f, &[]), format!("Kernel config {CONFIG} not found, modules won't be signed"));
    assert_eq!(first(&f, &[CONFIG]), "The kernel is built without module signing facility, modules won't be signed");
    f.sig_hash = Some("sha1");
    assert_eq!(
        first(&f, &[CONFIG]),
        "Binary /lib/modules/6.12.1-x/build/scripts/sign-file not found, modules won't be signed"
    );
}

#[test]
fn in_process_is_the_default_and_names_its_keys() {
    let decided = run(&facts(), &[CONFIG, OWN_KEY, OWN_CERT]);
    assert_eq!(
        decided.lines,
        [
            "Sign command: dkms (built in, sha512)",
            "Signing key: /var/lib/dkms/mok.key",
            "Public certificate (MOK): /var/lib/dkms/mok.pub",
        ]
    );
    let plan = plan(decided);
    assert_eq!(plan.how, How::InProcess(Hash::Sha512));
    assert_eq!(plan.program, None);
}

#[test]
fn a_program_is_used_when_told_or_needed() {
    let kernels = "/usr/lib/linux-kbuild-6.12/scripts/sign-file";
    let configured = PolicyInput { sign_file: "/opt/hsm", ..facts() };
    let keys = [CONFIG, OWN_KEY, OWN_CERT];
    let with = |extra: &[&'static str]| [&keys[..], extra].concat();
    let how = |f: &PolicyInput<'_>, extra: &[&'static str]| plan(run(f, &with(extra))).how;
    assert_eq!(how(&configured, &["/opt/hsm"]), How::Program("/opt/hsm".into()));
    assert_eq!(how(&configured, &[]), How::InProcess(Hash::Sha512));
    let sha1 = PolicyInput { sig_hash: Some("sha1"), ..facts() };
    assert_eq!(how(&sha1, &[kernels]), How::Program(kernels.into()));
    let token = PolicyInput { mok_signing_key: "pkcs11:token=x", ..facts() };
    assert_eq!(how(&token, &[kernels]), How::Program(kernels.into()));
    assert_eq!(
        plan(run(&facts(), &with(&[kernels]))).program,
        Some(kernels.into()),
        "kept for keys that turn out to be unusable here"
    );
    let ubuntu = PolicyInput {
        distribution: ModuleSigning::ShimSigned,
        sig_hash: Some("sha1"),
        mok_signing_key: OWN_KEY,
        mok_certificate: OWN_CERT,
        ..facts()
    };
    assert_eq!(how(&ubuntu, &["/usr/bin/kmodsign"]), How::Program("/usr/bin/kmodsign".into()));
}

#[test]
fn missing_keys_are_made_but_a_lost_one_is_reported() {
    let none = run(&facts(), &[CONFIG]);
    assert!(matches!(&none.decision, Decision::NeedKey(_, Maker::Own)));
    assert_eq!(none.lines[3], "Certificate or key are missing, generating self signed certificate for MOK...");
    let no_cert = run(&facts(), &[CONFIG, OWN_KEY]);
    assert!(matches!(no_cert.decision, Decision::NeedKey(_, Maker::Own)));
    let lost = run(&facts(), &[CONFIG, OWN_CERT]);
    assert!(matches!(lost.decision, Decision::DontSign(Why::KeyLost { .. })));
    let token = PolicyInput { mok_signing_key: "pkcs11:token=x", sign_file: "/s", ..facts() };
    assert_eq!(run(&token, &[CONFIG, "/s"]).decision, Decision::DontSign(Why::NoCertificate(OWN_CERT.into())));
}

#[test]
fn each_distribution_has_its_keys() {
    let keys_of = |f: &PolicyInput<'_>, files: &[&str]| {
        let plan = plan(run(f, &[&[CONFIG], files].concat()));
        (plan.key.display().to_string(), plan.cert.display().to_string())
    };
    let both = |key: &str, cert: &str| (key.to_owned(), cert.to_owned());
    let ubuntu = PolicyInput { distribution: ModuleSigning::ShimSigned, ..facts() };
    assert_eq!(keys_of(&ubuntu, &[SHIM_KEY, SHIM_CERT]), both(SHIM_KEY, SHIM_CERT));
    assert_eq!(keys_of(&facts(), &[AKMODS_KEY, AKMODS_CERT]), both(AKMODS_KEY, AKMODS_CERT));
    assert_eq!(keys_of(&facts(), &[AKMODS_KEY, AKMODS_CERT, OWN_KEY, OWN_CERT]), both(OWN_KEY, OWN_CERT));
    let mut gentoo = PolicyInput { distribution: ModuleSigning::KernelsKey, ..facts() };
    let kernels = "/lib/modules/6.12.1-x/build/certs/signing_key.pem";
    assert_eq!(keys_of(&gentoo, &[kernels]), both(kernels, kernels));
    gentoo.modules_sign_key = Some("/g.pem");
    assert_eq!(keys_of(&gentoo, &["/g.pem"]), both("/g.pem", "/g.pem"));
    let configured = PolicyInput { mok_signing_key: "/k", mok_certificate: "/c", ..ubuntu };
    assert_eq!(keys_of(&configured, &["/k", "/c"]), both("/k", "/c"));
}

#[test]
fn ubuntu_has_its_own_maker() {
    let ubuntu = PolicyInput { distribution: ModuleSigning::ShimSigned, ..facts() };
    assert_eq!(run(&ubuntu, &[CONFIG]).decision, Decision::DontSign(Why::NoProgram("update-secureboot-policy".into())));
    let program = "/usr/sbin/update-secureboot-policy";
    let made = run(&ubuntu, &[CONFIG, program, SHIM_CERT]).decision;
    let Decision::NeedKey(_, maker) = made else { panic!("{made:?}") };
    assert_eq!(maker, Maker::UpdateSecureBootPolicy { program: program.into(), move_away: Some(SHIM_CERT.into()) });
}
