//! Looking at the lexemes of a foreign statement, and changing its text in place.
//!
//! What is looked for and what it becomes is said elsewhere.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use crate::Limits;
use crate::error::Error;
use crate::lex::{Keyword, Lexed, Lexeme, scan};

/// A statement as its lexemes.
#[derive(Debug)]
pub(super) struct View<'t> {
    lexed: Lexed<'t>,
}

/// A piece of the text that becomes another.
#[derive(Debug)]
pub(super) struct Edit {
    bytes: Range<usize>,
    text: String,
}

impl<'t> View<'t> {
    pub(super) fn read(text: &'t str, limits: &Limits) -> Result<Self, Error> {
        Ok(Self { lexed: scan(text, limits)? })
    }

    pub(super) fn all(&self) -> &[Lexeme] {
        &self.lexed.lexemes
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    pub(super) fn token(&self, at: usize) -> Option<&Token> {
        self.all().get(at).map(|lexeme| &lexeme.token)
    }

    /// The word at an index, when it has no quotes.
    pub(super) fn word(&self, at: usize) -> Option<&str> {
        match self.token(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// The text in double quotes at an index.
    pub(super) fn double_quoted(&self, at: usize) -> Option<&str> {
        match self.token(at) {
            Some(Token::Word(word)) if word.quote_style == Some('"') => Some(&word.value),
            _ => None,
        }
    }

    /// True for a part of a path or an alias, which may be any word.
    pub(super) fn is_free(&self, at: usize) -> bool {
        let before = at.checked_sub(1);
        before.is_some_and(|before| {
            matches!(self.token(before), Some(Token::Period | Token::Arrow))
                || self.word(before).is_some_and(|word| word.eq_ignore_ascii_case("AS"))
        })
    }

    /// True when the word is at the index and could mean what it means in SQL.
    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        !self.is_free(at) && self.word(at).is_some_and(|have| have.eq_ignore_ascii_case(word))
    }

    /// Where a word of SQL stands outside of all brackets, from an index on.
    pub(super) fn find(&self, word: &str, from: usize) -> Option<usize> {
        let mut depth = 0_usize;
        (from..self.len()).find(|at| {
            depth = deeper(depth, self.token(*at));
            depth == 0 && self.is(*at, word)
        })
    }

    /// Where words and signs stand one after the other, such as `GROUP BY` or `OVER (`: `#` is any
    /// number, `?` the start of an operand.
    pub(super) fn sequence(&self, words: &str) -> Option<usize> {
        let fits = |at: usize, word: &str| match word {
            "#" => matches!(self.token(at), Some(Token::Number(..))),
            "(" => self.token(at) == Some(&Token::LParen),
            "*" => self.token(at) == Some(&Token::Mul),
            ":" => self.token(at) == Some(&Token::Colon),
            "&" => self.token(at) == Some(&Token::Ampersand),
            "|" => self.token(at) == Some(&Token::Pipe),
            "^" => self.token(at) == Some(&Token::Caret),
            "@" => self.source(at..at + 1).starts_with('@'),
            "?" => self.starts_operand(at),
            _ => self.is(at, word),
        };
        (0..self.len())
            .find(|start| words.split(' ').enumerate().all(|(n, word)| fits(start + n, word)))
    }

    /// True for a name, a constant or what opens a bracket.
    fn starts_operand(&self, at: usize) -> bool {
        match self.token(at) {
            Some(Token::Word(word)) => {
                word.quote_style.is_some() || Keyword::of(&word.value).is_none()
            }
            Some(Token::LParen | Token::LBrace | Token::SingleQuotedString(_)) => true,
            _ => false,
        }
    }

    /// True where a function is called.
    pub(super) fn calls(&self, at: usize) -> bool {
        self.token(at + 1) == Some(&Token::LParen)
            && !self.is_free(at)
            && self.word(at).is_some_and(|word| Keyword::of(word).is_none())
    }

    /// The bracket that closes the one at an index.
    pub(super) fn close(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        (open..self.len()).find(|at| {
            depth = deeper(depth, self.token(*at));
            depth == 0
        })
    }

    /// The arguments of the call whose name is at an index, and its closing parenthesis.
    pub(super) fn arguments(&self, name: usize) -> Option<(Vec<Range<usize>>, usize)> {
        let close = self.close(name + 1)?;
        Some((self.parts(name + 2..close), close))
    }

    /// The parts of a range between the commas that are in no bracket; none of an empty range.
    pub(super) fn parts(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut depth, mut from) = (0_usize, range.start);
        for at in range.clone() {
            depth = deeper(depth, self.token(at));
            if depth == 0 && self.token(at) == Some(&Token::Comma) {
                parts.push(from..at);
                from = at + 1;
            }
        }
        if !range.is_empty() {
            parts.push(from..range.end);
        }
        parts
    }

    /// The text of a range of lexemes.
    pub(super) fn source(&self, range: Range<usize>) -> &str {
        let bytes = self.bytes(&range);
        self.lexed.source(bytes.start, bytes.end)
    }

    fn bytes(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.all().get(range.start).map_or(self.lexed.text.len(), |l| l.start);
        let last = range.end.checked_sub(1).filter(|last| *last >= range.start);
        start..last.and_then(|last| self.all().get(last)).map_or(start, |l| l.end)
    }

    /// The range of lexemes becomes the text. An empty range is the place before its start.
    pub(super) fn replace(&self, range: Range<usize>, text: impl Into<String>) -> Edit {
        Edit { bytes: self.bytes(&range), text: text.into() }
    }

    /// The lexeme and the space behind it go.
    pub(super) fn remove(&self, range: Range<usize>) -> Edit {
        let mut bytes = self.bytes(&range);
        bytes.end = self.all().get(range.end).map_or(self.lexed.text.len(), |next| next.start);
        Edit { bytes, text: String::new() }
    }

    /// The text with edits made. Of two that overlap the one that starts first is made, which is the
    /// outer one.
    pub(super) fn edited(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|edit| (edit.bytes.start, usize::MAX - edit.bytes.end));
        let mut text = String::with_capacity(self.lexed.text.len() + 16);
        let mut done = 0;
        for edit in edits {
            if edit.bytes.start >= done {
                text.push_str(self.lexed.source(done, edit.bytes.start));
                text.push_str(&edit.text);
                done = edit.bytes.end;
            }
        }
        text.push_str(self.lexed.source(done, self.lexed.text.len()));
        text.trim().to_owned()
    }
}

/// The depth of brackets behind a sign.
pub(super) fn deeper(depth: usize, token: Option<&Token>) -> usize {
    match token {
        Some(Token::LParen | Token::LBracket | Token::LBrace) => depth + 1,
        Some(Token::RParen | Token::RBracket | Token::RBrace) => depth.saturating_sub(1),
        _ => depth,
    }
}

/// Text as a constant of our language.
pub(super) fn constant(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A key as a part of a path of our language: in backticks where it has to be.
pub(super) fn key(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && Keyword::of(text).is_none();
    if plain { text.to_owned() } else { format!("`{}`", text.replace('`', "``")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_keep_what_is_around_them() {
        let limits = Limits::default();
        let view = View::read("SELECT  f(a, (b, c)) ,x -- c\n FROM t", &limits).expect("lexemes");
        assert!(view.calls(1));
        let (arguments, close) = view.arguments(1).expect("a call");
        let parts: Vec<&str> = arguments.iter().map(|part| view.source(part.clone())).collect();
        assert_eq!((parts.as_slice(), close), (["a", "(b, c)"].as_slice(), 10));
        let from = view.find("from", 0).expect("FROM");
        let edits = vec![
            view.replace(from + 1..from + 2, "\"t\""),
            view.replace(3..4, "never"),
            view.replace(1..11, "y"),
            view.remove(11..12),
        ];
        assert_eq!(view.edited(edits), "SELECT  y x -- c\n FROM \"t\"");
        assert_eq!(key("odd key"), "`odd key`");
        assert_eq!(key("from"), "`from`");
    }
}
