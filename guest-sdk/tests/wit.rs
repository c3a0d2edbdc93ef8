//! The SDK carries a copy of the WIT, so that its folder can be moved; here it is compared with the
//! one that the host reads.

#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            (
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                text,
            )
        })
        .collect()
}

#[test]
fn the_copy_of_the_wit_is_up_to_date() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (ours, theirs) = (files(&here.join("wit")), files(&here.join("../wit")));
    assert!(!ours.is_empty(), "no WIT in guest-sdk/wit");
    assert!(
        ours == theirs,
        "guest-sdk/wit differs from wit: `rm guest-sdk/wit/* && cp wit/* guest-sdk/wit/`"
    );
}
