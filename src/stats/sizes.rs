//! How large messages are: a histogram with the bounds that RabbitMQ's has.

/// Upper bounds of the classes in bytes; the last class has none.
pub const SIZE_BOUNDS: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// Numbers of messages by size, and their bytes in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub classes: [u64; SIZE_BOUNDS.len() + 1],
    pub bytes: u64,
}

impl Sizes {
    /// The class of a size.
    #[inline]
    pub fn class(size: u64) -> usize {
        SIZE_BOUNDS.iter().position(|bound| size <= *bound).unwrap_or(SIZE_BOUNDS.len())
    }

    /// One message.
    pub fn of(size: u64) -> Self {
        let mut sizes = Self { bytes: size, ..Self::default() };
        if let Some(class) = sizes.classes.get_mut(Self::class(size)) {
            *class = 1;
        }
        sizes
    }

    /// Messages counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine = mine.wrapping_add(theirs);
        }
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let classes: Vec<usize> =
            [0, 100, 101, 1_000, 100_000_000, 100_000_001].into_iter().map(Sizes::class).collect();
        assert_eq!(classes, [0, 0, 1, 1, 7, 8]);
    }
}
