//! The field layout of every method, and the check of a method's bytes against it.
//!
//! `amq-protocol` decodes cold methods into owned types, but it recurses into tables without a limit and reports every
//! problem alike. So the bytes are walked here first: after [`check`] has passed, decoding cannot fail.

use super::method::MethodId;
use super::reader::{DecodeError, Reader};
use super::table;

/// One field of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Octet,
    Short,
    Long,
    LongLong,
    ShortStr,
    LongStr,
    Table,
    /// Up to eight flags packed into one octet.
    Bits,
}

use Field::{Bits, Long, LongLong, LongStr, Octet, Short, ShortStr, Table};

/// The fields of a method in order, or `None` when no such method exists.
fn fields(id: MethodId) -> Option<&'static [Field]> {
    Some(match (id.class, id.method) {
        // connection
        (10, 10) => &[Octet, Octet, Table, LongStr, LongStr],
        (10, 11) => &[Table, ShortStr, LongStr, ShortStr],
        (10, 20 | 21) => &[LongStr],
        (10, 30 | 31) => &[Short, Long, Short],
        (10, 40) => &[ShortStr, ShortStr, Bits],
        (10, 41 | 60) => &[ShortStr],
        (10, 50) | (20, 40) => &[Short, ShortStr, Short, Short],
        (10, 51 | 61 | 71) => &[],
        (10, 70) => &[LongStr, ShortStr],
        // channel
        (20, 10) => &[ShortStr],
        (20, 11) => &[LongStr],
        (20, 20 | 21) => &[Bits],
        (20, 41) => &[],
        // access
        (30, 10) => &[ShortStr, Bits],
        (30, 11) => &[Short],
        // exchange
        (40, 10) => &[Short, ShortStr, ShortStr, Bits, Table],
        (40, 20) => &[Short, ShortStr, Bits],
        (40, 30 | 40) => &[Short, ShortStr, ShortStr, ShortStr, Bits, Table],
        (40, 11 | 21 | 31 | 51) => &[],
        // queue
        (50, 10) => &[Short, ShortStr, Bits, Table],
        (50, 11) => &[ShortStr, Long, Long],
        (50, 20) => &[Short, ShortStr, ShortStr, ShortStr, Bits, Table],
        (50, 30 | 40) => &[Short, ShortStr, Bits],
        (50, 31 | 41) => &[Long],
        (50, 50) => &[Short, ShortStr, ShortStr, ShortStr, Table],
        (50, 21 | 51) => &[],
        // basic
        (60, 10) => &[Long, Short, Bits],
        (60, 20) => &[Short, ShortStr, ShortStr, Bits, Table],
        (60, 21 | 31 | 72) => &[ShortStr],
        (60, 30) => &[ShortStr, Bits],
        (60, 40) => &[Short, ShortStr, ShortStr, Bits],
        (60, 50) => &[Short, ShortStr, ShortStr, ShortStr],
        (60, 60) => &[ShortStr, LongLong, Bits, ShortStr, ShortStr],
        (60, 70) => &[Short, ShortStr, Bits],
        (60, 71) => &[LongLong, Bits, ShortStr, ShortStr, Long],
        (60, 80 | 90 | 120) => &[LongLong, Bits],
        (60, 100 | 110) => &[Bits],
        (60, 11 | 111) => &[],
        // confirm, tx
        (85, 10) => &[Bits],
        (85, 11) | (90, 10 | 11 | 20 | 21 | 30 | 31) => &[],
        _ => return None,
    })
}

/// Checks the arguments of a method (what follows class and method id): lengths, UTF-8 of short strings and table
/// keys, types and depth of tables, and that nothing is left over.
pub fn check(id: MethodId, arguments: &[u8]) -> Result<(), DecodeError> {
    let fields = fields(id).ok_or(DecodeError::UnknownMethod(id.class, id.method))?;
    let mut r = Reader::new(arguments);
    for field in fields {
        match field {
            Octet | Bits => drop(r.u8()?),
            Short => drop(r.u16()?),
            Long => drop(r.u32()?),
            LongLong => drop(r.u64()?),
            ShortStr => drop(r.short_str()?),
            LongStr => drop(r.long_bytes()?),
            Table => table::validate(r.long_bytes()?, true)?,
        }
    }
    r.finish()
}
