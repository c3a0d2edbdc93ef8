//! Embeds the sources of the SDK, so that `mistersmith new` works where there is no checkout.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script speaks to cargo"
)]

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What an unpacked SDK needs to compile.
const PARTS: [&str; 3] = ["Cargo.toml", "src", "wit"];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked now, not compiled in: a target folder may serve several checkouts.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?;
    let sdk = Path::new(&here).join("../guest-sdk");
    let mut files = Vec::new();
    for part in PARTS {
        let path = sdk.join(part);
        println!("cargo::rerun-if-changed={}", path.display());
        collect(&path, &mut files)?;
    }
    files.sort();

    let mut list = String::from("&[\n");
    for file in &files {
        let name = file
            .strip_prefix(&sdk)?
            .to_str()
            .ok_or("a name is not UTF-8")?;
        let path = file.canonicalize()?;
        writeln!(list, "    ({name:?}, include_str!({path:?})),")?;
    }
    list.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(Path::new(&out).join("sdk.rs"), list)?;
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}
