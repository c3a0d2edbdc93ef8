//! The compiled plugins, and broken components made from them.

use std::path::PathBuf;

/// The folder of the compiled plugins.
pub fn components() -> PathBuf {
    let Some(folder) = std::env::var_os("MISTERSMITH_TEST_PLUGINS") else {
        panic!(
            "MISTERSMITH_TEST_PLUGINS does not name the folder of the compiled plugins: run `make test`, \
             or `make test-plugins` and name the folder that it fills"
        );
    };
    PathBuf::from(folder)
}

/// The component of a plugin: `<name>/<name>.wasm`, or cargo's `<na_me>.wasm`.
pub fn component(name: &str) -> Vec<u8> {
    let folder = components();
    let files = [
        format!("{name}.wasm"),
        format!("{}.wasm", name.replace('-', "_")),
    ];
    let places = [folder.join(name), folder.clone()];
    let mut candidates = places
        .iter()
        .flat_map(|place| files.iter().map(|file| place.join(file)));
    let found = candidates.find_map(|file| std::fs::read(file).ok());
    found.unwrap_or_else(|| panic!("neither of {files:?} is in {}", folder.display()))
}

/// A folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    mistersmith_testing::package("..").join(path)
}

/// The component with one name in it replaced by another of the same length: a component that
/// imports or exports something else.
pub fn renamed_in(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths are part of the format");
    let mut changed = component.to_vec();
    let places: Vec<usize> = component
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(
        !places.is_empty(),
        "the component does not mention {from:?}"
    );
    for place in places {
        changed[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    changed
}

/// The component with a custom section added that has no effect: the same plugin, compiled again.
pub fn rebuilt(component: &[u8], mark: &str) -> Vec<u8> {
    // A custom section: 0, the length of the rest, the length of the name, the name.
    let name = mark.as_bytes();
    let length = u8::try_from(name.len()).unwrap();
    assert!(length < 0x7f, "one byte of LEB128");
    [component, &[0, length + 1, length], name].concat()
}
