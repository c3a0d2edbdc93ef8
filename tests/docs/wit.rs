//! `docs/reference/wit.md` against `wit/`.

use crate::check;
use crate::markdown::{page, root};

/// Each function of each file: file, name, whole signature.
fn functions() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join("wit")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line = line.trim().trim_end_matches(';');
            if let Some((name, _)) = line.split_once(": func(") {
                found.push((file.clone(), name.to_owned(), line.to_owned()));
            }
        }
    }
    found
}

/// Each case or field of the types that the page explains.
fn cases(file: &str, kind: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("wit").join(file)).unwrap();
    let body = text.split(&format!("{kind} {{")).nth(1).unwrap();
    let body = body.split("\n  }").next().unwrap();
    let lines = body.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect()
}

#[test]
fn every_function_is_explained_with_its_signature() {
    let page = page("docs/reference/wit.md");
    let functions = functions();
    assert!(functions.len() > 25, "{}", functions.len());
    let missing = functions
        .iter()
        .filter(|(_, _, signature)| !page.text.contains(&format!("`{signature}`")));
    check(
        missing
            .map(|(file, name, signature)| format!("wit/{file}.wit `{name}`: `{signature}`"))
            .collect(),
    );
}

#[test]
fn every_case_is_explained() {
    let page = page("docs/reference/wit.md");
    let mut found = Vec::new();
    for (file, kind) in [
        ("types.wit", "variant error"),
        ("types.wit", "enum priority"),
        ("handler.wit", "variant kind"),
        ("handler.wit", "variant failure"),
        ("handler.wit", "variant notice"),
        ("log.wit", "enum level"),
    ] {
        for case in cases(file, kind) {
            if !page.text.contains(&format!("`{case}`")) {
                found.push(format!("wit/{file} {kind}: `{case}`"));
            }
        }
    }
    check(found);
}

#[test]
fn the_page_names_no_function_that_does_not_exist() {
    let signatures: Vec<String> = functions()
        .into_iter()
        .map(|(_, _, signature)| signature)
        .collect();
    let page = page("docs/reference/wit.md");
    let spans = page.spans();
    let strange = spans
        .iter()
        .filter(|(_, span)| span.contains(": func(") && !signatures.contains(span));
    check(
        strange
            .map(|(line, span)| format!("{}:{line}: {span}", page.name))
            .collect(),
    );
}
