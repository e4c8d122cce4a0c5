//! Every scenario of this folder as a test of its own.

fn main() {}
