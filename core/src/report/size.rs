//! How large the terminal is.

use std::io;

/// The columns and rows of the terminal that standard error is (tty_ioctl(4)).
pub(super) fn size() -> (u16, u16) {
    size_of(rustix::termios::tcgetwinsize(io::stderr()).map_or((0, 0), |size| (size.ws_col, size.ws_row)))
}

/// What a terminal says it has; those that say nothing (serial consoles) have 80 columns and 24 rows.
fn size_of((columns, rows): (u16, u16)) -> (u16, u16) {
    (if columns == 0 { 80 } else { columns.max(20) }, if rows == 0 { 24 } else { rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_size_has_80_columns() {
        for (reported, taken) in [((0, 0), (80, 24)), ((1, 1), (20, 1)), ((20, 0), (20, 24)), ((132, 43), (132, 43))] {
            assert_eq!(size_of(reported), taken);
        }
    }
}
