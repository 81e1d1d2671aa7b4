//! Columns that line up. It knows widths, and nothing of what stands in the cells.

/// Rows under a head, each column as wide as its widest cell; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| length(cell)).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    all.iter().map(|row| line(row, &widths)).collect::<Vec<_>>().join("\n")
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - length(cell))));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

/// A text's beginning, with a mark when something is missing.
pub fn clipped(text: &str, most: usize) -> String {
    if length(text) <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".into(), "bcd".into(), "x".into()], vec!["long".into(), "é".into(), String::new()]];
        assert_eq!(table(&["ID", "B", "C"], &rows), "ID    B    C\na     bcd  x\nlong  é");
    }

    #[test]
    fn a_clipped_text_says_so() {
        assert_eq!(clipped("short", 5), "short");
        assert_eq!(clipped("too long", 5), "too…");
    }
}
