//! Makes text from elsewhere safe to print: whatever could move a terminal's cursor, colour it or turn the reading
//! direction around becomes visible instead. It changes nothing else.

/// A text of several lines: line ends and tabs stay.
pub fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut cleaned, char| {
        match char {
            '\n' | '\t' => cleaned.push(char),
            // A line end of other systems, harmless once it is one of ours.
            '\r' => {}
            char if acts(char) => cleaned.push('\u{fffd}'),
            char => cleaned.push(char),
        }
        cleaned
    })
}

/// A text that must stay on one line: every stretch of white space becomes one space.
pub fn clean_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON that stays the same JSON: what a terminal would act on can only stand inside strings, where it has an escape.
pub fn clean_json(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut cleaned, char| {
        match char {
            '\n' | '\t' | '\r' => cleaned.push(' '),
            char if acts(char) => cleaned.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => cleaned.push(char),
        }
        cleaned
    })
}

/// Whether a terminal acts on it instead of showing it.
fn acts(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_becomes_visible() {
        assert_eq!(clean("a\x1b[2Jb\x07\u{9b}31m\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}31m\u{fffd}c");
        assert_eq!(clean("one\r\ntwo\tthree"), "one\ntwo\tthree");
        assert_eq!(clean("任務 é 🙂"), "任務 é 🙂");
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(clean_line(" one\n\ttwo \x1b"), "one two \u{fffd}");
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "{\"a\":\n\"x\u{9b}y\u{202e}\u{7f}\"}";
        let cleaned = clean_json(text);
        assert!(!cleaned.chars().any(acts));
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_str(&cleaned).unwrap());
        assert_eq!(before, after);
    }
}
