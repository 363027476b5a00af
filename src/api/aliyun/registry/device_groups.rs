//! The operations on groups of devices and on their tags (development guide §2.9).
//!
//! Who is in a group has a file of its own.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::{Value, json};

use super::named::{description, group_id, static_group};
use super::refusal::{failed, refused};
use super::tag::{check_key, check_value, wanted};
use crate::api::aliyun::operation::{Operation, may, need};
use crate::api::aliyun::wire::answer::{Answer, filled, object, without_nulls};
use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::aliyun::wire::page::Page;
use crate::api::aliyun::wire::times::china_and_utc;
use crate::api::state::Api;
use crate::registry::{
    GROUP_LEVELS_MAX, GROUP_TAGS_MAX, Group, NewGroup, RegistryError, check_group_name,
    check_group_name_part,
};
use crate::rule::store::Role;

/// The operations of groups, sorted by name.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "CreateDeviceGroup",
        parameters: &[need("GroupName"), may("SuperGroupId"), may("GroupDesc")],
        role: Role::Admin,
        call: |api, call| Box::pin(create(api, call)),
    },
    Operation {
        name: "DeleteDeviceGroup",
        parameters: &[need("GroupId")],
        role: Role::Admin,
        call: |api, call| Box::pin(delete(api, call)),
    },
    Operation {
        name: "QueryDeviceGroupByTags",
        parameters: &[need("Tag"), may("CurrentPage"), may("PageSize")],
        role: Role::Read,
        call: |api, call| Box::pin(find(api, call)),
    },
    Operation {
        name: "QueryDeviceGroupInfo",
        parameters: &[need("GroupId"), may("GroupType")],
        role: Role::Read,
        call: |api, call| Box::pin(query(api, call)),
    },
    Operation {
        name: "QueryDeviceGroupList",
        parameters: &[
            may("GroupName"),
            may("SuperGroupId"),
            may("GroupTypes"),
            may("PageSize"),
            may("CurrentPage"),
        ],
        role: Role::Read,
        call: |api, call| Box::pin(list(api, call)),
    },
    Operation {
        name: "QueryDeviceGroupTagList",
        parameters: &[need("GroupId"), may("GroupType")],
        role: Role::Read,
        call: |api, call| Box::pin(tags(api, call)),
    },
    Operation {
        name: "QuerySuperDeviceGroup",
        parameters: &[need("GroupId")],
        role: Role::Read,
        call: |api, call| Box::pin(above(api, call)),
    },
    Operation {
        name: "SetDeviceGroupTags",
        parameters: &[need("GroupId"), need("TagString"), may("GroupType")],
        role: Role::Admin,
        call: |api, call| Box::pin(set_tags(api, call)),
    },
    Operation {
        name: "UpdateDeviceGroup",
        parameters: &[need("GroupId"), may("GroupDesc"), may("GroupType")],
        role: Role::Admin,
        call: |api, call| Box::pin(update(api, call)),
    },
];

/// Groups on a page.
const PAGE_SIZE_MAX: u32 = 200;

/// Characters of a tag's key, and what a value may have beside letters and digits.
const TAG_KEY: RangeInclusive<usize> = 2..=30;
const TAG_MARKS: &str = "_-";

async fn create(api: &Api, call: &Call) -> Answer {
    let name = call.required("GroupName")?;
    check_group_name(name)
        .map_err(|problem| error::GROUP_NAME.with(format!("`{name}`: {problem}")))?;
    let new = NewGroup {
        name: name.to_owned(),
        description: description(call.text("GroupDesc").unwrap_or(""), error::GROUP_DESC)?,
        super_id: super_id(call)?.map(str::to_owned),
    };
    let inside = new.super_id.is_some();
    let created = api.state.registry.create_group(new, api.now_ms()).await;
    let group = created.map_err(|problem| match problem {
        RegistryError::NameTaken(name) => error::GROUP_NAME_TAKEN.with(name),
        RegistryError::GroupDepth => error::GROUP_LEVEL.with(GROUP_LEVELS_MAX),
        RegistryError::Full(have) if inside => {
            error::GROUP_COUNT.with(format!("{have} are there or in SuperGroupId already"))
        }
        RegistryError::Full(have) => error::GROUP_COUNT.with(format!("{have} are there already")),
        other => refused(other, error::CREATE_GROUP),
    })?;
    Ok(object(json!({ "Data": info(&group), "RequestId": call.id, "Success": true })))
}

/// What lists and answers tell of a group.
pub(super) fn info(group: &Group) -> Value {
    without_nulls(json!({
        "GroupName": group.name,
        "UtcCreate": china_and_utc(group.created_ms).1,
        "GroupDesc": filled(Some(&group.description)),
        "GroupId": group.id,
    }))
}

fn super_id(call: &Call) -> Result<Option<&str>, ApiError> {
    filled(call.text("SuperGroupId")).map(group_id).transpose()
}

/// Without a description the group stays as it is.
async fn update(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let text = call.text("GroupDesc").map(|text| description(text, error::GROUP_DESC));
    let registry = &api.state.registry;
    let updated = match text.transpose()? {
        Some(text) => registry.describe_group(id, &text).await,
        None => registry.group_exists(id).await,
    };
    updated.map_err(|problem| refused(problem, error::UPDATE_GROUP))?;
    Ok(call.done())
}

async fn delete(api: &Api, call: &Call) -> Answer {
    let deleted = api.state.registry.delete_group(static_group(call)?).await;
    deleted.map_err(|problem| match problem {
        RegistryError::SubGroups(count) => error::SUB_GROUPS.with(count),
        other => refused(other, error::DELETE_GROUP),
    })?;
    Ok(call.done())
}

async fn query(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let registry = &api.state.registry;
    let group = registry.group(id).await.map_err(failed(error::QUERY_GROUP))?;
    let group = group.ok_or_else(|| error::NO_GROUP.with(id))?;
    let crowd = registry.crowd(id, None).await;
    let crowd = crowd.map_err(|problem| refused(problem, error::QUERY_GROUP))?;
    let mut data = info(&group);
    data["DeviceOnline"] = crowd.online.into();
    data["DeviceActive"] = crowd.active.into();
    data["DeviceCount"] = crowd.devices.into();
    Ok(object(json!({ "Data": data, "RequestId": call.id, "Success": true })))
}

async fn list(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let kinds = call.list("GroupTypes")?;
    if let Some(kind) = kinds.iter().find(|kind| !kind.is_empty()) {
        return Err(super::named::no_dynamic_groups("GroupTypes", kind));
    }
    let name = filled(call.text("GroupName"));
    check_group_name_part(name.unwrap_or("")).map_err(|problem| error::GROUP_NAME.with(problem))?;
    let above = super_id(call)?;
    let listed = api.state.registry.groups(name, above, page.size, page.offset()).await;
    let (groups, total) = listed.map_err(|problem| refused(problem, error::LIST_GROUPS))?;
    let groups: Vec<_> = groups.iter().map(info).collect();
    Ok(object(json!({
        "PageCount": page.count(total),
        "Data": { "GroupInfo": groups },
        "PageSize": page.size,
        "RequestId": call.id,
        "CurrentPage": page.number,
        "Success": true,
        "Total": total
    })))
}

/// The typed clients expect a list, which is empty for a group of the first level.
async fn above(api: &Api, call: &Call) -> Answer {
    let above = api.state.registry.super_group(static_group(call)?).await;
    let above = above.map_err(|problem| refused(problem, error::GROUP_TREE))?;
    let above: Vec<_> = above
        .iter()
        .map(|group| {
            without_nulls(json!({
                "GroupName": group.name,
                "GroupId": group.id,
                "GroupDesc": filled(Some(&group.description)),
            }))
        })
        .collect();
    Ok(object(json!({
        "Data": { "GroupInfo": above }, "RequestId": call.id, "Success": true
    })))
}

/// A tag as `TagString` writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupTag {
    tag_key: String,
    tag_value: String,
}

/// `TagString` has all tags of the group: one that is not in it is deleted.
async fn set_tags(api: &Api, call: &Call) -> Answer {
    let id = static_group(call)?;
    let tags = group_tags(call.required("TagString")?)?;
    let set = api.state.registry.set_group_tags(id, &tags).await;
    set.map_err(|problem| refused(problem, error::SET_GROUP_TAGS))?;
    Ok(call.done())
}

fn group_tags(text: &str) -> Result<BTreeMap<String, String>, ApiError> {
    const EXAMPLE: &str = r#"[{"tagKey":"h1","tagValue":"rr"}]"#;
    let given: Vec<GroupTag> = serde_json::from_str(text)
        .map_err(|problem| error::GROUP_TAGS.with(format!("{problem}; expected {EXAMPLE}")))?;
    if given.len() > GROUP_TAGS_MAX {
        let text = format!("{} are given, at most {GROUP_TAGS_MAX} are allowed", given.len());
        return Err(error::GROUP_TAG_COUNT.with(text));
    }
    let mut tags = BTreeMap::new();
    for GroupTag { tag_key, tag_value } in given {
        check_key(&tag_key, TAG_KEY)
            .and_then(|()| check_value(&tag_value, TAG_MARKS))
            .map_err(|problem| error::GROUP_TAGS.with(format!("tag `{tag_key}`: {problem}")))?;
        if let Some(other) = tags.insert(tag_key, tag_value) {
            let text = format!("a key is given twice, once with the value `{other}`");
            return Err(error::GROUP_TAGS.with(text));
        }
    }
    Ok(tags)
}

async fn tags(api: &Api, call: &Call) -> Answer {
    let tags = api.state.registry.group_tags(static_group(call)?).await;
    let tags = tags.map_err(|problem| refused(problem, error::QUERY_GROUP_TAGS))?;
    let tags = tags.iter().map(|(key, value)| json!({ "TagValue": value, "TagKey": key }));
    let tags: Vec<_> = tags.collect();
    Ok(object(json!({
        "Data": { "GroupTagInfo": tags }, "RequestId": call.id, "Success": true
    })))
}

async fn find(api: &Api, call: &Call) -> Answer {
    let page = Page::of(call, PAGE_SIZE_MAX)?;
    let tags = wanted(call, "Tag", error::GROUP_TAGS)?;
    let found = api.state.registry.groups_with_tags(&tags, page.size, page.offset()).await;
    let (groups, total) = found.map_err(failed(error::LIST_GROUPS))?;
    let groups: Vec<_> = groups
        .iter()
        .map(|group| json!({ "GroupName": group.name, "GroupId": group.id }))
        .collect();
    Ok(object(json!({
        "PageCount": page.count(total),
        "Data": { "DeviceGroup": groups },
        "Page": page.number,
        "PageSize": page.size,
        "RequestId": call.id,
        "Success": true,
        "Total": total
    })))
}
