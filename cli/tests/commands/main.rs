//! The program, run as a process: what it computes and prints, and what it says of malformed input.

mod bad_input;
mod formats;
mod integers;
mod killed;
mod results;
mod serve;
mod support;
