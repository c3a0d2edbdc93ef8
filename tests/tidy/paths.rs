//! The paths in a Rust file: its imports, re-exports, and paths written out in its code.
//!
//! Code for tests is not read. Paths inside macro calls are found among the tokens.

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// The names that a file declares and uses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) used: Vec<Used>,
    pub(crate) imports: Vec<Import>,
    /// The items, each with the inline modules around it.
    pub(crate) items: Vec<(Vec<String>, String)>,
    /// The inline modules, each with the modules around it.
    pub(crate) modules: Vec<Vec<String>>,
    /// The functions: the line of each, and how many lines it has.
    pub(crate) functions: Vec<(usize, usize)>,
    scope: Vec<String>,
}

/// A path written out in code.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) line: usize,
    pub(crate) scope: Vec<String>,
    pub(crate) parts: Vec<String>,
}

/// One name of a `use`.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) line: usize,
    pub(crate) scope: Vec<String>,
    pub(crate) parts: Vec<String>,
    /// The name by which the file knows it; none for `as _` and for a glob.
    pub(crate) name: Option<String>,
    pub(crate) glob: bool,
}

impl Names {
    /// Reads a file.
    pub(crate) fn of(syntax: &syn::File) -> Self {
        let mut names = Self::default();
        names.visit_file(syntax);
        names
    }

    fn declare(&mut self, name: &syn::Ident) {
        self.items.push((self.scope.clone(), name.to_string()));
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| {
            let mut parts = before.to_vec();
            // `use a::{self}` imports `a`.
            if name != "self" || before.is_empty() {
                parts.push(name.to_string());
            }
            parts
        };
        let (parts, name, glob, span) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.import(tree, before));
            }
            UseTree::Glob(glob) => (before.to_vec(), None, true, glob.star_token.span),
            UseTree::Name(leaf) => {
                let parts = with(&leaf.ident);
                let name = parts.last().cloned();
                (parts, name, false, leaf.ident.span())
            }
            UseTree::Rename(rename) => {
                let name = Some(rename.rename.to_string()).filter(|name| name != "_");
                (with(&rename.ident), name, false, rename.ident.span())
            }
        };
        self.imports.push(Import {
            line: span.start().line,
            scope: self.scope.clone(),
            parts,
            name,
            glob,
        });
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.functions.push((first, last - first + 1));
    }

    /// Finds `a::b` among tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut parts: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.written(line, &mut parts);
                        line = name.span().start().line;
                    }
                    parts.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.written(line, &mut parts);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.written(line, &mut parts);
    }

    fn written(&mut self, line: usize, parts: &mut Vec<String>) {
        if !parts.is_empty() {
            self.used.push(Used {
                line,
                scope: self.scope.clone(),
                parts: std::mem::take(parts),
            });
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = head(item);
        if for_tests(attributes) {
            return;
        }
        match item {
            Item::Mod(module) => {
                if module.content.is_some() {
                    self.scope.push(module.ident.to_string());
                    self.modules.push(self.scope.clone());
                    visit::visit_item_mod(self, module);
                    self.scope.pop();
                }
                return;
            }
            Item::Fn(function) => self.function(&function.sig, &function.block),
            _ => {}
        }
        if let Some(name) = name {
            self.declare(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !for_tests(&function.attrs) {
            self.function(&function.sig, &function.block);
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts = path.segments.iter();
        let mut parts = parts.map(|part| part.ident.to_string()).collect();
        // `::a` is a crate.
        if let (Some(first), None) = (path.segments.first(), &path.leading_colon) {
            self.written(first.ident.span().start().line, &mut parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// The attributes of an item, and the name that it declares.
fn head(item: &Item) -> (&[Attribute], Option<&syn::Ident>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(&item.ident)),
        Item::Enum(item) => (&item.attrs, Some(&item.ident)),
        Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
        Item::Impl(item) => (&item.attrs, None),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
        Item::Mod(item) => (&item.attrs, None),
        Item::Static(item) => (&item.attrs, Some(&item.ident)),
        Item::Struct(item) => (&item.attrs, Some(&item.ident)),
        Item::Trait(item) => (&item.attrs, Some(&item.ident)),
        Item::Type(item) => (&item.attrs, Some(&item.ident)),
        Item::Union(item) => (&item.attrs, Some(&item.ident)),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}

/// `#[cfg(test)]`, also with further conditions.
fn for_tests(attributes: &[Attribute]) -> bool {
    let cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    attributes.iter().filter(cfg).any(|attribute| {
        let parse = Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
        let Ok(conditions) = attribute.parse_args_with(parse) else {
            return false;
        };
        conditions.iter().any(needs_test)
    })
}

fn needs_test(condition: &syn::Meta) -> bool {
    match condition {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => {
            let parse = Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
            let inner = list.parse_args_with(parse);
            inner.is_ok_and(|inner| inner.iter().any(needs_test))
        }
        _ => false,
    }
}
