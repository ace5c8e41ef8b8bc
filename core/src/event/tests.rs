use super::*;
use crate::cli::options::EVENTS;

fn all() -> Vec<Event> {
    let release = || Release::new("6.1").unwrap();
    let package = || Package::new("hello", "1").unwrap();
    vec![
        Event::KernelComing(release()),
        Event::KernelInstalled(release()),
        Event::KernelGoing(release()),
        Event::KernelGone(release()),
        Event::HeadersInstalled(release()),
        Event::HeadersGone(release()),
        Event::SourceArrived(Arrival::Package(package())),
        Event::SourceGoing(package()),
        Event::SourceUpgraded("/usr/src/hello-1".into()),
        Event::RunOver,
        Event::Boot,
        Event::FilesChanged,
        Event::TransactionEnd,
        Event::Look,
    ]
}

/// What a front reports to another process, that process understands; and there are no words that nobody reports.
#[test]
fn every_event_has_a_word_and_every_word_an_event() {
    let options = EventOptions { initramfs: Initramfs::Later, verbose: true, ..EventOptions::default() };
    for event in all() {
        let args = Args::parse(event.words(&options).into_iter().map(Into::into)).unwrap();
        assert_eq!((args.verb_name(), args.value("event")), ("reconcile", Some(event.word())));
        assert_eq!(args.kernels.first().map(String::as_str), event.kernel().map(Release::as_str));
        assert_eq!(args.value("initramfs"), Some("later"));
        assert!(args.flag("verbose") && args.flag("all-kernels") != event.kernel().is_some());
    }
    for word in EVENTS {
        assert!(all().iter().any(|event| event.word() == *word), "{word}");
    }
}

#[test]
fn other_words_are_refused_and_the_known_ones_listed() {
    for word in ["", "bot", "kernel", "package-arrived", "Boot"] {
        let error = Args::parse(["reconcile".into(), format!("--event={word}").into()]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--event takes one of boot, kernel-coming,") && text.contains(word), "{text}");
        assert_eq!(Error::Usage(error).code(), 2);
    }
}

/// A system of its own with hello/1 at its place, not registered; with its kernel's headers if `headers`.
fn system(dir: &std::path::Path) -> Context {
    use crate::tree::Trees;
    let mut ctx = surroundings(false).unwrap();
    ctx.trees = Trees::new(crate::root::Root::at(dir).unwrap());
    ctx.world = crate::world::World::of(
        &ctx.trees.root,
        ctx.world.environment().clone(),
        Some(crate::sandbox::Namespaces::default()),
    );
    for place in ["/usr/src/hello-1", "/proc/self", "/lib/modules/6.1", "/var/lib/dkms"] {
        fs_err::create_dir_all(ctx.trees.outer(place)).unwrap();
    }
    let conf = "PACKAGE_NAME=hello\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=hello\nDEST_MODULE_LOCATION=/extra\n";
    fs_err::write(ctx.trees.outer("/usr/src/hello-1/dkms.conf"), conf).unwrap();
    fs_err::write(ctx.trees.outer("/lib/modules/6.1/modules.order"), "").unwrap();
    ctx
}

#[test]
fn what_arrives_is_registered_once_and_waits_for_headers() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let quiet = crate::report::Buffer::default();
    let package = Package::new("hello", "1").unwrap();
    let release = Release::new("6.1").unwrap();
    let arrived = [Event::SourceArrived(Arrival::Package(package.clone()))];
    let link = ctx.trees.source_link(&package);
    for everything in [false, true, true] {
        let options = EventOptions { everything, over: true, ..EventOptions::default() };
        let handled = handle(&ctx, &arrived, &options, &quiet).unwrap();
        assert!(link.is_symlink() && handled.refused.is_none(), "{handled:?}");
        // Without AUTOINSTALL it is wanted only where the source tree decides.
        assert_eq!(handled.is_settled(&release), !everything);
        assert_eq!(handled.code, 0);
    }
    // Without its source, and without a successor, it goes; and so does a kernel's directory that holds nothing.
    fs_err::remove_dir_all(ctx.trees.outer("/usr/src/hello-1")).unwrap();
    fs_err::remove_file(ctx.trees.outer("/lib/modules/6.1/modules.order")).unwrap();
    let gone = [Event::SourceUpgraded("/usr/src/hello-1".into()), Event::KernelGone(release)];
    let options = EventOptions { everything: true, over: true, ..EventOptions::default() };
    handle(&ctx, &gone, &options, &quiet).unwrap();
    assert!(!link.is_symlink() && !ctx.trees.outer("/lib/modules/6.1").exists());
}

/// Where nothing can be built for want of /proc, nothing counts as done, and the package is registered for a later run.
#[test]
fn without_proc_what_arrived_waits_for_a_later_run() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    fs_err::remove_dir(ctx.trees.outer("/proc/self")).unwrap();
    let quiet = crate::report::Buffer::default();
    let (package, release) = (Package::new("hello", "1").unwrap(), Release::new("6.1").unwrap());
    let events = [Event::SourceArrived(Arrival::Package(package.clone())), Event::KernelInstalled(release.clone())];
    let handled = handle(&ctx, &events, &EventOptions::default(), &quiet).unwrap();
    assert!(handled.postponed && !handled.is_settled(&release) && handled.code == 0);
    assert!(ctx.trees.source_link(&package).is_symlink());
}

/// Packages alone that come are no reason to install others that nobody asked for; a kernel that comes is, where the source
/// tree decides.
#[test]
fn packages_without_autoinstall_follow_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let conf = "PACKAGE_NAME=other\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=other\nDEST_MODULE_LOCATION=/extra\n";
    fs_err::create_dir_all(ctx.trees.outer("/usr/src/other-1")).unwrap();
    fs_err::write(ctx.trees.outer("/usr/src/other-1/dkms.conf"), conf).unwrap();
    let quiet = crate::report::Buffer::default();
    let options = EventOptions { everything: true, over: true, ..EventOptions::default() };
    let names = |events: &[Event]| {
        let outcome = handle(&ctx, events, &options, &quiet).unwrap().outcome.unwrap();
        let wanted = outcome.plan.steps.iter().filter(|step| step.action != crate::plan::Action::Skip);
        wanted
            .filter(|step| step.reason != crate::plan::Reason::Manual)
            .map(|step| step.package.to_string())
            .collect::<Vec<_>>()
    };
    let arrived = |dir: &str| Event::SourceArrived(Arrival::Directory(dir.into()));
    assert_eq!(names(&[arrived("/usr/src/hello-1")]), ["hello/1"]);
    assert_eq!(names(&[arrived("/usr/src/other-1")]), ["other/1"]);
    assert_eq!(names(&[Event::KernelInstalled(Release::new("6.1").unwrap())]), ["hello/1", "other/1"]);
}

/// An archive of binaries brings no source: what it brought is installed when it comes, and by nothing that happens later.
#[test]
fn binaries_without_source_are_installed_when_they_come() {
    use crate::plan::Action;
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let package = Package::new("hello", "1").unwrap();
    let kernel = ctx.kernel(&Release::new("6.1").unwrap()).unwrap();
    let (source, module) = (ctx.trees.source_link(&package), ctx.trees.artefact(&package, &kernel).join("module"));
    for dir in [&source, &module] {
        fs_err::create_dir_all(dir).unwrap();
    }
    fs_err::write(module.join("hello.ko"), "").unwrap();
    let conf = fs_err::read_to_string(ctx.trees.outer("/usr/src/hello-1/dkms.conf")).unwrap();
    fs_err::remove_dir_all(ctx.trees.outer("/usr/src/hello-1")).unwrap();
    let names = |name: &str| BTreeSet::from([Name::new(name).unwrap()]);
    for (autoinstall, arrived, action) in [
        ("yes", Some(names("hello")), Action::Install),
        ("yes", Some(names("other")), Action::Skip),
        ("yes", None, Action::Skip),
        ("", Some(names("hello")), Action::Skip),
    ] {
        fs_err::write(source.join("dkms.conf"), format!("{conf}AUTOINSTALL={autoinstall}\n")).unwrap();
        let how = How { arrived: arrived.as_ref(), ..How::default() };
        let session = Session::new(&ctx).unwrap();
        let plan = crate::reconcile::preview(&session, &Scope::All, how).unwrap().plan;
        let found: Vec<Action> = plan.steps.iter().map(|step| step.action).collect();
        assert_eq!(found, [action], "{autoinstall:?} {arrived:?}: {plan:?}");
    }
}

#[test]
fn events_of_one_kernel_take_no_architecture() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    for words in [
        ["reconcile", "--event=kernel-gone", "-k6.1/i686"].as_slice(),
        &["reconcile", "--event=kernel-going", "-k6.1", "-ai686"],
        &["reconcile", "--event=kernel-coming"],
        &["reconcile", "--event=kernel-coming", "-k6.1", "--all-kernels"],
    ] {
        let quiet = crate::report::Buffer::default();
        let args = Args::parse(words.iter().map(Into::into)).unwrap();
        assert_ne!(run(&ctx, &args, &quiet), 0, "{words:?}");
    }
}

#[test]
fn a_source_that_can_t_be_registered_is_refused_and_nothing_else_done() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let arrived = [Event::SourceArrived(Arrival::Package(Package::new("other", "1").unwrap()))];
    let quiet = crate::report::Buffer::default();
    let handled = handle(&ctx, &arrived, &EventOptions::default(), &quiet).unwrap();
    assert_eq!((handled.refused, handled.code), (Some(2), 2));
    assert!(handled.outcome.is_none());
}

/// Puts the source of a package at `dir` (inside the root).
fn source(ctx: &Context, dir: &str, name: &str, version: &str) {
    let conf = format!(
        "PACKAGE_NAME={name}\nPACKAGE_VERSION={version}\nBUILT_MODULE_NAME={name}\nDEST_MODULE_LOCATION=/extra\n"
    );
    fs_err::create_dir_all(ctx.trees.outer(dir)).unwrap();
    fs_err::write(ctx.trees.outer(dir).join("dkms.conf"), conf).unwrap();
}

#[test]
fn a_directory_is_registered_where_it_is_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let quiet = crate::report::Buffer::default();
    let options = EventOptions { everything: true, over: true, ..EventOptions::default() };
    for (directory, name, version, package) in [
        ("/usr/src/odd-1.0", "odd", "9", ("odd", "1.0")),
        ("/usr/src/plain", "plain", "3", ("plain", "3")),
        ("/usr/src/nv-ng-1.0-2", "nv-ng", "1.0-2", ("nv-ng", "1.0-2")),
    ] {
        source(&ctx, directory, name, version);
        let before = register::sources(&ctx);
        let arrived = [Event::SourceArrived(Arrival::Directory(directory.into()))];
        let handled = handle(&ctx, &arrived, &options, &quiet).unwrap();
        assert_eq!(handled.code, 0, "{directory}: {:?}", quiet.take());
        let link = ctx.trees.source_link(&Package::new(package.0, package.1).unwrap());
        assert_eq!(fs_err::read_link(link).unwrap(), std::path::Path::new(directory));
        assert_eq!(register::sources(&ctx), before, "{directory}: a copy was made");
    }
}

/// What nobody owns, and is not a copy of what a package brought, stays.
#[test]
fn only_copies_of_what_a_package_owns_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = system(dir.path());
    let quiet = crate::report::Buffer::default();
    let package = Package::new("odd", "9").unwrap();
    for place in ["/usr/src/odd-1.0", "/usr/src/odd-9"] {
        source(&ctx, place, "odd", "9");
    }
    register::link_to(&ctx, &package, "/usr/src/odd-9".as_ref()).unwrap();
    let source = || fs_err::read_link(ctx.trees.source_link(&package)).unwrap();
    for owned in [&[][..], &["/usr/src/odd-9"], &["/usr/src/odd-1.0", "/usr/src/odd-9"]] {
        let is_owned = |dir: &std::path::Path| owned.iter().any(|owned| dir == std::path::Path::new(owned));
        copies::give_back(&ctx, &is_owned, &quiet).unwrap();
        assert!(ctx.trees.outer("/usr/src/odd-9").is_dir() && source().ends_with("odd-9"), "{owned:?}");
    }
    copies::give_back(&ctx, &|dir| dir.ends_with("odd-1.0"), &quiet).unwrap();
    assert!(!ctx.trees.outer("/usr/src/odd-9").exists() && source().ends_with("odd-1.0"));
}
