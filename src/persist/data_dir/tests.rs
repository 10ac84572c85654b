use std::collections::BTreeMap;

use super::super::disk::RealDisk;
use super::*;

fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(&RealDisk, path, None)
}

fn open_as(path: &Path, node: &str) -> Result<DataDir, DataDirError> {
    DataDir::open(&RealDisk, path, Some(node))
}

/// A directory that has been used, and its identity.
fn used() -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path()).unwrap().identity().clone();
    (dir, identity)
}

fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

/// Opening fails with one sentence that has these words in it, and changes nothing.
#[track_caller]
fn refused(path: &Path, node: Option<&str>, words: &[&str]) {
    let before = path.is_dir().then(|| content(path));
    let sentence = DataDir::open(&RealDisk, path, node).expect_err("it is refused").to_string();
    for word in words {
        assert!(sentence.contains(word), "{word:?} is missing in: {sentence}");
    }
    assert!(!sentence.contains(['\n', '!']) && !sentence.contains(". "), "one sentence: {sentence}");
    assert_eq!(path.is_dir().then(|| content(path)), before);
}

#[test]
fn a_directory_keeps_its_identity() {
    let (dir, identity) = used();
    assert_eq!(open(dir.path()).unwrap().identity(), &identity);
    assert_ne!(used().1.id, identity.id);
    let text = fs::read_to_string(dir.path().join("identity")).unwrap();
    assert!(text.starts_with("This is a data directory of Leveret."), "{text}");
}

#[test]
fn a_directory_that_is_not_there_is_made() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir.path().join("var/lib/leveret")).unwrap();
}

#[test]
fn what_a_crashed_first_start_left_is_no_hindrance() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lock", "identity.new"] {
        fs::write(dir.path().join(name), "This is").unwrap();
    }
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn it_belongs_to_one_process() {
    let (dir, _) = used();
    let held = open(dir.path()).unwrap();
    let pid = std::process::id().to_string();
    refused(dir.path(), None, &["used by another process", &pid, "stop that one"]);
    drop(held);
    open(dir.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused() {
    let (dir, identity) = used();
    let text = identity.to_text().replace("format: 1\n", "format: 2\n");
    let (lines, _) = text.rsplit_once("crc32c").unwrap();
    let text = format!("{lines}crc32c: {:08x}\n", crc32c::crc32c(lines.as_bytes()));
    for name in identity::FILES {
        fs::write(dir.path().join(name), &text).unwrap();
    }
    refused(dir.path(), None, &["newer version", "format 2", "knows 1", "start that version"]);
}

#[test]
fn another_nodes_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_as(dir.path(), "rabbit@one").unwrap());
    refused(dir.path(), Some("rabbit@two"), &["belongs to node rabbit@one", "called rabbit@two", "RABBITMQ_NODENAME"]);
    open_as(dir.path(), "rabbit@one").unwrap();
    // A node that was given no name takes what it finds.
    assert_eq!(open(dir.path()).unwrap().identity().node.as_deref(), Some("rabbit@one"));
}

#[test]
fn a_directory_without_a_node_takes_the_name_that_comes() {
    let (dir, identity) = used();
    assert_eq!(open_as(dir.path(), "rabbit@one").unwrap().identity().id, identity.id);
    refused(dir.path(), Some("rabbit@two"), &["rabbit@one"]);
}

#[test]
fn a_copy_that_is_damaged_or_missing_is_written_anew() {
    let (dir, identity) = used();
    for name in identity::FILES {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, flipped).unwrap();
            if bit % 97 == 0 {
                assert_eq!(open(dir.path()).unwrap().identity(), &identity);
                assert_eq!(fs::read(&path).unwrap(), whole);
            } else {
                let (found, wrong) = identity::load(&RealDisk, dir.path()).unwrap().unwrap();
                assert_eq!((found, wrong), (identity.clone(), vec![name]));
            }
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(open(dir.path()).unwrap().identity(), &identity);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn two_damaged_copies_are_refused() {
    let (dir, _) = used();
    for name in identity::FILES {
        fs::write(dir.path().join(name), "garbage").unwrap();
    }
    refused(dir.path(), None, &["both identity files", "backup"]);
}

#[test]
fn identities_of_two_directories_are_refused() {
    for name in identity::FILES {
        let ((dir, _), (_, other)) = (used(), used());
        fs::write(dir.path().join(name), other.to_text()).unwrap();
        refused(dir.path(), None, &["identity and identity.copy", "two different data directories", "remove the one"]);
    }
}

#[test]
fn nothing_is_written_through_a_lock_that_is_a_link() {
    let (dir, _) = used();
    let precious = tempfile::NamedTempFile::new().unwrap();
    fs::write(precious.path(), "precious").unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    std::os::unix::fs::symlink(precious.path(), dir.path().join("lock")).unwrap();
    refused(dir.path(), None, &["cannot be locked", "/lock is no plain file", "remove that"]);
    assert_eq!(fs::read(precious.path()).unwrap(), b"precious");
}

#[test]
fn somebody_elses_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    refused(dir.path(), None, &["not empty and not Leveret's", "letter.txt", "another path"]);
    fs::write(dir.path().join("catalog.redb"), "").unwrap();
    refused(dir.path(), None, &["letter.txt"]);
}

#[test]
fn a_directory_from_before_there_were_identities_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = if cfg!(feature = "sled-catalog") { "catalog" } else { "catalog.redb" };
    fs::write(dir.path().join(catalog), "").unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn the_catalog_of_another_build_is_refused() {
    let (dir, _) = used();
    let other = if cfg!(feature = "sled-catalog") { "catalog.redb" } else { "catalog" };
    fs::create_dir(dir.path().join(other)).unwrap();
    refused(dir.path(), None, &["sled-catalog", "definitions.json", "move"]);
}

#[test]
fn a_file_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, "").unwrap();
    refused(&path, None, &["no directory", "move that file away"]);
    refused(&path.join("below"), None, &["cannot be made", "another path"]);
}

#[test]
fn another_users_directory_is_refused() {
    let sentence = check_owner(Path::new("/data"), 1000, 0).unwrap_err().to_string();
    assert_eq!(
        sentence,
        "the data directory /data belongs to user 1000 and Leveret runs as user 0: start it as user 1000, or give it the \
         directory with chown -R 0 /data"
    );
    check_owner(Path::new("/data"), 1000, 1000).unwrap();
}

#[test]
fn a_directory_without_permissions_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may read and write everything");
        return;
    }
    let (dir, _) = used();
    let allow = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o500);
    let error = open(dir.path()).unwrap_err();
    allow(0o000);
    let other = open(dir.path()).unwrap_err();
    allow(0o700);
    assert!(error.to_string().contains("cannot be written"), "{error}");
    assert!(other.to_string().contains("cannot be read"), "{other}");
}

#[test]
fn what_the_system_refuses_is_said_with_its_reason() {
    let path = || "/data".to_owned();
    let error = |errno: rustix::io::Errno| io::Error::from(errno);
    let read_only = DataDirError::ReadOnly(path(), error(rustix::io::Errno::ROFS)).to_string();
    assert!(read_only.contains("Read-only file system") && read_only.contains("mount it read-write"), "{read_only}");
    let unreadable = DataDirError::Unreadable(path(), error(rustix::io::Errno::ACCESS)).to_string();
    assert!(unreadable.contains("Permission denied") && unreadable.contains("give Leveret's user"), "{unreadable}");
}
