#!/bin/bash
# Guess: the version types of debversion and rpm-version can be keys of a HashMap, and == says what cmp says.
# debversion 0.5.5: 1.0 == 1.0-0 and 1.0 == 0:1.0, as dpkg says, but their hashes differ: a HashSet holds both, and a look-up
# of one misses the other. rpm-version 0.5.1: the other way round: cmp of 1.0 and 1.00 is Equal, as rpm says, and == is
# false; dedup, contains and assert_eq! take them for two versions, and a BTreeSet has one of them when they are inserted
# but both when they are collected (collecting sorts by cmp and drops by ==). So: compare with cmp only, and dedup_by it.
. "$(dirname "$0")/lib.sh"
crate_trial 'debversion = "=0.5.5"' \
	'rpm-version = "=0.5.1"' <<'C'
use std::collections::{BTreeSet, HashSet};
fn main() {
    let deb: Vec<debversion::Version> = ["1.0", "1.0-0", "0:1.0"].iter().map(|v| v.parse().unwrap()).collect();
    println!("debversion {} {} {}", deb[0] == deb[1] && deb[0] == deb[2],
        deb.iter().cloned().collect::<HashSet<_>>().len(), deb.iter().cloned().collect::<BTreeSet<_>>().len());
    let rpm: Vec<rpm_version::Evr> = ["1.0", "1.00", "1_0"].iter().map(|v| rpm_version::Evr::parse(v)).collect();
    println!("rpm-version {:?} {} {}", rpm[0].cmp(&rpm[1]), rpm[0] == rpm[1],
        rpm.iter().collect::<BTreeSet<_>>().len());
    let mut inserted = BTreeSet::new();
    for evr in &rpm { inserted.insert(evr); }
    println!("inserted {}", inserted.len());
}
C
said=$(cd "$T/trial" && cargo run --quiet)
same 'debversion: all equal, in a HashSet, in a BTreeSet' 'debversion true 3 1' "$(sed -n 1p <<<"$said")"
same 'rpm-version: cmp, ==, collected in a BTreeSet' 'rpm-version Equal false 3' "$(sed -n 2p <<<"$said")"
same 'rpm-version: inserted in a BTreeSet' 'inserted 1' "$(sed -n 3p <<<"$said")"
