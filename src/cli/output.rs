//! Printing: results to standard output, everything said along the way to standard error. Neither ever panics, and a
//! reader who has seen enough (`callboard tasks | head -1`) is no error.

use super::exit::{Exit, Outcome};
use std::io::{ErrorKind, Write};

/// Prints a result, with a line end.
pub fn print(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Exit::internal(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something along the way.
pub fn note(text: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
