//! A table whose rows keep their number, and whose memory goes when it is empty.

/// Rows by number. Numbers count up and are not used again, so that an event of a removed row finds nothing.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: Vec<(u32, T)>,
    next: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), next: 0 }
    }
}

impl<T> Table<T> {
    /// Returns the number that the next row will have.
    pub(super) fn next_number(&self) -> u32 {
        self.next
    }

    pub(super) fn insert(&mut self, row: T) -> u32 {
        let number = self.next;
        self.rows.push((number, row));
        // The last numbers are kept free, they stand for others in tokens; after 4 billion rows old numbers have long gone.
        self.next = if number >= u32::MAX - 2 { 0 } else { number + 1 };
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.rows.iter().find(|(known, _)| *known == number).map(|(_, row)| row)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.rows.iter_mut().find(|(known, _)| *known == number).map(|(_, row)| row)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let at = self.rows.iter().position(|(known, _)| *known == number)?;
        let (_, row) = self.rows.remove(at);
        if self.rows.is_empty() {
            self.rows = Vec::new();
        }
        Some(row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.rows.iter().map(|(number, _)| *number).collect()
    }
}
