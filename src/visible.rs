//! Names that others have chosen, on the way to a terminal: they must not act on it.

use std::fmt::Write as _;

/// Control characters, which would act on the terminal or tear a row apart, as octal escapes.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(shown, "\\{:03o}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_a_number() {
        assert_eq!(visible("\u{1b}[31mred\n\u{e9}"), "\\033[31mred\\012\u{e9}");
    }
}
