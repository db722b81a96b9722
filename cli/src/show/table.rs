//! Tables: aligned columns, as `kubectl` prints them.

use super::Style;

/// Widest that one column becomes; longer cells are cut.
const WIDEST: usize = 60;

/// A table.
pub struct Table {
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// An empty table with these headings.
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![
                headings
                    .map(|heading| (heading.to_owned(), Style::Faint))
                    .into(),
            ],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|(text, style)| (cut(&super::safe(&text)), style))
                .collect(),
        );
    }

    /// Adds a row whose cells are needed in full.
    pub fn row_uncut(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|(text, style)| (super::safe(&text), style))
                .collect(),
        );
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as text.
    pub fn render(&self, color: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(text, _)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            for (column, (text, style)) in row.iter().enumerate() {
                out += &style.paint(text, color);
                if column + 1 < row.len() {
                    let gap = widths[column].saturating_sub(text.chars().count()) + 2;
                    out.extend(std::iter::repeat_n(' ', gap));
                }
            }
            out.push('\n');
        }
        out
    }
}

fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= WIDEST {
        return line.to_owned();
    }
    line.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let mut table = Table::new(["NAME", "READY"]);
        table.row([
            ("search".to_owned(), Style::Strong),
            ("True".to_owned(), Style::Good),
        ]);
        assert_eq!(table.render(false), "NAME    READY\nsearch  True\n");
        assert!(table.render(true).contains("\u{1b}[32mTrue\u{1b}[0m"));
        table.row([("x".repeat(100), Style::Plain)]);
        assert!(
            table
                .render(false)
                .lines()
                .all(|line| line.chars().count() <= WIDEST + 9)
        );
    }
}
