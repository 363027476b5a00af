//! Why a name is MISSING in a message, and what was probably meant.
//!
//! It looks at the document alone; parts of elements of UNNEST have no hint.

use std::borrow::Cow;

use crate::expr::{Arithmetic, Const, Expr};
use crate::json;
use crate::path::{Path, Step};
use crate::print::path_text;
use contract::nearest;

/// A hint about an expression that is MISSING.
pub(super) fn hint(document: &[u8], paths: &[Path], expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => of_path(document, &own(paths, *path)?.steps),
        Expr::Arithmetic(first, rest) => {
            let steps = joined(paths, first, rest)?;
            follow(document, &steps).is_ok().then(|| meant(&steps))
        }
        _ => None,
    }
}

/// A hint about an item with an alias that is MISSING: `VALUE hue` where `hue` was meant.
pub(super) fn alias_hint(document: &[u8], alias: &str) -> Option<String> {
    let steps = [Step::Key(alias.to_owned())];
    follow(document, &steps).is_ok().then(|| meant(&steps))
}

fn meant(steps: &[Step]) -> String {
    format!("did you mean {}?", path_text(steps))
}

/// A path into the document.
fn own(paths: &[Path], path: u32) -> Option<&Path> {
    paths.get(path as usize).filter(|path| !path.element)
}

/// What steps lead to; else how many lead somewhere, and where to.
fn follow<'t>(document: &'t [u8], steps: &[Step]) -> Result<&'t [u8], (usize, &'t [u8])> {
    let mut here = document.trim_ascii();
    for (at, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Key(key) => {
                let found = json::members(here).filter(|(raw, _)| json::decode(raw) == *key);
                found.last().map(|(_, value)| value)
            }
            Step::Index(index) => {
                let index = match usize::try_from(*index) {
                    Ok(index) => Some(index),
                    Err(_) => json::elements(here).count().checked_add_signed(*index as isize),
                };
                index.and_then(|index| json::elements(here).nth(index))
            }
        };
        here = next.ok_or((at, here))?;
    }
    Ok(here)
}

fn of_path(document: &[u8], steps: &[Step]) -> Option<String> {
    let (at, here) = follow(document, steps).err()?;
    let (before, after) = steps.split_at(at);
    let Some(Step::Key(key)) = after.first() else { return None };
    if here.starts_with(b"[") {
        let first = [before, &[Step::Index(0)], after].concat();
        let (what, array) = match before {
            [] => ("the document".to_owned(), "*".to_owned()),
            before => (path_text(before), path_text(before)),
        };
        return Some(format!(
            "{what} is an array: {} is that of its first element, UNNEST({array}) AS i takes all",
            path_text(&first)
        ));
    }
    // Of two letters every other key is near.
    if key.chars().count() < 3 {
        return None;
    }
    let keys: Vec<Cow<'_, str>> = json::members(here).map(|(raw, _)| json::decode(raw)).collect();
    let near = nearest(key, keys.iter().map(|key| &**key))?;
    Some(meant(&[before, &[Step::Key(near.to_owned())], after.get(1..)?].concat()))
}

/// The path that the text of an expression is when its operators count as parts of keys: `seq-len`.
fn joined(paths: &[Path], first: &Expr, rest: &[(Arithmetic, Expr)]) -> Option<Vec<Step>> {
    let Expr::Path(path) = first else { return None };
    let mut steps = own(paths, *path)?.steps.clone();
    for (op, operand) in rest {
        let Some(Step::Key(last)) = steps.last_mut() else { return None };
        last.push_str(op.sign());
        match operand {
            Expr::Const(Const::Number(_, text)) => last.push_str(text),
            Expr::Path(path) => {
                let (Step::Key(key), behind) = own(paths, *path)?.steps.split_first()? else {
                    return None;
                };
                last.push_str(key);
                steps.extend_from_slice(behind);
            }
            _ => return None,
        }
    }
    Some(steps)
}
