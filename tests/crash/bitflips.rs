//! One bit that has changed on the disk, in every region of every file of a data directory: it is found, the queues it
//! concerns are not served as if whole, all others are, and `leveret store accept-loss` brings back what is left.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use leveret::persist::DataDir;
use leveret::persist::disk::RealDisk;
use leveret::persist::manifest;

use super::broker::{Broker, Death, PATIENCE};
use super::client::{Client, End, Incoming, Message};
use super::method;

const SETTINGS: [&str; 3] = ["store.journal_file_size=64KiB", "store.journal_keep=0", "store.segment_size=64KiB"];
/// Queues, and how many messages each has.
const QUEUES: [(&str, usize); 4] = [("old", 70), ("young", 3), ("both", 2), ("empty", 0)];
/// Every so many messages of the old queue have a long time to live, and are in the index of their segment.
const DUE: usize = 7;

/// The body of a message.
fn body(queue: &str, number: usize) -> Vec<u8> {
    let filler = if queue == "old" { 3000 } else { 20 };
    format!("{queue} {number} {}", "x".repeat(filler)).into_bytes()
}

fn bodies(queue: &str) -> Vec<Vec<u8>> {
    let count = QUEUES.iter().find(|(name, _)| *name == queue).map_or(0, |(_, count)| *count);
    (0..count).map(|number| body(queue, number)).collect()
}

/// A data directory with files of all kinds, of a node that was stopped in order.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    TEMPLATE.get_or_init(make_template).path()
}

fn make_template() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut broker, address) = Broker::start(dir.path(), &SETTINGS);
    let mut client = Client::connect(address).expect("it serves");
    ask(&mut client, &method::channel_open()).expect("a channel");
    ask(&mut client, &method::confirm_select()).expect("confirms");
    for (queue, _) in QUEUES {
        ask(&mut client, &method::queue_declare(queue).durable()).expect("a queue");
    }
    publish(&mut client, "both", 0);
    (0..70).for_each(|number| publish(&mut client, "old", number));
    publish(&mut client, "both", 1);
    (0..3).for_each(|number| publish(&mut client, "young", number));
    assert_eq!(broker.stop(), Death::Exited(Default::default()));
    dir
}

/// Publishes a message and waits until it is safe: each has a block of its own.
fn publish(client: &mut Client, queue: &str, number: usize) {
    // Delivery mode 2, and an expiration or nothing else.
    let expires = queue == "old" && number.is_multiple_of(DUE);
    let properties = if expires { [&[0x11, 0, 2, 11][..], b"99999999999"].concat() } else { vec![0x10, 0, 2] };
    let message = Message { properties, body: body(queue, number), ..Message::default() };
    client.publish(1, "", queue, &message).expect("it serves");
    match client.next(PATIENCE).expect("it serves") {
        Some(Incoming::Confirm { ok: true, .. }) => {}
        other => panic!("{other:?} instead of a confirm"),
    }
}

fn ask(client: &mut Client, method: &method::Method) -> Result<Option<Incoming>, End> {
    client.send(1, method)?;
    client.next(PATIENCE)
}

/// A copy of the template in which one bit is flipped.
struct Damaged {
    dir: tempfile::TempDir,
    what: String,
}

impl Damaged {
    fn new(flips: &[(PathBuf, u64)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        copy(template(), dir.path());
        for (file, offset) in flips {
            let path = dir.path().join(file);
            let mut bytes = fs::read(&path).expect("the file");
            bytes[*offset as usize] ^= 1 << (offset % 8);
            fs::write(&path, bytes).expect("the file");
        }
        Self { dir, what: format!("{flips:?}") }
    }

    /// Runs the tool: exit code and what it says.
    fn store(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.arg("store").args(arguments).arg(self.dir.path());
        let output = command.output().expect("the tool can be run");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        assert!(!text.contains("panicked"), "{}: {text}", self.what);
        (output.status.code().expect("it ends by itself"), text)
    }

    /// The tool finds it, says which file, and changes nothing.
    fn is_found_by_check(&self, file: &str) -> String {
        let before = content(self.dir.path());
        let (code, text) = self.store(&["check"]);
        assert!(code == 1 && text.contains(file), "{}: exit code {code}, {text}", self.what);
        assert!(before == content(self.dir.path()), "{}: check has changed something", self.what);
        text
    }

    /// Serves, and asks every queue for everything: the queues that were refused. What the node said is given to `log`.
    fn serve(&self, log: impl FnOnce(&str)) -> Vec<&'static str> {
        let (mut broker, address) = Broker::start(self.dir.path(), &SETTINGS);
        let refused = QUEUES.iter().map(|(queue, _)| *queue).filter(|queue| !self.is_whole(address, queue)).collect();
        assert_eq!(broker.stop(), Death::Exited(Default::default()), "{}", self.what);
        assert!(!broker.log().contains("panicked"), "{}: {}", self.what, broker.log());
        log(&broker.log());
        refused
    }

    /// True when the queue gives exactly what was put into it; false when it was refused, having given nothing wrong.
    fn is_whole(&self, address: SocketAddr, queue: &str) -> bool {
        let expected = bodies(queue);
        let refusal = match drain(address, queue) {
            (got, None) => {
                assert!(got == expected, "{}: {queue} served {} messages as if whole", self.what, got.len());
                return true;
            }
            (got, Some(refusal)) => {
                assert!(expected.starts_with(&got), "{}: {queue} served what is not its own", self.what);
                refusal
            }
        };
        let clear = |end: &End| matches!(end, End::Closed { code: 404, text } if text.contains("damaged"));
        assert!(clear(&refusal), "{}: {queue}: {refusal:?}", self.what);
        // From now on nobody gets anything.
        for method in [
            method::queue_declare(queue).passive(),
            method::queue_declare(queue).durable(),
            method::basic_consume(queue, "c"),
            method::basic_get(queue),
            method::queue_purge(queue),
        ] {
            let end = on_channel(address, |client| ask(client, &method));
            assert!(clear(&end.expect_err("a refusal")), "{}: {queue}", self.what);
        }
        false
    }

    /// Gives up what is lost: every queue is served then, with nothing that is not its own, those that were not `refused`
    /// with everything.
    fn is_mended(&self, refused: &[&str]) {
        let (code, text) = self.store(&["accept-loss"]);
        assert!(code == 1 && text.contains("--yes"), "{}: {code} {text}", self.what);
        let (code, text) = self.store(&["accept-loss", "--yes"]);
        assert_eq!(code, 0, "{}: {text}", self.what);
        let (code, text) = self.store(&["check"]);
        assert_eq!(code, 0, "{}: {text}", self.what);
        let (mut broker, address) = Broker::start(self.dir.path(), &SETTINGS);
        let mut lost = 0;
        for (queue, _) in QUEUES {
            let (got, refusal) = drain(address, queue);
            assert_eq!(refusal, None, "{}: {queue}", self.what);
            let expected = bodies(queue);
            let mut rest = expected.iter();
            assert!(got.iter().all(|body| rest.any(|e| e == body)), "{}: {queue}", self.what);
            lost += expected.len() - got.len();
            assert!(refused.contains(&queue) || got.len() == expected.len(), "{}: {queue}", self.what);
        }
        assert!(lost <= 1, "{}: {lost} messages are gone for one bit", self.what);
        broker.stop();
        assert!(broker.complaints().is_empty(), "{}: {:?}", self.what, broker.complaints());
    }
}

/// Gets everything a queue has, and leaves it there: the bodies, and why there are no more.
fn drain(address: SocketAddr, queue: &str) -> (Vec<Vec<u8>>, Option<End>) {
    let mut got = Vec::new();
    let end = on_channel(address, |client| {
        ask(client, &method::queue_declare(queue).passive())?;
        while let Some(Incoming::Message { message, .. }) = ask(client, &method::basic_get(queue))? {
            got.push(message.body);
        }
        Ok(None)
    });
    (got, end.err())
}

fn on_channel(
    address: SocketAddr,
    work: impl FnOnce(&mut Client) -> Result<Option<Incoming>, End>,
) -> Result<Option<Incoming>, End> {
    let mut client = Client::connect(address).expect("it serves");
    ask(&mut client, &method::channel_open()).expect("a channel");
    work(&mut client)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&to).expect("a directory");
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("a copy");
        }
    }
}

fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = files(dir).into_iter().map(|f| (f.clone(), fs::read(dir.join(f)).expect("a file"))).collect();
    all.sort();
    all
}

/// The files of a directory, as paths within it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let name = PathBuf::from(entry.file_name().expect("a name"));
        if entry.is_dir() {
            all.extend(files(&entry).into_iter().map(|file| name.join(file)));
        } else {
            all.push(name);
        }
    }
    all
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        files(template()).into_iter().filter(|file| file.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(template().join(file)).expect("a file")
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> usize {
    let mut eight = [0; 8];
    eight[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(eight) as usize
}

/// The blocks of the journal that count: file, offset, length, bytes of header and directory, bytes of items.
fn blocks() -> Vec<(PathBuf, usize, usize, usize, usize)> {
    let (data_dir, _) = DataDir::look(&RealDisk, template()).expect("nobody uses it");
    let id = data_dir.identity().number();
    let loaded = manifest::load(&RealDisk, &template().join("store/manifest"), id).expect("a manifest");
    let mut blocks = Vec::new();
    for file in with_extension("journal") {
        let bytes = read(&file);
        let is_block = |at: &usize| {
            bytes[*at..].starts_with(b"LVB1") && number::<8>(&bytes, at + 8) as u64 >= loaded.content.first_block
        };
        for at in (512..bytes.len()).step_by(512).filter(is_block) {
            let head = 48 + 16 * number::<4>(&bytes, at + 32);
            blocks.push((file.clone(), at, number::<4>(&bytes, at + 24), head, number::<4>(&bytes, at + 28)));
        }
    }
    blocks
}

/// The block in which a message is.
fn block_of(body: &[u8]) -> (PathBuf, usize, usize, usize, usize) {
    let holds = |(file, at, length, ..): &&(PathBuf, usize, usize, usize, usize)| {
        read(file)[*at..at + length].windows(body.len()).any(|window| window == body)
    };
    blocks().iter().find(holds).expect("the message is in the journal").clone()
}

#[test]
fn in_a_block_of_the_journal() {
    let mut mended = 0;
    for message in 0..3 {
        let (file, at, length, head, items) = block_of(&body("young", message));
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(head + items < length, "there is padding");
        // Header: magic, checksum, number, store, lengths, entries, checksum, synced. Directory: queue, messages.
        let header = [0, 5, 8, 17, 24, 28, 32, 36, 40, 48, 56];
        // Items, and padding.
        let rest = [head, head + 6, head + items - 1, head + items, length - 1];
        let regions: Vec<usize> = if message == 1 { [&header[..], &rest].concat() } else { vec![9, head + 40] };
        for region in regions {
            let damaged = Damaged::new(&[(file.clone(), (at + region) as u64)]);
            damaged.is_found_by_check(&name);
            let refused = damaged.serve(|log| assert!(log.contains("is not served any more"), "{log}"));
            // Without its directory nobody knows whose a block was.
            let expected = if region < head { vec!["old", "young", "both", "empty"] } else { vec!["young"] };
            assert_eq!(refused, expected, "{}", damaged.what);
            // The node remembers it.
            assert_eq!(damaged.serve(|_| ()), refused, "{}", damaged.what);
            if mended < 4 || region == head {
                damaged.is_mended(&refused);
                mended += 1;
            }
        }
    }
}

#[test]
fn in_the_header_of_a_file_of_the_journal() {
    let (file, ..) = block_of(&body("young", 0));
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    for region in [0, 8, 12, 16, 24, 32] {
        let damaged = Damaged::new(&[(file.clone(), region)]);
        damaged.is_found_by_check(&name);
        assert!(damaged.serve(|log| assert!(log.contains(&name) && log.contains("header"), "{log}")).is_empty());
        assert_eq!(damaged.store(&["check"]).0, 0, "it was written anew");
    }
}

#[test]
fn in_the_marker_of_the_journal() {
    for region in [0, 8, 17, 24, 512, 520, 529, 536] {
        let damaged = Damaged::new(&[("store/journal/synced".into(), region)]);
        damaged.is_found_by_check("synced");
        assert!(damaged.serve(|log| assert!(log.contains("synced is damaged"), "{log}")).is_empty());
    }
}

#[test]
fn in_one_copy_of_the_manifest() {
    let copies: Vec<_> = ["a", "b"].iter().flat_map(|copy| with_extension(copy)).collect();
    assert_eq!(copies.len(), 2);
    for file in copies {
        let bytes = read(&file);
        let mut at = 0;
        // Length, checksum, number, kind, and the last byte of every third record.
        while at < bytes.len() {
            let length = 8 + number::<4>(&bytes, at);
            for region in [0, 4, 8, 16, length - 1] {
                let damaged = Damaged::new(&[(file.clone(), (at + region) as u64)]);
                damaged.is_found_by_check(file.file_name().expect("a name").to_str().expect("text"));
                if region == 8 {
                    assert!(damaged.serve(|log| assert!(log.contains("its other copy is used"), "{log}")).is_empty());
                }
            }
            at += length;
        }
    }
}

#[test]
fn in_both_copies_of_the_manifest() {
    let copies: Vec<_> = ["a", "b"].iter().flat_map(|copy| with_extension(copy)).collect();
    let end = read(&copies[0]).len() as u64;
    for region in [8, end / 2, end - 1] {
        let damaged = Damaged::new(&[(copies[0].clone(), region), (copies[1].clone(), region)]);
        damaged.is_found_by_check("manifest");
        let mut broker = Broker::spawn(damaged.dir.path(), &SETTINGS, None);
        let death = broker.end();
        assert!(matches!(death, Death::Exited(status) if status.code() == Some(1)), "{death:?}");
        assert!(broker.log().contains("both copies of the manifest"), "{}", broker.log());
        damaged.is_mended(&[]);
    }
}

#[test]
fn in_a_segment() {
    let segments = with_extension("segment");
    let holds = |file: &&PathBuf| read(file).windows(6).any(|window| window == b"old 5 ");
    let file = segments.iter().find(holds).expect("a segment of the queue");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let bytes = read(file);
    let second = 64 + 8 + number::<4>(&bytes, 64);
    // The header: magic, format, number, store, queue, checksum, zeros.
    let header = [0, 8, 12, 16, 24, 32, 40];
    // A record: length, checksum, position, flags, length of the route, of the properties, route, body.
    let record = [0, 1, 4, 8, 16, 17, 19, 23, 25, 60, number::<4>(&bytes, second) + 7];
    let regions = header.into_iter().chain(record.iter().map(|region| second + region)).chain([64, 100]);
    for (count, region) in regions.enumerate() {
        let damaged = Damaged::new(&[(file.clone(), region as u64)]);
        let text = damaged.is_found_by_check(&name);
        assert!(text.contains("queue 'old' in vhost '/'"), "{text}");
        let refused = damaged.serve(|log| assert!(log.contains(&name), "{log}"));
        assert_eq!(refused, ["old"], "{}", damaged.what);
        assert_eq!(damaged.serve(|log| assert!(log.contains("not served"), "{log}")), ["old"], "{}", damaged.what);
        if count % 3 == 0 {
            damaged.is_mended(&refused);
        }
    }
}

/// The index of a segment that is not the last of its queue, and the segment.
fn index_and_segment() -> (PathBuf, PathBuf) {
    let index = with_extension("index").into_iter().next().expect("an index");
    let segment = index.with_extension("segment");
    assert!(read(&index).len() > 64 + 8 + 26, "there are entries");
    (index, segment)
}

#[test]
fn in_an_index() {
    let (index, _) = index_and_segment();
    let name = index.file_name().expect("a name").to_string_lossy().into_owned();
    let length = read(&index).len() as u64;
    // The header; a chunk's count and checksum; position, offset, due, priority and flags of entries.
    for region in [0, 8, 12, 16, 24, 32, 40, 64, 68, 72, 80, 88, 96, 97, length - 1] {
        let damaged = Damaged::new(&[(index.clone(), region)]);
        let text = damaged.is_found_by_check(&name);
        assert!(text.contains("made anew of its segment"), "{text}");
        assert!(damaged.serve(|log| assert!(log.contains(&name) && log.contains("made anew"), "{log}")).is_empty());
        assert_eq!(damaged.store(&["check"]).0, 0, "it was written anew");
    }
}

#[test]
fn in_an_index_and_its_segment() {
    let (index, segment) = index_and_segment();
    let damaged = Damaged::new(&[(index, 80), (segment.clone(), 100)]);
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    damaged.is_found_by_check(&name);
    let refused = damaged.serve(|log| assert!(log.contains(&name), "{log}"));
    assert_eq!(refused, ["old"]);
    damaged.is_mended(&refused);
}

#[test]
fn a_damaged_queue_can_be_deleted_and_made_anew() {
    let (file, at, _, head, _) = block_of(&body("young", 1));
    let damaged = Damaged::new(&[(file, (at + head) as u64)]);
    let (mut broker, address) = Broker::start(damaged.dir.path(), &SETTINGS);
    for method in [method::queue_delete("young"), method::queue_declare("young").durable()] {
        on_channel(address, |client| ask(client, &method)).expect("it is carried out");
    }
    assert_eq!(drain(address, "young"), (vec![], None));
    assert_eq!(broker.stop(), Death::Exited(Default::default()));
    let (code, text) = damaged.store(&["check"]);
    assert!(code == 0 || text.contains("Only queues that have been deleted are concerned"), "{text}");
}

#[test]
fn in_a_copy_of_the_identity() {
    for name in ["identity", "identity.copy"] {
        let length = fs::metadata(template().join(name)).expect("a file").len();
        for region in [0, length / 2, length - 12, length - 1] {
            let damaged = Damaged::new(&[(name.into(), region)]);
            damaged.is_found_by_check(name);
            let written = |log: &str| assert!(log.contains(&format!("{name} was damaged or missing")), "{log}");
            assert!(damaged.serve(written).is_empty());
            assert_eq!(damaged.store(&["check"]).0, 0, "it was written anew");
        }
    }
}

#[cfg(not(feature = "sled-catalog"))]
#[test]
fn in_the_catalog() {
    let bytes = read(Path::new("catalog.redb"));
    let queue = bytes.windows(5).position(|window| window == b"young").expect("the queue is in the catalog");
    for region in [queue, queue + 4] {
        let damaged = Damaged::new(&[("catalog.redb".into(), region as u64)]);
        damaged.is_found_by_check("catalog.redb");
        assert!(damaged.serve(|log| assert!(log.contains("It has been rebuilt"), "{log}")).is_empty());
    }
}

#[test]
fn in_the_definitions() {
    let length = fs::metadata(template().join("definitions.json")).expect("a file").len();
    for region in [0, 20, length / 2, length - 1] {
        let damaged = Damaged::new(&[("definitions.json".into(), region)]);
        damaged.is_found_by_check("definitions.json");
        assert!(damaged.serve(|_| ()).is_empty());
        assert_eq!(damaged.store(&["check"]).0, 0, "it was written anew");
    }
}

#[test]
fn in_what_has_been_seen() {
    let mut whole = b"LVRTSEEN\x01\0\0\0".to_vec();
    whole.extend(crc32c::crc32c(&whole).to_le_bytes());
    let put = |bytes: &[u8]| {
        let damaged = Damaged::new(&[]);
        fs::write(damaged.dir.path().join("store/seen"), bytes).expect("the file");
        damaged
    };
    assert_eq!(put(&whole).store(&["check"]).0, 0);
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| if at == 3 { byte ^ 1 } else { *byte }).collect();
    for bytes in [&flipped, &whole[..whole.len() - 1], b"", b"garbage"] {
        let damaged = put(bytes);
        let text = damaged.is_found_by_check("store/seen");
        assert!(text.contains("repetitions of what was published before are let through"), "{text}");
        let is_said = |log: &str| assert!(log.contains("store/seen is damaged"), "{log}");
        assert!(damaged.serve(is_said).is_empty());
        assert_eq!(damaged.store(&["check"]).0, 0, "it was written anew");
    }
    let damaged = Damaged::new(&[]);
    fs::create_dir(damaged.dir.path().join("store/seen")).expect("a directory");
    let (code, text) = damaged.store(&["check"]);
    assert!(code == 1 && text.contains("store/seen: it cannot be read"), "{text}");
}

#[test]
fn what_is_no_data_directory_is_said_so() {
    let mut damaged = Damaged::new(&[]);
    let whole = std::mem::replace(&mut damaged.dir, tempfile::tempdir().expect("a directory"));
    let store = |path: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_leveret")).args(["store", "check"]).arg(path).output();
        let output = output.expect("the tool can be run");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, text) = store(&whole.path().join("nowhere"));
    assert!(code == Some(2) && text.contains("there is no directory"), "{text}");
    let (code, text) = store(&whole.path().join("identity"));
    assert!(code == Some(2) && text.contains("is a file"), "{text}");
    // A first start that was killed before it had a catalog.
    fs::copy(whole.path().join("identity"), damaged.dir.path().join("identity")).expect("a copy");
    fs::write(damaged.dir.path().join("catalog.redb.new"), b"").expect("a file");
    assert_eq!(damaged.store(&["check"]).0, 0);
    assert!(Broker::start(damaged.dir.path(), &SETTINGS).0.complaints().len() <= 1);
}

#[test]
fn a_broker_that_runs_is_left_alone() {
    let damaged = Damaged::new(&[]);
    let (broker, _) = Broker::start(damaged.dir.path(), &SETTINGS);
    for arguments in [&["check"][..], &["dump"], &["accept-loss", "--yes"]] {
        let (code, text) = damaged.store(arguments);
        assert!(code == 2 && text.contains("is used by another process") && text.lines().count() == 1, "{text}");
    }
    drop(broker);
}

#[test]
fn dump_shows_messages_in_order() {
    let whole = Damaged::new(&[]);
    assert_eq!(whole.store(&["check"]).0, 0);
    let (code, text) = whole.store(&["dump", "--queue", "both"]);
    assert_eq!(code, 0);
    let (first, second) = (text.find("both 0 "), text.find("both 1 "));
    assert!(first.is_some() && first < second, "{text}");
    assert!(text.contains("2 messages shown of 2"), "{text}");
    let (_, text) = whole.store(&["dump", "--queue", "old", "--limit", "3"]);
    assert!(text.contains("old 2 ") && !text.contains("old 3 ") && text.contains("3 messages shown of 70"), "{text}");
    let (_, text) = whole.store(&["dump"]);
    assert!(QUEUES.iter().all(|(queue, _)| text.contains(queue)), "{text}");
    assert_eq!(whole.store(&["dump", "--queue", "nobody's"]).0, 2);
}
