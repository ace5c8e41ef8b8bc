//! What every verb prints with `--format json` is as its schema says, which is installed with the program; and whether something was
//! changed is told rightly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use dkms_core::cli::table::{Id, VERBS};
use serde_json::{Value, json};

mod bed;

use bed::{Bed, KERNELS};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../hook-files/common/usr/share/dkms/json-1.schema.json");

struct Checker {
    schema: Value,
    /// The verbs that were tried, and the properties that were seen.
    verbs: BTreeSet<String>,
    seen: BTreeSet<String>,
    /// The lines that ended otherwise than they should.
    wrong: Vec<String>,
}

impl Checker {
    fn new() -> Self {
        let schema = serde_json::from_str(&fs_err::read_to_string(SCHEMA).unwrap()).unwrap();
        Self { schema, verbs: BTreeSet::new(), seen: BTreeSet::new(), wrong: Vec::new() }
    }

    fn check(&mut self, document: &str, value: &Value, line: &str) {
        let schema = json!({ "$ref": format!("#/$defs/document.{document}"), "$defs": self.schema["$defs"] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{line}: {wrong:#?}\n{value:#}");
        self.remember(value);
    }

    fn remember(&mut self, value: &Value) {
        match value {
            Value::Object(all) => {
                for (name, value) in all {
                    self.seen.insert(name.clone());
                    self.remember(value);
                }
            }
            Value::Array(all) => all.iter().for_each(|value| self.remember(value)),
            _ => {}
        }
    }

    /// Runs the program; gives its exit code, standard output, and the events.
    fn run(&mut self, bed: &Bed, line: &str, is_document: bool) -> (i32, String, Vec<Value>) {
        let line = line.replace("{k1}", KERNELS[0]).replace("{k2}", KERNELS[1]);
        let root = bed.path("");
        let line = line.replace("{root}", root.to_str().unwrap());
        self.verbs.insert(line.split(' ').next().unwrap().to_owned());
        let end = Command::new(env!("CARGO_BIN_EXE_dkms"))
            .args(line.split(' '))
            .args(["--format", "json", "--root"])
            .arg(root)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8(end.stdout).unwrap(), String::from_utf8(end.stderr).unwrap());
        let events = if is_document { &err } else { &out };
        assert!(is_document || err.is_empty(), "{line}: {err}");
        let events: Vec<Value> = events
            .lines()
            .map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}: {text}")))
            .collect();
        for event in &events {
            self.check("event", event, &line);
        }
        let last = events.last().unwrap_or_else(|| panic!("{line}: no last line"));
        assert_eq!((last["event"].as_str(), last["code"].as_i64()), (Some("end"), end.status.code().map(i64::from)));
        (end.status.code().unwrap(), out, events)
    }

    /// A verb that prints a document, which `document` describes.
    fn document(&mut self, bed: &Bed, line: &str, document: &str) -> Value {
        let (_, out, events) = self.run(bed, line, true);
        let value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out} {events:?}"));
        self.check(document, &value, line);
        assert_eq!(events.last().unwrap()["changed"], json!(false), "{line}");
        value
    }

    /// A verb that changes something, or not.
    fn stream(&mut self, bed: &Bed, line: &str, code: i32, changed: bool) -> Vec<Value> {
        let (ended, _, events) = self.run(bed, line, false);
        let end = &events[events.len() - 1]["changed"];
        if (ended, end) != (code, &json!(changed)) {
            let said: Vec<String> = events.iter().map(ToString::to_string).collect();
            self.wrong.push(format!("{line}: not {code} and {changed}:\n    {}", said.join("\n    ")));
        }
        events
    }
}

fn outcomes(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|event| event["event"] == "step").map(|event| event["outcome"].as_str().unwrap()).collect()
}

#[test]
fn every_verb_prints_what_the_schema_says() {
    let mut checker = Checker::new();
    let bed = Bed::new();
    let c = &mut checker;
    // Each twice: the second time, there is nothing to do.
    c.document(&bed, "add one/1.0 --dry-run", "plan");
    c.stream(&bed, "add one/1.0", 0, true);
    let events = c.stream(&bed, "add one/1.0", 3, false);
    assert!(events.iter().any(|event| event["event"] == "error"), "{events:#?}");
    c.document(&bed, "status", "status");
    c.document(&bed, "build one/1.0 -k {k1} --dry-run", "plan");
    assert_eq!(outcomes(&c.stream(&bed, "build one/1.0 -k {k1}", 0, true)), ["built"]);
    assert_eq!(outcomes(&c.stream(&bed, "build one/1.0 -k {k1}", 0, false)), ["unchanged"]);
    c.document(&bed, "install one/1.0 -k {k1} -k {k2} --dry-run", "plan");
    assert_eq!(outcomes(&c.stream(&bed, "install one/1.0 -k {k1}", 0, true)), ["installed"]);
    assert_eq!(outcomes(&c.stream(&bed, "install one/1.0 -k {k1}", 0, false)), ["unchanged"]);
    c.document(&bed, "match --templatekernel {k1} -k {k2} --dry-run", "plan");
    c.stream(&bed, "match --templatekernel {k1} -k {k2}", 0, true);
    let events = c.stream(&bed, "mktarball one/1.0 --all --archive {root}/a.tar.gz", 0, true);
    let files: Vec<&Value> = events.iter().filter(|event| event["event"] == "file").collect();
    assert_eq!((files.len(), files[0]["path"].as_str()), (1, Some("/a.tar.gz")), "{events:#?}");
    for line in ["why one -k {k1} -k {k2}", "why one/1.0 -k {k1}"] {
        let pages = c.document(&bed, line, "why");
        assert_eq!(pages[0]["verdict"], "loadable", "{pages:#}");
    }
    // What scripts and make print is no JSON.
    bed.source("usr/src/loud-1.0", "loud", "1.0", "POST_ADD=say\nPOST_INSTALL=say\nPOST_REMOVE=say\n");
    bed.write("usr/src/loud-1.0/say", "#!/bin/sh\necho 'said by a script'; echo >&2 'to both'\n");
    fs_err::set_permissions(bed.path("usr/src/loud-1.0/say"), PermissionsExt::from_mode(0o755)).unwrap();
    for line in ["add loud/1.0", "install loud/1.0 -k {k1} --verbose", "remove loud/1.0 --all"] {
        let events = c.stream(&bed, line, 0, true);
        assert!(events.iter().any(|event| event.to_string().contains("said by a script")), "{line}: {events:#?}");
    }
    // What fails, what waits, what is excluded, what is held.
    bed.source("usr/src/bad-1", "bad", "1", "MAKE=\"echo bad.c:1:1: error: no; false\"\n");
    bed.source("usr/src/old-1", "old", "1", "BUILD_EXCLUSIVE_KERNEL='^5'\n");
    bed.source("usr/src/needs-1", "needs", "1", "BUILD_DEPENDS=nothing\n");
    for package in ["bad/1", "old/1", "needs/1", "follower/1.0"] {
        c.stream(&bed, &format!("add {package}"), 0, true);
    }
    assert_eq!(outcomes(&c.stream(&bed, "install bad/1 -k {k1}", 10, false)), ["failed"]);
    assert_eq!(outcomes(&c.stream(&bed, "install old/1 -k {k1}", 77, false)), ["excluded"]);
    c.document(&bed, "hold", "hold");
    c.stream(&bed, "hold follower -k {k2}", 0, true);
    c.stream(&bed, "hold follower -k {k2}", 0, false);
    assert_eq!(c.document(&bed, "hold", "hold"), json!([{ "name": "follower", "kernel": KERNELS[1] }]));
    c.document(&bed, "reconcile --dry-run", "plan");
    let events = c.stream(&bed, "reconcile -j 2", 0, true);
    assert!(events.iter().any(|event| event["event"] == "progress"), "{events:#?}");
    c.stream(&bed, "unhold follower", 0, true);
    c.stream(&bed, "unhold follower", 0, false);
    c.document(&bed, "autoinstall -k {k2} --dry-run", "plan");
    c.stream(&bed, "autoinstall -k {k2}", 11, true);
    for line in ["status --long", "status one/1.0", "status nothing"] {
        c.document(&bed, line, "status");
    }
    let health = c.document(&bed, "doctor", "doctor");
    assert_eq!(health["healthy"], json!(false));
    for line in ["logs --all", "logs bad", "logs one -k {k1}"] {
        c.document(&bed, line, "logs");
    }
    c.document(&bed, "kernel_preinst -k {k1} --dry-run", "plan");
    c.stream(&bed, "kernel_preinst -k {k1}", 0, true);
    c.stream(&bed, "kernel_postinst -k {k1}", 11, false);
    c.document(&bed, "kernel_prerm -k {k1} --dry-run", "plan");
    c.stream(&bed, "kernel_prerm -k {k1}", 0, true);
    c.stream(&bed, "kernel_prerm -k {k1}", 0, false);
    // An older version, of no use.
    c.stream(&bed, "build one/0.9 -k {k2}", 0, true);
    c.document(&bed, "prune", "plan");
    c.stream(&bed, "prune --yes", 0, true);
    c.stream(&bed, "prune --yes", 0, false);
    bed.append(&format!("lib/modules/{}/updates/one.ko", KERNELS[1]), "more");
    let found = c.document(&bed, "fsck", "fsck");
    assert!(!found["found"].as_array().unwrap().is_empty(), "{found:#}");
    c.document(&bed, "mok", "mok");
    c.stream(&bed, "generate_mok", 0, true);
    c.stream(&bed, "generate_mok", 0, false);
    c.document(&bed, "mok status", "mok");
    c.document(&bed, "sign --all --dry-run", "plan");
    // Signing is switched off here.
    c.stream(&bed, "sign --all", 1, false);
    for verb in ["uninstall", "unbuild", "remove"] {
        c.document(&bed, &format!("{verb} one/1.0 --all --dry-run"), "plan");
        c.stream(&bed, &format!("{verb} one/1.0 --all"), 0, true);
    }
    c.stream(&bed, "remove one/1.0 --all", 3, false);
    c.stream(&bed, "ldtarball {root}/a.tar.gz", 0, true);
    let source = bed.path("srv/one");
    bed.append("srv/one/dkms.conf", "BUILT_MODULE_NAM=one");
    c.document(&bed, &format!("lint {}", source.display()), "lint");
    bed.write("srv/new/Makefile", "obj-m := new.o\n");
    let new = bed.path("srv/new");
    c.stream(&bed, &format!("init {}", new.display()), 0, true);
    assert!(checker.wrong.is_empty(), "{}", checker.wrong.join("\n"));
    // Nothing that is printed is left out of the schema, and no verb of this test. (Other programs' are tried beside them.)
    let schema = checker.schema.to_string();
    let unknown: Vec<_> = checker.seen.iter().filter(|name| !schema.contains(&format!("\"{name}\":"))).collect();
    assert!(unknown.is_empty(), "the schema says nothing of {unknown:?}");
    let verbs =
        VERBS.iter().filter(|entry| !matches!(entry.id, Id::Mkpkg | Id::Share)).map(|entry| entry.name.to_owned());
    let missing: Vec<_> = verbs.filter(|verb| !checker.verbs.contains(verb)).collect();
    assert!(missing.is_empty(), "{missing:?} are not tried");
}

/// What is refused before anything is looked at ends with the last line, too.
#[test]
fn words_that_are_refused_are_answered_in_json() {
    let mut checker = Checker::new();
    let bed = Bed::new();
    for (line, is_document) in [
        ("isntall one/1.0", false),
        ("install one/1.0 --froce", false),
        ("install one/1.0 -j many", false),
        ("install one/1.0 build", false),
        ("install", false),
        ("reconcile one", false),
        ("status --froce", true),
        ("reconcile --froce --dry-run", true),
        ("doctor one", true),
    ] {
        let (code, out, events) = checker.run(&bed, line, is_document);
        assert!(code != 0, "{line}");
        assert!(events.iter().any(|event| event["event"] == "error"), "{line}: {events:#?}");
        assert!(!is_document || out.is_empty(), "{line}: {out}");
    }
    checker.run(&bed, "install --help", false);
}

/// What a room logs as a warning is a line of JSON like everything else that is said.
#[test]
fn a_logged_warning_is_json_too() {
    let mut checker = Checker::new();
    let bed = Bed::new();
    bed.ok("add one/1.0");
    bed.write("lib/modules/{k1}/.dkms-manifest.json", "no JSON");
    let (_, _, events) = checker.run(&bed, "status", true);
    let warned = |event: &Value| event["event"] == "warning" && event.to_string().contains("is ignored");
    assert!(events.iter().any(warned), "{events:#?}");
}

/// `--json` is the same in one word, for each verb but those whose `--format` is that of a package.
#[test]
fn json_is_one_word_for_it() {
    let bed = Bed::new();
    bed.ok("add one/1.0");
    let said = |words: &[&str]| {
        let end =
            Command::new(env!("CARGO_BIN_EXE_dkms")).args(words).arg("--root").arg(bed.path("")).output().unwrap();
        (end.status.code(), String::from_utf8(end.stdout).unwrap(), String::from_utf8(end.stderr).unwrap())
    };
    for words in [&["status"][..], &["reconcile", "--dry-run"], &["remove", "nothing/1", "--all"], &["lint", "--froce"]]
    {
        let one = said(&[words, &["--json"]].concat());
        assert_eq!(one, said(&[words, &["--format", "json"]].concat()));
        assert!(one.1.starts_with(['{', '[']) || one.2.starts_with('{'), "{words:?}: {one:?}");
    }
    // Who is not there to make packages says so in JSON, too.
    let (code, out, err) = said(&["mkdeb", "one/1.0", "--json"]);
    let last: Value = serde_json::from_str(out.lines().next_back().unwrap()).unwrap();
    assert_eq!(
        (code, last["event"].as_str(), err.as_str()),
        (last["code"].as_i64().map(|code| code.try_into().unwrap()), Some("end"), "")
    );
}

/// A change of the schema is seen.
#[test]
fn what_is_not_as_the_schema_says_is_noticed() {
    let checker = Checker::new();
    let schema = json!({ "$ref": "#/$defs/document.status", "$defs": checker.schema["$defs"] });
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (row, is_right) in [
        (json!([{ "name": "a", "version": "1", "state": "added" }]), true),
        (json!([{ "name": "a", "version": 1, "state": "added" }]), false),
        (json!([{ "name": "a", "state": "added" }]), false),
        (json!({}), false),
    ] {
        assert_eq!(validator.is_valid(&row), is_right, "{row}");
    }
}
