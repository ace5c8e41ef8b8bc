//! Which file of a crate takes names from which other file of it.
//!
//! `use` items, paths in code and paths in the arguments of macros count; what is compiled for tests only does not. A name
//! that a module passes on (`pub use`) leads to the file that has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A module's path in its crate; empty for the root.
pub type ModulePath = Vec<String>;

/// The modules of one crate root (`lib.rs` or `main.rs`).
#[derive(Debug, Default)]
pub struct Modules {
    all: BTreeMap<ModulePath, Module>,
}

/// What one file's module says of others.
#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// Names that `use` brings in or passes on, and where they come from.
    names: BTreeMap<String, ModulePath>,
    /// What is taken from elsewhere in the crate.
    taken: BTreeSet<ModulePath>,
}

/// A file takes something from another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// The module that takes.
    pub from: ModulePath,
    /// The module that has it.
    pub to: ModulePath,
}

impl Modules {
    /// Reads the crate whose root is the file `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let mut modules = Self::default();
        let dir = root.parent().context("the root of a crate is in a directory")?;
        modules.add(&[], root.to_owned(), dir)?;
        Ok(modules)
    }

    /// Adds the module `path` of `file`, whose child modules are below `dir`, and these.
    fn add(&mut self, path: &[String], file: PathBuf, dir: &Path) -> Result<()> {
        let text = fs_err::read_to_string(&file)?;
        let module = read(&text, path).with_context(|| file.display().to_string())?;
        let children = module.children.clone();
        self.all.insert(path.to_vec(), Module { file, ..module });
        for child in children {
            let below = dir.join(&child);
            let file = [dir.join(format!("{child}.rs")), below.join("mod.rs")].into_iter().find(|file| file.is_file());
            let file = file.with_context(|| format!("no file of the module {child} in {}", dir.display()))?;
            self.add(&[path, &[child]].concat(), file, &below)?;
        }
        Ok(())
    }

    /// The modules.
    pub fn paths(&self) -> impl Iterator<Item = &ModulePath> {
        self.all.keys()
    }

    /// The file of a module.
    pub fn file(&self, path: &[String]) -> &Path {
        self.all.get(path).map_or(Path::new(""), |module| &module.file)
    }

    /// Every arrow between two files.
    pub fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (from, module) in &self.all {
            for taken in &module.taken {
                let to = self.owner(taken, 8);
                if to != *from {
                    arrows.insert(Arrow { from: from.clone(), to });
                }
            }
        }
        arrows
    }

    /// The module that has what `path` names. `hops`: how often the name may be passed on.
    fn owner(&self, path: &[String], hops: usize) -> ModulePath {
        let mut at: ModulePath = Vec::new();
        for (index, name) in path.iter().enumerate() {
            let Some(module) = self.all.get(&at) else { break };
            if module.children.contains(name) {
                at.push(name.clone());
            } else if let (Some(origin), 1..) = (module.names.get(name), hops) {
                return self.owner(&[origin.as_slice(), &path[index + 1..]].concat(), hops - 1);
            } else {
                break;
            }
        }
        at
    }
}

/// Reads the text of the module `path`.
fn read(text: &str, path: &[String]) -> Result<Module> {
    let parsed = syn::parse_file(text)?;
    let children = parsed.items.iter().filter_map(|item| match item {
        syn::Item::Mod(item) if item.content.is_none() && !for_tests(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    });
    let children: BTreeSet<String> = children.collect();
    let mut reader = Reader { here: path.to_vec(), depth: 0, module: Module { children, ..Module::default() } };
    reader.visit_file(&parsed);
    Ok(reader.module)
}

struct Reader {
    here: ModulePath,
    /// How many modules without a file of their own we are in.
    depth: usize,
    module: Module,
}

impl Reader {
    /// The path from the crate's root that `words` stand for here; `None` for another crate's or a local name.
    fn absolute(&self, words: &[String]) -> Option<ModulePath> {
        let (first, mut rest) = words.split_first()?;
        let mut path = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.here.clone(),
            "super" => {
                let mut up = 1_usize;
                while rest.first().is_some_and(|word| word == "super") {
                    (up, rest) = (up + 1, &rest[1..]);
                }
                // Up to the file is nothing.
                let beyond = up.checked_sub(self.depth)?;
                self.here[..self.here.len().checked_sub(beyond)?].to_vec()
            }
            name if self.depth == 0 && self.module.children.contains(name) => {
                [self.here.as_slice(), &[name.to_owned()]].concat()
            }
            _ => return None,
        };
        path.extend_from_slice(rest);
        Some(path)
    }

    fn take(&mut self, words: &[String]) {
        if words.len() > 1 {
            self.module.taken.extend(self.absolute(words));
        }
    }

    /// `tree` behind `before`.
    fn used(&mut self, before: &[String], tree: &syn::UseTree, public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.used(&with(&path.ident), &path.tree, public),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.used(before, tree, public)),
            syn::UseTree::Glob(_) => self.bring(None, before, public),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned();
                self.bring(last, before, public);
            }
            syn::UseTree::Name(name) => self.bring(Some(name.ident.to_string()), &with(&name.ident), public),
            syn::UseTree::Rename(rename) => {
                let words = if rename.ident == "self" { before.to_vec() } else { with(&rename.ident) };
                self.bring(Some(rename.rename.to_string()), &words, public);
            }
        }
    }

    fn bring(&mut self, name: Option<String>, words: &[String], public: bool) {
        let Some(path) = self.absolute(words) else { return };
        if let Some(name) = name {
            self.module.names.insert(name, path.clone());
        }
        // What a module passes on of its own children is not something that it takes.
        if !(public && path.starts_with(&self.here)) {
            self.module.taken.insert(path);
        }
    }

    /// Paths in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut words: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.take(&std::mem::take(&mut words));
                    }
                    words.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.take(&std::mem::take(&mut words));
                    self.tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.take(&std::mem::take(&mut words));
                    colons = 0;
                }
            }
        }
        self.take(&words);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Static(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.used(&[], &item.tree, !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.take(&words);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(list.tokens.clone());
    }
}

/// Whether these attributes leave something to tests.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// The groups of files that reach each other.
pub fn circles(arrows: &BTreeSet<Arrow>) -> Vec<Vec<ModulePath>> {
    let mut next: BTreeMap<&ModulePath, Vec<&ModulePath>> = BTreeMap::new();
    for arrow in arrows {
        next.entry(&arrow.from).or_default().push(&arrow.to);
    }
    let reaches = |from: &ModulePath| {
        let mut seen: BTreeSet<&ModulePath> = BTreeSet::new();
        let mut open: Vec<&ModulePath> = next.get(from).cloned().unwrap_or_default();
        while let Some(at) = open.pop() {
            if seen.insert(at) {
                open.extend(next.get(at).into_iter().flatten());
            }
        }
        seen
    };
    let all: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> = next.keys().map(|&path| (path, reaches(path))).collect();
    let mut circles = Vec::new();
    let mut placed: BTreeSet<&ModulePath> = BTreeSet::new();
    for (path, reached) in &all {
        if !placed.contains(path) && reached.contains(path) {
            let circle: Vec<&ModulePath> = reached
                .iter()
                .copied()
                .filter(|other| all.get(other).is_some_and(|back| back.contains(path)))
                .collect();
            placed.extend(&circle);
            circles.push(circle.into_iter().cloned().collect());
        }
    }
    circles
}
