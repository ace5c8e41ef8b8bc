//! The new index from the old one and the modules that have changed: who exports each symbol, and what each module needs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::module::Contents;
use super::order::{Order, order};
use super::present::{Present, Symbol, row};
use super::{MOST_READ, Unusual};

/// A module as it is now.
#[derive(Debug)]
pub struct Module {
    /// As in modules.dep.
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its number in the old index, if there is a module of that name in it.
    pub old: Option<u32>,
    /// What its file says, if that was read: it is new, or it has changed.
    pub contents: Option<Contents>,
}

/// Puts the old index and what has changed together.
#[derive(Debug)]
pub struct Merge<'a> {
    /// All modules, in depmod's order.
    pub modules: &'a [Module],
    /// The old index.
    pub present: &'a Present<'a>,
    /// By the numbers of the old index, the new ones; `None`: it is gone.
    pub renumbered: Vec<Option<u32>>,
    /// Who exports what, sorted.
    pub symbols: Vec<Symbol<'a>>,
}

/// What each module needs.
#[derive(Debug)]
pub struct Needs {
    /// By the modules' numbers, in depmod's order.
    pub of: Vec<Vec<u32>>,
    /// How many files were read for it.
    pub read: usize,
}

impl<'a> Merge<'a> {
    /// Finds out who exports what now. `before`: who did, by old numbers.
    pub fn new(modules: &'a [Module], present: &'a Present<'a>, before: &[Symbol<'a>]) -> Result<Self, Unusual> {
        let mut renumbered = vec![None; present.lines.len()];
        for (number, module) in modules.iter().enumerate() {
            if let Some(old) = module.old {
                renumbered[old as usize] = u32::try_from(number).ok();
            }
        }
        // Those that are as they were are in the order that they were in, or the index is of another order.
        let kept = renumbered.iter().flatten().filter(|number| modules[**number as usize].contents.is_none());
        if !kept.clone().is_sorted() {
            return Err(Unusual::Order);
        }
        let mut merge = Self { modules, present, renumbered, symbols: Vec::with_capacity(before.len()) };
        merge.symbols = merge.exported(before);
        Ok(merge)
    }

    fn exported(&self, before: &[Symbol<'a>]) -> Vec<Symbol<'a>> {
        let mut exported: Vec<Symbol<'a>> = Vec::new();
        for (number, module) in self.read_anew() {
            let exports = module.contents.iter().flat_map(|contents| &contents.exports);
            exported.extend(exports.map(|name| Symbol { row: row(name), name, owner: number }));
        }
        exported.sort_unstable_by_key(|symbol| (symbol.row, symbol.name, symbol.owner));
        let kept = before.iter().filter_map(|symbol| {
            let owner = self.renumbered[symbol.owner as usize]?;
            self.modules[owner as usize].contents.is_none().then_some(Symbol { owner, ..*symbol })
        });
        let mut all: Vec<Symbol<'a>> = Vec::with_capacity(before.len() + exported.len());
        let mut exported = exported.into_iter().peekable();
        let mut put = |symbol: Symbol<'a>| match all.last_mut() {
            // The last module that exports it has it.
            Some(last) if last.key() == symbol.key() => last.owner = last.owner.max(symbol.owner),
            _ => all.push(symbol),
        };
        for symbol in kept {
            while let Some(earlier) = exported.next_if(|export| export.key() <= symbol.key()) {
                put(earlier);
            }
            put(symbol);
        }
        exported.for_each(put);
        all
    }

    /// The modules whose files were read.
    fn read_anew(&self) -> impl Iterator<Item = (u32, &'a Module)> + use<'a> {
        let all = self.modules.iter().enumerate();
        all.filter_map(|(number, module)| Some((u32::try_from(number).ok()?, module)))
            .filter(|(_, module)| module.contents.is_some())
    }

    /// Whose symbols are gone, or are another module's now: by old numbers.
    pub fn losers(&self, before: &[Symbol<'a>]) -> BTreeSet<u32> {
        let gone = self.renumbered.iter().zip(0..).filter(|(now, _)| now.is_none()).map(|(_, old)| old);
        let mut losers: BTreeSet<u32> = gone.collect();
        let lost = before.iter().filter(|symbol| {
            let owner = self.renumbered[symbol.owner as usize];
            owner.is_some() && self.owner(symbol.name) != owner
        });
        losers.extend(lost.map(|symbol| symbol.owner));
        losers
    }

    /// Who exports `name`.
    fn owner(&self, name: &str) -> Option<u32> {
        let key = (row(name), name);
        let at = self.symbols.binary_search_by_key(&key, Symbol::key).ok()?;
        Some(self.symbols[at].owner)
    }

    /// The modules that export what module `number` needs, in the order in which its file names their symbols.
    fn direct(&self, number: u32, contents: &Contents) -> Result<Vec<u32>, Unusual> {
        let mut direct = Vec::new();
        for owner in contents.needs.iter().filter_map(|name| self.owner(name)) {
            if owner == number {
                return Err(Unusual::Cycle);
            }
            if !direct.contains(&owner) {
                direct.push(owner);
            }
        }
        Ok(direct)
    }

    /// What each module needs now. `losers`: see [`Merge::losers`]. `read` reads the file of a module that is as it was, if it has to be
    /// known which symbols it names.
    pub fn needs(
        &self,
        losers: &BTreeSet<u32>,
        read: &dyn Fn(&str) -> Result<Contents, Unusual>,
    ) -> Result<Needs, Unusual> {
        let mut direct: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, module) in self.read_anew() {
            if let Some(contents) = &module.contents {
                direct.insert(number, self.direct(number, contents)?);
            }
        }
        let mut count = 0;
        let mut read = |number: u32| {
            count += 1;
            if count > MOST_READ {
                return Err(Unusual::Many);
            }
            self.direct(number, &read(&self.modules[number as usize].path)?)
        };
        let mut losers = losers.clone();
        let all = loop {
            for (number, old) in self.kept() {
                let needs = self.present.needs_of(old);
                if !direct.contains_key(&number) && needs.iter().any(|old| losers.contains(old)) {
                    direct.insert(number, read(number)?);
                }
            }
            let all = self.closures(&direct)?;
            let before = losers.len();
            // Whoever needs a module that needs less now may need less, too.
            for (number, module) in
                self.modules.iter().zip(0..).filter_map(|(module, number)| Some((number, module.old?)))
            {
                let is_less = |old: &u32| {
                    self.renumbered[*old as usize]
                        .is_none_or(|needed| all[number as usize].binary_search(&needed).is_err())
                };
                if direct.contains_key(&number) && self.present.needs_of(module).iter().any(is_less) {
                    losers.insert(module);
                }
            }
            if losers.len() == before {
                break all;
            }
        };
        let of = self.sorted(all, direct, &mut read)?;
        Ok(Needs { of, read: count })
    }

    /// The modules that are as they were: new and old number.
    fn kept(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let all = self.modules.iter().zip(0..);
        all.filter(|(module, _)| module.contents.is_none()).filter_map(|(module, number)| Some((number, module.old?)))
    }

    /// All dependencies of all modules, each module's sorted by number. Of modules that are not in `direct` those are known that
    /// they had: they have these, and what these need now.
    fn closures(&self, direct: &BTreeMap<u32, Vec<u32>>) -> Result<Vec<Vec<u32>>, Unusual> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut state = vec![State::New; self.modules.len()];
        let mut all: Vec<Vec<u32>> = vec![Vec::new(); self.modules.len()];
        let first = |number: u32| -> Result<Vec<u32>, Unusual> {
            if let Some(direct) = direct.get(&number) {
                return Ok(direct.clone());
            }
            let old = self.modules[number as usize].old.ok_or(Unusual::Order)?;
            let needs = self.present.needs_of(old).iter();
            needs.map(|old| self.renumbered[*old as usize].ok_or(Unusual::Order)).collect()
        };
        for start in (0..self.modules.len()).filter_map(|number| u32::try_from(number).ok()) {
            let mut stack = vec![start];
            while let Some(number) = stack.last().copied() {
                let at = number as usize;
                match state[at] {
                    State::Done => {
                        stack.pop();
                    }
                    State::New => {
                        state[at] = State::Open;
                        all[at] = first(number)?;
                        for needed in &all[at] {
                            match state[*needed as usize] {
                                State::New => stack.push(*needed),
                                State::Open => return Err(Unusual::Cycle),
                                State::Done => {}
                            }
                        }
                    }
                    State::Open => {
                        let mut whole = all[at].clone();
                        for needed in &all[at] {
                            whole.extend_from_slice(&all[*needed as usize]);
                        }
                        whole.sort_unstable();
                        whole.dedup();
                        if whole.binary_search(&number).is_ok() {
                            return Err(Unusual::Cycle);
                        }
                        all[at] = whole;
                        state[at] = State::Done;
                        stack.pop();
                    }
                }
            }
        }
        Ok(all)
    }

    /// The order of the old index, made again; an error if the index is in another one.
    fn old_order(&self) -> Result<Order, Unusual> {
        let count = self.present.lines.len();
        let old = order(
            count,
            |number| self.present.needs_of(number),
            |_, freed| {
                freed.reverse();
                Ok(())
            },
        )?;
        let is_so = (0..count)
            .filter_map(|number| u32::try_from(number).ok())
            .all(|number| self.present.needs_of(number).is_sorted_by_key(|needed| old.place[*needed as usize]));
        if is_so { Ok(old) } else { Err(Unusual::Order) }
    }

    fn sorted(
        &self,
        mut all: Vec<Vec<u32>>,
        mut direct: BTreeMap<u32, Vec<u32>>,
        read: &mut dyn FnMut(u32) -> Result<Vec<u32>, Unusual>,
    ) -> Result<Vec<Vec<u32>>, Unusual> {
        let old = self.old_order()?;
        let old_of = |number: u32| self.modules[number as usize].old;
        let new = order(
            self.modules.len(),
            |number| &all[number as usize],
            |number, freed| {
                let order = match direct.entry(number) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        // Those that it put on the stack before: what was taken first was put there last.
                        let pusher = old_of(number);
                        let is_known = pusher.is_some()
                            && freed
                                .iter()
                                .all(|one| old_of(*one).is_some_and(|one| old.pusher[one as usize] == pusher));
                        if is_known {
                            let place = |one: &u32| old_of(*one).map(|one| old.place[one as usize]);
                            freed.sort_by_key(|one| std::cmp::Reverse(place(one)));
                            return Ok(());
                        }
                        unknown.insert(read(number)?)
                    }
                };
                let place = |one: &u32| order.iter().position(|direct| direct == one);
                if freed.iter().any(|one| place(one).is_none()) {
                    return Err(Unusual::Order);
                }
                freed.sort_by_key(|one| place(one));
                Ok(())
            },
        )?;
        for needs in &mut all {
            needs.sort_by_key(|needed| new.place[*needed as usize]);
        }
        Ok(all)
    }
}
