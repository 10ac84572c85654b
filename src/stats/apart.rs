//! Numbers of one object, such as a channel, apart by each of the objects that it has to do with: its exchanges, its queues.
//!
//! Only kept in the mode of rates `detailed`. A table has at most [`MOST`] rows; what has to do with more is not counted apart.

use std::sync::{Arc, Weak};

use super::{Counts, Rates};

/// Rows of a table.
const MOST: usize = 100;

/// Numbers by object.
#[derive(Debug)]
pub struct Rows<K, const N: usize>(Vec<Row<K, N>>);

/// The numbers of one object.
#[derive(Debug)]
pub struct Row<K, const N: usize> {
    of: Weak<K>,
    pub counted: Counts<N>,
    pub rates: Rates<N>,
}

impl<K, const N: usize> Default for Rows<K, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, const N: usize> Rows<K, N> {
    /// The numbers of an object; none when there is no room for them.
    pub fn of(&mut self, object: &Arc<K>) -> Option<&mut Counts<N>> {
        let is_same = |row: &Row<K, N>| std::ptr::eq(row.of.as_ptr(), Arc::as_ptr(object));
        let found = self.0.iter().position(is_same);
        if found.is_none() && self.0.len() >= MOST {
            return None;
        }
        let place = found.unwrap_or_else(|| {
            self.0.push(Row { of: Arc::downgrade(object), counted: Counts::default(), rates: Rates::default() });
            self.0.len() - 1
        });
        self.0.get_mut(place).map(|row| &mut row.counted)
    }

    /// Takes a sample, `seconds` after the last one. Objects that are gone leave the table.
    pub fn sample(&mut self, seconds: f64) {
        self.0.retain_mut(|row| {
            row.rates.sample(&row.counted.0, seconds);
            row.of.strong_count() > 0
        });
    }

    /// The objects, and their numbers.
    pub fn all(&self) -> impl Iterator<Item = (Arc<K>, &Row<K, N>)> {
        self.0.iter().filter_map(|row| Some((row.of.upgrade()?, row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Kind;

    #[test]
    fn each_object_has_a_row_until_it_is_gone_and_there_are_not_too_many() {
        let mut rows = Rows::<u8, 2>::default();
        let objects: Vec<_> = (0..=MOST).map(|_| Arc::new(0)).collect();
        for object in &objects {
            if let Some(counts) = rows.of(object) {
                counts.add(Kind::Publish, 5);
            }
        }
        rows.of(&objects[1]).unwrap().add(Kind::Publish, 5);
        rows.sample(5.0);
        let all: Vec<_> = rows.all().map(|(_, row)| (row.counted.get(Kind::Publish), row.rates.get(0))).collect();
        assert_eq!((all.len(), all[0], all[1]), (MOST, (5, 1.0), (10, 2.0)));
        drop(objects);
        rows.sample(5.0);
        assert_eq!(rows.all().count(), 0);
    }
}
