//! Plans and messages as text for people. What is in them is decided elsewhere.

use std::fmt;

use serde_json::value::RawValue;

use super::elements::ArrayReport;
use super::plan::{ArrayPlan, Cost, PlanReport, TestReport};
use super::walk::{IN_RECORD, ItemReport, MessageReport, Node, Outcome};

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "free",
            Self::Cheap => "cheap",
            Self::Costs => "costs",
        })
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.statement)?;
        writeln!(f, "topics: {}", self.topics)?;
        match (self.json, self.fields.as_slice()) {
            (false, _) => writeln!(f, "payload: bytes, not parsed")?,
            (true, []) => writeln!(f, "payload: JSON, checked; no field is taken out")?,
            (true, fields) => {
                writeln!(f, "payload: JSON, read once; these fields are taken out:")?;
                for field in fields {
                    match field.cost {
                        Cost::Free => writeln!(f, "  {}", field.path)?,
                        cost => writeln!(f, "  {} [{cost}] ({})", field.path, field.how)?,
                    }
                }
            }
        }
        let (once, each) = match &self.unnest {
            Some(_) => (", once for the message", ", for each element"),
            None => ("", ""),
        };
        tests(f, (&self.tests, self.untested.as_deref()), once, "")?;
        if let Some(unnest) = &self.unnest {
            let ArrayPlan { array, cost, most, fields, .. } = unnest;
            writeln!(f, "unnest: the elements of {array} [{cost}], at most {most}")?;
            for field in fields {
                writeln!(f, "  {}", field.path)?;
            }
            tests(f, (&unnest.tests, unnest.untested.as_deref()), each, "  ")?;
        }
        writeln!(f, "select{each}:")?;
        for item in &self.items {
            let key =
                if item.key == item.expression { String::new() } else { format!("{}: ", item.key) };
            writeln!(f, "  {key}{} [{}] ({})", item.expression, item.cost, item.adds)?;
        }
        if !self.functions.is_empty() {
            writeln!(f, "functions:")?;
        }
        for function in &self.functions {
            writeln!(f, "  {function}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// Tests, or what there is in their place.
fn tests(
    f: &mut fmt::Formatter<'_>,
    (tests, untested): (&[TestReport], Option<&str>),
    when: &str,
    indent: &str,
) -> fmt::Result {
    match untested {
        Some(text) => writeln!(f, "{indent}where{when}: {text}")?,
        None => writeln!(f, "{indent}where{when}, in this order:")?,
    }
    for test in tests {
        writeln!(f, "{indent}  {}. {} [{}]", test.number, test.test, test.cost)?;
        writeln!(f, "{indent}     {}", test.then)?;
    }
    Ok(())
}

impl fmt::Display for MessageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Fires => "fires",
            Outcome::Filtered => "does not fire",
            Outcome::Aborted => "aborted",
            Outcome::InvalidPayload => "invalid payload",
            Outcome::OtherTopic => "other topic",
        };
        writeln!(f, "{outcome}: {}", self.because)?;
        if let Some(condition) = &self.condition {
            writeln!(f, "where:")?;
            node(f, condition, 1)?;
        }
        select(f, &self.items, "")?;
        if let Some(unnest) = &self.unnest {
            array(f, unnest, &self.records)?;
        } else {
            self.records.iter().try_for_each(|one| record(f, one, ""))?;
        }
        if self.cut {
            writeln!(f, "(there are more parts than are shown)")?;
        }
        Ok(())
    }
}

/// The array of UNNEST and its elements.
fn array(
    f: &mut fmt::Formatter<'_>,
    found: &ArrayReport,
    records: &[Option<Box<RawValue>>],
) -> fmt::Result {
    writeln!(f, "unnest:")?;
    if let Some(array) = &found.array {
        node(f, array, 1)?;
    }
    for element in &found.elements {
        let outcome = if element.fires { "gives a record" } else { "gives no record" };
        writeln!(f, "element {}: {}", element.index, element.value)?;
        writeln!(f, "  {outcome}: {}", element.because)?;
        if let Some(condition) = &element.condition {
            writeln!(f, "  where:")?;
            node(f, condition, 2)?;
        }
        select(f, &element.items, "  ")?;
        if let Some(one) = element.record.and_then(|at| records.get(at)) {
            record(f, one, "  ")?;
        }
    }
    let more = found.count.saturating_sub(found.elements.len());
    if more > 0 {
        let fire = found.fire.saturating_sub(found.records());
        let verb = if fire == 1 { "fires" } else { "fire" };
        writeln!(f, "… and {more} more, {fire} of them {verb}")?;
    }
    Ok(())
}

/// The items of SELECT.
fn select(f: &mut fmt::Formatter<'_>, items: &[ItemReport], indent: &str) -> fmt::Result {
    if !items.is_empty() {
        writeln!(f, "{indent}select:")?;
    }
    items.iter().try_for_each(|item| self::item(f, item, indent))
}

fn record(f: &mut fmt::Formatter<'_>, record: &Option<Box<RawValue>>, indent: &str) -> fmt::Result {
    match record {
        Some(record) => writeln!(f, "{indent}record: {}", record.get()),
        None => writeln!(f, "{indent}record: too long to be shown"),
    }
}

fn item(f: &mut fmt::Formatter<'_>, item: &ItemReport, indent: &str) -> fmt::Result {
    let Some(value) = &item.value else {
        return writeln!(f, "{indent}  {} ({})", item.key, item.effect);
    };
    let key = if item.key == value.expression { String::new() } else { format!("{}: ", item.key) };
    write!(f, "{indent}  {key}{}", line(value))?;
    // What is usual is not said.
    match item.effect {
        IN_RECORD => writeln!(f)?,
        effect => writeln!(f, " ({effect})")?,
    }
    let level = 2 + indent.len() / 2;
    value.parts.iter().try_for_each(|part| node(f, part, level))
}

fn node(f: &mut fmt::Formatter<'_>, found: &Node, level: usize) -> fmt::Result {
    let role = found.role.map_or_else(String::new, |role| format!("{role} "));
    let unneeded = if found.unneeded { " (not needed)" } else { "" };
    writeln!(f, "{}{role}{}{unneeded}", "  ".repeat(level), line(found))?;
    found.parts.iter().try_for_each(|part| node(f, part, level + 1))
}

/// An expression and its value.
fn line(found: &Node) -> String {
    let mut line = format!("{} -> {}", found.expression, found.value);
    if let Some(error) = &found.error {
        line.push_str(" ! ");
        line.push_str(error);
    }
    if let Some(note) = &found.note {
        line.push_str(&format!(" ({note})"));
    }
    line
}
