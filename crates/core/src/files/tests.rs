//! Things that lie in the place of a file.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

const MOST: u64 = 1000;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    (folder, inner)
}

/// How both ways of reading refuse a path.
fn refused(path: &Path, folder: &Path) -> [ReadError; 2] {
    [
        read(path, MOST).unwrap_err(),
        read_within(path, folder, MOST).unwrap_err(),
    ]
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let (_folder, inner) = folder();
    let path = inner.join("file");
    for (size, fits) in [(0, true), (1, true), (1000, true), (1001, false)] {
        fs::write(&path, vec![b'x'; size]).unwrap();
        assert_eq!(read(&path, MOST).is_ok(), fits, "{size}");
        assert_eq!(read_within(&path, &inner, MOST).is_ok(), fits, "{size}");
    }
    assert!(matches!(read(&path, MOST), Err(ReadError::TooLarge(MOST))));
    let absent = read(&inner.join("absent"), MOST).unwrap_err();
    assert!(absent.is_absent(), "{absent}");
}

#[test]
fn only_regular_files_are_opened() {
    let (_folder, inner) = folder();
    let fifo = inner.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let socket = inner.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    // A link to each as well: `plugins/x.wasm` may be one.
    for target in ["/dev/zero", "/dev/null", "/", "fifo", "socket", "."] {
        let link = inner.join("link");
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        for path in [link, inner.join(target)] {
            for error in refused(&path, &inner) {
                assert!(matches!(error, ReadError::NotRegular), "{target}: {error}");
            }
        }
    }
}

#[test]
fn a_pipe_that_takes_the_place_of_a_file_holds_nobody_up() {
    let (_folder, inner) = folder();
    let fifo = inner.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    // As `open` does it, when the name led to a file a moment before.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&fifo);
    assert!(!opened.unwrap().metadata().unwrap().is_file());
}

#[test]
fn a_link_may_lead_within_the_folder_and_not_out_of_it() {
    let (outer, inner) = folder();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    fs::write(inner.join("file"), "ours").unwrap();
    fs::create_dir(inner.join("deep")).unwrap();
    let link = |name: &str, target: &Path| symlink(target, inner.join(name)).unwrap();
    link("relative", Path::new("file"));
    link("absolute", &inner.join("file"));
    link("deep/up", Path::new("../file"));
    link("out", Path::new("../secret"));
    link("far", Path::new("/proc/self/status"));
    link("chain", Path::new("out"));
    link("parent", Path::new(".."));
    for name in [
        "file",
        "relative",
        "absolute",
        "deep/up",
        "parent/inner/file",
    ] {
        let bytes = read_within(&inner.join(name), &inner, MOST).unwrap();
        assert_eq!(bytes, b"ours", "{name}");
    }
    for name in ["out", "far", "chain", "parent/secret"] {
        let error = read_within(&inner.join(name), &inner, MOST).unwrap_err();
        assert!(matches!(error, ReadError::Outside(_)), "{name}: {error}");
        assert!(!leads_within(&inner.join(name), &inner), "{name}");
    }
    // The folder itself may be a link.
    let linked = outer.path().join("linked");
    symlink(&inner, &linked).unwrap();
    assert!(read_within(&linked.join("relative"), &linked, MOST).is_ok());
}

#[test]
fn the_open_file_decides_and_not_its_name() {
    let (outer, inner) = folder();
    let secret = outer.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let name = inner.join("file");
    fs::write(&name, "ours").unwrap();
    let (folder, real) = (inner.canonicalize().unwrap(), name.canonicalize().unwrap());
    // Opened when the name was a link out; looked at when it is a file again.
    let opened = File::open(&secret).unwrap();
    assert!(!is_inside(&opened, &real, &folder).unwrap());
    let opened = File::open(&name).unwrap();
    assert!(is_inside(&opened, &real, &folder).unwrap());
}

#[test]
fn a_huge_or_growing_file_is_not_read_on() {
    let (_folder, inner) = folder();
    let path = inner.join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    for error in refused(&path, &inner) {
        assert!(matches!(error, ReadError::TooLarge(MOST)), "{error}");
    }
    assert_eq!(tail(&path, 10).unwrap(), [0; 10]);
    // The system says that it is empty, and it is not: as a file that grows while it is read.
    let growing = Path::new("/proc/self/status");
    assert!(matches!(read(growing, 100), Err(ReadError::TooLarge(100))));
    assert!(read(growing, 1 << 20).is_ok_and(|bytes| bytes.len() > 100));
}

#[test]
fn the_end_of_a_file_is_read_alone() {
    let (_folder, inner) = folder();
    let path = inner.join("log");
    fs::write(&path, "first\nlast\n").unwrap();
    assert_eq!(tail(&path, 5).unwrap(), b"last\n");
    assert_eq!(tail(&path, 500).unwrap(), b"first\nlast\n");
}
