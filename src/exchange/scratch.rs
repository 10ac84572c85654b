//! A list for one call: on the stack while it is short, on the heap when it is long.

/// Up to `N` items cost no allocation. Items are added with [`Self::push`] and read as one slice.
pub struct Scratch<T, const N: usize> {
    short: [T; N],
    used: usize,
    /// Holds everything once it is not empty.
    long: Vec<T>,
}

impl<T: Copy, const N: usize> Scratch<T, N> {
    /// An empty list; `filler` only fills the unused places.
    pub fn new(filler: T) -> Self {
        Self { short: [filler; N], used: 0, long: Vec::new() }
    }

    pub fn push(&mut self, item: T) {
        if self.long.is_empty()
            && let Some(place) = self.short.get_mut(self.used)
        {
            *place = item;
            self.used += 1;
            return;
        }
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short);
        }
        self.long.push(item);
    }

    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.long.is_empty() { self.short.get_mut(..self.used).unwrap_or_default() } else { &mut self.long }
    }
}
