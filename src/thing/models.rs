//! Which thing model a product has: from a file of the configuration, else as it was imported.
//!
//! A model is read once; it is read again when another text takes its place.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::tsl::Model;
use registry::Product;

/// The models, by product key.
#[derive(Debug, Default)]
pub(super) struct Models {
    files: HashMap<String, Arc<Model>>,
    imported: RwLock<HashMap<String, Imported>>,
}

#[derive(Debug)]
struct Imported {
    text: Arc<str>,
    /// `None` when the text is no model: an older program took it. Posts pass unvalidated then.
    model: Option<Arc<Model>>,
}

impl Models {
    pub(super) fn new(files: HashMap<String, Model>) -> Self {
        let files = files.into_iter().map(|(key, model)| (key, Arc::new(model))).collect();
        Self { files, imported: RwLock::default() }
    }

    /// True when a file has the product's model.
    pub(super) fn in_file(&self, product_key: &str) -> bool {
        self.files.contains_key(product_key)
    }

    /// The model of a product, which may not be registered.
    pub(super) fn of(&self, key: &str, product: Option<&Product>) -> Option<Arc<Model>> {
        if let Some(model) = self.files.get(key) {
            return Some(Arc::clone(model));
        }
        let text = product?.tsl.as_ref()?;
        {
            let imported = self.imported.read().unwrap_or_else(PoisonError::into_inner);
            let known = imported.get(key).filter(|known| Arc::ptr_eq(&known.text, text));
            if let Some(known) = known {
                return known.model.clone();
            }
        }
        let model = match Model::parse(text) {
            Ok(model) => Some(Arc::new(model)),
            Err(problem) => {
                tracing::error!(product = key, "the thing model can't be read: {problem}");
                None
            }
        };
        let known = Imported { text: Arc::clone(text), model: model.clone() };
        let mut imported = self.imported.write().unwrap_or_else(PoisonError::into_inner);
        imported.insert(key.to_owned(), known);
        model
    }
}
