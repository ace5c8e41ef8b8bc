//! Whether a package's Makefiles can see more of a kernel than what is recorded: programs that they run, files that they look
//! for, and its version, if they decide by it.
//!
//! Not a reader of make's language: it knows the few forms in which harmless Makefiles mention such things, and takes all
//! others for harmful.

use std::collections::BTreeSet;

/// Commands whose answer is the same for every kernel, or names the running kernel (then it is followed as its name is).
const HARMLESS: [&str; 6] = ["pwd", "uname -m", "nproc", "false", "true", "realpath ."];
/// Commands that name the running kernel.
const RELEASE: [&str; 3] = ["uname -r", "uname --kernel-release", "/bin/uname -r"];
/// What kbuild calls the kernel.
const NAMES: [&str; 6] = ["KERNELRELEASE", "KERNELVERSION", "VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION"];
/// Variables that name a package's own directory.
const OWN: [&str; 7] = ["src", "obj", "M", "PWD", "CURDIR", "KBUILD_EXTMOD", "MAKEFILE_LIST"];
/// Functions that make a decision of a text, or cut it.
const FUNCTIONS: [&str; 17] = [
    "if",
    "or",
    "and",
    "findstring",
    "filter",
    "filter-out",
    "call",
    "word",
    "words",
    "wordlist",
    "firstword",
    "lastword",
    "subst",
    "patsubst",
    "eval",
    "foreach",
    "sort",
];

/// Words that a line of make's own begins with.
const DIRECTIVES: [&str; 12] = [
    "ifeq", "ifneq", "ifdef", "ifndef", "else", "include", "-include", "sinclude", "load", "-load", "define",
    "override",
];

/// Whether a file of this name is a Makefile.
pub fn is_makefile(name: &str) -> bool {
    let is_kind =
        |kind: &str| name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']));
    ["Makefile", "makefile", "GNUmakefile", "Kbuild"].into_iter().any(is_kind)
        || [".mk", ".mak", ".make"].iter().any(|end| name.ends_with(end))
}

/// A line of a Makefile, its continuations joined.
struct Line {
    text: String,
    is_recipe: bool,
}

/// What the Makefiles with these `texts`, called by the shell command `make` of dkms.conf for the kernel `release`, may see that
/// nobody has recorded; `None`: nothing.
pub fn unseen(texts: &[&str], make: &str, release: &str) -> Option<String> {
    if let Some(command) = other_command(make) {
        return Some(command);
    }
    let mut lines: Vec<Line> = texts.iter().flat_map(|text| lines(text)).collect();
    let makers = makers(&lines);
    let decides = |line: &&Line| calls_make(&line.text, &makers) && !is_plain_make(line);
    if let Some(line) = lines.iter().find(decides) {
        return Some(line.text.trim().to_owned());
    }
    lines.push(Line { text: make.replace(release, "$(KERNELRELEASE)"), is_recipe: true });
    let named = named(&lines);
    lines.iter().find_map(|line| offence(line, &named).map(|what| what.trim().to_owned()))
}

/// The first command of a shell's text that is neither `make` nor `cd`.
fn other_command(make: &str) -> Option<String> {
    if make.contains(['`', '|', '<', '>']) || make.contains("$(") {
        return Some(make.to_owned());
    }
    let commands = make.split([';', '&', '\n']).map(str::trim).filter(|command| !command.is_empty());
    let is_known = |command: &&str| {
        let is_assignment = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        let first = command.split_whitespace().find(|word| !is_assignment(word)).unwrap_or("make");
        ["make", "cd"].contains(&first.trim_matches(['\'', '"']))
    };
    commands.into_iter().find(|command| !is_known(command)).map(str::to_owned)
}

/// The variables that hold a command that calls make.
fn makers(lines: &[Line]) -> BTreeSet<String> {
    let mut makers = BTreeSet::new();
    loop {
        let before = makers.len();
        for (name, value) in lines.iter().filter_map(|line| assigned(&line.text)) {
            if calls_make(value, &makers) {
                makers.insert(name.to_owned());
            }
        }
        if makers.len() == before {
            return makers;
        }
    }
}

fn calls_make(text: &str, makers: &BTreeSet<String>) -> bool {
    text.contains("make") || text.contains("MAKE") || mentions(text, makers)
}

/// Whether a line that may call make does so whatever the kernel has: its shell runs nothing else, and goes nowhere else.
fn is_plain_make(line: &Line) -> bool {
    let text = without_calls(&without_harmless(&line.text));
    if !line.is_recipe {
        // A rule with its recipe in one line, or a value that has more than one command.
        return !text.contains([';', '|', '&', '<', '>']);
    }
    let text = text.trim_start_matches(['@', '-', '+', ' ', '\t']);
    let leaves = text.split([';', '&']).any(|command| {
        let dir = command.trim().strip_prefix("cd ");
        dir.is_some_and(|dir| !is_plain_file(dir.trim().trim_matches(['"', '\''])))
    });
    let is_said = |command: &str| command.trim_start().starts_with("echo ");
    let rest: Vec<&str> = text.split([';', '&']).filter(|command| !is_said(command)).collect();
    let runs_more = text.contains(['`', '|', '<', '>']) || other_command(&rest.join(";")).is_some();
    !leaves && !runs_more
}

/// `text` without the commands in it that are the same for every kernel, or name the running one.
fn without_harmless(text: &str) -> String {
    let mut text = text.to_owned();
    for command in RELEASE.iter().chain(&HARMLESS) {
        for (begin, end) in [("`", "`"), ("$$(", ")"), ("$(shell ", ")"), ("${shell ", "}")] {
            text = text.replace(&format!("{begin}{command}{end}"), "x");
        }
    }
    text
}

/// `text` with a word for each of make's variables and functions in it.
fn without_calls(text: &str) -> String {
    let text = text.replace("$(MAKE)", "make").replace("${MAKE}", "make");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        plain += before;
        if let Some(of_shell) = after.strip_prefix('$') {
            plain += "$";
            rest = of_shell;
            continue;
        }
        let Some(given) = after.strip_prefix(['(', '{']) else {
            // $@, $<
            plain.push('x');
            let mut chars = after.chars();
            chars.next();
            rest = chars.as_str();
            continue;
        };
        plain.push('x');
        rest = given.get(closing(given) + 1..).unwrap_or_default();
    }
    plain + rest
}

/// Whether a variable's name is made of another's value (`$(PATCH$(X))`).
fn is_computed(text: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let Some(rest) = text[at + 1..].strip_prefix(['(', '{']) else { return false };
        rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').starts_with('$')
    })
}

/// Whether it mentions symbols of the configuration without their whole names.
fn names_unknown_symbols(text: &str) -> bool {
    text.contains(".VARIABLES")
        || text.match_indices("CONFIG_").any(|(at, word)| {
            let rest = text[at + word.len()..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            rest.len() == text.len() - at - word.len() || rest.starts_with('$')
        })
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn lines(text: &str) -> Vec<Line> {
    let joined = text.replace("\\\n", " ");
    let line = |text: &str| Line { text: text.to_owned(), is_recipe: text.starts_with('\t') };
    joined.lines().filter(|text| !text.trim_start().starts_with('#')).map(line).collect()
}

/// The variables that hold a kernel's name or version, or what was made of them.
fn named(lines: &[Line]) -> BTreeSet<String> {
    let mut named: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    loop {
        let before = named.len();
        for line in lines {
            let names = mentions(&line.text, &named) || RELEASE.iter().any(|command| line.text.contains(command));
            if !names {
                continue;
            }
            // One that begins with a tab may be an assignment, too: before the first rule.
            let assigned = assigned(&line.text);
            named.extend(assigned.map(|(name, _)| name.to_owned()));
            if line.is_recipe || assigned.is_none() {
                // make -C x KVER=$(shell uname -r) M=y
                let given = line.text.split_whitespace().filter_map(|word| word.split_once('='));
                let of_kernel = |value: &str| {
                    mentions(value, &named)
                        || ["$(shell", "${shell", "`", "$$("].iter().any(|sign| value.contains(sign))
                };
                let more: Vec<String> = given
                    .filter(|(name, value)| is_name(name) && of_kernel(value))
                    .map(|(name, _)| name.to_owned())
                    .collect();
                named.extend(more);
            }
        }
        if named.len() == before {
            return named;
        }
    }
}

/// The name and the value, if the line is an assignment.
fn assigned(line: &str) -> Option<(&str, &str)> {
    let mut line = line.trim();
    for word in ["export ", "override "] {
        line = line.strip_prefix(word).unwrap_or(line).trim_start();
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end_matches([':', '?', '+', '!']).trim();
    (!name.is_empty() && !name.contains([' ', '\t', '(', ':'])).then_some((name, value))
}

/// Whether `text` uses one of the variables.
fn mentions(text: &str, names: &BTreeSet<String>) -> bool {
    references(text).any(|name| names.contains(name))
}

/// The variables that `text` uses: `$(NAME)`, `${NAME}`, `$(NAME:.c=.o)`, `$$NAME`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches(['(', '{']);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// What in the line may see more than what is recorded.
fn offence(line: &Line, named: &BTreeSet<String>) -> Option<String> {
    let text = line.text.as_str();
    let all = || Some(text.to_owned());
    for command in calls(text, "shell") {
        let command = command.trim();
        let is_own_file = command.strip_prefix("cat ").is_some_and(is_plain_file);
        if !(HARMLESS.contains(&command) || RELEASE.contains(&command) || is_own_file) {
            return Some(format!("$(shell {command})"));
        }
    }
    let foreign = calls(text, "wildcard").find(|pattern| !is_local(pattern));
    if let Some(pattern) = foreign {
        return Some(format!("$(wildcard {pattern})"));
    }
    let foreign = calls(text, "realpath").find(|path| !is_local(path));
    if let Some(path) = foreign {
        return Some(format!("$(realpath {path})"));
    }
    let reads = ["file", "guile", "eval", "value"].iter().any(|name| calls(text, name).next().is_some());
    if reads || is_computed(text) || names_unknown_symbols(text) {
        return all();
    }
    let plain = without_harmless(text);
    let runs = ["`", "$$("].iter().any(|sign| plain.contains(sign));
    let decides = || FUNCTIONS.iter().any(|name| calls(text, name).next().is_some());
    let trimmed = text.trim_start();
    let first = trimmed.split_whitespace().next().unwrap_or_default();
    if line.is_recipe {
        // What else a recipe makes is seen by what is compiled of it; what it hands to make is not.
        let calls_make = text.contains("make") || text.contains("MAKE");
        let flags = text.contains("-D") || text.to_ascii_lowercase().contains("flags");
        if calls_make && (runs || ((flags || decides()) && mentions(text, named))) {
            return all();
        }
        // Before the first rule, and after an assignment, it is none.
        if !DIRECTIVES.contains(&first) && assigned(text).is_none() {
            return None;
        }
    } else if runs {
        return all();
    }
    if ["load", "-load", "define"].contains(&first) || trimmed.starts_with("override define") {
        return all();
    }
    if text.contains(".ONESHELL") || text.contains(".RECIPEPREFIX") {
        return all();
    }
    if ["include", "-include", "sinclude"].contains(&first) {
        let is_read = |name: &str| is_local(name) && is_makefile(name.rsplit('/').next().unwrap_or(name));
        return if trimmed.split_whitespace().skip(1).all(is_read) { None } else { all() };
    }
    if assigned(text).is_some_and(|(name, _)| text.trim_start()[name.len()..].trim_start().starts_with("!=")) {
        return all();
    }
    if !mentions(text, named) {
        return None;
    }
    let condition = trimmed.strip_prefix("else").unwrap_or(trimmed).trim_start();
    if ["ifeq", "ifneq"].iter().any(|word| condition.starts_with(word)) {
        return if asks_whether_empty(condition) { None } else { all() };
    }
    if condition.starts_with("ifdef") || condition.starts_with("ifndef") {
        return None;
    }
    if decides() || text.contains("-D") {
        return all();
    }
    let Some((name, _)) = assigned(text) else {
        return if ["export", "unexport", "undefine"].contains(&first) { None } else { all() };
    };
    let lower = name.to_ascii_lowercase();
    let is_kbuilds = lower.contains("flags") || name.contains("obj") || name.ends_with("-y") || name.ends_with("-m");
    if is_kbuilds || name.contains('$') || ["CC", "LD", "AS"].contains(&name) { all() } else { None }
}

/// `ifneq ($(KERNELRELEASE),)` and its like.
fn asks_whether_empty(condition: &str) -> bool {
    let plain: String = condition.chars().filter(|c| !c.is_whitespace() && !['"', '\''].contains(c)).collect();
    let rest = plain.strip_prefix("ifneq").or_else(|| plain.strip_prefix("ifeq")).unwrap_or_default();
    let Some(rest) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return false };
    let sides = rest.strip_suffix(',').or_else(|| rest.strip_prefix(','));
    sides.is_some_and(|side| {
        let name = side.strip_prefix("$(").and_then(|side| side.strip_suffix(')'));
        let name = name.or_else(|| side.strip_prefix("${").and_then(|side| side.strip_suffix('}')));
        name.is_some_and(is_name)
    })
}

/// What the calls of make's function `name` are given.
fn calls<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices('$').filter_map(move |(at, _)| {
        let rest = text[at + 1..].strip_prefix(['(', '{'])?;
        let given = rest.trim_start().strip_prefix(name)?.strip_prefix([' ', '\t'])?;
        Some(&given[..closing(given)])
    })
}

/// Where what was opened before `given` is closed.
fn closing(given: &str) -> usize {
    let mut depth = 1_u32;
    let end = given.find(|c: char| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or(given.len())
}

/// A file beside the Makefile.
fn is_plain_file(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Whether a pattern of names stays in the package's own directory.
fn is_local(pattern: &str) -> bool {
    pattern.split_whitespace().all(|word| !word.starts_with('/') && !word.contains("..") && !word.contains('`'))
        && references(pattern).all(|name| OWN.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(makefile: &str) -> Option<String> {
        unseen(&[makefile], "make -C /lib/modules/6.1.0-5/build M=/b modules", "6.1.0-5")
    }

    #[test]
    fn common_makefiles_are_harmless() {
        for makefile in [
            "obj-m := hello.o\nhello-y := a.o b.o\nccflags-y += -DX=1 -I$(src)/inc\n",
            "ifneq ($(KERNELRELEASE),)\nobj-m := a.o\nelse\nKDIR ?= /lib/modules/$(shell uname -r)/build\nPWD := $(shell pwd)\nall:\n\t$(MAKE) -C $(KDIR) M=$(PWD) modules\nendif\n",
            "KVER ?= $(shell uname -r)\nKDIR := /lib/modules/$(KVER)/build\nall:\n\tmake -C $(KDIR) M=$(CURDIR)\n",
            "VERSION ?= $(shell cat VERSION)\nclean:\n\trm -f *.ko `uname -r`.x\n",
            "KERNELRELEASE ?= `uname -r`\ninstall:\n\tinstall -D a.ko /lib/modules/$(KERNELRELEASE)/a.ko\n",
            "a-objs := $(patsubst %.c,%.o,$(wildcard $(src)/*.c))\n# X := $(shell date)\n",
            "include $(src)/common.mk\nifeq ($(CONFIG_PCI),y)\nobj-m += p.o\nendif\n",
            "all:\n\tmake -C /lib/modules/`uname -r`/build M=$(PWD)\n",
            "ifdef KERNELRELEASE\nendif\nifeq (,${KERNELRELEASE})\nendif\n",
            "all:\n\t@echo a; cd src && $(MAKE) -C $(KDIR) M=$$(pwd) KVER=`uname -r` A=$(notdir $(X)) $@\n",
            "\tKDIR := $(realpath $(PWD))\n\tobj-$(CONFIG_A) += a.o\n",
        ] {
            assert_eq!(seen(makefile), None, "{makefile}");
        }
    }

    #[test]
    fn what_asks_for_more_is_told() {
        for (makefile, expected) in [
            (
                "X := $(shell grep -c foo $(KDIR)/include/linux/fs.h)\n",
                "$(shell grep -c foo $(KDIR)/include/linux/fs.h)",
            ),
            ("X != uname -r\n", "X != uname -r"),
            ("ifneq ($(wildcard $(KDIR)/include/linux/x.h),)\n", "$(wildcard $(KDIR)/include/linux/x.h)"),
            ("ifneq ($(wildcard /etc/redhat-release),)\n", "$(wildcard /etc/redhat-release)"),
            ("ifeq ($(PATCHLEVEL),1)\n", "ifeq ($(PATCHLEVEL),1)"),
            ("else ifeq ($(VERSION).$(PATCHLEVEL),6.1)\n", "else ifeq ($(VERSION).$(PATCHLEVEL),6.1)"),
            ("ccflags-y += -DREL=\\\"$(KERNELRELEASE)\\\"\n", "ccflags-y += -DREL=\\\"$(KERNELRELEASE)\\\""),
            ("K := $(shell uname -r)\nJ = $(K)\nccflags-y += $(J)\n", "ccflags-y += $(J)"),
            ("K := $(KERNELRELEASE)\nX := $(findstring el8,$(K))\n", "X := $(findstring el8,$(K))"),
            ("-include $(KDIR)/.config\n", "-include $(KDIR)/.config"),
            ("include /etc/x.mk\n", "include /etc/x.mk"),
            ("all:\n\tmake -C x M=y A=$$(./ask)\n", "make -C x M=y A=$$(./ask)"),
            ("all:\n\tmake -C x KCFLAGS=-DV=$(KERNELRELEASE)\n", "make -C x KCFLAGS=-DV=$(KERNELRELEASE)"),
            ("all:\n\tmake -C x MINE=$(KERNELRELEASE)\nifeq ($(MINE),6.1)\n", "ifeq ($(MINE),6.1)"),
            ("obj-$(if $(KERNELRELEASE:6%=),m,n) += a.o\n", "obj-$(if $(KERNELRELEASE:6%=),m,n) += a.o"),
        ] {
            assert_eq!(seen(makefile).as_deref(), Some(expected), "{makefile}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for line in [
            "\tif grep -q x $(KDIR)/include/linux/y.h; then $(MAKE) -C $(KDIR) M=$(PWD) HAVE_Y=1; fi",
            "\t@test -e $(KDIR)/y.h && make HAVE_Y=1",
            "\t-cd $(KDIR)/include/y && make HAVE_Y=1",
            "\tmake M=`pwd` HAVE_Y=`./ask`",
            "\tmake M=$$(pwd) HAVE_Y=$$(./ask)",
            "\tmake H=$(if $(findstring 6.1,$(KERNELRELEASE)),1)",
            "all: ; test -e $(KDIR)/y.h && make HAVE_Y=1",
            "RUN = test -e $(KDIR)/y.h && $(MAKE) HAVE_Y=1",
            "X = `grep -c x $(KDIR)/y.h`",
            "X := $(file <$(KDIR)/y.h)",
            "X := $(file < $(KDIR)/y.h)",
            "X := $(guile (y))",
            "load y.so",
            "-load y.so",
            "$(eval include $(KDIR)/y.mk)",
            "X := $(value VERSION)",
            "X := $(PATCH$(Y))",
            "obj-$(CONFIG_$(X)) += a.o",
            "obj-$(CONFIG_A$(X)) += a.o",
            "X := $(addprefix CONFIG_,A)",
            "X := $(filter A%,$(.VARIABLES))",
            "define x",
            ".ONESHELL:",
            "\tccflags-y += -DX=$(PATCHLEVEL)",
            "\tifeq ($(PATCHLEVEL),1)",
        ] {
            assert_eq!(seen(&format!("{line}\n")).as_deref(), Some(line.trim()));
        }
        let realpath = seen("ifneq ($(realpath $(KDIR)/y.h),)\n");
        assert_eq!(realpath.as_deref(), Some("$(realpath $(KDIR)/y.h)"));
        let named = "\tK := $(KERNELRELEASE)\nifeq ($(K),6.1)\n";
        assert_eq!(seen(named).as_deref(), Some("ifeq ($(K),6.1)"));
        let maker = "B = $(MAKE) -C $(KDIR)\nall:\n\tif test -e y; then $(B) H=1; fi\n";
        assert_eq!(seen(maker).as_deref(), Some("if test -e y; then $(B) H=1; fi"));
    }

    #[test]
    fn what_the_command_of_dkms_conf_does() {
        let with = |make: &str, makefile: &str| unseen(&[makefile], make, "6.1.0-5");
        for make in ["make -C x M=y", "'make' all KVER=6.1.0-5", "cd src && make", "CC=gcc make -j4", "make a; make b"]
        {
            assert_eq!(with(make, "obj-m := a.o\n"), None, "{make}");
        }
        for make in
            ["./build.sh", "make X=`date`", "./configure && make", "make X=$(cat y)", "make | tee x", "env make"]
        {
            assert!(with(make, "").is_some(), "{make}");
        }
        assert!(with("make KVER=6.1.0-5", "ifeq ($(KVER),6.1.0-5)\n").is_some());
    }
}
