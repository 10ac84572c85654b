use super::*;
use crate::persist::disk::RealDisk;

const ID: SegmentId = SegmentId { store: 1, queue: 2, number: 3 };

/// All kinds of them.
fn traits(n: usize) -> Traits {
    let n = n as u64;
    Traits {
        at: n % 3,
        due: NonZeroU64::new(n % 4),
        priority: (n % 2) as u8,
        persistent: n.is_multiple_of(3) || n.is_multiple_of(2),
        hidden: n % 2 == 1,
    }
}

fn write(dir: &Path, bodies: &[&[u8]]) -> Span {
    let mut bytes = encode_header(ID);
    for (n, body) in bodies.iter().enumerate() {
        let parts = Parts { route: b"\x00\x01q", properties: &[0, 0], body };
        put_record(&mut bytes, n as u64 * 2, n % 2 == 1, traits(n), parts);
    }
    let path = path(dir, 3);
    std::fs::write(&path, &bytes).unwrap();
    Span { path, id: ID, offset: HEADER as u64, end: bytes.len() as u64, old: false }
}

fn read_all(span: &Span, most: usize) -> Result<Vec<(u64, bool, Vec<u8>)>, ReadError> {
    let (mut all, mut buffer, mut span) = (Vec::new(), Vec::new(), span.clone());
    while span.offset < span.end {
        span.offset = read_span(&RealDisk, &span, most, &mut buffer, |r| {
            assert_eq!(r.traits, traits(all.len()));
            all.push((r.position, r.transient, r.parts.body.to_vec()));
            true
        })?;
    }
    Ok(all)
}

#[test]
fn records_are_read_as_written_in_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![7; 5000];
    let span = write(dir.path(), &[b"one", b"", &large, b"four"]);
    let all = [(0, false, b"one".to_vec()), (2, true, vec![]), (4, false, large), (6, true, b"four".to_vec())];
    for most in [1, 8, 40, 100, 6000, 1 << 20] {
        assert_eq!(read_all(&span, most).unwrap(), all, "{most}");
    }
}

#[test]
fn one_record_is_read_from_its_place_and_from_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let large = vec![7; 3 * READ_AT_ONCE];
    let bodies = [b"one", &large[..], b"three"];
    let span = write(dir.path(), &bodies);
    let (mut offset, mut buffer) = (HEADER as u64, Vec::new());
    let mut reader = OneByOne::new(&RealDisk);
    let mut offsets = Vec::new();
    read_span(&RealDisk, &span, 1 << 20, &mut buffer, |record| {
        offsets.push(offset);
        offset += record.length as u64;
        true
    })
    .unwrap();
    let queue = Arc::<Path>::from(span.path.parent().unwrap());
    let place =
        |n: usize, offset| Place { dir: Arc::clone(&queue), id: ID, position: n as u64 * 2, offset, end: span.end };
    for (n, body) in bodies.iter().enumerate() {
        let record = reader.read(&place(n, offsets[n])).unwrap();
        assert_eq!((record.parts.body, record.traits), (*body, traits(n)));
    }
    for wrong in [place(1, offsets[0]), place(0, offsets[0] + 1), place(2, span.end), place(0, u64::MAX)] {
        assert!(!matches!(reader.read_now(&wrong), Ok(Some(_))), "{wrong:?}");
        assert!(matches!(reader.read(&wrong), Err(ReadError::Damaged { .. })), "{wrong:?}");
    }
    let other = Place { id: SegmentId { queue: 9, ..ID }, ..place(0, offsets[0]) };
    assert!(reader.read_now(&other).is_err() && reader.read(&other).is_err());
    for (n, body) in bodies.iter().enumerate() {
        // What a system has in memory is not for a test to say: if it is read at once, it is as otherwise.
        if let Some(record) = reader.read_now(&place(n, offsets[n])).unwrap() {
            assert_eq!(record.parts.body, *body);
        }
    }
    let cut = Place { end: span.end - 1, ..place(2, offsets[2]) };
    assert!(reader.read(&cut).is_err());
}

#[test]
fn a_file_of_format_1_is_read() {
    let mut bytes = header(ID, 1);
    for (position, flags, body) in [(5_u64, 0, b'a'), (7, 1, b'b')] {
        let mut rest = position.to_le_bytes().to_vec();
        rest.extend_from_slice(&[flags, 3, 0, 2, 0, 0, 0, 0, 1, b'q', 0, 0, body]);
        let length = (rest.len() as u32).to_le_bytes();
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&length), &rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = path(dir.path(), 3);
    std::fs::write(&path, &bytes).unwrap();
    let span = Span { path, id: ID, offset: HEADER as u64, end: bytes.len() as u64, old: true };
    let mut seen = Vec::new();
    let read = read_span(&RealDisk, &span, 1 << 20, &mut Vec::new(), |r| {
        seen.push((r.position, r.transient, r.traits, r.parts.body[0]));
        true
    });
    assert_eq!(read.unwrap(), span.end);
    assert_eq!(seen, [(5, false, Traits::plain(0, true), b'a'), (7, true, Traits::plain(0, false), b'b')]);
    assert_eq!(check_header(&header(ID, 3), ID), Err(BadSegment::Newer(3)));
    assert_eq!(check_header(&header(SegmentId { number: 4, ..ID }, 1), ID), Err(BadSegment::Foreign));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let span = write(dir.path(), &[b"one", b"two"]);
    let whole = std::fs::read(&span.path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&span.path, &bytes).unwrap();
        assert!(read_all(&span, 1 << 20).is_err(), "bit {bit}");
    }
    std::fs::write(&span.path, &whole[..whole.len() - 1]).unwrap();
    assert!(read_all(&span, 1 << 20).is_err());
    std::fs::remove_file(&span.path).unwrap();
    assert!(read_all(&span, 1 << 20).unwrap_err().to_string().ends_with("the file is missing"));
}
