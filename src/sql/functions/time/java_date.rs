//! Date patterns in the letters of Java's `SimpleDateFormat`, in English: taking them apart and
//! writing times by them. Reading times by them is in `java_parse`.

use std::fmt::Write as _;

use jiff::Zoned;

pub(in crate::functions) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(in crate::functions) const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The letters of `SimpleDateFormat` that are known.
const LETTERS: &str = "G y M L d D E u a H k K h m s S z Z X";

/// Bytes that a pattern may have.
const PATTERN_MAX: usize = 1024;

/// Whose letters a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// `SimpleDateFormat`.
    Java,
    /// Joda-Time, which AWS IoT uses: `ZZ` is an offset with a colon, `S` a fraction of a second,
    /// `Y` a year and `e` the number of the weekday.
    Joda,
}

/// A part of a pattern. Two letters are ours: `x` is an offset with a colon, `f` a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A character that stands for itself.
    Char(char),
    /// A letter and how often it is repeated.
    Field(char, usize),
}

impl Piece {
    /// True when a time has digits here, which end where the next digits begin.
    pub(in crate::functions) fn is_number(self) -> bool {
        match self {
            Self::Field('M' | 'L', width) => width < 3,
            Self::Field(letter, _) => "ydDuHkKhmsSf".contains(letter),
            Self::Char(_) => false,
        }
    }
}

/// A pattern: taken apart when the statement was compiled, or still text.
#[derive(Debug, Clone)]
pub(crate) enum Pattern<'a> {
    /// Taken apart.
    Ready(std::slice::Iter<'a, Piece>),
    /// Text.
    Text(Pieces<'a>),
}

impl<'a> Pattern<'a> {
    /// A pattern that [`compile`] has taken apart.
    pub(crate) fn ready(pieces: &'a [Piece]) -> Self {
        Self::Ready(pieces.iter())
    }

    /// A pattern as it is written.
    pub(crate) fn text(text: &'a str, letters: Letters) -> Self {
        Self::Text(Pieces {
            rest: text.chars().peekable(),
            len: text.len(),
            quoted: false,
            letters,
        })
    }
}

impl Iterator for Pattern<'_> {
    type Item = Result<Piece, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Ready(pieces) => pieces.next().copied().map(Ok),
            Self::Text(pieces) => pieces.next(),
        }
    }
}

/// The parts of a pattern's text.
#[derive(Debug, Clone)]
pub(crate) struct Pieces<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    len: usize,
    quoted: bool,
    letters: Letters,
}

impl Iterator for Pieces<'_> {
    type Item = Result<Piece, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.len > PATTERN_MAX {
            return Some(Err(format!("the date pattern has more than {PATTERN_MAX} bytes")));
        }
        loop {
            let Some(char) = self.rest.next() else {
                let open = std::mem::take(&mut self.quoted);
                return open.then(|| Err("a quote in the date pattern is not closed".into()));
            };
            if char == '\'' {
                // Two quotes are one, inside and outside of quoted text.
                if self.rest.next_if_eq(&'\'').is_some() {
                    return Some(Ok(Piece::Char('\'')));
                }
                self.quoted = !self.quoted;
            } else if self.quoted || !char.is_ascii_alphabetic() {
                return Some(Ok(Piece::Char(char)));
            } else {
                let mut width = 1;
                while self.rest.next_if_eq(&char).is_some() {
                    width += 1;
                }
                return Some(field_of(char, width, self.letters));
            }
        }
    }
}

/// The field that a letter stands for.
fn field_of(letter: char, width: usize, letters: Letters) -> Result<Piece, String> {
    /// More than any field needs; a pattern cannot ask for megabytes.
    const WIDEST: usize = 32;
    if width > WIDEST {
        return Err(format!("`{letter}` is repeated more than {WIDEST} times in the date pattern"));
    }
    let joda = letters == Letters::Joda;
    Ok(match letter {
        'Z' if joda && width == 2 => Piece::Field('x', 3),
        'S' if joda => Piece::Field('f', width),
        'Y' if joda => Piece::Field('y', width),
        'e' if joda => Piece::Field('u', width),
        'X' if width > 3 => return Err("`X` is written once, twice or three times".into()),
        'Y' => return Err("`Y` is the year of a week in a date pattern; write `yyyy`".into()),
        _ if LETTERS.contains(letter) => Piece::Field(letter, width),
        _ => {
            return Err(format!(
                "`{letter}` is no letter of a date pattern ({LETTERS}); text stands in quotes"
            ));
        }
    })
}

/// Takes a pattern apart.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(pattern: &str, letters: Letters) -> Result<Box<[Piece]>, String> {
    Pattern::text(pattern, letters).collect()
}

/// Writes a time by a pattern.
///
/// # Errors
/// What is wrong with the pattern.
pub(crate) fn format(pattern: Pattern<'_>, time: &Zoned) -> Result<String, String> {
    let mut out = String::with_capacity(40);
    for piece in pattern {
        match piece? {
            Piece::Char(char) => out.push(char),
            Piece::Field(letter, width) => field(letter, width, time, &mut out),
        }
    }
    Ok(out)
}

fn field(letter: char, width: usize, time: &Zoned, out: &mut String) {
    let name = |names: &'static [&'static str], index: i8| {
        let full =
            usize::try_from(index - 1).ok().and_then(|at| names.get(at)).copied().unwrap_or("");
        if width >= 4 { full } else { full.get(..3).unwrap_or(full) }
    };
    let hour = time.hour();
    // The year before 1 AD is 1 BC.
    let year = i64::from(if time.year() < 1 { 1 - time.year() } else { time.year() });
    let number = match letter {
        'y' if width == 2 => year % 100,
        'y' => year,
        'M' | 'L' if width >= 3 => {
            out.push_str(name(&MONTHS, time.month()));
            return;
        }
        'M' | 'L' => i64::from(time.month()),
        'd' => i64::from(time.day()),
        'D' => i64::from(time.day_of_year()),
        'E' => {
            out.push_str(name(&DAYS, time.weekday().to_monday_one_offset()));
            return;
        }
        'u' => i64::from(time.weekday().to_monday_one_offset()),
        'a' => {
            out.push_str(if hour < 12 { "AM" } else { "PM" });
            return;
        }
        'G' => {
            out.push_str(if time.year() < 1 { "BC" } else { "AD" });
            return;
        }
        'H' => i64::from(hour),
        'k' => i64::from(if hour == 0 { 24 } else { hour }),
        'K' => i64::from(hour % 12),
        'h' => i64::from(if hour % 12 == 0 { 12 } else { hour % 12 }),
        'm' => i64::from(time.minute()),
        's' => i64::from(time.second()),
        // Java counts milliseconds, whatever the width.
        'S' => i64::from(time.millisecond()),
        'z' => {
            let info = time.time_zone().to_offset_info(time.timestamp());
            out.push_str(info.abbreviation());
            return;
        }
        'Z' => {
            offset(time, 2, out);
            return;
        }
        'X' if time.offset().seconds() == 0 => {
            out.push('Z');
            return;
        }
        'f' => {
            let digits = width.min(9);
            write!(out, "{:09}", time.subsec_nanosecond()).ok();
            out.truncate(out.len() - (9 - digits));
            return;
        }
        // `X` and `x`.
        _ => {
            offset(time, width, out);
            return;
        }
    };
    // Writing to a String cannot fail.
    write!(out, "{number:0width$}").ok();
}

/// `+08`, `+0800` or `+08:00`.
fn offset(time: &Zoned, width: usize, out: &mut String) {
    let seconds = time.offset().seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match width {
        1 => write!(out, "{sign}{hours:02}"),
        2 => write!(out, "{sign}{hours:02}{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
    }
    .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_java() {
        let time: Zoned = "2018-01-05T00:07:09.043+08:00[Asia/Shanghai]".parse().expect("time");
        for (pattern, want) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2018-01-05 00:07:09.043"),
            ("yy yyy y", "18 2018 2018"),
            ("M MM MMM MMMM", "1 01 Jan January"),
            ("d dd D DDD", "5 05 5 005"),
            ("H k K h", "0 24 0 12"),
            ("E EEEE u", "Fri Friday 5"),
            ("a G", "AM AD"),
            ("S SS SSSS", "43 43 0043"),
            ("Z X XX XXX", "+0800 +08 +0800 +08:00"),
            ("z", "CST"),
            ("'T' '' 'o''clock'", "T ' o'clock"),
            ("yyyy年M月d日", "2018年1月5日"),
        ] {
            let text = Pattern::text(pattern, Letters::Java);
            assert_eq!(format(text, &time).as_deref(), Ok(want), "{pattern}");
            let ready = compile(pattern, Letters::Java).expect(pattern);
            assert_eq!(format(Pattern::ready(&ready), &time).as_deref(), Ok(want), "{pattern}");
        }
        let joda = Pattern::text("YYYY S SSSSSS Z ZZ e", Letters::Joda);
        assert_eq!(format(joda, &time).as_deref(), Ok("2018 0 043000 +0800 +08:00 5"));
        let long = "y".repeat(33);
        let many = "y ".repeat(600);
        for pattern in ["b", "'T", "XXXX", "w", "YYYY", "x", "f", &long, &many] {
            assert!(compile(pattern, Letters::Java).is_err(), "{pattern}");
        }
    }
}
