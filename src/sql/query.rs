//! One statement, compiled: immutable, shared by all threads.

use std::ops::Range;

use connectors::contract::{Body, Topic, TopicFilter, TopicLimits};

use super::check::{self, Finding};
use super::elements::Unnest;
use super::error::{Error, Position, Warning};
use super::eval::Context;
use super::expr::{Content, Expr, Item};
use super::json_path::JsonPath;
use super::lex::{Lexed, lex};
use super::lower::{Lowering, too_deep};
use super::measure::Measure;
use super::path::Path;
use super::plan::Verdict;
use super::predicate::Program;
use super::project::{self, Projection};
use super::statement::{self, RawItem, Shape, What};
use super::unnest::{self, Clause, Form};
use super::{DataType, Limits, Options};

/// A compiled statement.
#[derive(Debug)]
pub struct Query {
    data_type: DataType,
    filter: TopicFilter,
    items: Vec<Item>,
    projection: Projection,
    condition: Option<Program>,
    /// Most statements have none.
    unnest: Option<Box<Unnest>>,
    paths: Vec<Path>,
    json_paths: Vec<JsonPath>,
    warnings: Vec<Warning>,
    time_zone: jiff::tz::TimeZone,
    /// Units of work for one message.
    work: u64,
}

impl Query {
    /// Compiles `SELECT … FROM "…" [, UNNEST(…) AS …] [WHERE …]`.
    ///
    /// # Errors
    /// What is wrong, where in the text, what was expected, and a hint.
    pub fn compile(text: &str, options: &Options) -> Result<Self, Error> {
        Tree::compile(text, options).map(Tree::finish)
    }

    /// Compiles the three parts of a statement: the items, the topic filter without quotes, and the
    /// condition. An empty condition counts as none. The elements of an array are an item here:
    /// `unnest(a) AS x`.
    ///
    /// # Errors
    /// As [`Query::compile`]; the message names the part, and the position is relative to it.
    pub fn from_parts(
        select: &str,
        from: &str,
        filter: Option<&str>,
        options: &Options,
    ) -> Result<Self, Error> {
        Tree::from_parts(select, from, filter, options).map(Tree::finish)
    }

    /// A query that selects nothing, for expressions that need none of its parts.
    pub(crate) fn empty(filter: TopicFilter) -> Self {
        Self {
            data_type: DataType::Json,
            filter,
            items: Vec::new(),
            projection: Projection::new(&[]),
            condition: None,
            unnest: None,
            paths: Vec::new(),
            json_paths: Vec::new(),
            warnings: Vec::new(),
            time_zone: jiff::tz::TimeZone::UTC,
            work: Limits::default().work,
        }
    }

    /// The topics that the rule reads. A leading `/sys` before `/{pk}/{dn}/thing/` is gone: both
    /// spellings name the forwarded document.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// True when the rule reads a topic, in either spelling of a system topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match forwarded(topic) {
            Some(topic) => self.filter.matches(&topic),
            None => self.filter.matches(topic),
        }
    }

    /// The same for the text of a topic that is known to be valid.
    #[must_use]
    pub(crate) fn matches_text(&self, topic: &str) -> bool {
        TopicFilter::text_matches(self.filter.as_str(), without_sys(topic))
    }

    /// How payloads are read.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The keys that a record can have, in order; `None` when the document decides (`*`, `a.*`).
    #[must_use]
    pub fn output_keys(&self) -> Option<Vec<String>> {
        let mut keys: Vec<String> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            if !matches!(item.content, Content::Value(_)) {
                return None;
            }
            if !keys.contains(&item.key) {
                keys.push(item.key.clone());
            }
        }
        Some(keys)
    }

    /// The paths that the statement names, JSONPath aside.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// True when a message can give several records.
    #[must_use]
    pub fn unnests(&self) -> bool {
        self.unnest.is_some()
    }

    pub(crate) fn unnest(&self) -> Option<&Unnest> {
        self.unnest.as_deref()
    }

    pub(crate) fn json_paths(&self) -> &[JsonPath] {
        &self.json_paths
    }

    pub(crate) fn condition(&self) -> Option<&Program> {
        self.condition.as_ref()
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn time_zone(&self) -> &jiff::tz::TimeZone {
        &self.time_zone
    }

    /// The units of work that one message may take.
    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    /// The expression of an item that has one.
    pub(crate) fn value_of(&self, item: usize) -> Option<&Expr> {
        match &self.items.get(item)?.content {
            Content::Value(expr) => Some(expr),
            _ => None,
        }
    }

    /// WHERE, then SELECT.
    pub(crate) fn run<'a>(&'a self, context: &mut Context<'a, '_>, out: &mut Vec<u8>) -> Verdict {
        let fires = self.condition.as_ref().is_none_or(|condition| condition.fires(context));
        if context.aborted {
            return Verdict::Aborted;
        }
        if !fires {
            return Verdict::Filtered;
        }
        self.select(context, out);
        match (context.aborted, &self.projection) {
            (true, _) => Verdict::Aborted,
            (false, Projection::Payload) if self.data_type == DataType::Binary => {
                Verdict::Selected(Body::Binary)
            }
            (false, _) => Verdict::Selected(Body::Json),
        }
    }

    /// SELECT alone: appends one record, nothing when the run is aborted.
    pub(crate) fn select<'a>(&'a self, context: &mut Context<'a, '_>, out: &mut Vec<u8>) {
        project::write(context, &self.items, &self.projection, out);
    }
}

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
    /// As [`Query::compile`].
    pub(crate) fn compile(text: &str, options: &Options) -> Result<Self, Error> {
        let lexed = lex(text, &options.limits)?;
        let parts = statement::split(&lexed)?;
        let condition = parts.filter.map(|range| (&lexed, range));
        let filter = topic_filter(&parts.topic.0, parts.topic.1, options)?;
        let unnest = parts.unnest.map(|clause| (&lexed, clause));
        build((&lexed, parts.select), unnest, condition, filter, options)
            .map_err(|(_, error)| error)
    }

    /// As [`Query::from_parts`].
    pub(crate) fn from_parts(
        select: &str,
        from: &str,
        filter: Option<&str>,
        options: &Options,
    ) -> Result<Self, Error> {
        let named = |part: &'static str| {
            move |mut error: Error| {
                let name = if part == "FROM" { "the topic filter" } else { part };
                error.message = format!("in {name}: {}", error.message);
                error.part = Some(part);
                error
            }
        };
        let start = Position { line: 1, column: 1 };
        if unnest::in_filter(from) {
            return Err(named("FROM")(unnest::not_in_parts(start)));
        }
        let topic = topic_filter(from, start, options).map_err(named("FROM"))?;
        let items = lex(select, &options.limits).map_err(named("SELECT"))?;
        let range = statement::trimmed(&items, 0..items.lexemes.len()).map_err(named("SELECT"))?;
        let condition = filter
            .map(|text| {
                let lexed = lex(text, &options.limits)?;
                let range = statement::trimmed(&lexed, 0..lexed.lexemes.len())?;
                Ok((lexed, range))
            })
            .transpose()
            .map_err(named("WHERE"))?;
        let condition = condition.as_ref().map(|(lexed, range)| (lexed, range.clone()));
        build((&items, range), None, condition, topic, options)
            .map_err(|(part, error)| named(part)(error))
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

/// The topic under which rules know a system topic: without the leading `/sys`. `None` for a topic
/// that keeps its name.
#[must_use]
pub fn forwarded(topic: &Topic) -> Option<Topic> {
    let short = without_sys(topic.as_str());
    if short.len() == topic.as_str().len() {
        return None;
    }
    let limits = TopicLimits { bytes: short.len(), levels: usize::MAX };
    Topic::parse(short.to_owned(), limits).ok()
}

/// A topic or filter without the `/sys` before `/{pk}/{dn}/thing/`.
pub(crate) fn without_sys(text: &str) -> &str {
    match text.strip_prefix("/sys") {
        Some(rest) if is_system(rest) => rest,
        _ => text,
    }
}

/// True for `/{pk}/{dn}/thing/…`.
fn is_system(text: &str) -> bool {
    let mut levels = text.split('/');
    levels.next() == Some("") && levels.nth(2) == Some("thing") && levels.next().is_some()
}

/// An error and the part that it is in.
type PartError = (&'static str, Error);

fn build(
    select: (&Lexed<'_>, Range<usize>),
    unnest: Option<(&Lexed<'_>, Clause)>,
    condition: Option<(&Lexed<'_>, Range<usize>)>,
    (filter, remark): (TopicFilter, Option<Warning>),
    options: &Options,
) -> Result<Tree, PartError> {
    let mut lowering = Lowering::new(options.data_type, options.limits);
    let select_part = |error| ("SELECT", error);
    let clause_at = unnest.as_ref().map(|(_, clause)| clause.at);
    if let Some((lexed, clause)) = unnest {
        let at = clause.at;
        lowering.unnest_from(lexed, clause).map_err(|error| ("FROM", error))?;
        check_source(&lowering, &[], at).map_err(|error| ("FROM", error))?;
        lowering.warnings.iter_mut().for_each(|warning| warning.part = "FROM");
    }
    let (mut items, measures) = items(select.0, select.1, &mut lowering).map_err(select_part)?;
    let in_select = lowering.warnings.len();
    let condition = match condition {
        Some((lexed, range)) if !range.is_empty() => {
            let at = lexed.lexemes[range.start].at;
            if let Some((place, found)) = check::quoted(&lexed.lexemes[range.clone()]) {
                check::warn(&mut lowering.warnings, Some(place), found);
            }
            let condition = parse_condition(lexed, range, &mut lowering, &measures, at)
                .map_err(|error| ("WHERE", error))?;
            Some(condition)
        }
        _ => None,
    };
    lowering.warnings.iter_mut().skip(in_select).for_each(|warning| warning.part = "WHERE");
    if let Some(at) = clause_at {
        lowering.elements_unnamed(at);
    }
    lowering.warnings.extend(remark);
    lowering.warnings.shrink_to_fit();
    // Queries are many and live long: nothing is kept for growth.
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
    Ok(Tree { query, condition, form })
}

fn parse_condition(
    lexed: &Lexed<'_>,
    range: Range<usize>,
    lowering: &mut Lowering,
    items: &[Measure],
    at: Position,
) -> Result<Expr, Error> {
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

fn items(
    lexed: &Lexed<'_>,
    range: Range<usize>,
    lowering: &mut Lowering,
) -> Result<(Vec<Item>, Vec<Measure>), Error> {
    let mut items: Vec<Item> = Vec::new();
    let mut measures = Vec::new();
    let mut places = Vec::new();
    let raw = statement::items(lexed, range, &lowering.limits)?;
    let count = raw.len();
    for raw in raw {
        let at = lexed.lexemes[raw.expr.start].at;
        let known = lowering.unnest.is_some();
        places.push(at);
        let item = item(lexed, raw, lowering, count, at)?;
        // The elements come after WHERE: no expression can name them.
        let elements = !known && lowering.unnest.is_some();
        if elements {
            check_source(lowering, &measures, at)?;
        }
        let measure = match &item.content {
            Content::All => Measure::default(),
            Content::Spread(expr) | Content::Value(expr) => {
                measured(expr, &measures, lowering, at)?
            }
        };
        measures.push(measure);
        if item.aliased && !elements && matches!(item.content, Content::Value(_)) {
            let index = u32::try_from(items.len()).unwrap_or(u32::MAX);
            lowering.aliases.push((item.key.clone(), index));
        }
        items.push(item);
    }
    check::keys(&items, &places, &mut lowering.warnings);
    Ok((items, measures))
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
