//! SELECT: writes the record of a message.
//!
//! Values of the document are copied as they are written there. Only lists that mix `*`, spreads or
//! equal keys are gathered first.

use std::collections::HashMap;
use std::ops::Range;

use super::eval::Context;
use super::expr::{Content, Expr, Item};
use super::functions::Fault;
use super::json;
use super::value::Value;
use super::work::MEMBERS;

/// How the record is put together.
#[derive(Debug)]
pub(crate) enum Projection {
    /// `SELECT *` alone: the payload.
    Payload,
    /// Items with different keys; each with its key as JSON, comma, quotes and colon included.
    Plain(Vec<Box<[u8]>>),
    /// Anything else; the later of equal keys wins.
    Merged,
}

impl Projection {
    pub(crate) fn new(items: &[Item]) -> Self {
        if let [Item { content: Content::All, .. }] = items {
            return Self::Payload;
        }
        let plain = items.iter().enumerate().all(|(at, item)| {
            matches!(item.content, Content::Value(_))
                && items[..at].iter().all(|other| other.key != item.key)
        });
        if !plain {
            return Self::Merged;
        }
        let key = |item: &Item| {
            let mut text = vec![b','];
            json::write_string(&item.key, &mut text);
            text.push(b':');
            text.into_boxed_slice()
        };
        Self::Plain(items.iter().map(key).collect())
    }
}

/// Appends the record as a JSON object. When the run is aborted on the way, `out` is cut back.
pub(crate) fn write<'a>(
    context: &mut Context<'a, '_>,
    items: &'a [Item],
    projection: &Projection,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    match projection {
        Projection::Payload => out.extend_from_slice(context.payload),
        Projection::Plain(keys) => plain(context, items, keys, out),
        Projection::Merged => merged(context, items, out),
    }
    if context.aborted {
        out.truncate(start);
    }
}

fn plain<'a>(
    context: &mut Context<'a, '_>,
    items: &'a [Item],
    keys: &[Box<[u8]>],
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let mut first = 1;
    for (at, (item, key)) in items.iter().zip(keys).enumerate() {
        let Content::Value(expr) = &item.content else { continue };
        context.item = Some(at);
        let before = out.len();
        // All but the first key bring their comma.
        out.extend_from_slice(key.get(first..).unwrap_or_default());
        if value(context, expr, out) {
            first = 0;
        } else {
            out.truncate(before);
        }
        if context.aborted {
            return;
        }
    }
    out.push(b'}');
}

/// Appends the value of an expression; false when there is none.
fn value<'a>(context: &mut Context<'a, '_>, expr: &'a Expr, out: &mut Vec<u8>) -> bool {
    if let Expr::Path(path) = expr {
        return match context.raw(*path) {
            Some(raw) => {
                out.extend_from_slice(raw);
                true
            }
            None => false,
        };
    }
    let before = out.len();
    let value = context.eval(expr);
    if let Value::Binary(_) = value {
        let fault = Fault::new(
            "binary",
            "bytes have no JSON form; wrap them in to_base64() or decode_text()",
        );
        context.fault(fault);
    }
    value.write(out);
    out.len() > before
}

/// Keys and values in the order of their first appearance.
#[derive(Default)]
struct Merge {
    /// Key texts and values.
    text: Vec<u8>,
    entries: Vec<(Range<usize>, Range<usize>)>,
    known: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
}

impl Merge {
    /// Adds a member; the key is a JSON string.
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let name = json::decode(key);
        let start = self.text.len();
        self.text.extend_from_slice(key);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let end = self.text.len();
        if let Some(known) = self.known.get(name.as_bytes()) {
            if let Some(entry) = self.entries.get_mut(*known) {
                entry.1 = middle..end;
            }
        } else {
            self.known.insert(name.as_bytes().into(), self.entries.len());
            self.entries.push((start..middle, middle..end));
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, value)) in self.entries.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.text.get(key.clone()).unwrap_or_default());
            out.push(b':');
            out.extend_from_slice(self.text.get(value.clone()).unwrap_or_default());
        }
        out.push(b'}');
    }
}

fn merged<'a>(context: &mut Context<'a, '_>, items: &'a [Item], out: &mut Vec<u8>) {
    let mut merge = Merge::default();
    let mut buffer = Vec::new();
    for (at, item) in items.iter().enumerate() {
        context.item = Some(at);
        buffer.clear();
        match &item.content {
            Content::All if context.pays(context.payload.len() as u64 * MEMBERS) => {
                for (key, value) in json::members(context.payload) {
                    merge.add(key, value);
                }
            }
            // The error is noted.
            Content::All => {}
            Content::Spread(expr) => {
                context.eval(expr).write(&mut buffer);
                if !context.pays(buffer.len() as u64 * MEMBERS) {
                    continue;
                }
                for (key, value) in json::members(&buffer) {
                    merge.add(key, value);
                }
            }
            Content::Value(expr) => {
                if value(context, expr, &mut buffer) {
                    let mut key = Vec::with_capacity(item.key.len() + 2);
                    json::write_string(&item.key, &mut key);
                    merge.add(&key, &buffer);
                }
            }
        }
        if context.aborted {
            return;
        }
    }
    merge.write(out);
}
