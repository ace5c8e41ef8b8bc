//! What bash makes of conf files. The expected values were observed with the packaged classic
//! (3.2.2) where the two agree; COMPATIBILITY.md names where they don't.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

pub(super) struct Bench {
    dir: tempfile::TempDir,
    evaluator: Evaluator,
    count: usize,
}

impl Bench {
    pub(super) fn new() -> Self {
        let launcher = Launcher::new(BTreeMap::from([
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("LC_ALL".into(), "C".into()),
            ("FROM_ENV".into(), "env value".into()),
            ("MAKE".into(), "must not leak in".into()),
            ("BASH_ENV".into(), "/dev/stdin".into()),
        ]));
        Self { dir: tempfile::tempdir().unwrap(), evaluator: Evaluator::new(launcher), count: 0 }
    }

    fn request(&mut self, files: &[&str]) -> Request {
        let files = files
            .iter()
            .map(|text| {
                self.count += 1;
                let file = self.dir.path().join(format!("{}.conf", self.count));
                fs_err::write(&file, text).unwrap();
                file
            })
            .collect();
        let variables = [
            ("kernelver", "6.12.117+deb13-amd64"),
            ("arch", "x86_64"),
            ("kernel_source_dir", "/lib/modules/K/build"),
            ("dkms_tree", "/var/lib/dkms"),
            ("module", "m"),
            ("bad name", "x"),
        ];
        Request {
            files,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            kernel: Some(("6.12.117+deb13-amd64".into(), "x86_64".into())),
            ..Request::default()
        }
    }

    pub(super) fn run(&mut self, files: &[&str]) -> Result<Answer, ConfError> {
        let request = self.request(files);
        self.evaluator.evaluate(&request)
    }
}

/// Everything set, as `NAME[i]=value` lines.
fn shown(answer: &Answer) -> Vec<String> {
    answer
        .raw
        .directives()
        .flat_map(|(name, values)| values.iter().map(move |(index, value)| format!("{name}[{index}]={value}")))
        .collect()
}

#[test]
fn one_file() {
    let table: &[(&str, &[&str])] = &[
        // Nothing, and what is not ours.
        ("", &[]),
        ("# comment only", &[]),
        ("FOO=1; BAR[3]=x; make=1; kernelver=1", &[]),
        // Quoting.
        ("MAKE=x", &["MAKE[0]=x"]),
        ("MAKE=", &["MAKE[0]="]),
        ("MAKE=\"a b\"", &["MAKE[0]=a b"]),
        ("MAKE='a b'", &["MAKE[0]=a b"]),
        ("MAKE=\"it's\"", &["MAKE[0]=it's"]),
        ("MAKE='*'", &["MAKE[0]=*"]),
        ("MAKE='/etc/host* ? [a-z]'", &["MAKE[0]=/etc/host* ? [a-z]"]),
        ("MAKE='-n'", &["MAKE[0]=-n"]),
        ("MAKE='a;b & c | d > e < f (g) {h,i} ~ !j #k'", &["MAKE[0]=a;b & c | d > e < f (g) {h,i} ~ !j #k"]),
        // White space.
        ("MAKE='  lead  and   trail  '", &["MAKE[0]= lead and trail "]),
        ("MAKE='  '", &["MAKE[0]= "]),
        ("MAKE=$'a\\t\\tb\\nc\\n'", &["MAKE[0]=a b c "]),
        ("MAKE=\"one \\\n  two\"", &["MAKE[0]=one two"]),
        ("MAKE=\"one\n  two\n\"", &["MAKE[0]=one two "]),
        ("MAKE=x\r\nPATCH=\"y\"\r\nMAKE[1]='z'\r\n", &["MAKE[0]=x", "MAKE[1]=z", "PATCH[0]=y"]),
        ("MAKE=$'cr\\r\\r'", &["MAKE[0]=cr\r"]),
        ("MAKE=$'a\\r b\\r'", &["MAKE[0]=a\r b"]),
        ("IFS=:; MAKE='a:b  c'", &["MAKE[0]=a:b c"]),
        // Variables.
        ("MAKE=$kernelver", &["MAKE[0]=6.12.117+deb13-amd64"]),
        ("MAKE='$kernelver'", &["MAKE[0]=6.12.117+deb13-amd64"]),
        (
            "MAKE=\"make -C ${kernel_source_dir} M=$dkms_tree/$module/build\"",
            &["MAKE[0]=make -C /lib/modules/K/build M=/var/lib/dkms/m/build"],
        ),
        ("PACKAGE_NAME=p; MAKE=\"$PACKAGE_NAME ${PACKAGE_NAME[0]}\"", &["MAKE[0]=p p", "PACKAGE_NAME[0]=p"]),
        ("MAKE='$PACKAGE_NAME'; PACKAGE_NAME=p", &["MAKE[0]=p", "PACKAGE_NAME[0]=p"]),
        ("own=x; MAKE=\"$own\" ; PATCH='[$own]'", &["MAKE[0]=x", "PATCH[0]=[]"]),
        ("MAKE=$FROM_ENV", &["MAKE[0]=env value"]),
        ("MAKE=\"$MAKE+\"", &["MAKE[0]=+"]),
        ("MAKE=\"$1$*[$#]\"; PATCH='$1'", &["MAKE[0]=[0]", "PATCH[0]="]),
        ("MAKE=${kernelver%%-*}; PATCH=${kernelver/+*/}", &["MAKE[0]=6.12.117+deb13", "PATCH[0]=6.12.117"]),
        ("MAKE=${_conf_file##*.}; PATCH=${read_conf_file##*.}", &["MAKE[0]=conf", "PATCH[0]=conf"]),
        ("MAKE=$UNSET_VARIABLE", &["MAKE[0]="]),
        // Commands.
        ("MAKE=$(echo 'p  q')", &["MAKE[0]=p q"]),
        ("MAKE=`echo bq`", &["MAKE[0]=bq"]),
        ("MAKE='$(echo \"p  q\")'", &["MAKE[0]=p q"]),
        ("MAKE='`echo late`'", &["MAKE[0]=late"]),
        ("echo noise; echo more >&2; MAKE=x", &["MAKE[0]=x"]),
        ("MAKE=$(cat; echo $?)", &["MAKE[0]=0"]),
        ("read -r MAKE; MAKE=\"[$MAKE]\"", &["MAKE[0]=[]"]),
        ("if [[ $kernelver =~ ^6\\. ]]; then MAKE=six; else MAKE=other; fi", &["MAKE[0]=six"]),
        ("case $arch in x86*) MAKE=x86;; *) MAKE=other;; esac", &["MAKE[0]=x86"]),
        ("f() { local x=2; MAKE[x]=in; }; f", &["MAKE[2]=in"]),
        ("local x=1; MAKE=$x; return 3; MAKE=late", &["MAKE[0]=1"]),
        ("declare -a PATCH=(a b); typeset MAKE=x", &["MAKE[0]=x", "PATCH[0]=a", "PATCH[1]=b"]),
        ("[[ $arch == +(x)86* ]] && MAKE=ext", &["MAKE[0]=ext"]),
        ("MAKE=x; false", &["MAKE[0]=x"]),
        ("set -u; MAKE=x", &["MAKE[0]=x"]),
        ("set -f; set -x; set -v; MAKE='a  *'", &["MAKE[0]=a *"]),
        ("printf() { :; }; read() { :; }; set() { :; }; MAKE=x", &["MAKE[0]=x"]),
        ("sleep 60 & MAKE=x", &["MAKE[0]=x"]),
        ("trap 'echo bye' EXIT; MAKE=x", &["MAKE[0]=x"]),
        ("readonly PACKAGE_NAME=p", &["PACKAGE_NAME[0]=p"]),
        // Arrays.
        ("PATCH=(a b [7]=c d)", &["PATCH[0]=a", "PATCH[1]=b", "PATCH[7]=c", "PATCH[8]=d"]),
        ("PATCH[3]=x; PATCH[10]=y", &["PATCH[3]=x", "PATCH[10]=y"]),
        ("i=4; PATCH[i++]=a; PATCH[$((i*2))]=b", &["PATCH[4]=a", "PATCH[10]=b"]),
        ("PATCH=(a); PATCH+=(b c); MAKE=x; MAKE+=y", &["MAKE[0]=xy", "PATCH[0]=a", "PATCH[1]=b", "PATCH[2]=c"]),
        ("n=0; for p in x y; do PATCH[n]=$p.patch; ((n++)); done", &["PATCH[0]=x.patch", "PATCH[1]=y.patch"]),
        ("PATCH=(a b); unset 'PATCH[0]'", &["PATCH[1]=b"]),
        ("declare -A PATCH; PATCH[foo]=x; MAKE=y", &["MAKE[0]=y"]),
        // Backslashes in the second expansion.
        ("MAKE='\\\\ \\$x \\a \\`'", &["MAKE[0]=\\ $x \\a `"]),
        ("MAKE='\\\\\\\\y'", &["MAKE[0]=\\\\y"]),
        ("MAKE='tail\\'", &["MAKE[0]=tail\\"]),
        // Quotes in the value: the classic's reading where it has one, else all is kept.
        ("MAKE='make \"X=1\"'", &["MAKE[0]=make X=1"]),
        ("MAKE='x=$(echo \"p  q\") \"y\"'", &["MAKE[0]=x=p q y"]),
        ("MAKE='a \\\"b c\\\" d'", &["MAKE[0]=a \"b c\" d"]),
        ("MAKE='a\"b c\"d'", &["MAKE[0]=a\"b c\"d"]),
        ("MAKE=\"echo \\\"a b\\\" $arch\"", &["MAKE[0]=echo \"a b\" x86_64"]),
        ("MAKE='a\"b'", &["MAKE[0]=a\"b"]),
        ("MAKE='sh -c \"touch /nonexistent/x; b\"'", &["MAKE[0]=sh -c \"touch /nonexistent/x; b\""]),
        ("MAKE='\"; MAKE=hurt; \"'", &["MAKE[0]=\"; MAKE=hurt; \""]),
        ("MAKE='\" ]]; MAKE=hurt; [[ -n \"'", &["MAKE[0]=\" ]]; MAKE=hurt; [[ -n \""]),
        ("MAKE='\" ); MAKE=hurt; x=( \"'", &["MAKE[0]=\" ); MAKE=hurt; x=( \""]),
        ("MAKE='\"; fi; MAKE=hurt; if \"'", &["MAKE[0]=\"; fi; MAKE=hurt; if \""]),
        ("MAKE='\" in esac; MAKE=hurt; case \"'", &["MAKE[0]=\" in esac; MAKE=hurt; case \""]),
        ("MAKE='a \" b $(unclosed'", &["MAKE[0]=a \" b $(unclosed"]),
        ("MAKE='$(unclosed'", &["MAKE[0]=$(unclosed"]),
        // The way around the names.
        ("DKMS_DIRECTIVE_1=STRIP=no; DKMS_DIRECTIVE2='MAKE[2]=a b'", &["MAKE[2]=a b", "STRIP[0]=no"]),
        ("for i in 1 2; do declare DKMS_DIRECTIVE$i=\"PATCH[$i]=p$i\"; done", &["PATCH[1]=p1", "PATCH[2]=p2"]),
        ("DKMS_DIRECTIVE_1='UNKNOWN=x'; DKMS_DIRECTIVE_2=junk", &[]),
        ("DKMS_POLICY=required", &["DKMS_POLICY[0]=required"]),
    ];
    let mut bench = Bench::new();
    for (text, expected) in table {
        let answer = bench.run(&[text]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&answer), *expected, "{text}\nsaid: {}", answer.stderr);
    }
}

#[test]
fn overrides() {
    let table: &[(&[&str], &[&str])] = &[
        (&["MAKE=a; PATCH=x", "MAKE=b"], &["MAKE[0]=b", "PATCH[0]=x"]),
        // Single elements, and nothing can be taken away.
        (&["PATCH=(a b c)", "PATCH[1]=z; unset 'PATCH[0]'"], &["PATCH[0]=a", "PATCH[1]=z", "PATCH[2]=c"]),
        (&["MAKE=a", "MAKE="], &["MAKE[0]="]),
        // Directives of earlier files are seen, their private variables are not.
        (
            &["own=p; MAKE='$kernelver'", "PATCH=\"[$own] $MAKE\""],
            &["MAKE[0]=6.12.117+deb13-amd64", "PATCH[0]=[] 6.12.117+deb13-amd64"],
        ),
        (&["MAKE=make", "MAKE+=' V=1'", "MAKE+=' W=1'"], &["MAKE[0]=make V=1 W=1"]),
        // What an override leaves alone is not expanded once more.
        (&["MAKE='\\$x \\\\'", "PATCH=y", "PATCH[1]=z"], &["MAKE[0]=$x \\", "PATCH[0]=y", "PATCH[1]=z"]),
        (&["DKMS_DIRECTIVE_1=STRIP=no", "STRIP[1]=$STRIP"], &["STRIP[0]=no", "STRIP[1]=no"]),
        (&["set -e; MAKE=a", "false; PATCH=b"], &["MAKE[0]=a", "PATCH[0]=b"]),
    ];
    let mut bench = Bench::new();
    for (files, expected) in table {
        let answer = bench.run(files).unwrap();
        assert_eq!(shown(&answer), *expected, "{files:?}");
        assert_eq!(answer.files.len(), files.len());
    }
}

#[test]
fn command_line_directives_come_last_and_are_literal() {
    let mut bench = Bench::new();
    let mut request = bench.request(&["MAKE=make; PATCH=(a b); MAKE_MATCH[1]=x"]);
    request.directives = ["MAKE+= \"$x\"  \\", "PATCH[1]=z", "MAKE_MATCH[1]=^6", "BOGUS=1"]
        .iter()
        .filter_map(|text| Directive::parse(text))
        .collect();
    let answer = bench.evaluator.evaluate(&request).unwrap();
    assert_eq!(shown(&answer), ["MAKE[0]=make \"$x\"  \\", "MAKE_MATCH[1]=^6", "PATCH[0]=a", "PATCH[1]=z"]);
    assert!(answer.matches("MAKE_MATCH", 1));
}

#[test]
fn patterns_are_bashs() {
    let mut bench = Bench::new();
    let answer = bench
        .run(&["MAKE_MATCH=(6.12 ^5 '^6\\.12\\.[0-9]+' '(' '' '[[:digit:]]-$' 'amd64$|x')\n\
                PATCH_MATCH[9]=\"deb(12|13)\"\nBUILD_EXCLUSIVE_KERNEL='^6'\nBUILD_EXCLUSIVE_ARCH[2]='x86_64|i686'"])
        .unwrap();
    let pair = |name: &str, index| (name.to_owned(), index);
    let matching = [
        pair("BUILD_EXCLUSIVE_ARCH", 2),
        pair("BUILD_EXCLUSIVE_KERNEL", 0),
        pair("MAKE_MATCH", 0),
        pair("MAKE_MATCH", 2),
        pair("MAKE_MATCH", 6),
        pair("PATCH_MATCH", 9),
    ];
    assert_eq!(answer.matching.into_iter().collect::<Vec<_>>(), matching);
    assert_eq!(answer.invalid.into_iter().collect::<Vec<_>>(), [pair("MAKE_MATCH", 3)]);
}

#[test]
fn deprecations_for_each_file() {
    let mut bench = Bench::new();
    let answer = bench
        .run(&["CLEAN=true; REMAKE_INITRD=yes; OBSOLETE_BY=6.5", "CLEAN='make clean'; MODULES_CONF[2]=x"])
        .unwrap();
    let (one, two) = (answer.files[0].display(), answer.files[1].display());
    let shown: Vec<String> = answer.deprecated.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            format!("REMAKE_INITRD ({one}): the kernel's hooks renew the initramfs, or post_transaction does"),
            format!("OBSOLETE_BY ({one}): use BUILD_EXCLUSIVE_KERNEL_MAX instead"),
            format!("CLEAN ({two}): nothing is cleaned, every build has a fresh copy of the source"),
            format!("REMAKE_INITRD ({two}): the kernel's hooks renew the initramfs, or post_transaction does"),
            format!("MODULES_CONF ({two}): it goes to /etc/modprobe.d/dkms-NAME.conf, unless modprobe_conf=\"no\""),
            format!("OBSOLETE_BY ({two}): use BUILD_EXCLUSIVE_KERNEL_MAX instead"),
        ]
    );
}

#[test]
fn failures_are_told_apart_and_end_one_request_only() {
    let mut bench = Bench::new();
    let said = |result: Result<Answer, ConfError>| result.unwrap_err().to_string();
    let error = said(bench.run(&["MAKE=x; echo why >&2; exit 4"]));
    assert!(error.contains("called exit (status 4)") && error.contains("why"), "{error}");
    let error = said(bench.run(&["MAKE=x", "set -e; false"]));
    assert!(error.contains("2.conf called exit") || error.contains("3.conf called exit"), "{error}");
    let error = said(bench.run(&["MAKE=x\nif true; then\n"]));
    assert!(error.contains("is not valid bash: line 3"), "{error}");
    let error = said(bench.run(&["MAKE=x\nPATCH=(a b))\nSTRIP=no"]));
    assert!(error.contains("is not valid bash: line 2"), "{error}");
    let error = said(bench.run(&["MAKE='${bad subst}'"]));
    assert!(error.contains("MAKE[0]") && error.contains("bad substitution"), "{error}");
    let error = said(bench.run(&["MAKE='${x?is not set}'"]));
    assert!(error.contains("MAKE[0]") && error.contains("is not set"), "{error}");
    assert!(matches!(bench.run(&["kill -9 $$"]), Err(ConfError::Died { .. })));
    let request = Request { files: vec![PathBuf::from("/nonexistent/dkms.conf")], ..Request::default() };
    assert!(matches!(bench.evaluator.evaluate(&request), Err(ConfError::Unreadable { .. })));
    let request = Request { files: vec![bench.dir.path().to_owned()], ..Request::default() };
    assert!(matches!(bench.evaluator.evaluate(&request), Err(ConfError::Unreadable { .. })));
    assert_eq!(shown(&bench.run(&["MAKE=fine"]).unwrap()), ["MAKE[0]=fine"]);
}

#[test]
fn the_endless_are_killed_with_what_they_started() {
    let mut bench = Bench::new();
    bench.evaluator = Evaluator::new(Launcher {
        timeout: Duration::from_secs(1),
        ..Launcher::new(BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]))
    });
    let pid = bench.dir.path().join("pid");
    let text = format!("sh -c 'echo $$ > {}; exec sleep 1000'; MAKE=x", pid.display());
    assert!(matches!(bench.run(&[&text]), Err(ConfError::TimedOut { .. })));
    let pid = fs_err::read_to_string(pid).unwrap();
    assert!(ends_soon(pid.trim().parse().unwrap()), "still alive: {pid}");
    assert!(matches!(bench.run(&["while :; do echo x; echo y >&2; done"]), Err(ConfError::TimedOut { .. })));
    assert_eq!(shown(&bench.run(&["MAKE=fine"]).unwrap()), ["MAKE[0]=fine"]);
}

/// Whether the process is gone, or goes within the ten seconds that a loaded machine may take to kill it.
fn ends_soon(pid: i32) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(fd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else { return true };
    let ten = Timespec { tv_sec: 10, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&ten)).unwrap() == 1
}

#[test]
fn floods_are_bounded() {
    let mut bench = Bench::new();
    let answer = bench
        .run(&[
            "for ((i = 0; i < 3000; i++)); do echo \"$i 0123456789012345678901234567890123456789\" >&2; done; MAKE=x",
        ])
        .unwrap();
    assert_eq!(answer.stderr.len(), 64 * 1024);
    assert!(answer.stderr.starts_with("0 0123"));
    let answer = bench.run(&["head -c 3000000 /dev/zero; MAKE=x"]).unwrap();
    assert_eq!((shown(&answer).len(), answer.stderr.as_str()), (1, ""));
    assert!(matches!(bench.run(&["printf -v MAKE '%02000000d' 0"]), Err(ConfError::TooLarge { .. })));
    let long = "a".repeat(300_000);
    let mut request = bench.request(&["MAKE=${#LONG}"]);
    request.variables.insert("LONG".to_owned(), long);
    assert_eq!(shown(&bench.evaluator.evaluate(&request).unwrap()), ["MAKE[0]=300000"]);
}

#[test]
fn a_missing_bash_is_told() {
    let mut launcher = Launcher::new(BTreeMap::new());
    launcher.argv = vec!["/nonexistent/bash".into()];
    let mut bench = Bench::new();
    bench.evaluator = Evaluator::new(launcher);
    assert!(matches!(bench.run(&["MAKE=x"]), Err(ConfError::Start { .. })));
}

#[test]
fn what_only_the_administrator_sets_is_ignored_in_the_packages_own_file() {
    let mut bench = Bench::new();
    let mut said = |own: &str, over: &[&str]| {
        let answer = bench.run(&[&[own], over].concat()).unwrap();
        let text = |raw: &Raw| raw.text("DKMS_BUILD_AS", 0).map(str::to_owned);
        (text(&answer.raw), text(&answer.ignored))
    };
    let (root, other) = (Some("root".to_owned()), Some("unprivileged".to_owned()));
    assert_eq!(said("DKMS_BUILD_AS=root", &[]), (None, root.clone()));
    assert_eq!(said("readonly DKMS_BUILD_AS=root; trap 'DKMS_BUILD_AS=root' EXIT", &["A=1"]), (None, root.clone()));
    assert_eq!(said("DKMS_DIRECTIVE_x=DKMS_BUILD_AS=root", &[]), (None, root.clone()));
    // An override has its say, also where it says the same.
    assert_eq!(said("DKMS_BUILD_AS=root", &["DKMS_BUILD_AS=root"]), (root.clone(), root.clone()));
    assert_eq!(said("", &["DKMS_BUILD_AS=root", "DKMS_BUILD_AS=unprivileged"]), (other, None));
    assert_eq!(said("", &["[[ $kernelver == 6.* ]] && DKMS_BUILD_AS=root"]), (root.clone(), None));
    // Nor does it see what the package would have.
    assert_eq!(said("DKMS_BUILD_AS=root", &["DKMS_BUILD_AS=$DKMS_BUILD_AS"]), (None, root.clone()));
    let mut request = bench.request(&["DKMS_BUILD_AS=unprivileged"]);
    request.directives = vec![Directive::parse("DKMS_BUILD_AS=root").unwrap()];
    assert_eq!(bench.evaluator.evaluate(&request).unwrap().raw.text("DKMS_BUILD_AS", 0), Some("root"));
}

/// An override that sets what only the administrator sets needs nothing of the package, and gets nothing of it: not even by what
/// the package's text does where an override contains it.
#[test]
fn a_package_has_no_say_in_what_only_the_administrator_sets() {
    let mut bench = Bench::new();
    let network = |answer: &Answer| answer.raw.text("DKMS_BUILD_NETWORK", 0).map(str::to_owned);
    // Each was believed, when a package's values were expanded by the shell that then said whose a directive is.
    for own in [
        "MAKE='$((__dkms_files=0))'; DKMS_BUILD_NETWORK=yes",
        "MAKE='${__dkms_kind:=}$(( __dkms_kind = 1 ))'; DKMS_BUILD_NETWORK=yes",
        "exec 1>&-; for fd in {3..30}; do printf '%s\\0' v DKMS_BUILD_NETWORK 0 yes >&$fd; done 2>/dev/null",
        "printf '%s\\0' v DKMS_BUILD_NETWORK 0 yes z 0 >/proc/$$/fd/1",
        "MAKE=\\$\\(\\(DKMS_BUILD_NETWORK=1\\)\\)",
    ] {
        for over in [&[][..], &["MAKE+=' V=1'"], &["MAKE=\"$MAKE\"", "PATCH=x"]] {
            // A forged answer may be an error, and may leave something in the pipe.
            if let Ok(answer) = bench.run(&[&[own], over].concat()) {
                assert_eq!(network(&answer), None, "{own} {over:?}");
            }
            bench.evaluator = Bench::new().evaluator;
        }
    }
    // An override that can't do without the package's values is told, and has its say otherwise.
    let answer = bench.run(&["MAKE=x", "MAKE=\"${MAKE:?is not set} y\"; DKMS_BUILD_NETWORK=yes"]).unwrap();
    assert_eq!((answer.raw.text("MAKE", 0), network(&answer)), (Some("x y"), None));
    assert!(answer.stderr.contains("called exit") && answer.stderr.contains("is not set"), "{}", answer.stderr);
    let mut request = bench.request(&["MAKE=x", "PATCH=y"]);
    request.directives =
        ["DKMS_BUILD_NETWORK=y", "DKMS_BUILD_NETWORK+=es"].iter().filter_map(|text| Directive::parse(text)).collect();
    assert_eq!(network(&bench.evaluator.evaluate(&request).unwrap()).as_deref(), Some("yes"));
}

/// What never ends, or would be waited for, is no file of directives; an administrator's link to /dev/null is an empty one.
#[test]
fn only_regular_files_are_evaluated() {
    let mut bench = Bench::new();
    let path = |name: &str| bench.dir.path().join(name);
    let cwd = rustix::fs::CWD;
    rustix::fs::mknodat(cwd, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    for (name, target) in [("zero", "/dev/zero"), ("null", "/dev/null")] {
        std::os::unix::fs::symlink(target, path(name)).unwrap();
    }
    let began = std::time::Instant::now();
    for (name, is_read) in [("pipe", false), ("zero", false), ("null", true)] {
        let request = Request { files: vec![path(name)], ..Request::default() };
        let answer = bench.evaluator.evaluate(&request);
        match answer {
            Ok(_) => assert!(is_read, "{name}"),
            Err(error) => assert!(!is_read && matches!(error, ConfError::Unreadable { .. }), "{name}: {error}"),
        }
    }
    assert!(began.elapsed() < bash::PATIENCE, "{:?}", began.elapsed());
    // Memory without end ends the file, not the machine.
    assert!(bench.run(&["x=x; while :; do x+=$x$x; done"]).is_err());
    assert!(bench.run(&["PACKAGE_NAME=a"]).is_ok());
}

#[test]
fn a_bash_that_ended_while_it_was_kept_is_replaced() {
    let mut bench = Bench::new();
    let pid = bench.dir.path().join("pid");
    let conf = format!("echo $$ >{}\nMAKE=x", pid.display());
    for round in 0..3 {
        let answer = bench.run(&[&conf]).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(answer.raw.text("MAKE", 0), Some("x"));
        let bash = fs_err::read_to_string(&pid).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(bash).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
    }
    // One that kills its own bash is to blame itself.
    assert!(matches!(bench.run(&["kill -9 $$"]), Err(ConfError::Died { .. })));
}
