//! What a kernel has in the place of what a build for another has read.

use super::places::{self, Places};
use super::{VERSION, import};
use crate::context::Context;
use crate::reuse::{Answer, Facts, Policy, Record, decide};
use crate::run::target::Target;

/// Whether the modules of `record` are what a build of `target` would make.
///
/// # Errors
/// In words, if something can't be looked at.
pub fn decision(ctx: &Context, target: &Target, record: &Record, policy: Policy) -> Result<Answer, String> {
    let kbuild = target.facts.kbuild(ctx)?;
    let symvers = kbuild.symvers.as_ref().ok_or("the kernel's exported symbols are not known")?;
    let places = Places::of(ctx, target, &ctx.world.called(&ctx.trees, &ctx.trees.build_dir(&target.package)))?;
    let then = &record.facts;
    let mut now = Facts {
        looked_at: then.looked_at.clone(),
        config: places::configuration(target, &then.looked_at),
        kbuild: kbuild.files.clone(),
        imports: then.imports.keys().filter_map(|name| Some((name.clone(), import(symvers, name)?))).collect(),
        types: kbuild.types.clone(),
        salt: places::salt(target),
        ..Facts::default()
    };
    // What is dear only where the rest is no reason to build.
    if policy != Policy::Symbols && now.config == then.config && now.kbuild == then.kbuild {
        for name in then.headers.keys() {
            // One that is gone is a difference.
            let Ok(header) = places.header(name) else { continue };
            let mut digest = &header.digest;
            if name == VERSION && record.comparisons.is_some() {
                if let Some((code, rest)) = &header.version {
                    digest = rest;
                    now.version = Some(*code);
                }
            }
            now.headers.insert(name.clone(), digest.clone());
        }
        now.earlier = places::earlier(&places, &record.searches, &then.headers.keys(), &record.quoted);
    }
    let exported =
        |exports: &std::collections::BTreeSet<String>| exports.iter().find(|name| symvers.get(name).is_some()).cloned();
    Ok(decide(record, &target.kernel, &now, exported, policy))
}
