//! What most queues never have, behind a pointer that is made when it is first written to.
//!
//! A node may have a hundred thousand queues, and nearly all of them are plain: a queue pays for times, letters and the
//! like when it has some. To read what is absent is to read its empty form.

use std::ops::{Deref, DerefMut};

/// Something with an empty form that can be looked at without being made.
pub trait Absent: Sized + 'static {
    const ABSENT: Self;

    /// The one that stands for all that are absent.
    fn absent() -> &'static Self;
}

/// A `T`, or nothing yet. To write to it makes it.
#[derive(Debug)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Rare<T> {
    /// The thing itself, where there is one.
    #[inline]
    pub fn as_ref(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn as_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Absent> Deref for Rare<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.0 {
            Some(thing) => thing,
            None => T::absent(),
        }
    }
}

impl<T: Absent> DerefMut for Rare<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::ABSENT))
    }
}
