//! A cursor over a byte slice that cannot run past its end.

/// Why bytes are not what the protocol says they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the data ends too early")]
    Truncated,
    #[error("{0} bytes are left over")]
    LeftOver(usize),
    #[error("unknown field type {0}")]
    UnknownFieldType(u8),
    #[error("tables are nested more than {} deep", crate::frames::table::MAX_DEPTH)]
    TooDeep,
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8,
    #[error("unknown property flags")]
    UnknownProperties,
    #[error("unknown method {0}.{1}")]
    UnknownMethod(u16, u16),
}

/// Reads big-endian values off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A string of at most 255 bytes, unchecked.
    #[inline]
    pub fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }

    /// A shortstr of a method, which must be UTF-8.
    #[inline]
    pub fn short_str(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.short_bytes()?).map_err(|_| DecodeError::MalformedUtf8)
    }

    /// A longstr, or the inside of a table or array: four bytes of length and as many bytes.
    #[inline]
    pub fn long_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.u32()?;
        self.take(usize::try_from(n).map_err(|_| DecodeError::Truncated)?)
    }

    /// Reads something, and gives the bytes that it took along with it.
    #[inline]
    pub fn with_bytes<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<(T, &'a [u8]), DecodeError> {
        let before = self.rest;
        let found = read(self)?;
        let taken = before.len() - self.rest.len();
        Ok((found, before.get(..taken).unwrap_or_default()))
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::LeftOver(self.rest.len())) }
    }
}
