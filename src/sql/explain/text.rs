//! Plans and messages as text for people. What is in them is decided elsewhere.

use std::fmt;

use super::plan::{Cost, PlanReport};
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
        match &self.untested {
            Some(text) => writeln!(f, "where: {text}")?,
            None => writeln!(f, "where, in this order:")?,
        }
        for test in &self.tests {
            writeln!(f, "  {}. {} [{}]", test.number, test.test, test.cost)?;
            writeln!(f, "     {}", test.then)?;
        }
        writeln!(f, "select:")?;
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
        if !self.items.is_empty() {
            writeln!(f, "select:")?;
        }
        for item in &self.items {
            self::item(f, item)?;
        }
        for record in &self.records {
            match record {
                Some(record) => writeln!(f, "record: {}", record.get())?,
                None => writeln!(f, "record: too long to be shown")?,
            }
        }
        if self.cut {
            writeln!(f, "(there are more parts than are shown)")?;
        }
        Ok(())
    }
}

fn item(f: &mut fmt::Formatter<'_>, item: &ItemReport) -> fmt::Result {
    let Some(value) = &item.value else {
        return writeln!(f, "  {} ({})", item.key, item.effect);
    };
    let key = if item.key == value.expression { String::new() } else { format!("{}: ", item.key) };
    write!(f, "  {key}{}", line(value))?;
    // What is usual is not said.
    match item.effect {
        IN_RECORD => writeln!(f)?,
        effect => writeln!(f, " ({effect})")?,
    }
    value.parts.iter().try_for_each(|part| node(f, part, 2))
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
