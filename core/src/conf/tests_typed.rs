//! What is made of a conf's values: problems, a typed conf, a recipe for a kernel.

use super::tests::Bench;
use super::*;

#[test]
fn problems_are_the_classics_lines() {
    let table: &[(&str, bool, &[&str])] = &[
        ("PACKAGE_NAME=t;PACKAGE_VERSION=1;DEST_MODULE_LOCATION=/extra", true, &[]),
        (
            "BUILT_MODULE_NAME[0]=x",
            false,
            &[
                "dkms.conf: Error! No 'PACKAGE_NAME' directive specified.",
                "dkms.conf: Error! No 'PACKAGE_VERSION' directive specified.",
                "dkms.conf: Error! No 'DEST_MODULE_LOCATION' directive specified for record #0.",
            ],
        ),
        // Observed with the classic.
        (
            "PACKAGE_NAME=t;AUTOINSTALL=maybe;BUILD_DEPENDS_REBUILD=1;NO_WEAK_MODULES=z;DEST_MODULE_LOCATION=(/extra '' '' /foo)\n\
             BUILT_MODULE_NAME[1]=x.ko;DEST_MODULE_NAME[1]=y.o;DEST_MODULE_NAME[2]=y;BUILT_MODULE_LOCATION[4]=z",
            true,
            &[
                "dkms.conf: Error! No 'PACKAGE_VERSION' directive specified.",
                "dkms.conf: Error! No 'BUILT_MODULE_NAME' directive specified for record #0.",
                "dkms.conf: Error! 'BUILT_MODULE_NAME' directive ends in '.o' or '.ko' in record #1.",
                "dkms.conf: Error! 'DEST_MODULE_NAME' directive ends in '.o' or '.ko' in record #1.",
                "dkms.conf: Error! No 'DEST_MODULE_LOCATION' directive specified for record #1.",
                "dkms.conf: Error! No 'BUILT_MODULE_NAME' directive specified for record #2.",
                "dkms.conf: Error! No 'DEST_MODULE_LOCATION' directive specified for record #2.",
                "dkms.conf: Error! No 'BUILT_MODULE_NAME' directive specified for record #3.",
                "dkms.conf: Error! Directive 'DEST_MODULE_LOCATION' does not begin with\n'/kernel', '/updates', or '/extra' in record #3.",
                "dkms.conf: Error! No 'BUILT_MODULE_NAME' directive specified for record #4.",
                "dkms.conf: Error! No 'DEST_MODULE_LOCATION' directive specified for record #4.",
                "dkms.conf: Error! Unsupported AUTOINSTALL value 'maybe'",
                "dkms.conf: Error! Unsupported BUILD_DEPENDS_REBUILD value '1'",
                "dkms.conf: Error! Unsupported NO_WEAK_MODULES value 'z'",
            ],
        ),
        (
            "PACKAGE_NAME=t;PACKAGE_VERSION=1;BUILT_MODULE_NAME=(a a b);BUILT_MODULE_LOCATION=(d d/ '');DEST_MODULE_NAME=(p q p);DEST_MODULE_LOCATION=(/extra /updates-x /kernel/x)",
            true,
            &[
                "dkms.conf: Error! Duplicate module 'd/a' in 'BUILT_MODULE_NAME[1]'.",
                "dkms.conf: Error! Duplicate module 'p' in 'DEST_MODULE_NAME[2]'.",
            ],
        ),
        ("PACKAGE_NAME=t;PACKAGE_VERSION=1;BUILT_MODULE_NAME=(a a);DEST_MODULE_LOCATION=(/extra /extra)", false, &[]),
        // Ours: a module is installed under a name, not a path.
        (
            "PACKAGE_NAME=t;PACKAGE_VERSION=1;BUILT_MODULE_NAME=(sub/a b sub/c);DEST_MODULE_NAME=('' sub/b c);DEST_MODULE_LOCATION=(/extra /extra /extra)",
            true,
            &[
                "dkms.conf: Error! 'BUILT_MODULE_NAME' directive has a directory in it in record #0.\nThe directory belongs into 'BUILT_MODULE_LOCATION' or 'DEST_MODULE_LOCATION'.",
                "dkms.conf: Error! 'DEST_MODULE_NAME' directive has a directory in it in record #1.\nThe directory belongs into 'BUILT_MODULE_LOCATION' or 'DEST_MODULE_LOCATION'.",
            ],
        ),
        // Ours: bash's =~ is silent about what is no expression.
        (
            "PACKAGE_NAME=t;PACKAGE_VERSION=1;DEST_MODULE_LOCATION=/extra;BUILD_EXCLUSIVE_KERNEL='(';PATCH=a;PATCH_MATCH='6.(1'",
            true,
            &[
                "dkms.conf: Warning! BUILD_EXCLUSIVE_KERNEL[0]=( is not a regular expression, and matches no kernel.",
                "dkms.conf: Error! PATCH_MATCH[0]=6.(1 is not a regular expression, and matches no kernel.",
            ],
        ),
        (
            "PACKAGE_NAME=t;PACKAGE_VERSION=1;DEST_MODULE_LOCATION=/extra;PATCH=a;PATCH_MATCH='6.(1'",
            false,
            &["dkms.conf: Warning! PATCH_MATCH[0]=6.(1 is not a regular expression, and matches no kernel."],
        ),
        (
            r"PACKAGE_NAME=t;PACKAGE_VERSION=1;DEST_MODULE_LOCATION=/extra;BUILD_EXCLUSIVE_KERNEL='^6\.\d+';MAKE=(a b);MAKE_MATCH[1]='^[\d.]+';BUILD_EXCLUSIVE_ARCH='(\d'",
            true,
            &[
                r"dkms.conf: Warning! BUILD_EXCLUSIVE_ARCH[0]=(\d is not a regular expression, and matches no kernel.",
                r"dkms.conf: Warning! \d in MAKE_MATCH[1] means the letter d: a digit is [0-9].",
                r"dkms.conf: Warning! \d in BUILD_EXCLUSIVE_KERNEL[0] means the letter d: a digit is [0-9].",
            ],
        ),
        ("PACKAGE_NAME=t;PACKAGE_VERSION=1", true, &["dkms.conf: Warning! Zero modules specified."]),
        (
            "PACKAGE_NAME=t;PACKAGE_VERSION=1;AUTOINSTALL=YES;DKMS_POLICY=x",
            true,
            &["dkms.conf: Warning! Zero modules specified.", "dkms.conf: Error! Unsupported DKMS_POLICY value 'x'"],
        ),
    ];
    let mut bench = Bench::new();
    for (text, strict, expected) in table {
        let problems = match Conf::check(&bench.run(&[text]).unwrap(), *strict) {
            Ok((_, warnings)) => {
                assert!(!warnings.iter().any(Problem::is_error));
                warnings
            }
            Err(problems) => problems,
        };
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(shown, *expected, "{text}");
    }
}

#[test]
fn conf_is_typed() {
    let text = "PACKAGE_NAME=t;PACKAGE_VERSION=1.0\n\
        BUILT_MODULE_NAME=(a b c);BUILT_MODULE_LOCATION=(src '' 'x/');DEST_MODULE_NAME[1]=bb\n\
        DEST_MODULE_LOCATION=(/kernel/a /updates/ /extra);STRIP=(no Yes)\n\
        AUTOINSTALL=YES;BUILD_DEPENDS=('x y' z);POST_ADD='add.sh 1 2';NO_WEAK_MODULES=no;DKMS_POLICY=optional\n\
        OBSOLETE_BY=6.5";
    let (conf, warnings) = Conf::check(&Bench::new().run(&[text]).unwrap(), true).unwrap();
    assert_eq!(warnings, []);
    let records: Vec<_> = conf
        .records
        .iter()
        .map(|r| (&*r.built_location, &*r.built_name, &*r.dest_name, &*r.dest_location, r.strip))
        .collect();
    assert_eq!(
        records,
        [("src/", "a", "a", "/kernel/a", false), ("", "b", "bb", "/updates/", true), ("x/", "c", "c", "/extra", false),]
    );
    assert_eq!(conf.build_depends, ["x", "y", "z"]);
    assert!(conf.autoinstall && !conf.no_weak_modules && !conf.build_depends_rebuild);
    assert_eq!(conf.scripts.post_add.as_deref(), Some("add.sh 1 2"));
    assert_eq!(conf.exclusive[&0].max.as_deref(), Some("6.5"));
    let single = "PACKAGE_NAME=t;PACKAGE_VERSION=1;DEST_MODULE_LOCATION=/extra";
    let (conf, _) = Conf::check(&Bench::new().run(&[single]).unwrap(), true).unwrap();
    assert_eq!((&*conf.records[0].built_name, conf.records[0].strip), ("t", true));
}

fn recipe(bench: &mut Bench, text: &str) -> Recipe {
    let text = format!("PACKAGE_NAME=t;PACKAGE_VERSION=1;{text}");
    let (conf, _) = Conf::check(&bench.run(&[&text]).unwrap(), true).unwrap();
    let config = |name: &str| (name == "CONFIG_ON").then_some('y');
    let facts = KernelInfo { release: "6.12.117+deb13-amd64", arch: "x86_64", config: Some(&config) };
    Recipe::new(&conf, &facts, "/K/build", "/T/t/1/build")
}

#[test]
fn make_is_chosen() {
    let mut bench = Bench::new();
    for (text, expected, prefixed) in [
        ("", "make -C /K/build M=/T/t/1/build", true),
        ("MAKE=", "make -C /K/build M=/T/t/1/build", true),
        ("MAKE=\"make -C src\"", "make -C src", true),
        ("MAKE=\"'make' -C src\"", "'make' -C src", false),
        ("MAKE='./build.sh'", "./build.sh", false),
        ("MAKE=zero;MAKE_MATCH=^5", "make -C /K/build M=/T/t/1/build", true),
        ("MAKE=zero;MAKE_MATCH=^6", "zero", false),
        ("MAKE=(zero one two);MAKE_MATCH[1]=^6;MAKE_MATCH[2]=^5", "one", false),
        ("MAKE=(zero one two);MAKE_MATCH[1]=^6;MAKE_MATCH[2]=12", "two", false),
        ("MAKE=(zero one);MAKE_MATCH[1]=^5", "zero", false),
        ("MAKE[1]=one", "make -C /K/build M=/T/t/1/build", true),
        ("MAKE=zero;MAKE_MATCH[1]=^6", "zero", false),
        ("MAKE=(zero one);MAKE_MATCH[1]='('", "zero", false),
    ] {
        let make = recipe(&mut bench, text).make;
        assert_eq!((&*make.text, make.prefixed), (expected, prefixed), "{text}");
    }
}

#[test]
fn patches_in_index_order() {
    let text = "PATCH[10]=ten;PATCH[2]=two;PATCH[3]=three;PATCH[4]=;PATCH_MATCH[3]=^5;PATCH_MATCH[10]=amd64";
    assert_eq!(recipe(&mut Bench::new(), text).patches, ["two", "ten"]);
}

#[test]
fn exclusion_of_modules_and_of_all() {
    const TWO: &str = "BUILT_MODULE_NAME=(a b);DEST_MODULE_LOCATION=(/extra /extra);";
    let mut bench = Bench::new();
    for (text, built, wholly) in [
        ("", "ab", false),
        ("BUILD_EXCLUSIVE_KERNEL=^6;BUILD_EXCLUSIVE_ARCH=x86", "ab", false),
        ("BUILD_EXCLUSIVE_KERNEL=", "ab", false),
        ("BUILD_EXCLUSIVE_KERNEL=^5", "", true),
        ("BUILD_EXCLUSIVE_KERNEL='('", "", true),
        ("BUILD_EXCLUSIVE_ARCH=arm", "", true),
        ("BUILD_EXCLUSIVE_KERNEL_MIN=6.12;BUILD_EXCLUSIVE_KERNEL_MAX=6.13", "ab", false),
        ("BUILD_EXCLUSIVE_KERNEL_MAX[0]=6.1", "", true),
        ("BUILD_EXCLUSIVE_KERNEL_MAX[1]=6.1", "a", false),
        ("BUILD_EXCLUSIVE_CONFIG='CONFIG_ON !CONFIG_OFF'", "ab", false),
        ("BUILD_EXCLUSIVE_CONFIG[1]='CONFIG_OFF'", "a", false),
        ("OBSOLETE_BY=6.5", "", true),
        ("OBSOLETE_BY=6.5;BUILD_EXCLUSIVE_KERNEL_MAX[1]=7", "ab", false),
    ] {
        let recipe = recipe(&mut bench, &format!("{TWO}{text}"));
        let names: String = recipe.modules.iter().map(|m| m.record.built_name.as_str()).collect();
        assert_eq!((&*names, recipe.exclusion().is_some()), (built, wholly), "{text}");
        assert_eq!(recipe.modules.len() + recipe.excluded.len(), 2, "{text}");
    }
    // Without modules only what is said for all counts (observed with the classic).
    assert_eq!(recipe(&mut bench, "BUILD_EXCLUSIVE_ARCH=x86_64").exclusion(), None);
    assert!(recipe(&mut bench, "BUILD_EXCLUSIVE_ARCH=arm").exclusion().is_some());
}
