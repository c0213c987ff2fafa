//! Conversions between v1's values, which runtime-spec has, and v2's.

/// Converts CPU shares (2 to 262,144, default 1,024) into a v2 weight (1 to 10,000, default 100).
///
/// The curve goes through both ends and both defaults; runc and crun use the same since 2025, so that a weight read back elsewhere
/// means the same. (Before, 1,024 shares became a weight of 39.)
pub(in crate::cgroup) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1 | 2 => 1,
        262_144.. => 10_000,
        // Below 2^18: exact as a floating-point number.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "3 to 262,143"
        )]
        shares => {
            let log = (shares as f64).log2();
            let exponent = log.mul_add(log, 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// Converts a v1 block I/O weight (10 to 1,000) into `io.weight` (1 to 10,000), linearly.
pub(in crate::cgroup) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9_999 / 990
}

/// Returns the swap alone of a limit of memory and swap together; `None` when nothing is to be written.
///
/// v1 limits memory and swap together, v2 swap alone. Both were checked: `swap` is -1 or at least `memory`.
pub(in crate::cgroup) fn swap_alone(swap: Option<i64>, memory: Option<i64>) -> Option<Limit> {
    match (swap.unwrap_or(0), memory.unwrap_or(0)) {
        (0, -1) | (-1, _) => Some(Limit::Max),
        (0, _) => None,
        (swap, -1) => Some(Limit::Bytes(swap)),
        (swap, memory) => Some(Limit::Bytes(swap - memory)),
    }
}

/// A v2 limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cgroup) enum Limit {
    /// No limit.
    Max,
    /// So many bytes.
    Bytes(i64),
}

impl Limit {
    /// Reads runtime-spec's value: -1 is no limit, 0 is "not set".
    pub(in crate::cgroup) fn from_spec(value: Option<i64>) -> Option<Self> {
        match value {
            None | Some(0) => None,
            Some(-1) => Some(Self::Max),
            Some(bytes) => Some(Self::Bytes(bytes)),
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        let rows = [
            (0, 0),
            (1, 1),
            (2, 1),
            (3, 2),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_143, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in rows {
            assert_eq!(weight_of_shares(shares), weight, "{shares} shares");
        }
    }

    #[test]
    fn weights_become_weights() {
        for (weight, expected) in [(10, 1), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expected, "{weight}");
        }
    }

    #[test]
    fn swap_is_what_is_beyond_memory() {
        let rows = [
            ((None, None), None),
            ((None, Some(100)), None),
            ((None, Some(-1)), Some(Limit::Max)),
            ((Some(-1), Some(100)), Some(Limit::Max)),
            ((Some(300), Some(100)), Some(Limit::Bytes(200))),
            ((Some(100), Some(100)), Some(Limit::Bytes(0))),
            ((Some(100), Some(-1)), Some(Limit::Bytes(100))),
        ];
        for ((swap, memory), expected) in rows {
            assert_eq!(swap_alone(swap, memory), expected, "{swap:?} {memory:?}");
        }
    }
}
