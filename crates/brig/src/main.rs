//! The program `brig`: chooses the role, parses the arguments, calls one function, prints.

fn main() {}
