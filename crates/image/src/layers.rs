//! Unpacked layers by DiffID.
