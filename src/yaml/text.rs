//! Where a character of a scalar's text stands in the file: quotes, escapes, indentation and folded
//! lines make the two differ.
//!
//! It reads text that the parser has accepted and judges nothing.

use saphyr::ScalarStyle;

use crate::problem::Position;

/// The text of a scalar as it stands in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    style: ScalarStyle,
    /// Its first character.
    first: Position,
    /// The columns before each line of a block.
    indent: usize,
}

impl Written {
    /// A scalar whose mark stands at a place, as the value of a key.
    pub(super) fn new(
        style: ScalarStyle,
        at: Position,
        key: Option<Position>,
        lines: &[&str],
    ) -> Option<Self> {
        let quoted = Position { column: at.column + 1, ..at };
        let (first, indent) = match style {
            ScalarStyle::Plain => (at, 0),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => (quoted, 0),
            ScalarStyle::Literal | ScalarStyle::Folded => {
                // The mark may stand at the `|` or at the first line of the text.
                let head = |line: usize| Some((line, header(lines.get(line - 1)?)?));
                let head = key.and_then(|key| head(key.line)).or_else(|| head(at.line));
                let line = head.map_or(at.line, |(line, _)| line + 1);
                let said = head.and_then(|(_, said)| said);
                let parent = key.map_or(0, |key| key.column - 1);
                let mut below = lines.iter().skip(line - 1).filter(|line| !blank(line));
                let indent = match said {
                    Some(said) => parent + said,
                    None => spaces(below.next()?),
                };
                (Position { line, column: indent + 1 }, indent)
            }
        };
        Some(Self { style, first, indent })
    }

    /// The place in the file of a line and column of the text.
    pub(super) fn locate(&self, text: &str, inside: Position) -> Position {
        let mut walk = Walk { now: Position { line: 1, column: 1 }, inside, last: self.first };
        let lines = text.lines().enumerate().skip(self.first.line - 1);
        let lines = lines.map(|(at, line)| (at + 1, line));
        let found = match self.style {
            ScalarStyle::Literal => Some(Position {
                line: self.first.line + inside.line - 1,
                column: self.indent + inside.column,
            }),
            ScalarStyle::Folded => self.folded(lines, &mut walk),
            _ => self.flow(lines, &mut walk),
        };
        found.unwrap_or(walk.last)
    }

    fn folded<'t>(
        &self,
        lines: impl Iterator<Item = (usize, &'t str)>,
        walk: &mut Walk,
    ) -> Option<Position> {
        let mut blanks = 0;
        let mut before: Option<bool> = None;
        for (number, line) in lines {
            if blank(line) {
                blanks += 1;
                continue;
            }
            let content = line.get(self.indent.min(spaces(line))..).unwrap_or_default();
            let mut at = Position { line: number, column: self.indent + 1 };
            let deeper = content.starts_with([' ', '\t']);
            match before {
                Some(false) if !deeper && blanks == 0 => walk.fold(' ')?,
                Some(false) if !deeper => walk.breaks(blanks)?,
                Some(_) => walk.breaks(blanks + 1)?,
                None => walk.breaks(blanks)?,
            }
            (blanks, before) = (0, Some(deeper));
            for char in content.chars() {
                walk.step(char, at)?;
                at.column += 1;
            }
        }
        None
    }

    fn flow<'t>(
        &self,
        lines: impl Iterator<Item = (usize, &'t str)>,
        walk: &mut Walk,
    ) -> Option<Position> {
        let mut blanks = 0;
        let mut joined = true;
        for (number, line) in lines {
            let first = number == self.first.line;
            if !first && blank(line) {
                blanks += 1;
                continue;
            }
            let skip = if first { self.first.column - 1 } else { spaces(line) };
            let mut at = Position { line: number, column: skip + 1 };
            match (joined, blanks) {
                (true, 0) => {}
                (false, 0) => walk.fold(' ')?,
                (_, count) => walk.breaks(count)?,
            }
            (blanks, joined) = (0, false);
            let mut chars = line.trim_end().chars().skip(skip);
            while let Some(char) = chars.next() {
                let (meant, wide) = match (self.style, char) {
                    (ScalarStyle::SingleQuoted, '\'') => {
                        chars.next();
                        ('\'', 2)
                    }
                    (ScalarStyle::DoubleQuoted, '\\') => match chars.next() {
                        // The end of the line is taken back.
                        None => {
                            joined = true;
                            continue;
                        }
                        Some(escape) => escaped(escape, &mut chars),
                    },
                    (_, char) => (char, 1),
                };
                walk.step(meant, at)?;
                at.column += wide;
            }
        }
        None
    }
}

/// What an escape stands for, as far as places go, and how many characters it takes.
fn escaped(escape: char, rest: &mut impl Iterator<Item = char>) -> (char, usize) {
    let digits = match escape {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'n' => return ('\n', 2),
        _ => return (escape, 2),
    };
    let code = rest.take(digits).try_fold(0, |code, char| Some(code * 16 + char.to_digit(16)?));
    (code.and_then(char::from_u32).unwrap_or('x'), 2 + digits)
}

/// A walk along the text up to a place in it.
struct Walk {
    now: Position,
    inside: Position,
    last: Position,
}

impl Walk {
    /// Goes past a character that stands at a place of the file; ends with `None` at the place that
    /// is looked for, which `last` then is.
    fn step(&mut self, char: char, at: Position) -> Option<()> {
        self.last = at;
        if self.now >= self.inside {
            return None;
        }
        if char == '\n' {
            self.now = Position { line: self.now.line + 1, column: 1 };
        } else {
            self.now.column += 1;
        }
        self.last.column += 1;
        Some(())
    }

    /// Goes past a character that the end of a line stands for: it stands behind that line, so that
    /// the end of the text is never on the line below.
    fn fold(&mut self, char: char) -> Option<()> {
        self.step(char, self.last)
    }

    fn breaks(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.fold('\n'))
    }
}

/// Whether a line ends with the head of a block, such as `|` or `>2-`, and the indentation it says.
fn header(line: &str) -> Option<Option<usize>> {
    let line = line.split_once(" #").map_or(line, |(before, _)| before).trim_end();
    let head = line.trim_end_matches(|char: char| char.is_ascii_digit() || "+-".contains(char));
    let said = line.get(head.len()..)?.chars().find_map(|char| char.to_digit(10));
    let said = said.and_then(|digit| usize::try_from(digit).ok());
    head.ends_with(['|', '>']).then_some(said)
}

fn blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn spaces(line: &str) -> usize {
    line.chars().take_while(|char| *char == ' ').count()
}
