//! Stretches of the machine's users that containers have for themselves alone.

use base::ContainerId;

use super::Database;
use crate::error::Result;

impl Database {
    /// Gives a container `count` numbers out of `first..first + pool` that no other container has, the same each time;
    /// `None` when no such stretch is free.
    pub(crate) fn acquire_ids(
        &self,
        id: &ContainerId,
        first: u32,
        pool: u32,
        count: u32,
    ) -> Result<Option<u32>> {
        self.write("take a range of users", |tx| {
            let mut query =
                tx.prepare_cached("SELECT container, first, count FROM id_blocks ORDER BY first")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let taken: Vec<(String, u32, u32)> = rows.collect::<rusqlite::Result<_>>()?;
            if let Some((_, kept, _)) =
                taken.iter().find(|(owner, _, had)| owner == id.as_str() && *had == count)
            {
                return Ok(Some(*kept));
            }
            let others =
                taken.iter().filter(|(owner, ..)| owner != id.as_str()).map(|(_, first, had)| (*first, *had));
            let Some(free) = lowest_free(first, pool, count, others) else { return Ok(None) };
            tx.execute("INSERT OR REPLACE INTO id_blocks VALUES (?1, ?2, ?3)", (id.as_str(), free, count))?;
            Ok(Some(free))
        })
    }
}

/// Finds the lowest free stretch; `taken` is sorted by its first numbers.
fn lowest_free(first: u32, pool: u32, count: u32, taken: impl Iterator<Item = (u32, u32)>) -> Option<u32> {
    let (mut free, end) = (u64::from(first), u64::from(first) + u64::from(pool));
    for (begin, length) in taken {
        let (begin, after) = (u64::from(begin), u64::from(begin) + u64::from(length));
        if begin < free + u64::from(count) && after > free {
            free = after;
        }
    }
    if free + u64::from(count) > end { None } else { u32::try_from(free).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_gap_is_taken() {
        let find = |taken: &[(u32, u32)], count| lowest_free(100, 100, count, taken.iter().copied());
        assert_eq!(find(&[], 100), Some(100));
        assert_eq!(find(&[], 101), None);
        assert_eq!(find(&[(100, 10), (120, 10)], 10), Some(110));
        assert_eq!(find(&[(100, 10), (120, 10)], 11), Some(130));
        assert_eq!(find(&[(50, 60), (150, 50)], 50), None);
        assert_eq!(lowest_free(u32::MAX - 9, 10, 10, std::iter::empty()), Some(u32::MAX - 9));
    }
}
