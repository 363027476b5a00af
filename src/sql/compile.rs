//! From the text of a statement to its tree, with every mistake that can be told apart: one of each
//! item, of FROM and of WHERE.

use std::ops::Range;

use contract::TopicFilter;

use super::check::{self, Finding};
use super::elements::Unnest;
use super::error::{Error, Mistakes, Position, Warning};
use super::expr::{Const, Content, Expr, Item};
use super::lex::{Lexed, lex};
use super::lower::{Lowering, too_deep};
use super::measure::Measure;
use super::predicate::Program;
use super::project::Projection;
use super::query::{Query, is_system, without_sys};
use super::statement::{self, RawItem, Shape, What};
use super::unnest::{self, Clause, Form};
use super::{DataType, Options};

/// A compiled statement whose WHERE is still a tree: what explains and prints it needs that, what
/// runs it does not.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Without its WHERE.
    pub(crate) query: Query,
    pub(crate) condition: Option<Expr>,
    /// How it names the elements of UNNEST.
    pub(crate) form: Option<Form>,
}

impl Tree {
    /// As [`Query::compile`], with every mistake.
    pub(crate) fn compile(text: &str, options: &Options) -> Result<Self, Mistakes> {
        let lexed = lex(text, &options.limits)?;
        let parts = statement::split(&lexed)?;
        let condition = parts.filter.map(|range| Ok((&lexed, range)));
        let filter = topic_filter(&parts.topic.0, parts.topic.1, options);
        let unnest = parts.unnest.map(|clause| (&lexed, clause));
        build(Ok((&lexed, parts.select)), unnest, condition, filter, options, |_, error| error)
    }

    /// As [`Query::from_parts`], with every mistake.
    pub(crate) fn from_parts(
        select: &str,
        from: &str,
        filter: Option<&str>,
        options: &Options,
    ) -> Result<Self, Mistakes> {
        let start = Position { line: 1, column: 1 };
        let topic = match unnest::in_filter(from) {
            true => Err(unnest::not_in_parts(start)),
            false => topic_filter(from, start, options),
        };
        let items = lexed(select, options);
        let condition = filter.map(|text| lexed(text, options));
        build(borrowed(&items), None, condition.as_ref().map(borrowed), topic, options, named)
    }

    /// The statement as it runs.
    pub(crate) fn finish(mut self) -> Query {
        let condition = match &mut self.query.unnest {
            Some(unnest) => unnest.keep(self.condition, &self.query.items, &self.query.paths),
            None => self.condition,
        };
        Query { condition: condition.map(Program::new), ..self.query }
    }
}

/// Checks a topic filter and takes the `/sys` of a system topic away.
fn topic_filter(
    text: &str,
    at: Position,
    options: &Options,
) -> Result<(TopicFilter, Option<Warning>), Error> {
    let remark = check::topics(text).map(|found| {
        let Finding { message, hint, .. } = found;
        Warning { message, line: at.line, column: at.column, hint, part: "FROM" }
    });
    let text = without_sys(text);
    let filter = TopicFilter::parse(text.to_owned(), options.topic_limits).map_err(|error| {
        Error::at(at, error.to_string())
            .expected("a topic filter")
            .hint("`+` stands for one level, `#` for all that follow: \"/product/+/user/#\"")
    })?;
    if options.data_type == DataType::Binary && is_system(text) {
        return Err(Error::at(at, "a binary rule cannot read a system topic")
            .expected("a custom topic")
            .hint("system topics carry JSON: use `data_type: json`"));
    }
    Ok((filter, remark))
}

/// The words of a part of a statement.
type Words<'a, 't> = Result<(&'a Lexed<'t>, Range<usize>), Error>;

/// The words of a part that is a text of its own.
fn lexed<'t>(text: &'t str, options: &Options) -> Result<(Lexed<'t>, Range<usize>), Error> {
    let lexed = lex(text, &options.limits)?;
    let range = statement::trimmed(&lexed, 0..lexed.lexemes.len())?;
    Ok((lexed, range))
}

fn borrowed<'a, 't>(found: &'a Result<(Lexed<'t>, Range<usize>), Error>) -> Words<'a, 't> {
    found.as_ref().map(|(lexed, range)| (lexed, range.clone())).map_err(Error::clone)
}

/// What is wrong in a part that is a text of its own, with the name of the part.
fn named(part: &'static str, mut error: Error) -> Error {
    let name = if part == "FROM" { "the topic filter" } else { part };
    error.message = format!("in {name}: {}", error.message);
    error.part = Some(part);
    error
}

/// Makes the tree of the parts. `name` is told of each mistake and the part that it is in.
fn build(
    select: Words<'_, '_>,
    unnest: Option<(&Lexed<'_>, Clause)>,
    condition: Option<Words<'_, '_>>,
    filter: Result<(TopicFilter, Option<Warning>), Error>,
    options: &Options,
    name: fn(&'static str, Error) -> Error,
) -> Result<Tree, Mistakes> {
    let mut lowering = Lowering::new(options.data_type, options.limits);
    let clause_at = unnest.as_ref().map(|(_, clause)| clause.at);
    let source = unnest.map_or(Ok(()), |(lexed, clause)| from_clause(lexed, clause, &mut lowering));
    let from = both(filter.map_err(Mistakes::from), source.map_err(Mistakes::from));
    lowering.warnings.iter_mut().for_each(|warning| warning.part = "FROM");
    let mut selected = Selected::default();
    let raw = select
        .and_then(|(lexed, range)| Ok((lexed, statement::items(lexed, range, &lowering.limits)?)));
    // Without the names that SELECT gives, WHERE can't be judged.
    let split = raw.is_ok();
    let items = raw
        .map_err(Mistakes::from)
        .and_then(|(lexed, raw)| items(lexed, raw, &mut lowering, &mut selected));
    let in_select = lowering.warnings.len();
    let condition = condition.filter(|words| split || words.is_err()).transpose();
    let condition = condition.and_then(|words| match words {
        Some((lexed, range)) if !range.is_empty() => {
            parse_condition(lexed, range, &mut lowering, &selected.measures).map(Some)
        }
        _ => Ok(None),
    });
    let named = |part| move |mistakes: Mistakes| mistakes.map(|error| name(part, error));
    let condition = condition.map_err(|error| Mistakes::from(error).map(|e| name("WHERE", e)));
    let head = both(items.map_err(named("SELECT")), from.map_err(named("FROM")));
    let (((), ((filter, remark), ())), condition) = both(head, condition)?;
    lowering.warnings.iter_mut().skip(in_select).for_each(|warning| warning.part = "WHERE");
    if let Some(at) = clause_at {
        lowering.elements_unnamed(at);
    }
    lowering.warnings.extend(remark);
    Ok(finished(lowering, selected, filter, condition, options))
}

/// The tree of parts that are right.
fn finished(
    mut lowering: Lowering,
    Selected { mut items, measures, .. }: Selected,
    filter: TopicFilter,
    condition: Option<Expr>,
    options: &Options,
) -> Tree {
    // Queries are many and live long: nothing is kept for growth.
    lowering.warnings.shrink_to_fit();
    items.shrink_to_fit();
    lowering.paths.shrink_to_fit();
    lowering.paths.iter_mut().for_each(|path| path.steps.shrink_to_fit());
    let paths = &lowering.paths;
    let (source, form) = lowering.unnest.take().unzip();
    let parts = measures.iter().copied().chain(condition.iter().map(|c| Measure::of(c, &measures)));
    let parts = parts.fold(1, |sum: usize, part| sum.saturating_add(part.nodes));
    let unnest = source.map(|source| Box::new(Unnest::new(source, paths, &options.limits, parts)));
    let query = Query {
        data_type: options.data_type,
        filter,
        projection: Projection::new(&items),
        items,
        condition: None,
        unnest,
        paths: lowering.paths,
        json_paths: lowering.json_paths,
        warnings: lowering.warnings,
        time_zone: options.time_zone.clone(),
        work: options.limits.work,
    };
    Tree { query, condition, form }
}

/// Both, or what is wrong with either.
fn both<A, B>(one: Result<A, Mistakes>, other: Result<B, Mistakes>) -> Result<(A, B), Mistakes> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(one.and(other)),
        (Err(mistakes), Ok(_)) | (Ok(_), Err(mistakes)) => Err(mistakes),
    }
}

fn from_clause(lexed: &Lexed<'_>, clause: Clause, lowering: &mut Lowering) -> Result<(), Error> {
    let at = clause.at;
    lowering.unnest_from(lexed, clause)?;
    check_source(lowering, &[], at)
}

fn parse_condition(
    lexed: &Lexed<'_>,
    range: Range<usize>,
    lowering: &mut Lowering,
    items: &[Measure],
) -> Result<Expr, Error> {
    let at = lexed.lexemes[range.start].at;
    if let Some((place, found)) = check::quoted(&lexed.lexemes[range.clone()]) {
        check::warn(&mut lowering.warnings, Some(place), found);
    }
    let parsed = statement::parse(lexed, range)?;
    let condition = lowering.lower(&parsed, at)?;
    measured(&condition, items, lowering, at)?;
    if let Some(found) = check::filter(&condition, &lowering.printer()) {
        check::warn(&mut lowering.warnings, Some(at), found);
    }
    Ok(condition)
}

/// Holds an expression with its aliases against the limits.
fn measured(
    expr: &Expr,
    items: &[Measure],
    lowering: &Lowering,
    at: Position,
) -> Result<Measure, Error> {
    let measure = Measure::of(expr, items);
    if measure.depth > lowering.limits.depth {
        return Err(too_deep(at, &lowering.limits));
    }
    if measure.nodes > lowering.limits.nodes {
        let message = format!(
            "with its aliases the expression has more than {} parts",
            lowering.limits.nodes
        );
        return Err(Error::at(at, message)
            .expected(format!("at most {} parts", lowering.limits.nodes))
            .hint("name the fields instead of aliases"));
    }
    Ok(measure)
}

/// Holds the argument of UNNEST against the limits.
fn check_source(lowering: &Lowering, items: &[Measure], at: Position) -> Result<(), Error> {
    let Some((source, _)) = &lowering.unnest else { return Ok(()) };
    measured(source, items, lowering, at).map(|_| ())
}

/// The items as far as they were read.
#[derive(Default)]
struct Selected {
    items: Vec<Item>,
    /// Of each item.
    measures: Vec<Measure>,
    /// Where each stands.
    places: Vec<Position>,
}

/// Reads the items. One that is wrong leaves its name, so that the others can be judged.
fn items(
    lexed: &Lexed<'_>,
    raw: Vec<RawItem>,
    lowering: &mut Lowering,
    selected: &mut Selected,
) -> Result<(), Mistakes> {
    let count = raw.len();
    let mut result = Ok(());
    for raw in raw {
        let at = lexed.lexemes[raw.expr.start].at;
        let alias = raw.alias.clone();
        let unnested = lowering.unnest.is_some();
        let read = item(lexed, raw, lowering, count, at)
            .and_then(|item| Ok((weighed(&item, lowering, selected, unnested, at)?, item)));
        // The elements come after WHERE: no expression can name them.
        let elements = !unnested && lowering.unnest.is_some();
        let (measure, item) = match read {
            Ok(read) => read,
            Err(error) => {
                result = both(result, Err::<(), _>(Mistakes::from(error))).map(drop);
                let content = Content::Value(Expr::Const(Const::Null));
                let aliased = alias.is_some();
                (Measure::default(), Item { key: alias.unwrap_or_default(), content, aliased })
            }
        };
        if item.aliased && !elements && matches!(item.content, Content::Value(_)) {
            let index = u32::try_from(selected.items.len()).unwrap_or(u32::MAX);
            lowering.aliases.push((item.key.clone(), index));
        }
        selected.places.push(at);
        selected.measures.push(measure);
        selected.items.push(item);
    }
    check::keys(&selected.items, &selected.places, &mut lowering.warnings);
    result
}

/// Holds an item against the limits; `unnested`: UNNEST was known before it.
fn weighed(
    item: &Item,
    lowering: &Lowering,
    selected: &Selected,
    unnested: bool,
    at: Position,
) -> Result<Measure, Error> {
    if !unnested {
        check_source(lowering, &selected.measures, at)?;
    }
    match &item.content {
        Content::All => Ok(Measure::default()),
        Content::Spread(expr) | Content::Value(expr) => {
            measured(expr, &selected.measures, lowering, at)
        }
    }
}

fn item(
    lexed: &Lexed<'_>,
    raw: RawItem,
    lowering: &mut Lowering,
    count: usize,
    at: Position,
) -> Result<Item, Error> {
    let aliased = raw.alias.is_some();
    if raw.shape == Shape::All {
        if count > 1 && lowering.data_type == DataType::Binary {
            return Err(Error::at(at, "`*` stands alone in a binary rule")
                .expected("`*` alone, or functions")
                .hint("to_base64(*) puts the payload beside other items"));
        }
        return Ok(Item { key: "*".into(), content: Content::All, aliased });
    }
    let source = {
        let all = &lexed.lexemes[raw.expr.clone()];
        let start = all.first().map_or(0, |lexeme| lexeme.start);
        lexed.source(start, all.last().map_or(start, |lexeme| lexeme.end)).to_owned()
    };
    if let Some(expr) = lowering.unnest_item(lexed, &raw, &source)? {
        let key = raw.alias.unwrap_or(source);
        return Ok(Item { key, content: Content::Value(expr), aliased });
    }
    if lowering.data_type == DataType::Json
        && let Some(found) = check::item(&lexed.lexemes[raw.all.clone()])
    {
        check::warn(&mut lowering.warnings, Some(at), found);
    }
    let parsed = statement::parse(lexed, raw.expr)?;
    let expr = lowering.lower(&parsed, at)?;
    let path = match parsed.names.as_slice() {
        [name] if matches!(name.what, What::Quoted(_)) => Some(name.text.clone()),
        _ => None,
    }
    .filter(|_| matches!(parsed.expr, sqlparser::ast::Expr::Identifier(_)));
    if raw.shape == Shape::Spread {
        let is_path = match &expr {
            Expr::Call(call) => call.is_part(),
            expr => matches!(expr, Expr::Path(_) | Expr::Alias { .. }),
        };
        if !is_path {
            return Err(Error::at(at, "only an object of the document can be spread")
                .expected("a path such as `a.b.*`")
                .hint("write the path without index wildcards or wrapping"));
        }
        return Ok(Item { key: source, content: Content::Spread(expr), aliased });
    }
    let spreads = matches!(&expr, Expr::Call(call) if call.function.spreads) && !aliased;
    let key = raw.alias.or(path).unwrap_or(source);
    let content = if spreads { Content::Spread(expr) } else { Content::Value(expr) };
    Ok(Item { key, content, aliased })
}
