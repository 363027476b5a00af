//! The operations on tags of products (development guide §2.7.6 to §2.7.10).
//!
//! The guide has no codes for them: what is wrong with tags is an invalid parameter.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::named::product;
use super::refusal::{failed, refused};
use super::tag::{check_key, check_value, wanted};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::state::Api;
use crate::registry::{PRODUCT_TAGS_MAX, Product, RegistryError};
use crate::rule::store::Role;

/// The operations of tags, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateProductTags",
        parameters: &[need("ProductKey"), need("ProductTag")],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteProductTags",
        parameters: &[need("ProductKey"), need("ProductTagKey")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "ListProductByTags",
        parameters: &[need("ProductTag"), may("CurrentPage"), may("PageSize")],
        role: Role::Read,
        call: |api, call| Box::pin(find(api, call)),
    },
    Operation {
        name: "ListProductTags",
        parameters: &[need("ProductKey")],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "UpdateProductTags",
        parameters: &[need("ProductKey"), need("ProductTag")],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

/// Tags of one call.
const CALL_MAX: usize = 10;

/// Characters of a key.
const KEY: RangeInclusive<usize> = 1..=30;

/// What a value may have beside letters and digits.
const MARKS: &str = "_-";

/// Products on a page.
const PAGE_SIZE_MAX: u32 = 50;

/// A tag of a request with which something is wrong.
struct Bad<'a> {
    key: &'a str,
    value: &'a str,
    problem: String,
}

async fn create(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let tags = tags(call)?;
    let added = api.state.registry.add_product_tags(&product.key, &tags).await;
    let taken = added.map_err(|problem| match problem {
        RegistryError::Full(have) => error::FORMAT.with(format!(
            "the product has {have} tags already, at most {PRODUCT_TAGS_MAX} are allowed"
        )),
        other => refused(other, error::UPDATE_PRODUCT),
    })?;
    changed(call, &tags, &taken, "the product has a tag of this key; UpdateProductTags changes it")
}

async fn update(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let tags = tags(call)?;
    let updated = api.state.registry.update_product_tags(&product.key, &tags).await;
    let missing = updated.map_err(|problem| refused(problem, error::UPDATE_PRODUCT))?;
    changed(call, &tags, &missing, "the product has no tag of this key; CreateProductTags adds it")
}

/// The answer to a change, which was made when no tag stood in its way.
fn changed(
    call: &Call,
    tags: &BTreeMap<String, String>,
    unfit: &[String],
    problem: &str,
) -> Answer {
    let bad = tags.iter().filter(|(key, _)| unfit.contains(key));
    let bad: Vec<_> =
        bad.map(|(key, value)| Bad { key, value, problem: problem.to_owned() }).collect();
    match bad.is_empty() {
        true => Ok(call.done()),
        false => Err(invalid(&bad)),
    }
}

/// The tags of a request when all of them are good.
fn tags(call: &Call) -> Result<BTreeMap<String, String>, ApiError> {
    let given = call.objects("ProductTag")?;
    fits(given.len(), "ProductTag.1.TagKey and ProductTag.1.TagValue, …")?;
    let (mut tags, mut bad) = (BTreeMap::new(), Vec::new());
    for fields in &given {
        let field = |name: &str| fields.get(name).copied().unwrap_or("");
        let (key, value) = (field("TagKey"), field("TagValue"));
        let checked = check_key(key, KEY).and_then(|()| check_value(value, MARKS));
        let repeated = tags.insert(key.to_owned(), value.to_owned()).is_some();
        let problem = match checked {
            Ok(()) if repeated => Some("the key is given twice".to_owned()),
            checked => checked.err(),
        };
        bad.extend(problem.map(|problem| Bad { key, value, problem }));
    }
    if bad.is_empty() { Ok(tags) } else { Err(invalid(&bad)) }
}

fn fits(count: usize, example: &str) -> Result<(), ApiError> {
    match count {
        0 => Err(error::FORMAT.with(format!("no tag is given: {example}"))),
        1..=CALL_MAX => Ok(()),
        _ => {
            let text = format!("{count} tags are given, at most {CALL_MAX} are allowed");
            Err(error::FORMAT.with(text))
        }
    }
}

fn invalid(bad: &[Bad<'_>]) -> ApiError {
    let mut text: Vec<_> =
        bad.iter().map(|Bad { key, problem, .. }| format!("tag `{key}`: {problem}")).collect();
    text.truncate(CALL_MAX);
    let list: Vec<_> =
        bad.iter().map(|bad| json!({ "TagKey": bad.key, "TagValue": bad.value })).collect();
    error::FORMAT.with(text.join("; ")).and("InvalidProductTags", json!({ "ProductTag": list }))
}

/// A key that the product has not is fine, and so is one that no product could have.
async fn delete(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let keys = call.list("ProductTagKey")?;
    fits(keys.len(), "ProductTagKey.1, …")?;
    let keys: Vec<_> = keys.into_iter().filter(|key| check_key(key, KEY).is_ok()).collect();
    let deleted = api.state.registry.delete_product_tags(&product.key, &keys).await;
    deleted.map_err(|problem| refused(problem, error::UPDATE_PRODUCT))?;
    Ok(call.done())
}

async fn list(api: &Api, call: &Call) -> Answer {
    let product = product(api, call)?;
    let tags = api.state.registry.product_tags(&product.key).await;
    let tags = tags.map_err(failed(error::QUERY_PRODUCT))?;
    let tags = tags.iter().map(|(key, value)| json!({ "TagValue": value, "TagKey": key }));
    let tags: Vec<_> = tags.collect();
    Ok(object(json!({ "Data": { "ProductTag": tags }, "RequestId": call.id, "Success": true })))
}

/// Products that have any of the tags, the newest first. The answer does not say how many there are.
async fn find(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let tags = wanted(call, "ProductTag", error::FORMAT)?;
    let registry = &api.state.registry;
    let found = registry.products_with_tags(&tags, page.size, page.offset()).await;
    let products = found.map_err(failed(error::LIST_PRODUCTS))?;
    let products: Vec<_> = products.iter().map(info).collect();
    let mut answer = Map::new();
    answer.insert("ProductInfos".to_owned(), json!({ "ProductInfo": products }));
    answer.extend(call.done());
    Ok(answer)
}

fn info(product: &Product) -> Value {
    without_nulls(json!({
        "Description": filled(Some(&product.description)),
        "ProductKey": product.key,
        "NodeType": product.node_type,
        "CreateTime": product.created_ms,
        "ProductName": product.name,
    }))
}
