//! Import cycles: files that import each other, directly or through others.
//!
//! An edge leads from a file to the file that defines a name used in the first; re-exports are
//! followed. A file may use its own ancestors, as a part uses the whole that it belongs to: edges
//! from a file to the modules around it do not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::File;

/// A module: the path from the root of its crate.
type Module = Vec<String>;

/// Edges from a file to others, with the names that the first takes from the second.
type Edges = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

/// The modules of one crate.
struct Crate<'a> {
    files: &'a [File],
    modules: BTreeMap<Module, Inside>,
}

/// The names of a module.
#[derive(Debug, Default)]
struct Inside {
    file: usize,
    items: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// The target of a path.
enum Place {
    Module(Module),
    /// An item of this file.
    Item(usize),
    /// An item of another crate, re-exported.
    Foreign,
}

/// The shortest cycle of each group of files that import each other, as text. `files` are those of
/// one crate, with paths that begin at its root.
pub(crate) fn circles(files: &[File]) -> Vec<String> {
    let edges = Crate::of(files).edges();
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut done: BTreeSet<usize> = BTreeSet::new();
    let mut circles: Vec<Vec<usize>> = edges
        .keys()
        .filter_map(|file| shortest(&edges, *file, *file))
        .collect();
    circles.sort_by_key(Vec::len);
    for circle in circles {
        if !circle.iter().any(|file| done.contains(file)) {
            let first = circle[0];
            let both = |file: &&usize| {
                shortest(&edges, first, **file).is_some()
                    && shortest(&edges, **file, first).is_some()
            };
            done.extend(edges.keys().filter(both));
            found.push(circle);
        }
    }
    let shown = found.iter().map(|circle| show(files, &edges, circle));
    shown.collect()
}

/// The shortest path of at least one edge, as the files on it; of a cycle, each file once.
fn shortest(edges: &Edges, from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    let mut waiting = VecDeque::from([from]);
    while let Some(file) = waiting.pop_front() {
        for next in edges.get(&file).into_iter().flat_map(BTreeMap::keys) {
            if *next == to {
                let mut way = vec![file];
                while *way.last()? != from {
                    way.push(before[way.last()?]);
                }
                way.reverse();
                return Some(way);
            }
            if *next != from && !before.contains_key(next) {
                before.insert(*next, file);
                waiting.push_back(*next);
            }
        }
    }
    None
}

fn show(files: &[File], edges: &Edges, circle: &[usize]) -> String {
    let mut lines = vec![format!("{} files import each other:", circle.len())];
    for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
        let names: Vec<&str> = edges[from][to].iter().map(String::as_str).collect();
        lines.push(format!(
            "  {} -> {}: {}",
            files[*from].path,
            files[*to].path,
            names.join(", ")
        ));
    }
    lines.join("\n")
}

/// The module of a file: `a::b` for `src/a/b.rs`.
fn module_of(path: &str) -> Module {
    let stem = path.trim_end_matches(".rs");
    let parts = stem.split('/').map(str::to_owned);
    parts.filter(|part| part != "lib").collect()
}

impl<'a> Crate<'a> {
    fn of(files: &'a [File]) -> Self {
        let mut modules: BTreeMap<Module, Inside> = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            if file.is_test() {
                continue;
            }
            let within = |scope: &[String]| [module_of(&file.path).as_slice(), scope].concat();
            modules.entry(within(&[])).or_default().file = index;
            for scope in &file.names.modules {
                modules.entry(within(scope)).or_default().file = index;
            }
            for (scope, name) in &file.names.items {
                let inside = modules.entry(within(scope)).or_default();
                inside.items.insert(name.clone());
            }
            for import in &file.names.imports {
                let inside = modules.entry(within(&import.scope)).or_default();
                if import.glob {
                    inside.globs.push(import.parts.clone());
                } else if let Some(name) = &import.name {
                    inside.imports.insert(name.clone(), import.parts.clone());
                }
            }
        }
        Self { files, modules }
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (index, file) in self.files.iter().enumerate() {
            let own = module_of(&file.path);
            let imported = file
                .names
                .imports
                .iter()
                .map(|one| (&one.scope, &one.parts));
            let used = file.names.used.iter().map(|one| (&one.scope, &one.parts));
            for (scope, parts) in imported.chain(used) {
                let from = [own.as_slice(), scope].concat();
                let Some((Place::Item(to), taken)) = self.resolve(&from, parts, 0) else {
                    continue;
                };
                if to != index && !own.starts_with(&module_of(&self.files[to].path)) {
                    let names = edges.entry(index).or_default().entry(to).or_default();
                    names.insert(parts[taken].clone());
                }
            }
        }
        edges
    }

    /// The target of a path, if it belongs to this crate, and the part of the path that names it:
    /// the rest are variants and methods.
    fn resolve(&self, from: &[String], parts: &[String], depth: usize) -> Option<(Place, usize)> {
        // Globs may import each other.
        if depth > 8 {
            return None;
        }
        let mut place = Place::Module(from.to_vec());
        let mut taken = 0;
        for (nth, part) in parts.iter().enumerate() {
            let Place::Module(mut module) = place else {
                break;
            };
            taken = nth;
            let last = nth + 1 == parts.len();
            place = match part.as_str() {
                "crate" => Place::Module(Vec::new()),
                "self" => Place::Module(module),
                "super" => {
                    module.pop();
                    Place::Module(module)
                }
                name => match self.name(&module, name, last, depth) {
                    Some(place) => place,
                    // Another crate, or a local name.
                    None if nth == 0 => return None,
                    // A name that a macro defines there.
                    None => Place::Item(self.modules.get(&module)?.file),
                },
            };
        }
        Some((place, taken))
    }

    /// A name in a module. Functions and modules may share one: the last part of a path is an item
    /// if there is one.
    fn name(&self, module: &[String], name: &str, last: bool, depth: usize) -> Option<Place> {
        let inside = self.modules.get(module)?;
        let child = [module, &[name.to_owned()]].concat();
        if !last && self.modules.contains_key(&child) {
            return Some(Place::Module(child));
        }
        if inside.items.contains(name) {
            return Some(Place::Item(inside.file));
        }
        if let Some(parts) = inside.imports.get(name) {
            let place = self.resolve(module, parts, depth + 1);
            return Some(place.map_or(Place::Foreign, |(place, _)| place));
        }
        let globs = inside.globs.iter();
        let mut globs = globs.filter_map(|parts| self.resolve(module, parts, depth + 1));
        let found = globs.find_map(|(place, _)| match place {
            Place::Module(there) if there != module => self.name(&there, name, last, depth + 1),
            _ => None,
        });
        let child = self.modules.contains_key(&child).then_some(child);
        found.or(child.map(Place::Module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File::new(path, (*text).to_owned());
        circles(&files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn a_circle_names_its_files_and_what_ties_them() {
        let circle = found(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "pub struct B; fn f() { super::c::g(); }"),
            ("c.rs", "pub fn g() -> crate::a::A { loop {} }"),
        ]);
        let shown = "3 files import each other:\n  a.rs -> b.rs: B\n  b.rs -> c.rs: g\n  \
                     c.rs -> a.rs: A";
        assert_eq!(circle, [shown]);
    }

    #[test]
    fn the_shortest_circle_of_each_group_is_shown() {
        let circle = found(&[
            ("lib.rs", ""),
            ("a.rs", "use crate::{b::B, c::C}; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
            ("x.rs", "use crate::y::Y; pub struct X;"),
            ("y.rs", "use crate::x::X; pub struct Y;"),
        ]);
        assert_eq!(circle.len(), 2, "{circle:?}");
        assert!(circle[0].starts_with("2 files"), "{circle:?}");
    }

    #[test]
    fn re_exports_lead_to_the_file_that_defines_the_name() {
        // `a` uses `B` through the root, which has it from `b`; `b` uses `a` through a glob.
        let files = [
            (
                "lib.rs",
                "mod a; mod b; pub use b::Made as B; pub(crate) use a::*;",
            ),
            ("a.rs", "use super::B; pub fn f(_: B) {}"),
            ("b.rs", "pub struct Made; fn g() { crate::f(Made) }"),
        ];
        assert_eq!(found(&files).len(), 1);
        // A name that comes through a glob and is not imported by itself.
        let files = [
            ("lib.rs", "mod a; mod b; use b::B;"),
            ("a.rs", "use super::*; pub fn f(_: B) {}"),
            (
                "b.rs",
                "pub struct B; fn g() { println!(\"{}\", crate::a::f(B)) }",
            ),
        ];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn ancestors_declarations_and_tests_are_no_edges() {
        let quiet = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; use b::B; pub struct A;"),
            (
                "a/b.rs",
                "use super::A; pub struct B; #[cfg(test)] mod tests { use crate::c::C; }",
            ),
            ("c.rs", "use crate::a::b::B; pub struct C;"),
            ("c/tests.rs", "use crate::a::A;"),
        ];
        assert!(found(&quiet).is_empty(), "{:?}", found(&quiet));
    }

    #[test]
    fn a_parent_that_uses_its_child_closes_a_circle_through_others() {
        let circle = found(&[
            ("lib.rs", "mod a; mod d;"),
            ("a.rs", "mod b; use b::B; pub struct A;"),
            ("a/b.rs", "use crate::d::D; pub struct B;"),
            ("d.rs", "use crate::a::A; pub struct D;"),
        ]);
        assert_eq!(circle.len(), 1);
        assert!(circle[0].starts_with("3 files"), "{circle:?}");
    }

    #[test]
    fn a_function_may_have_the_name_of_its_module() {
        let circle = found(&[
            ("lib.rs", "mod a; mod b; pub use a::a;"),
            ("a.rs", "pub fn a() { crate::b::b() }"),
            ("b.rs", "pub fn b() { crate::a() }"),
        ]);
        assert_eq!(circle.len(), 1);
    }
}
