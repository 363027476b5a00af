//! Date patterns in the letters of Java's `SimpleDateFormat`, in English.

use std::fmt::Write as _;

use jiff::Zoned;

const MONTHS: [&str; 12] = [
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

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The letters that [`format`] knows.
const LETTERS: &str = "G y M L d D E u a H k K h m s S z Z X";

/// Writes a time by a pattern.
///
/// # Errors
/// What is wrong with the pattern.
pub(crate) fn format(pattern: &str, time: &Zoned) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == '\'' {
            literal(&mut rest, &mut out)?;
        } else if letter.is_ascii_alphabetic() {
            let mut width = 1;
            while rest.next_if_eq(&letter).is_some() {
                width += 1;
            }
            field(letter, width, time, &mut out)?;
        } else {
            out.push(letter);
        }
    }
    Ok(out)
}

/// Text in quotes; two quotes are one, inside and outside.
fn literal(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    if rest.next_if_eq(&'\'').is_some() {
        out.push('\'');
        return Ok(());
    }
    while let Some(char) = rest.next() {
        if char != '\'' {
            out.push(char);
        } else if rest.next_if_eq(&'\'').is_some() {
            out.push('\'');
        } else {
            return Ok(());
        }
    }
    Err("a quote in the date pattern is not closed".into())
}

fn field(letter: char, width: usize, time: &Zoned, out: &mut String) -> Result<(), String> {
    /// More than any field needs; a pattern cannot ask for megabytes.
    const WIDEST: usize = 32;
    if width > WIDEST {
        return Err(format!("`{letter}` is repeated more than {WIDEST} times in the date pattern"));
    }
    let name = |names: &[&str], index: i8| {
        let full = usize::try_from(index - 1).ok().and_then(|at| names.get(at)).unwrap_or(&"");
        if width >= 4 { (*full).to_owned() } else { full.chars().take(3).collect() }
    };
    let hour = time.hour();
    let number = match letter {
        'y' if width == 2 => i64::from(time.year().rem_euclid(100)),
        'y' => i64::from(time.year()),
        'M' | 'L' if width >= 3 => {
            out.push_str(&name(&MONTHS, time.month()));
            return Ok(());
        }
        'M' | 'L' => i64::from(time.month()),
        'd' => i64::from(time.day()),
        'D' => i64::from(time.day_of_year()),
        'E' => {
            out.push_str(&name(&DAYS, time.weekday().to_monday_one_offset()));
            return Ok(());
        }
        'u' => i64::from(time.weekday().to_monday_one_offset()),
        'a' => {
            out.push_str(if hour < 12 { "AM" } else { "PM" });
            return Ok(());
        }
        'G' => {
            out.push_str("AD");
            return Ok(());
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
            out.push_str(&time.strftime("%Z").to_string());
            return Ok(());
        }
        'Z' => {
            offset(time, 2, out);
            return Ok(());
        }
        'X' if width > 3 => return Err("`X` is written once, twice or three times".into()),
        'X' if time.offset().seconds() == 0 => {
            out.push('Z');
            return Ok(());
        }
        'X' => {
            offset(time, width, out);
            return Ok(());
        }
        _ => {
            return Err(format!(
                "`{letter}` is no letter of a date pattern ({LETTERS}); text stands in quotes"
            ));
        }
    };
    // Writing to a String cannot fail.
    write!(out, "{number:0width$}").ok();
    Ok(())
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
            assert_eq!(format(pattern, &time).as_deref(), Ok(want), "{pattern}");
        }
        for pattern in ["b", "'T", "XXXX", "w"] {
            assert!(format(pattern, &time).is_err(), "{pattern}");
        }
    }
}
