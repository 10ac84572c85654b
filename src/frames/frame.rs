//! Cutting a byte stream into frames, in place.

use super::FRAME_OVERHEAD;

pub const END_OCTET: u8 = 0xCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Method,
    Header,
    Body,
    Heartbeat,
}

impl FrameKind {
    /// The type octet.
    pub fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }
}

/// One frame, borrowed from the buffer that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: &'a [u8],
}

/// The stream cannot be cut further; the connection must be closed with 501.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")]
    TooLarge { kind: u8, size: u32, max: u32 },
    #[error("type {kind}, {octets}: {{invalid_frame_end_marker,{end}}}")]
    EndOctet { kind: u8, octets: String, end: u8 },
    #[error("type {kind}, {octets}: unknown_frame")]
    UnknownType { kind: u8, octets: String },
}

/// Cuts the first frame off `buf`. `Ok(None)` means that it has not arrived whole.
///
/// `frame_max` is the negotiated limit of a whole frame in bytes; 0 is no limit. The size is checked as soon as the
/// frame's first seven bytes are there, so a peer cannot make the reader wait for (or store) more than it may send.
#[inline]
pub fn split(buf: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((&[kind, c0, c1, s0, s1, s2, s3], rest)) = buf.split_first_chunk::<7>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    // RabbitMQ leaves eight bytes of grace: a payload of frame_max bytes passes.
    if frame_max != 0 && size > frame_max {
        let max = frame_max.saturating_sub(8);
        return Err(FrameError::TooLarge { kind, size, max });
    }
    let Ok(n) = usize::try_from(size) else { return Ok(None) };
    let Some((payload, [end, ..])) = rest.split_at_checked(n) else { return Ok(None) };
    if *end != END_OCTET {
        return Err(FrameError::EndOctet { kind, octets: octets(payload), end: *end });
    }
    let frame_kind = match kind {
        1 => FrameKind::Method,
        2 => FrameKind::Header,
        3 => FrameKind::Body,
        8 => FrameKind::Heartbeat,
        _ => return Err(FrameError::UnknownType { kind, octets: octets(payload) }),
    };
    let frame = Frame { kind: frame_kind, channel: u16::from_be_bytes([c0, c1]), payload };
    Ok(Some((frame, n + FRAME_OVERHEAD)))
}

/// The first sixteen bytes, in the way Erlang prints a binary.
fn octets(payload: &[u8]) -> String {
    let bytes: Vec<String> = payload.iter().take(16).map(u8::to_string).collect();
    let which = if payload.len() <= 16 { "all octets" } else { "first 16 octets" };
    format!("{which} = <<{}>>", bytes.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_only_when_whole() {
        let bytes = [1, 0, 7, 0, 0, 0, 2, 9, 9, END_OCTET, 42];
        for n in 0..10 {
            assert_eq!(split(&bytes[..n], 4096), Ok(None));
        }
        let (frame, used) = split(&bytes, 4096).unwrap().unwrap();
        assert_eq!((frame.channel, frame.payload, used), (7, &[9u8, 9][..], 10));
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_arrives() {
        let error = split(&[3, 0, 1, 0, 2, 0, 1], 131_072).unwrap_err();
        assert_eq!(error.to_string(), "type 3, all octets = <<>>: {frame_too_large,131073,131064}");
    }

    #[test]
    fn a_wrong_end_octet_and_an_unknown_type_are_named() {
        let error = split(&[1, 0, 0, 0, 0, 0, 0, 7], 4096).unwrap_err();
        assert!(error.to_string().ends_with("{invalid_frame_end_marker,7}"));
        let error = split(&[9, 0, 0, 0, 0, 0, 0, END_OCTET], 4096).unwrap_err();
        assert!(error.to_string().ends_with("unknown_frame"));
    }
}
