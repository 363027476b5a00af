//! A compiled statement as SQL text again: canonical, and compiling to the same.
//!
//! It prints what runs, not what was written: constants that were computed when the statement was
//! saved stand there as their result, and lists of constants in their order. Nothing is evaluated.

mod elements;
mod names;

use elements::is_index;
use names::{extend, from_document, in_backticks, in_quotes, key, plain};

use super::compile::Tree;
use super::elements::Unnest;
use super::expr::{Arithmetic, Call, Case, Comparison, Const, Content, Expr, Item};
use super::functions::Prepared;
use super::json_path::JsonPath;
use super::path::{self, Path, Quoted, Step};
use super::unnest::Form;

/// How tightly an operator binds, as in `dialect`.
const OR: u8 = 5;
const AND: u8 = 10;
const NOT: u8 = 15;
const COMPARISON: u8 = 20;
const SUM: u8 = 30;
const PRODUCT: u8 = 40;
const UNARY: u8 = 50;
const ATOM: u8 = 60;

/// A path whose odd keys stand in backticks.
pub(crate) fn path_text(steps: &[Step]) -> String {
    match steps.split_first() {
        Some((Step::Key(first), rest)) => {
            let mut text = key(first);
            extend(rest, &mut text, &mut String::new());
            text
        }
        _ => plain(steps).0,
    }
}

/// Prints the expressions of one query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer<'q> {
    paths: &'q [Path],
    json_paths: &'q [JsonPath],
    aliases: Aliases<'q>,
    /// The array of UNNEST and how its elements are named.
    unnest: Option<(&'q Expr, &'q Form)>,
}

/// The aliases that a name could mean: those of the items before an item, all in WHERE.
#[derive(Debug, Clone, Copy)]
enum Aliases<'q> {
    Items(&'q [Item]),
    /// Each with the number of its item, while the statement is compiled.
    Numbered(&'q [(String, u32)]),
}

impl<'q> Aliases<'q> {
    fn of(self, item: u32) -> &'q str {
        match self {
            Self::Items(items) => items.get(item as usize).map_or("", |item| &item.key),
            Self::Numbered(list) => {
                list.iter().find(|(_, number)| *number == item).map_or("", |(alias, _)| alias)
            }
        }
    }
}

/// A statement.
pub(crate) fn statement(tree: &Tree) -> String {
    let query = &tree.query;
    let items = query.items().iter().enumerate();
    let items: Vec<String> =
        items.map(|(at, item)| Printer::of_item(tree, at).item(item)).collect();
    let filter = query.filter().as_str().replace('"', "\"\"");
    let mut text = format!("SELECT {} FROM \"{filter}\"", items.join(", "));
    if let (Some(unnest), Some(Form::From { element, offset })) = (query.unnest(), &tree.form) {
        let array = Printer::of_array(tree).expr(unnest.source());
        text.push_str(&format!(", UNNEST({array}) AS {}", key(element)));
        if let Some(offset) = offset {
            text.push_str(&format!(" WITH OFFSET AS {}", key(offset)));
        }
    }
    if let Some(condition) = &tree.condition {
        text.push_str(" WHERE ");
        text.push_str(&Printer::of(tree).expr(condition));
    }
    text
}

impl<'q> Printer<'q> {
    /// For the WHERE of a statement.
    pub(crate) fn of(tree: &'q Tree) -> Self {
        Self::of_item(tree, tree.query.items().len())
    }

    /// For the item at a place.
    pub(crate) fn of_item(tree: &'q Tree, at: usize) -> Self {
        let query = &tree.query;
        Self {
            paths: query.paths(),
            json_paths: query.json_paths(),
            aliases: Aliases::Items(query.items().get(..at).unwrap_or_default()),
            unnest: query.unnest().map(Unnest::source).zip(tree.form.as_ref()),
        }
    }

    /// For the array that UNNEST takes apart: it is written before there are elements.
    pub(crate) fn of_array(tree: &'q Tree) -> Self {
        let items = tree.query.items();
        let whole = Self::of(tree);
        let at = items.iter().position(|item| item.expr().is_some_and(|e| whole.is_elements(e)));
        Self { unnest: None, ..Self::of_item(tree, at.unwrap_or(0)) }
    }

    /// For a statement that is being compiled.
    pub(crate) fn numbered(
        paths: &'q [Path],
        json_paths: &'q [JsonPath],
        aliases: &'q [(String, u32)],
        unnest: Option<&'q (Expr, Form)>,
    ) -> Self {
        let unnest = unnest.map(|(array, form)| (array, form));
        Self { paths, json_paths, aliases: Aliases::Numbered(aliases), unnest }
    }

    /// An expression.
    pub(crate) fn expr(&self, expr: &Expr) -> String {
        let mut out = String::new();
        self.write(expr, &mut out);
        out
    }

    /// A path of the query.
    pub(crate) fn path(&self, path: u32) -> String {
        self.paths.get(path as usize).map_or_else(String::new, |path| self.name(path).0)
    }

    fn item(&self, item: &Item) -> String {
        match &item.content {
            Content::All => "*".into(),
            Content::Spread(expr @ Expr::Call(call)) if !call.is_part() => self.expr(expr),
            Content::Spread(expr) => format!("{}.*", self.expr(expr)),
            Content::Value(expr) => {
                let text = self.expr(expr);
                if !item.aliased && self.implied(expr, &text) == item.key {
                    return text;
                }
                // AS would make an alias of what was none, which a name further on could mean.
                if let (false, Expr::Path(path)) = (item.aliased, expr)
                    && let Some(path) = self.paths.get(*path as usize)
                    && let (text, name) = from_document(&path.steps)
                    && (path.element, &name) == (false, &item.key)
                {
                    return text;
                }
                format!("{text} AS {}", key(&item.key))
            }
        }
    }

    /// The key that the printed text of an item has without an alias.
    fn implied(&self, expr: &Expr, text: &str) -> String {
        match expr {
            Expr::Path(path) => {
                let path = self.paths.get(*path as usize);
                path.map_or_else(String::new, |path| self.name(path).1)
            }
            Expr::Alias { item, .. } => self.aliases.of(*item).to_owned(),
            Expr::Call(call) if is_index(call) => self.index().unwrap_or_default().to_owned(),
            Expr::Call(call) if call.is_part() => self.part(call).1,
            Expr::Wrap(_) | Expr::JsonPath(_) => text.trim_matches('"').replace("\"\"", "\""),
            _ => text.to_owned(),
        }
    }

    fn write(&self, expr: &Expr, out: &mut String) {
        match expr {
            Expr::Const(constant) => out.push_str(&self::constant(constant)),
            Expr::Path(path) => out.push_str(&self.path(*path)),
            Expr::JsonPath(index) => {
                let text = self.json_paths.get(*index as usize).map_or("", |p| &p.text);
                out.push_str(&in_quotes(text));
            }
            Expr::Wrap(inner) => match &**inner {
                Expr::Path(path) => out.push_str(&self.wrapped(*path)),
                inner => self.write(inner, out),
            },
            Expr::Alias { path, item } => out.push_str(&self.alias(*path, *item)),
            Expr::Star => out.push('*'),
            Expr::Negate(inner) => {
                out.push('-');
                self.operand(inner, UNARY, out);
            }
            Expr::Not(inner) => {
                out.push_str("NOT ");
                self.operand(inner, NOT, out);
            }
            Expr::And(list) => self.joined(list, " AND ", AND, out),
            Expr::Or(list) => self.joined(list, " OR ", OR, out),
            Expr::Arithmetic(first, rest) => {
                let level = precedence(expr);
                self.operand(first, level, out);
                for (op, right) in rest {
                    out.push(' ');
                    out.push_str(op.sign());
                    out.push(' ');
                    self.operand(right, level, out);
                }
            }
            Expr::Case(case) => self.case(case, out),
            Expr::Call(call) if is_index(call) => {
                out.push_str(&self.index().map_or_else(String::new, key));
            }
            Expr::Call(call) if call.is_part() => out.push_str(&self.part(call).0),
            Expr::Call(call) => self.call(call, out),
            _ => self.comparison(expr, out),
        }
    }

    fn comparison(&self, expr: &Expr, out: &mut String) {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match expr {
            Expr::Compare(op, sides) => {
                self.operand(&sides.0, COMPARISON, out);
                out.push(' ');
                out.push_str(op.sign());
                out.push(' ');
                self.operand(&sides.1, COMPARISON, out);
            }
            Expr::Between { negated, parts } => {
                let [value, low, high] = &**parts;
                self.operand(value, COMPARISON, out);
                out.push(' ');
                out.push_str(not(negated));
                out.push_str("BETWEEN ");
                self.operand(low, COMPARISON, out);
                out.push_str(" AND ");
                self.operand(high, COMPARISON, out);
            }
            Expr::InSet { negated, value, set } => {
                self.operand(value, COMPARISON, out);
                let list: Vec<String> = set.constants().iter().map(constant).collect();
                out.push(' ');
                out.push_str(not(negated));
                out.push_str("IN (");
                out.push_str(&list.join(", "));
                out.push(')');
            }
            Expr::In { negated, value, list } => {
                self.operand(value, COMPARISON, out);
                out.push(' ');
                out.push_str(not(negated));
                out.push_str("IN (");
                self.listed(list, out);
                out.push(')');
            }
            Expr::Like { negated, value, pattern } => {
                self.operand(value, COMPARISON, out);
                out.push(' ');
                out.push_str(not(negated));
                out.push_str("LIKE ");
                out.push_str(&string(&pattern.text()));
            }
            Expr::LikeAny { negated, parts } => {
                self.operand(&parts.0, COMPARISON, out);
                out.push(' ');
                out.push_str(not(negated));
                out.push_str("LIKE ");
                self.operand(&parts.1, COMPARISON, out);
            }
            Expr::IsNull { negated, value } | Expr::IsMissing { negated, value } => {
                self.operand(value, COMPARISON, out);
                out.push_str(" IS ");
                out.push_str(not(negated));
                out.push_str(if matches!(expr, Expr::IsNull { .. }) { "NULL" } else { "MISSING" });
            }
            _ => {}
        }
    }

    fn case(&self, case: &Case, out: &mut String) {
        out.push_str("CASE");
        if let Some(operand) = &case.operand {
            out.push(' ');
            self.write(operand, out);
        }
        for (condition, result) in &case.arms {
            out.push_str(" WHEN ");
            self.write(condition, out);
            out.push_str(" THEN ");
            self.write(result, out);
        }
        if let Some(otherwise) = &case.otherwise {
            out.push_str(" ELSE ");
            self.write(otherwise, out);
        }
        out.push_str(" END");
    }

    fn call(&self, call: &Call, out: &mut String) {
        out.push_str(call.function.name);
        out.push('(');
        self.listed(call.arguments.get(call.function.reads.len()..).unwrap_or_default(), out);
        out.push(')');
    }

    fn listed(&self, list: &[Expr], out: &mut String) {
        for (at, item) in list.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            self.write(item, out);
        }
    }

    fn joined(&self, list: &[Expr], operator: &str, level: u8, out: &mut String) {
        for (at, item) in list.iter().enumerate() {
            if at > 0 {
                out.push_str(operator);
            }
            self.operand(item, level, out);
        }
    }

    /// An operand of an operator, in parentheses unless it binds tighter.
    fn operand(&self, expr: &Expr, level: u8, out: &mut String) {
        if precedence(expr) > level {
            self.write(expr, out);
        } else {
            out.push('(');
            self.write(expr, out);
            out.push(')');
        }
    }

    /// How a path is written, and the text that counts as its name then.
    fn name(&self, path: &Path) -> (String, String) {
        if path.element {
            return self.of_element(path);
        }
        if self.is_hidden(path) {
            return from_document(&path.steps);
        }
        let (text, name) = plain(&path.steps);
        let within = matches!(&*path.steps, [Step::Key(first), _, ..] if self.has_alias(first));
        if !within && !self.has_alias(&name) {
            return (text, name);
        }
        // Bare it would be the alias.
        let mut text = String::from("\"$\"");
        let mut name = String::from("$");
        extend(&path.steps, &mut text, &mut name);
        (text, name)
    }

    /// True when a name would mean an alias.
    fn has_alias(&self, name: &str) -> bool {
        match self.aliases {
            Aliases::Items(items) => items.iter().any(|item| match &item.content {
                // The alias of the elements names nothing.
                Content::Value(expr) => item.aliased && item.key == name && !self.is_elements(expr),
                Content::All | Content::Spread(_) => false,
            }),
            Aliases::Numbered(list) => list.iter().any(|(alias, _)| alias == name),
        }
    }

    /// An alias with a path behind it, and the text that counts as its name.
    fn part(&self, call: &Call) -> (String, String) {
        let (mut text, mut name) = match call.arguments.first() {
            Some(Expr::Alias { item, .. }) => {
                let alias = self.aliases.of(*item);
                (key(alias), alias.to_owned())
            }
            _ => Default::default(),
        };
        if let Prepared::Path(steps) = &call.prepared {
            extend(steps, &mut text, &mut name);
        }
        (text, name)
    }

    /// A name that means an alias: its text has to be the alias, letter by letter.
    fn alias(&self, path: Option<u32>, item: u32) -> String {
        let alias = self.aliases.of(item);
        let Some(path) = path.and_then(|path| self.paths.get(path as usize)) else {
            return key(alias);
        };
        let (text, name) = plain(&path.steps);
        if name == alias {
            return text;
        }
        match path::quoted(alias) {
            Ok(Quoted::Path(steps)) if steps == path.steps => in_quotes(alias),
            _ => in_backticks(alias),
        }
    }
}

impl Arithmetic {
    /// How it is written.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::IntegerDivide => "DIV",
            Self::Concat => "||",
        }
    }
}

impl Comparison {
    /// How it is written.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

fn precedence(expr: &Expr) -> u8 {
    match expr {
        Expr::Or(_) => OR,
        Expr::And(_) => AND,
        Expr::Not(_) => NOT,
        Expr::Compare(..)
        | Expr::Between { .. }
        | Expr::InSet { .. }
        | Expr::In { .. }
        | Expr::Like { .. }
        | Expr::LikeAny { .. }
        | Expr::IsNull { .. }
        | Expr::IsMissing { .. } => COMPARISON,
        Expr::Arithmetic(_, rest) => match rest.first() {
            Some((Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Concat, _)) => SUM,
            _ => PRODUCT,
        },
        Expr::Negate(_) => UNARY,
        // `--1` would be a comment.
        Expr::Const(Const::Number(_, text)) if text.starts_with('-') => UNARY,
        _ => ATOM,
    }
}

/// A constant, as it reads back.
pub(crate) fn constant(constant: &Const) -> String {
    match constant {
        Const::Null => "NULL".into(),
        Const::Bool(true) => "TRUE".into(),
        Const::Bool(false) => "FALSE".into(),
        Const::Number(_, text) => text.clone(),
        Const::String(text) => string(text),
    }
}

/// Text in single quotes. A backslash before a quote can't be written; what was read never has one.
pub(crate) fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// True when [`string`] reads back as the same text: each backslash takes the next character with
/// it, and a quote can't be that one.
pub(crate) fn has_literal(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char == '\\' && matches!(chars.next(), None | Some('\'')) {
            return false;
        }
    }
    true
}
