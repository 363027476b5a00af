//! How the elements of UNNEST are written, and what they hide.

use super::Printer;
use super::names::{extend, key, wrapped};
use crate::expr::{Call, Expr};
use crate::path::{Path, Step};
use crate::unnest::{Form, OFFSET};

impl<'q> Printer<'q> {
    /// As [`Printer::name`], for (a part of) an element.
    pub(super) fn of_element(&self, path: &Path) -> (String, String) {
        match self.unnest {
            Some((_, Form::From { element, .. })) => {
                let (mut text, mut name) = (key(element), element.clone());
                extend(&path.steps, &mut text, &mut name);
                (text, name)
            }
            Some((array, Form::Item { .. })) => {
                let text = format!("unnest({})", Self { unnest: None, ..*self }.expr(array));
                (text.clone(), text)
            }
            None => Default::default(),
        }
    }

    /// `".a[0]"`.
    pub(super) fn wrapped(&self, path: u32) -> String {
        match (self.paths.get(path as usize), self.unnest) {
            (Some(path), Some((_, Form::From { element, .. }))) if path.element => {
                let first = Step::Key(element.clone());
                wrapped(&std::iter::once(first).chain(path.steps.clone()).collect::<Vec<_>>())
            }
            (path, _) => path.map_or("\".\"".into(), |path| wrapped(&path.steps)),
        }
    }

    /// True when the element or its index has the name of a key of the document.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        match (self.unnest, path.steps.first()) {
            (Some((_, Form::From { element, offset })), Some(Step::Key(first))) => {
                first == element || Some(first) == offset.as_ref()
            }
            _ => false,
        }
    }

    /// What stands for the index of the element.
    pub(super) fn index(&self) -> Option<&'q str> {
        match self.unnest {
            Some((_, Form::From { offset, .. })) => offset.as_deref(),
            _ => None,
        }
    }

    /// True for what an item `unnest(…)` was compiled to.
    pub(super) fn is_elements(&self, expr: &Expr) -> bool {
        match (expr, self.unnest) {
            (Expr::Path(path), Some((_, Form::Item { .. }))) => {
                self.paths.get(*path as usize).is_some_and(|path| path.element)
            }
            _ => false,
        }
    }
}

/// True for the index of the element, which is a name and no call when it is written.
pub(super) fn is_index(call: &Call) -> bool {
    std::ptr::eq(call.function, &OFFSET)
}
