//! Lines with tabs, laid out in columns as docker lays out its tables.
//!
//! A column is as wide as its widest cell and three spaces, ten at least; what follows the last tab of a line is in no
//! column. Lines without a cell in a column end that column. Source: Go's `text/tabwriter`.

/// The narrowest column.
const MIN_WIDTH: usize = 10;
/// Spaces behind the widest cell.
const PADDING: usize = 3;

/// Lays out `text`; each line of the result ends with a line feed.
pub fn layout(text: &str) -> String {
    layout_with(text, MIN_WIDTH, PADDING)
}

/// Lays out `text` with another narrowest column and padding.
pub fn layout_with(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut layout = Layout { lines: &lines, min_width, padding, widths: Vec::new(), out: String::new() };
    layout.format(0, lines.len());
    layout.out
}

struct Layout<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Layout<'_> {
    /// Formats lines `begin..end`, whose first `widths.len()` columns are measured already.
    fn format(&mut self, mut begin: usize, end: usize) {
        let column = self.widths.len();
        let has_cell = |line: &Vec<&str>| column + 1 < line.len();
        let mut at = begin;
        while at < end {
            if !has_cell(&self.lines[at]) {
                at += 1;
                continue;
            }
            self.write(begin, at);
            let block_len = self.lines[at..end].iter().take_while(|line| has_cell(line)).count();
            let block = &self.lines[at..at + block_len];
            let widest = block.iter().map(|line| line[column].chars().count() + self.padding).max();
            self.widths.push(widest.unwrap_or(0).max(self.min_width));
            self.format(at, at + block_len);
            self.widths.pop();
            at += block_len;
            begin = at;
        }
        self.write(begin, end);
    }

    fn write(&mut self, begin: usize, end: usize) {
        for line in &self.lines[begin..end] {
            for (nth, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(nth) {
                    self.out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded() {
        assert_eq!(
            layout("ID\tNAME\tX\na-long-identifier\tn\ty\n"),
            "ID                  NAME      X\na-long-identifier   n         y\n"
        );
    }

    #[test]
    fn a_line_without_tabs_ends_the_columns() {
        assert_eq!(layout("a\tb\nplain\nlonger-than-ten\tb\n"), "a         b\nplain\nlonger-than-ten   b\n");
    }

    #[test]
    fn nothing_stays_nothing() {
        assert_eq!(layout(""), "");
        assert_eq!(layout("é\tx"), "é         x\n");
    }
}
