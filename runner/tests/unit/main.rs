//! What needs no kernel: files, the program's words, packets.

mod cli;
mod diagnostics;
mod fuzz;
mod import;
mod memory;
mod path;
mod upstream_counters;
mod upstream_map;
mod wire_frames;
