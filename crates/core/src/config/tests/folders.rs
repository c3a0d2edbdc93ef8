//! What a folder of plugins may look like.

use super::*;

const MANIFEST: &str = "[plugin]\nname = \"word-count\"\n";

fn kinds(dir: &TempDir) -> Vec<(String, CandidateKind)> {
    let scan = scan(&plugins(dir));
    scan.plugins
        .iter()
        .map(|c| (c.name.clone(), c.kind()))
        .collect()
}

#[test]
fn every_layout_is_found() {
    let dir = folder(&[
        ("plugins/Cargo.toml", "[workspace]\nmembers = []\n"),
        ("plugins/.hidden/plugin.toml", ""),
        ("plugins/target/plugin.toml", ""),
        ("plugins/target/a.wasm", ""),
        ("plugins/README.md", ""),
        ("plugins/empty/src/lib.rs", ""),
        ("plugins/lib/Cargo.toml", ""),
        ("plugins/bare.wasm", ""),
        ("plugins/bare.toml", ""),
        ("plugins/stray.wasm", ""),
        ("plugins/waiting.toml", "\n [plugin]\nname = \"waiting\"\n"),
        ("plugins/cargo-name.toml", ""),
        ("plugins/cargo_name.wasm", ""),
        ("plugins/ready/plugin.toml", ""),
        ("plugins/ready/ready.wasm", ""),
        ("plugins/source/plugin.toml", ""),
        ("plugins/source/Cargo.toml", ""),
        ("plugins/unlisted/thing.wasm", ""),
    ]);
    use CandidateKind::{NoManifest, NotBuilt, Ready};
    let expected = [
        ("bare", Ready),
        ("cargo-name", Ready),
        ("ready", Ready),
        ("source", NotBuilt),
        ("stray", NoManifest),
        ("unlisted", NoManifest),
        ("waiting", Ready),
    ];
    assert_eq!(
        kinds(&dir),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
    assert!(scan(&plugins(&dir)).findings.is_empty());
}

#[test]
fn components_are_found_under_both_names() {
    for (file, manifest) in [
        (
            "plugins/word-count/word-count.wasm",
            "plugins/word-count/plugin.toml",
        ),
        (
            "plugins/word-count/word_count.wasm",
            "plugins/word-count/plugin.toml",
        ),
        ("plugins/word-count.wasm", "plugins/word-count.toml"),
        ("plugins/word_count.wasm", "plugins/word-count.toml"),
    ] {
        let dir = folder(&[(file, ""), (manifest, MANIFEST)]);
        let plugin = load_plugin(&only(&dir), &PolicySpec::default()).unwrap();
        assert_eq!(plugin.component, dir.path().join(file));
    }
}

#[test]
fn a_component_may_have_a_name_of_its_own() {
    let manifest = format!("{MANIFEST}component = \"target/out.wasm\"\n");
    let dir = folder(&[
        ("plugins/word-count/plugin.toml", &manifest),
        ("plugins/word-count/target/out.wasm", ""),
    ]);
    assert!(
        load_plugin(&only(&dir), &PolicySpec::default())
            .unwrap()
            .component
            .ends_with("target/out.wasm")
    );
}

fn refused(dir: &TempDir) -> String {
    said(
        &load_plugin(&only(dir), &PolicySpec::default()).unwrap_err(),
        dir,
    )
}

#[test]
fn what_is_said_about_files() {
    let mut text = String::new();
    let manifest = ("plugins/word-count/plugin.toml", MANIFEST);
    let named = format!("{MANIFEST}component = \"out.wasm\"\n");
    let named = ("plugins/word-count/plugin.toml", named.as_str());
    let source = ("plugins/word-count/Cargo.toml", "");
    let component = ("plugins/word-count/word-count.wasm", "");
    for files in [
        vec![manifest],
        vec![manifest, source],
        vec![named, source],
        vec![named],
        vec![
            manifest,
            component,
            ("plugins/word-count/word_count.wasm", ""),
        ],
        vec![component],
        vec![("plugins/word_count.wasm", "")],
        vec![
            ("plugins/Word Count/plugin.toml", MANIFEST),
            ("plugins/Word Count/Word Count.wasm", ""),
        ],
        vec![
            ("plugins/other/plugin.toml", MANIFEST),
            ("plugins/other/other.wasm", ""),
        ],
        vec![
            (
                "plugins/word-count/plugin.toml",
                "[plugin]\nname = \"word-count\"\n[permisions]\n",
            ),
            component,
        ],
    ] {
        text += &refused(&folder(&files));
    }
    let dir = folder(&[component]);
    let path = dir.path().join("plugins/word-count/plugin.toml");
    fs::write(&path, b"[plugin]\nname = \"word-\xff\"\n").unwrap();
    text += &refused(&dir);
    fs::write(&path, "#".repeat(256 * 1024 + 1)).unwrap();
    text += &refused(&dir);
    golden("config/golden/files.txt", &text);
}

#[cfg(unix)]
#[test]
fn a_link_cannot_lead_out_of_the_folder() {
    let manifest = format!("{MANIFEST}component = \"linked.wasm\"\n");
    let dir = folder(&[
        ("plugins/word-count/plugin.toml", &manifest),
        ("secret.wasm", ""),
    ]);
    let link = |name: &str| {
        let link = plugins(&dir).join("word-count").join(name);
        std::os::unix::fs::symlink(dir.path().join("secret.wasm"), link).unwrap();
    };
    link("linked.wasm");
    assert!(refused(&dir).contains("is a link out of the plugin's folder"));
    fs::write(plugins(&dir).join("word-count/plugin.toml"), MANIFEST).unwrap();
    link("word-count.wasm");
    assert!(refused(&dir).contains("is a link out of the plugin's folder"));
}

#[test]
fn paths_cannot_leave_the_folder() {
    for path in [
        "../x.wasm",
        "a/../../x.wasm",
        "/etc/passwd",
        "",
        "..",
        ".",
        "a\\u0000b",
    ] {
        let manifest = format!("{MANIFEST}component = \"{path}\"\n");
        let dir = folder(&[
            ("plugins/word-count/plugin.toml", &manifest),
            ("plugins/x.wasm", ""),
        ]);
        let candidate = Candidate::in_folder(&plugins(&dir).join("word-count"))
            .unwrap()
            .unwrap();
        let findings = load_plugin(&candidate, &PolicySpec::default()).unwrap_err();
        assert_eq!(findings.len(), 1, "{path}: {findings}");
        assert_eq!(findings.iter().next().unwrap().key, "plugin.component");
    }
}

#[test]
fn a_component_that_is_too_large_is_not_read() {
    let dir = folder(&[
        ("plugins/word-count/plugin.toml", MANIFEST),
        ("plugins/word-count/word-count.wasm", ""),
    ]);
    let file = fs::File::options()
        .write(true)
        .open(plugins(&dir).join("word-count/word-count.wasm"))
        .unwrap();
    file.set_len(64 * 1024 * 1024 + 1).unwrap();
    assert!(refused(&dir).contains("has more than 64MiB"));
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let dir = folder(&[]);
    let findings = scan(&plugins(&dir)).findings;
    assert_eq!(findings.len(), 1);
    assert!(
        said(&findings, &dir).starts_with("plugins: it cannot be read"),
        "{findings}"
    );
}

#[test]
fn two_manifests_of_one_bare_file_are_said() {
    let dir = folder(&[
        ("plugins/a-b.toml", ""),
        ("plugins/a_b.toml", ""),
        ("plugins/a_b.wasm", ""),
    ]);
    let findings = scan(&plugins(&dir)).findings;
    let expected = "plugins/a_b.toml: plugins/a-b.toml is the manifest of the same plugin; delete \
                    one of them\n";
    assert_eq!(said(&findings, &dir), expected);
}
