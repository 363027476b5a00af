//! From sqlparser's tree to ours: names become paths, calls are checked, constants are folded.

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use super::check;
use super::dialect::{CALL, CHAIN, STAR};
use super::error::{Error, Position, Warning};
use super::examine::start;
use super::expr::{Arithmetic, Call, Case, Comparison, Const, Expr};
use super::functions::{Function, Kind, PART, Prepared};
use super::json_path::JsonPath;
use super::like::Pattern;
use super::number::Num;
use super::path::{Path, Quoted, Step};
use super::set::Set;
use super::statement::{Named, Parsed, What, position};
use super::unnest::Form;
use super::{DataType, Limits};

/// What the expressions of one statement share.
#[derive(Debug)]
pub(crate) struct Lowering {
    pub(crate) data_type: DataType,
    pub(crate) limits: Limits,
    pub(crate) paths: Vec<Path>,
    pub(crate) json_paths: Vec<JsonPath>,
    pub(crate) warnings: Vec<Warning>,
    /// The aliases that a name may mean, with their items.
    pub(crate) aliases: Vec<(String, u32)>,
    /// The array that UNNEST takes apart, and what its elements are called.
    pub(crate) unnest: Option<(Expr, Form)>,
    /// True once the element or its index is named.
    pub(crate) element_named: bool,
    /// Calls so far.
    pub(crate) sites: u32,
    nodes: usize,
}

/// The expression that is being lowered.
struct Within<'p> {
    names: &'p [Named],
    /// Where it starts.
    at: Position,
    left: usize,
}

impl Within<'_> {
    fn deeper(&self, limits: &Limits) -> Result<Within<'_>, Error> {
        let left = self.left.checked_sub(1).ok_or_else(|| too_deep(self.at, limits))?;
        Ok(Within { names: self.names, at: self.at, left })
    }

    fn named(&self, ident: &ast::Ident) -> Result<&Named, Error> {
        named(self.names, ident).ok_or_else(|| unsupported(self.at))
    }
}

/// What a word stands for.
pub(crate) fn named<'p>(names: &'p [Named], ident: &ast::Ident) -> Option<&'p Named> {
    names.get(ident.value.get(1..)?.parse::<usize>().ok()?)
}

/// The error for an expression that is too deep.
pub(crate) fn too_deep(at: Position, limits: &Limits) -> Error {
    Error::at(at, format!("nested deeper than {} levels", limits.depth))
        .expected(format!("at most {} levels", limits.depth))
        .hint("simplify the expression")
}

fn unsupported(at: Position) -> Error {
    Error::at(at, "this expression is not supported")
        .expected("operators, functions, CASE, fields and constants")
        .hint("`tidegate describe functions` lists what there is")
}

impl Lowering {
    pub(crate) fn new(data_type: DataType, limits: Limits) -> Self {
        Self {
            data_type,
            limits,
            paths: Vec::new(),
            json_paths: Vec::new(),
            warnings: Vec::new(),
            aliases: Vec::new(),
            unnest: None,
            element_named: false,
            sites: 0,
            nodes: 0,
        }
    }

    /// Lowers one expression that starts at a position.
    pub(crate) fn lower(&mut self, parsed: &Parsed, at: Position) -> Result<Expr, Error> {
        // Parentheses take a level here but none in our tree, hence twice the limit; `measure`
        // holds the tree itself against the limit.
        let within = Within { names: &parsed.names, at, left: 2 * self.limits.depth };
        self.expr(&parsed.expr, &within)
    }

    fn expr(&mut self, expr: &ast::Expr, within: &Within<'_>) -> Result<Expr, Error> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("the statement has more than {} parts", self.limits.nodes);
            return Err(Error::at(within.at, message)
                .expected("names, constants and operators up to that number")
                .hint("write x IN (…) for many alternatives"));
        }
        let within = &within.deeper(&self.limits)?;
        let lowered = self.form(expr, within)?;
        if matches!(expr, ast::Expr::Nested(_)) {
            Ok(lowered)
        } else {
            self.examine(lowered, expr, within.names, within.at)
        }
    }

    fn form(&mut self, expr: &ast::Expr, within: &Within<'_>) -> Result<Expr, Error> {
        match expr {
            ast::Expr::Identifier(ident) => self.name(within.named(ident)?),
            ast::Expr::Value(value) => constant(&value.value).ok_or_else(|| unsupported(within.at)),
            ast::Expr::Nested(inner) => {
                self.nodes -= 1;
                self.expr(inner, within)
            }
            ast::Expr::Tuple(parts) => self.tuple(parts, within),
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr, within),
            ast::Expr::BinaryOp { left, op, right } => {
                let op = comparison(op).ok_or_else(|| unsupported(within.at))?;
                let sides = (self.expr(left, within)?, self.expr(right, within)?);
                Ok(Expr::Compare(op, Box::new(sides)))
            }
            ast::Expr::IsNull(inner) => self.is(inner, within, false, false),
            ast::Expr::IsNotNull(inner) => self.is(inner, within, true, false),
            ast::Expr::IsUnknown(inner) => self.is(inner, within, false, true),
            ast::Expr::IsNotUnknown(inner) => self.is(inner, within, true, true),
            ast::Expr::InList { expr, list, negated } => self.list(expr, list, *negated, within),
            ast::Expr::Between { expr, negated, low, high } => {
                let parts = Box::new([
                    self.expr(expr, within)?,
                    self.expr(low, within)?,
                    self.expr(high, within)?,
                ]);
                Ok(Expr::Between { negated: *negated, parts })
            }
            ast::Expr::Like { negated, expr, pattern, .. } => {
                self.like(*negated, expr, pattern, within)
            }
            ast::Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), within)
            }
            _ => Err(unsupported(within.at)),
        }
    }

    fn is(
        &mut self,
        inner: &ast::Expr,
        within: &Within<'_>,
        negated: bool,
        missing: bool,
    ) -> Result<Expr, Error> {
        let value = Box::new(self.expr(inner, within)?);
        Ok(if missing {
            Expr::IsMissing { negated, value }
        } else {
            Expr::IsNull { negated, value }
        })
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        let operand = operand.map(|operand| self.expr(operand, within)).transpose()?;
        let arms = conditions
            .iter()
            .map(|arm| Ok((self.expr(&arm.condition, within)?, self.expr(&arm.result, within)?)))
            .collect::<Result<_, Error>>()?;
        let otherwise = otherwise.map(|result| self.expr(result, within)).transpose()?;
        Ok(Expr::Case(Box::new(Case { operand, arms, otherwise })))
    }

    fn unary(
        &mut self,
        op: UnaryOperator,
        inner: &ast::Expr,
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        let inner = self.expr(inner, within)?;
        match (op, inner) {
            (UnaryOperator::Not, inner) => Ok(Expr::Not(Box::new(inner))),
            (UnaryOperator::Minus, Expr::Const(Const::Number(num, text)))
                if !text.starts_with('-') =>
            {
                // As computed: there is no negative zero.
                if num.as_f64() == 0.0 {
                    return Ok(Expr::Const(Const::Number(Num::Int(0), "0".into())));
                }
                let negative = format!("-{text}");
                // Only an integer beyond u64 gets here without a value of its own.
                let num = Num::parse(negative.as_bytes()).unwrap_or(num);
                Ok(Expr::Const(Const::Number(num, negative)))
            }
            (UnaryOperator::Minus, inner) => Ok(Expr::Negate(Box::new(inner))),
            (UnaryOperator::Plus, inner @ Expr::Const(Const::Number(..))) => Ok(inner),
            (UnaryOperator::Plus, inner) => {
                // `+x` is a number or an error, as `x + 0` is.
                let zero = Expr::Const(Const::Number(Num::Int(0), "0".into()));
                Ok(Expr::Arithmetic(Box::new(inner), vec![(Arithmetic::Add, zero)]))
            }
            _ => Err(unsupported(within.at)),
        }
    }

    /// Our own forms: chains and calls.
    fn tuple(&mut self, parts: &[ast::Expr], within: &Within<'_>) -> Result<Expr, Error> {
        match parts {
            [head, ast::Expr::Identifier(name), arguments @ ..] if mark(head) == Some(CALL) => {
                let named = within.named(name)?;
                let What::Function(function) = named.what else {
                    return Err(unsupported(within.at));
                };
                self.call(function, named.at, arguments, within)
            }
            [head, first, rest @ ..] if mark(head) == Some(CHAIN) => {
                self.chain(first, rest, within)
            }
            _ => Err(unsupported(within.at)),
        }
    }

    fn chain(
        &mut self,
        first: &ast::Expr,
        rest: &[ast::Expr],
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        let first = self.expr(first, within)?;
        let logic = rest.first().and_then(mark);
        if let Some(logic @ ("AND" | "OR")) = logic {
            let mut all = vec![first];
            for operand in rest.iter().skip(1).step_by(2) {
                all.push(self.expr(operand, within)?);
            }
            return Ok(if logic == "AND" { Expr::And(all) } else { Expr::Or(all) });
        }
        let mut operands = Vec::with_capacity(rest.len() / 2);
        for pair in rest.chunks_exact(2) {
            let op = match mark(&pair[0]) {
                Some("+") => Arithmetic::Add,
                Some("-") => Arithmetic::Subtract,
                Some("*") => Arithmetic::Multiply,
                Some("/") => Arithmetic::Divide,
                Some("%") => Arithmetic::Modulo,
                Some("DIV") => Arithmetic::IntegerDivide,
                Some("||") => Arithmetic::Concat,
                _ => return Err(unsupported(within.at)),
            };
            operands.push((op, self.expr(&pair[1], within)?));
        }
        Ok(Expr::Arithmetic(Box::new(first), operands))
    }

    fn list(
        &mut self,
        value: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        if list.len() > self.limits.in_list {
            let message = format!(
                "the list has {} values, at most {} are allowed",
                list.len(),
                self.limits.in_list
            );
            return Err(Error::at(within.at, message)
                .expected(format!("at most {} values", self.limits.in_list))
                .hint("split the list: x IN (…) OR x IN (…)"));
        }
        let value = Box::new(self.expr(value, within)?);
        let mut lowered = Vec::with_capacity(list.len());
        for item in list {
            let nodes = self.nodes;
            lowered.push(self.expr(item, within)?);
            if let Some(Expr::Const(_)) = lowered.last() {
                self.nodes = nodes;
            }
        }
        let constants = lowered.iter().filter_map(|item| match item {
            Expr::Const(constant) => Some(constant),
            _ => None,
        });
        if let Some(found) = check::repeated(constants) {
            let at = list.first().map_or(within.at, |first| start(first, within.names, within.at));
            check::warn(&mut self.warnings, Some(at), found);
        }
        if lowered.iter().all(|item| matches!(item, Expr::Const(_))) {
            let constants = lowered.into_iter().filter_map(|item| match item {
                Expr::Const(constant) => Some(constant),
                _ => None,
            });
            let set = Box::new(Set::new(constants));
            return Ok(Expr::InSet { negated, value, set });
        }
        Ok(Expr::In { negated, value, list: lowered })
    }

    fn like(
        &mut self,
        negated: bool,
        value: &ast::Expr,
        pattern: &ast::Expr,
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        let value = self.expr(value, within)?;
        let at = match pattern {
            ast::Expr::Value(value) => position(value.span).unwrap_or(within.at),
            _ => within.at,
        };
        let text = match self.expr(pattern, within)? {
            Expr::Const(Const::String(text)) => text,
            pattern => {
                return Ok(Expr::LikeAny { negated, parts: Box::new((value, pattern)) });
            }
        };
        if let Some(found) = check::underscore(&text) {
            check::warn(&mut self.warnings, Some(at), found);
        }
        let pattern = Box::new(Pattern::new(&text));
        Ok(Expr::Like { negated, value: Box::new(value), pattern })
    }

    fn name(&mut self, named: &Named) -> Result<Expr, Error> {
        let What::Quoted(quoted) = &named.what else { return Err(unsupported(named.at)) };
        let item = self.aliases.iter().rev().find(|(alias, _)| *alias == named.text);
        let item = item.map(|(_, item)| *item);
        let part = match item {
            None => self.of_alias(named, quoted),
            Some(_) => None,
        };
        if self.data_type == DataType::Binary {
            return match (item, part) {
                (Some(item), _) => Ok(Expr::Alias { path: None, item }),
                (None, Some(part)) => Ok(part),
                (None, None) => {
                    let message = format!("a binary rule has no key `{}`", named.text);
                    Err(Error::at(named.at, message)
                        .expected("a function or a constant")
                        .hint("text stands in single quotes; fields need a JSON rule"))
                }
            };
        }
        if let Some(expr) = self.of_element(named, quoted)? {
            return Ok(expr);
        }
        if let Some(part) = part {
            return Ok(part);
        }
        Ok(match quoted {
            Quoted::Path(steps) => {
                if matches!(steps.as_slice(), [Step::Key(key), _, ..] if key == "payload") {
                    self.warnings.push(Warning {
                        message: format!("`{}` is a field of the key `payload`", named.text),
                        line: named.at.line,
                        column: named.at.column,
                        hint: "unless documents have such a key, name their fields without it"
                            .into(),
                        part: "SELECT",
                    });
                }
                let path = self.path(steps, &named.text, false);
                match item {
                    Some(item) => Expr::Alias { path: Some(path), item },
                    None => Expr::Path(path),
                }
            }
            Quoted::Wrapped(steps) => {
                let path = self.path(steps, named.text.trim_start_matches('.'), false);
                Expr::Wrap(Box::new(Expr::Path(path)))
            }
            Quoted::JsonPath(path) => {
                let index = number(self.json_paths.len());
                self.json_paths.push(JsonPath::clone(path));
                Expr::JsonPath(index)
            }
        })
    }

    /// What a path means whose first key is an alias; the document's own key comes before that.
    fn of_alias(&mut self, named: &Named, quoted: &Quoted) -> Option<Expr> {
        let Quoted::Path(steps) = quoted else { return None };
        let (Step::Key(first), rest) = steps.split_first()? else { return None };
        if rest.is_empty() || named.starts_at_document(first) {
            return None;
        }
        let (_, item) = *self.aliases.iter().rev().find(|(alias, _)| alias == first)?;
        let json = self.data_type == DataType::Json;
        let path = json.then(|| self.path(&steps[..1], first, false));
        let (function, arguments) = (&PART, vec![Expr::Alias { path, item }]);
        let prepared = Prepared::Path(rest.into());
        Some(Expr::Call(Box::new(Call { function, arguments, prepared, site: 0 })))
    }

    /// The number of a path into the document or an element; equal paths share one.
    pub(crate) fn path(&mut self, steps: &[Step], text: &str, element: bool) -> u32 {
        let same = |path: &Path| path.element == element && path.steps == steps;
        let known = self.paths.iter().position(same);
        number(known.unwrap_or_else(|| {
            self.paths.push(Path { steps: steps.to_vec(), text: text.to_owned(), element });
            self.paths.len() - 1
        }))
    }

    fn call(
        &mut self,
        function: &'static Function,
        at: Position,
        arguments: &[ast::Expr],
        within: &Within<'_>,
    ) -> Result<Expr, Error> {
        let (least, most) = function.arity();
        if arguments.len() < least || arguments.len() > most {
            let takes = match (least, most) {
                (0, 0) => "no arguments".to_owned(),
                (0, 1) => "at most 1 argument".to_owned(),
                (1, usize::MAX) => "at least 1 argument".to_owned(),
                (1, 1) => "1 argument".to_owned(),
                (_, usize::MAX) => format!("at least {least} arguments"),
                _ if least == most => format!("{least} arguments"),
                _ if least + 1 == most => format!("{least} or {most} arguments"),
                _ => format!("{least} to {most} arguments"),
            };
            let message = format!("`{}` takes {takes}, not {}", function.name, arguments.len());
            return Err(Error::at(at, message)
                .expected(format!("`{}`", function.signature))
                .hint(check::usage(function)));
        }
        if self.data_type == DataType::Binary && !function.reads.is_empty() {
            let message = format!("`{}` needs a JSON payload", function.name);
            return Err(Error::at(at, message)
                .expected("functions of the message or the device")
                .hint("use it in a JSON rule"));
        }
        let mut lowered = Vec::with_capacity(function.reads.len() + arguments.len());
        for key in function.reads {
            let path = self.path(&[Step::Key((*key).to_owned())], key, false);
            lowered.push(Expr::Path(path));
        }
        for (index, argument) in arguments.iter().enumerate() {
            if mark(argument) == Some(STAR) {
                if function.kind(index) != Kind::Bytes {
                    let message = format!("`*` is no argument of `{}`", function.name);
                    return Err(Error::at(at, message)
                        .expected(format!("`{}`", function.signature))
                        .hint("payload() is the whole payload as text; to_base64(*) and to_hex(*) write its bytes"));
                }
                lowered.push(Expr::Star);
            } else {
                lowered.push(self.expr(argument, within)?);
            }
        }
        for (index, argument) in lowered.iter().skip(function.reads.len()).enumerate() {
            if let Expr::Const(constant) = argument {
                check::argument(function, index, constant, at)?;
            }
        }
        let constants: Vec<Option<&Const>> = lowered[function.reads.len()..]
            .iter()
            .map(|argument| match argument {
                Expr::Const(constant) => Some(constant),
                _ => None,
            })
            .collect();
        let prepared = (function.prepare)(&constants).map_err(|problem| {
            Error::at(at, format!("`{}`: {}", function.name, problem.message))
                .expected(problem.expected)
                .hint(check::usage(function))
        })?;
        let site = self.sites;
        self.sites += 1;
        Ok(Expr::Call(Box::new(Call { function, arguments: lowered, prepared, site })))
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("invariant: the text of a statement is bounded")
}

/// The text of one of our own marks.
fn mark(expr: &ast::Expr) -> Option<&str> {
    match expr {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(text), .. }) => {
            Some(text)
        }
        _ => None,
    }
}

fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterEqual,
        _ => return None,
    })
}

fn constant(value: &ast::Value) -> Option<Expr> {
    Some(Expr::Const(match value {
        ast::Value::Null => Const::Null,
        ast::Value::Boolean(value) => Const::Bool(*value),
        ast::Value::SingleQuotedString(text) => Const::String(text.clone()),
        ast::Value::Number(text, _) => match Num::parse(text.as_bytes()) {
            Some(num) => Const::Number(num, text.clone()),
            // `.5`, `5.` and `007` are numbers of SQL, but not of JSON.
            None => {
                let num = Num::from_f64(text.parse().ok()?)?;
                Const::Number(num, num.text())
            }
        },
        _ => return None,
    }))
}
