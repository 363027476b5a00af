//! What the results of functions depend on: a function that says that its arguments alone decide is
//! folded when they are constants, so it must give the same for every message and in every time zone,
//! and for values of the document what it gives for constants.

use std::fmt::Write as _;

use super::Block;
use sql::functions::{Depends, FUNCTIONS};

/// An expression whose literals were moved into the payload, so that nothing of it can be folded.
fn moved(sql: &str, payload: &str) -> Option<(String, String)> {
    let rest = payload.strip_prefix('{')?;
    // The payload as a whole is not to change.
    if sql.contains('*') || sql.contains("payload") {
        return None;
    }
    let (mut out, mut members, mut count) = (String::new(), String::new(), 0);
    let mut chars = sql.char_indices().peekable();
    while let Some((start, char)) = chars.next() {
        let word = out.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '['));
        let json = match char {
            '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next()?.1 {
                        '\\' => match chars.next()?.1 {
                            'n' => text.push('\n'),
                            't' => text.push('\t'),
                            'r' => text.push('\r'),
                            '\\' => text.push('\\'),
                            '\'' => text.push('\''),
                            // What else a backslash may stand for is not read here.
                            _ => return None,
                        },
                        '\'' if chars.next_if(|(_, c)| *c == '\'').is_some() => text.push('\''),
                        '\'' => break,
                        other => text.push(other),
                    }
                }
                serde_json::to_string(&text).expect("text is JSON")
            }
            '"' => {
                out.push('"');
                for (_, char) in chars.by_ref() {
                    out.push(char);
                    if char == '"' {
                        break;
                    }
                }
                continue;
            }
            '0'..='9' if !word => {
                let more = |c: char| c.is_ascii_alphanumeric() || c == '.';
                while chars.next_if(|(_, c)| more(*c)).is_some() {}
                let end = chars.peek().map_or(sql.len(), |(at, _)| *at);
                sql.get(start..end).expect("a number").to_owned()
            }
            other => {
                out.push(other);
                continue;
            }
        };
        // Patterns of LIKE have to be literals.
        if out.trim_end().to_ascii_uppercase().ends_with("LIKE") {
            return None;
        }
        write!(out, "literal_{count}").expect("a string");
        write!(members, "\"literal_{count}\":{json},").expect("a string");
        count += 1;
    }
    let rest = rest.trim_start();
    if rest.starts_with('}') {
        members.pop();
    }
    (count > 0).then(|| (out, format!("{{{members}{rest}")))
}

/// The result of an expression, over one of two messages that have nothing in common.
fn result(sql: &str, payload: &str, other: bool) -> String {
    let set: &[(&str, &str)] = if other {
        &[("client", "b"), ("ip", "2001:db8::1"), ("source", "http"), ("qos", "0"), ("hops", "3")]
    } else {
        &[("client", "a"), ("user", "u"), ("ip", "192.0.2.7"), ("qos", "1"), ("property.k", "v")]
    };
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let block = Block {
        sql: Some(format!("SELECT {sql} AS r FROM \"#\"")),
        topic: other.then(|| "one/two/three/four/five/six".to_owned()),
        time: if other { 951_826_154_321 } else { 1_543_373_798_943 },
        id: if other { 7 } else { 889_455_942_124_347_392 },
        zone: other.then(|| "America/St_Johns".to_owned()),
        rule: other.then(|| "another rule".to_owned()),
        set: set.iter().map(pair).collect(),
        payloads: vec![payload.to_owned()],
        ..Block::default()
    };
    block.run().into_iter().find(|line| line.starts_with("=>")).expect("a result")
}

/// True when an expression calls a function that depends on the message.
fn calls_others(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    FUNCTIONS.iter().filter(|function| function.depends != Depends::Arguments).any(|function| {
        std::iter::once(&function.name).chain(function.aliases).any(|name| {
            let call = format!("{}(", name.to_ascii_lowercase());
            sql.match_indices(&call).any(|(at, _)| {
                let before = sql.get(..at).unwrap_or_default();
                !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    })
}

#[test]
fn what_depends_on_its_arguments_is_the_same_for_every_message() {
    let (mut count, mut failures) = (0, Vec::new());
    for function in FUNCTIONS.iter().filter(|function| function.depends == Depends::Arguments) {
        for example in function.examples {
            if calls_others(example.sql) {
                continue;
            }
            let as_written = (example.sql.to_owned(), example.payload.to_owned());
            for (sql, payload) in
                [Some(as_written), moved(example.sql, example.payload)].iter().flatten()
            {
                let (one, other) = (result(sql, payload, false), result(sql, payload, true));
                if one != other {
                    failures.push(format!("{sql} over {payload}\n  one   {one}\n  other {other}"));
                }
                count += 1;
            }
        }
    }
    println!("{count} expressions");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(count > 500, "only {count} expressions");
}

#[test]
fn constants_give_what_values_of_the_document_give() {
    let (mut count, mut failures) = (0, Vec::new());
    for function in FUNCTIONS.iter().filter(|function| function.depends != Depends::Chance) {
        for example in function.examples {
            let Some((sql, payload)) = moved(example.sql, example.payload) else { continue };
            let constant = result(example.sql, example.payload, false);
            let value = result(&sql, &payload, false);
            if constant != value {
                let example = example.sql;
                failures.push(format!("{example}\n  {constant}\n{sql} over {payload}\n  {value}"));
            }
            count += 1;
        }
    }
    println!("{count} expressions");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(count > 300, "only {count} expressions");
}
