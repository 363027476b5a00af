//! A statement as a list of lexemes: sqlparser's tokens with our keywords, places and limits.
//!
//! Which words are keywords is decided here, by place: `end` is a key unless a CASE is open and
//! could end. Nothing here knows what a statement looks like.

use sqlparser::tokenizer::{Location, Token, Tokenizer, Word};

use super::Limits;
use super::dialect::Tidegate;
use super::error::{Error, Position};

/// The words that are not keys unless they stand in backticks or after a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    And,
    As,
    Between,
    Case,
    Div,
    Else,
    End,
    False,
    From,
    In,
    Is,
    Like,
    Missing,
    Not,
    Null,
    Or,
    Select,
    Then,
    True,
    When,
    Where,
}

impl Keyword {
    /// The keyword that a word is where a key could stand.
    pub(crate) fn of(word: &str) -> Option<Self> {
        const ALL: &[(&str, Keyword)] = &[
            ("AND", Keyword::And),
            ("AS", Keyword::As),
            ("BETWEEN", Keyword::Between),
            ("CASE", Keyword::Case),
            ("DIV", Keyword::Div),
            ("ELSE", Keyword::Else),
            ("END", Keyword::End),
            ("FALSE", Keyword::False),
            ("FROM", Keyword::From),
            ("IN", Keyword::In),
            ("IS", Keyword::Is),
            ("LIKE", Keyword::Like),
            ("NOT", Keyword::Not),
            ("NULL", Keyword::Null),
            ("OR", Keyword::Or),
            ("SELECT", Keyword::Select),
            ("THEN", Keyword::Then),
            ("TRUE", Keyword::True),
            ("WHEN", Keyword::When),
            ("WHERE", Keyword::Where),
        ];
        ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, keyword)| *keyword)
    }

    /// True when an operand can end with the word.
    fn ends_operand(self) -> bool {
        matches!(self, Self::End | Self::False | Self::Null | Self::Missing | Self::True)
    }
}

/// True for a word that is a keyword somewhere.
pub(crate) fn is_keyword(word: &str) -> bool {
    Keyword::of(word).is_some() || word.eq_ignore_ascii_case("MISSING")
}

/// A token, what it means by its place, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    /// Set for words that are keywords where they stand.
    pub(crate) keyword: Option<Keyword>,
    pub(crate) at: Position,
    /// The bytes in the text.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Lexeme {
    pub(crate) fn is(&self, keyword: Keyword) -> bool {
        self.keyword == Some(keyword)
    }

    /// The word, when it is no keyword.
    pub(crate) fn name(&self) -> Option<&Word> {
        match &self.token {
            Token::Word(word) if self.keyword.is_none() => Some(word),
            _ => None,
        }
    }

    /// True when an operand can end here, so that an operator or an alias may follow.
    pub(crate) fn ends_operand(&self) -> bool {
        match (&self.token, self.keyword) {
            (_, Some(keyword)) => keyword.ends_operand(),
            (Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_), None) => true,
            (token, None) => matches!(token, Token::RParen | Token::RBracket),
        }
    }
}

/// The lexemes of a text and a way to talk about them.
#[derive(Debug)]
pub(crate) struct Lexed<'t> {
    pub(crate) text: &'t str,
    pub(crate) lexemes: Vec<Lexeme>,
    /// Behind the last character.
    pub(crate) end: Position,
}

impl Lexed<'_> {
    /// The source from a byte to another.
    pub(crate) fn source(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The lexeme at a position as users wrote it, in backticks, or "end of the text".
    pub(crate) fn quote(&self, at: Position) -> String {
        let found = self.lexemes.iter().find(|lexeme| lexeme.at == at);
        found.map_or("end of the text".to_owned(), |lexeme| format!("`{}`", self.written(lexeme)))
    }

    /// A lexeme as users wrote it.
    fn written(&self, lexeme: &Lexeme) -> String {
        shorten(self.source(lexeme.start, lexeme.end))
    }
}

/// Splits a text and holds it against the limits on length and nesting.
pub(crate) fn lex<'t>(text: &'t str, limits: &Limits) -> Result<Lexed<'t>, Error> {
    let mut lexed = scan(text, limits)?;
    lexed.lexemes.iter().try_for_each(|lexeme| refuse(lexeme, &lexed))?;
    lexed.lexemes.windows(2).try_for_each(|pair| run_together(pair, &lexed))?;
    classify(&mut lexed, limits)?;
    Ok(lexed)
}

/// Splits a text that is not too long; also one that is no statement of this language. No lexeme is
/// a keyword yet.
pub(crate) fn scan<'t>(text: &'t str, limits: &Limits) -> Result<Lexed<'t>, Error> {
    let start = Position { line: 1, column: 1 };
    if text.len() > limits.text {
        let message =
            format!("the text has {} bytes, at most {} are allowed", text.len(), limits.text);
        return Err(Error::at(start, message)
            .expected(format!("at most {} bytes", limits.text))
            .hint("write several rules"));
    }
    let mut tokenizer = Tokenizer::new(&Tidegate, text).with_unescape(false);
    let tokens = tokenizer.tokenize_with_location().map_err(|error| {
        let at = position(error.location);
        unreadable(at, &error.message)
    })?;
    let mut places = Places { text, at: start, byte: 0 };
    let mut lexemes = Vec::with_capacity(tokens.len());
    for token in tokens {
        let at = position(token.span.start);
        let start = places.byte_of(at);
        let end = places.byte_of(position(token.span.end));
        if !matches!(token.token, Token::Whitespace(_)) {
            lexemes.push(Lexeme { token: token.token, keyword: None, at, start, end });
        }
    }
    let mut end = places;
    end.byte_of(Position { line: usize::MAX, column: usize::MAX });
    Ok(Lexed { text, lexemes, end: end.at })
}

fn position(location: Location) -> Position {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Position { line: number(location.line), column: number(location.column) }
}

/// Walks along a text to turn lines and columns into bytes; only forwards.
struct Places<'t> {
    text: &'t str,
    at: Position,
    byte: usize,
}

impl Places<'_> {
    fn byte_of(&mut self, at: Position) -> usize {
        for char in self.text.get(self.byte..).unwrap_or_default().chars() {
            if self.at >= at {
                break;
            }
            self.byte += char.len_utf8();
            if char == '\n' {
                self.at = Position { line: self.at.line + 1, column: 1 };
            } else {
                self.at.column += 1;
            }
        }
        self.byte
    }
}

/// An error of the tokenizer in our words.
fn unreadable(at: Position, message: &str) -> Error {
    if message.contains("Unterminated string") {
        Error::at(at, "the string is not closed")
            .expected("`'`")
            .hint("write a quote inside a string as `''` or `\\'`")
    } else if message.contains("close delimiter") {
        Error::at(at, "the quoted name is not closed")
            .expected("the same quote at its end")
            .hint("a quote inside a name is written twice")
    } else if message.contains("comment") {
        Error::at(at, "the comment is not closed")
            .expected("`*/`")
            .hint("a comment up to the end of the line starts with `--`")
    } else {
        Error::at(at, message.to_lowercase())
            .expected("a name, a constant or an operator")
            .hint("text stands in single quotes, a key with odd characters in backticks")
    }
}

/// Refuses tokens that this language does not have.
fn refuse(lexeme: &Lexeme, lexed: &Lexed<'_>) -> Result<(), Error> {
    let token = &lexeme.token;
    let hint = match token {
        Token::Word(_)
        | Token::SingleQuotedString(_)
        | Token::Number(_, false)
        | Token::Comma
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::SemiColon
        | Token::LBracket
        | Token::RBracket => return Ok(()),
        Token::DoubleEq => "equality is `=`",
        Token::ExclamationMark => "write NOT",
        Token::Overlap | Token::Ampersand => "write AND, or OR",
        Token::Pipe => "write OR; `||` joins text",
        Token::Number(..) => "write the number without a suffix",
        Token::HexStringLiteral(_) => {
            "a number is written in decimal, text has no prefix: 255, 'text'"
        }
        Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_) => "a string has no prefix: 'text'",
        Token::Char('‘' | '’' | '“' | '”') => {
            "text stands in straight single quotes: 'text'"
        }
        Token::Char('，' | '（' | '）' | '；' | '＝' | '。' | '＞' | '＜') => {
            "this is a full-width character; use the ASCII one"
        }
        Token::RArrow => "greater or equal is `>=`",
        Token::DoubleColon => "a conversion is cast(a, 'integer')",
        Token::AtSign => "there are no variables: give an item an alias, or put a key in backticks",
        Token::Placeholder(_) | Token::Sharp | Token::Question => {
            "a key with such a character stands in backticks: `odd key`; a JSONPath in double quotes"
        }
        Token::Arrow | Token::LongArrow | Token::Colon => {
            "a value inside an object is `a.b`, inside an array `a[0]`"
        }
        Token::LBrace | Token::RBrace => "an object is made by a function: object('key', a)",
        Token::Tilde => "text is matched by regexp_like(a, pattern), a topic by FROM \"a/+/c\"",
        Token::Caret => "powers are power(a, b)",
        _ => "see the operators of the language: + - * / % || = <> < <= > >= AND OR NOT",
    };
    let expected = match token {
        Token::DoubleEq => "`=`",
        Token::ExclamationMark => "NOT",
        Token::Overlap | Token::Ampersand => "AND",
        Token::Pipe => "OR or `||`",
        _ => "a name, a constant or an operator",
    };
    let message = format!("`{}` has no meaning here", lexed.written(lexeme));
    Err(Error::at(lexeme.at, message).expected(expected).hint(hint))
}

/// Refuses a number that runs into a name: `38c`, `1_000`, a key such as `1st`.
fn run_together(pair: &[Lexeme], lexed: &Lexed<'_>) -> Result<(), Error> {
    let [number @ Lexeme { token: Token::Number(..), .. }, name] = pair else { return Ok(()) };
    let word = match &name.token {
        Token::Word(word) if word.quote_style.is_none() && number.end == name.start => word,
        _ => return Ok(()),
    };
    let text = shorten(lexed.source(number.start, name.end));
    // A part of a path, `a.1b`, has advice of its own.
    if Keyword::of(&word.value).is_some() || text.starts_with('.') {
        return Ok(());
    }
    Err(Error::at(number.at, format!("`{text}` is neither a number nor a name"))
        .expected("a number, or a name")
        .hint(format!("a key that starts with a digit stands in backticks: `{text}`")))
}

/// Decides which words are keywords and how deep everything is nested.
fn classify(lexed: &mut Lexed<'_>, limits: &Limits) -> Result<(), Error> {
    // For each open parenthesis or bracket and the ground: how many CASE are open in it.
    let mut open = vec![0_usize];
    let mut cases = 0;
    let mut signs = 0;
    let mut before: Option<Lexeme> = None;
    for at in 0..lexed.lexemes.len() {
        let lexeme = &mut lexed.lexemes[at];
        let operand = before.as_ref().is_some_and(Lexeme::ends_operand);
        lexeme.keyword = keyword(lexeme, before.as_ref(), operand, *open.last().unwrap_or(&0));
        match (&lexeme.token, lexeme.keyword) {
            (Token::LParen | Token::LBracket, _) => open.push(0),
            (Token::RParen | Token::RBracket, _) if open.len() > 1 => {
                cases -= open.pop().unwrap_or(0);
            }
            (_, Some(Keyword::Case)) => {
                cases += 1;
                *open.last_mut().expect("invariant: the ground is never popped") += 1;
            }
            (_, Some(Keyword::End)) => {
                cases -= 1;
                *open.last_mut().expect("invariant: the ground is never popped") -= 1;
            }
            _ => {}
        }
        let sign = lexeme.is(Keyword::Not)
            || (matches!(lexeme.token, Token::Minus | Token::Plus) && !operand);
        signs = if sign { signs + 1 } else { 0 };
        if open.len() - 1 + cases + signs > limits.depth {
            let message = format!("nested deeper than {} levels", limits.depth);
            return Err(Error::at(lexeme.at, message)
                .expected(format!("at most {} levels", limits.depth))
                .hint("simplify the expression"));
        }
        before = Some(lexeme.clone());
    }
    Ok(())
}

fn keyword(
    lexeme: &Lexeme,
    before: Option<&Lexeme>,
    operand: bool,
    open_cases: usize,
) -> Option<Keyword> {
    let Token::Word(word) = &lexeme.token else { return None };
    // Quoted, a part of a path, or an alias: any word will do.
    let free = before.is_some_and(|b| b.token == Token::Period || b.is(Keyword::As));
    if word.quote_style.is_some() || free {
        return None;
    }
    if word.value.eq_ignore_ascii_case("MISSING") {
        let asked = before.is_some_and(|b| b.is(Keyword::Is) || b.is(Keyword::Not));
        return (asked && !operand).then_some(Keyword::Missing);
    }
    match Keyword::of(&word.value)? {
        Keyword::End if open_cases == 0 || !operand => None,
        keyword => Some(keyword),
    }
}

/// The text of a string literal: `''` and `\'` are a quote, every other backslash stays.
pub(crate) fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        match (char, chars.as_str().chars().next()) {
            ('\'', Some('\'')) => {
                chars.next();
                text.push('\'');
            }
            ('\\', Some('\'')) => {
                chars.next();
                text.push('\'');
            }
            ('\\', Some(next)) => {
                chars.next();
                text.push('\\');
                text.push(next);
            }
            _ => text.push(char),
        }
    }
    text
}

/// The text of a quoted name: a doubled quote is one.
pub(crate) fn unquote(word: &Word) -> String {
    match word.quote_style {
        Some(quote) => {
            let mut double = String::new();
            double.push(quote);
            double.push(quote);
            word.value.replace(&double, &quote.to_string())
        }
        None => word.value.clone(),
    }
}

/// At most 40 characters of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    shorten_to(text, 40)
}

/// The same with another length, in characters.
pub(crate) fn shorten_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
