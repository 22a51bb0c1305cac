//! Tables as text that fits a terminal of 80 columns.
//!
//! The width is fixed: the same rows give the same text on a terminal, in a pipe and in a log.

/// The width that [`fitted`] aims at, in characters.
const WIDTH: usize = 80;
/// The space between columns.
const GAP: usize = 2;
/// The narrowest readable last column, in characters; below it the columns are split instead.
const NARROWEST: usize = 24;

/// Formats rows of equally many cells, each column as wide as its widest cell and two spaces apart.
pub(crate) fn aligned<R: AsRef<[String]>>(rows: &[R]) -> String {
    let widths = widths(rows);
    rows.iter().map(|row| line(row.as_ref(), &widths)).collect()
}

/// Formats rows like [`aligned`], in lines of at most 80 characters if the cells allow it. A last column that is too
/// wide is wrapped at spaces. Columns that do not fit beside the others follow in a table below, which repeats the
/// first column and skips rows that are empty there.
pub(crate) fn fitted<R: AsRef<[String]>>(rows: &[R]) -> String {
    let widths = widths(rows);
    if total(&widths) <= WIDTH {
        return aligned(rows);
    }
    let wrapped = wrapped(rows, &widths);
    if let Some(wrapped) = wrapped.filter(|rows| total(&self::widths(rows)) <= WIDTH) {
        return aligned(&wrapped);
    }
    let groups = groups(&widths);
    if groups.len() < 2 {
        return aligned(rows);
    }
    let table = |(at, columns): (usize, &Vec<usize>)| {
        let of_row = |row: &R| columns.iter().map(|&at| row.as_ref()[at].clone()).collect::<Vec<_>>();
        // The first table has every row; those below only the rows with other cells.
        let says = |row: &Vec<String>| at == 0 || row.iter().skip(1).any(|cell| !cell.is_empty());
        fitted(&rows.iter().map(of_row).filter(says).collect::<Vec<_>>())
    };
    groups.iter().enumerate().map(table).collect::<Vec<_>>().join("\n")
}

/// The widest cell of each column, in characters.
fn widths<R: AsRef<[String]>>(rows: &[R]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        let cells = row.as_ref();
        widths.resize(widths.len().max(cells.len()), 0);
        for (widest, cell) in widths.iter_mut().zip(cells) {
            *widest = cell.chars().count().max(*widest);
        }
    }
    widths
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, &width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned() + "\n"
}

/// The rows with the last column wrapped at spaces; `None` when the other columns leave it no room.
fn wrapped<R: AsRef<[String]>>(rows: &[R], widths: &[usize]) -> Option<Vec<Vec<String>>> {
    let (_, others) = widths.split_last()?;
    let room = WIDTH.checked_sub(total(others) + GAP).filter(|room| *room >= NARROWEST)?;
    let of_row = |row: &R| {
        let Some((last, before)) = row.as_ref().split_last() else { return Vec::new() };
        let parts = broken(last, room);
        let first = before.iter().cloned().chain(parts.first().cloned()).collect();
        let later = parts.iter().skip(1).map(|part| vec![String::new(); before.len()].into_iter().chain([part.clone()]).collect());
        [first].into_iter().chain(later).collect::<Vec<Vec<String>>>()
    };
    Some(rows.iter().flat_map(of_row).collect())
}

/// Wraps a text at spaces into lines of at most `room` characters. A longer word stays whole. Returns at least one
/// line.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().filter(|line| !line.is_empty());
        match last {
            Some(line) if line.chars().count() + 1 + word.chars().count() > room => lines.push(word.to_owned()),
            Some(line) => line.extend([" ", word]),
            None => lines = vec![word.to_owned()],
        }
    }
    lines
}

/// Groups of columns that fit beside each other, each with the first column.
fn groups(widths: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in 1..widths.len() {
        let fits = |group: &Vec<usize>| total(&group.iter().chain([&at]).map(|&column| widths[column]).collect::<Vec<_>>()) <= WIDTH;
        match groups.last_mut().filter(|group| fits(group)) {
            Some(group) => group.push(at),
            None => groups.push(vec![0, at]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_line_up() {
        let rows = [row(["a", "bb", "c"]), row(["äöü", "b", ""])];
        assert_eq!(aligned(&rows), "a    bb  c\näöü  b\n");
        assert_eq!(fitted(&rows), aligned(&rows));
        assert_eq!(aligned::<[String; 2]>(&[]) + &fitted::<[String; 2]>(&[]), "");
    }

    #[test]
    fn a_wide_last_column_is_wrapped() {
        let names = ["one.example"; 9].join(" ");
        assert_eq!(
            fitted(&[row(["NAME", "ANSWERS FOR"]), row(["a", &names]), row(["b", ""])]),
            "NAME  ANSWERS FOR\n\
             a     one.example one.example one.example one.example one.example one.example\n\
             \x20     one.example one.example one.example\n\
             b\n"
        );
    }

    #[test]
    fn columns_without_room_follow_below() {
        let [wide, wider] = ["w".repeat(40), "v".repeat(50)];
        let text = fitted(&[row(["NAME", "A", "B", "C"]), row(["x", &wide, "b", &wider]), row(["y", "a", "", ""])]);
        assert_eq!(text, format!("NAME  {:40}  B\nx     {wide}  b\ny     a\n\nNAME  C\nx     {wider}\n", "A"));
    }

    #[test]
    fn a_cell_wider_than_the_terminal_stays_whole() {
        let long = "l".repeat(200);
        let text = fitted(&[row(["NAME", "A", "B"]), row(["x", &long, "b"])]);
        assert_eq!(text, format!("NAME  A\nx     {long}\n\nNAME  B\nx     b\n"));
        assert_eq!(fitted(&[row([&long])]), format!("{long}\n"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let rows: Vec<Vec<String>> = (0..9).map(|at| (0..12).map(|cell| "x".repeat((at * 7 + cell * 5) % 20 + 1)).collect()).collect();
        let text = fitted(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let cells: usize = rows.iter().map(|row| row.iter().map(String::len).sum::<usize>()).sum();
        assert!(text.chars().filter(|c| *c == 'x').count() >= cells, "a cell is lost:\n{text}");
    }
}
