//! Functions of peers that we do not have, and what comes nearest: something that exists.
//!
//! A name that is a function or an alias of ours has no line here.

use super::Peer;

const AGGREGATE: &str = "a rule sees one message: there are no aggregates or windows; aggregate over \
                         the table that the action `sqlite` or `postgres` fills";
const STATE: &str = "a rule remembers nothing between messages; compare in the table that the action \
                     `sqlite` or `postgres` fills";
const EXTERNAL: &str = "a rule asks nobody while it runs; send the record with the action `http`";
const REGISTRY: &str = "there is no schema registry: payloads are JSON, or bytes in a rule with \
                        `data_type: binary`, such as `to_base64(*)`";
const WHO: &str = "who has published is `clientId()`, `username()` or `deviceName()`";
const MESSAGE: &str =
    "what came with the message is `topic()`, `qos()`, `clientId()`, `userProperty(key)`";
const TOPIC: &str = "`topic_matches(filter)` asks for the topic of the message";
const FORMAT: &str = "`format(template, value, …)`, with `%s` for any value";
const GET: &str = "`get(object, key)`, in this order";
const PUT: &str = "`put(object, key, value)`, in this order";
const ROWS: &str = "the actions `sqlite` and `postgres` write rows by themselves";
const ABSENT: &str =
    "`a IS NULL` is true for what is null or not there, `a IS MISSING` for the latter";

const UNNEST: &str = "`UNNEST` behind the topic makes one record for each element";

/// Names of functions that peers have and we have not, with what to do instead.
pub const PEER_NAMES: &[(Peer, &str, &str)] = &[
    (Peer::Aws, "accountid", WHO),
    (Peer::Aws, "aws_lambda", EXTERNAL),
    (Peer::Aws, "get_dynamodb", EXTERNAL),
    (Peer::Aws, "get_mqtt_property", "`contentType()`, `responseTopic()` and `correlationData()`"),
    (Peer::Aws, "get_or_default", "`nanvl(get(value, key), default)`"),
    (Peer::Aws, "get_registry_data", "of the device there is `attribute(key)`"),
    (Peer::Aws, "get_secret", "secrets belong to the actions: `${env:NAME}` in a rule file"),
    (Peer::Aws, "get_thing_shadow", EXTERNAL),
    (Peer::Aws, "isNull", ABSENT),
    (Peer::Aws, "machinelearning_predict", EXTERNAL),
    (Peer::Aws, "principal", WHO),
    (Peer::Aws, "sql_version", "the language has one version; leave it out of `SELECT`"),
    (Peer::Aws, "traceid", "each message has its `messageId()`"),
    (Peer::Aws, "transform", UNNEST),
    (Peer::Emqx, "ai_completion", EXTERNAL),
    (Peer::Emqx, "avro_decode", REGISTRY),
    (Peer::Emqx, "avro_encode", REGISTRY),
    (Peer::Emqx, "bin2hexstr", "`upper(to_hex(*))`"),
    (Peer::Emqx, "clientip", "`sourceIp()`"),
    (
        Peer::Emqx,
        "contains",
        "`array_contains(array, value)`, in this order; of text `contains_text(text, part)`",
    ),
    (Peer::Emqx, "contains_topic", TOPIC),
    (Peer::Emqx, "contains_topic_match", TOPIC),
    (Peer::Emqx, "div", "an operator: `a DIV b`"),
    (Peer::Emqx, "eq", "`=` compares"),
    (Peer::Emqx, "flag", "`retain()`"),
    (Peer::Emqx, "flags", "`retain()`"),
    (Peer::Emqx, "float2str", "`to_fixed(n, digits)`"),
    (Peer::Emqx, "getenv", "a rule reads no environment; a rule file does: `${env:NAME}`"),
    (Peer::Emqx, "join_to_sql_values_string", ROWS),
    (Peer::Emqx, "join_to_string", "`join(array, separator)`, in this order"),
    (Peer::Emqx, "jq", "a JSONPath in double quotes, such as `\"$.a[*].b\"`"),
    (Peer::Emqx, "kv_store_del", STATE),
    (Peer::Emqx, "kv_store_get", STATE),
    (Peer::Emqx, "kv_store_put", STATE),
    (Peer::Emqx, "map", "`parse_json(text)`"),
    (Peer::Emqx, "map_get", GET),
    (Peer::Emqx, "map_put", PUT),
    (Peer::Emqx, "map_to_redis_hset_args", ROWS),
    (Peer::Emqx, "mget", GET),
    (Peer::Emqx, "mongo_date", "`to_rfc3339(ms)`"),
    (Peer::Emqx, "mput", PUT),
    (Peer::Emqx, "node", "there is one node; name it by a constant: `'node 1' AS node`"),
    (Peer::Emqx, "nth", "`element_at(array, index)`, which counts from 0"),
    (Peer::Emqx, "null", "write `NULL`"),
    (Peer::Emqx, "proc_dict_del", STATE),
    (Peer::Emqx, "proc_dict_get", STATE),
    (Peer::Emqx, "proc_dict_put", STATE),
    (Peer::Emqx, "schema_check", REGISTRY),
    (Peer::Emqx, "schema_decode", REGISTRY),
    (Peer::Emqx, "schema_decode_tagged", REGISTRY),
    (Peer::Emqx, "schema_encode", REGISTRY),
    (Peer::Emqx, "schema_encode_and_tag", REGISTRY),
    (Peer::Emqx, "sparkplug_decode", REGISTRY),
    (Peer::Emqx, "sparkplug_encode", REGISTRY),
    (Peer::Emqx, "spb_decode", REGISTRY),
    (Peer::Emqx, "spb_encode", REGISTRY),
    (Peer::Emqx, "spb_zip_kvs", REGISTRY),
    (Peer::Emqx, "sprintf", FORMAT),
    (Peer::Emqx, "sprintf_s", FORMAT),
    (Peer::Emqx, "sqlserver_bin2hexstr", "`to_hex(*)`, and `concat('0x', a)` for the prefix"),
    (Peer::Emqx, "str_utf16_le", "`encode_text(text, 'utf-16le')`"),
    (Peer::Emqx, "sublist", "`slice(array, start, end)`, which counts from 0"),
    (Peer::Emqx, "term_decode", REGISTRY),
    (Peer::Emqx, "term_encode", REGISTRY),
    (Peer::Ekuiper, "acc_avg", STATE),
    (Peer::Ekuiper, "acc_count", STATE),
    (Peer::Ekuiper, "acc_max", STATE),
    (Peer::Ekuiper, "acc_min", STATE),
    (Peer::Ekuiper, "acc_sum", STATE),
    (
        Peer::Ekuiper,
        "array_map",
        "`pluck(array, path)`; for more `UNNEST` makes one record for each element",
    ),
    (Peer::Ekuiper, "avg", AGGREGATE),
    (Peer::Ekuiper, "bypass", "leave it out: `SELECT` passes values on as they are"),
    (Peer::Ekuiper, "changed_col", STATE),
    (Peer::Ekuiper, "changed_cols", STATE),
    (Peer::Ekuiper, "collect", AGGREGATE),
    (Peer::Ekuiper, "count", AGGREGATE),
    (Peer::Ekuiper, "date_calc", "`date_add(time, amount, unit)`"),
    (Peer::Ekuiper, "deduplicate", AGGREGATE),
    (Peer::Ekuiper, "delay", "a rule does not wait; `timestamp()` says when the message came"),
    (Peer::Ekuiper, "extract", UNNEST),
    (Peer::Ekuiper, "from_days", "`date_add(0, days, 'day')`"),
    (Peer::Ekuiper, "get_keyed_state", STATE),
    (Peer::Ekuiper, "had_changed", STATE),
    (Peer::Ekuiper, "isnull", ABSENT),
    (Peer::Ekuiper, "lag", STATE),
    (Peer::Ekuiper, "last_agg_hit_count", AGGREGATE),
    (Peer::Ekuiper, "last_agg_hit_time", AGGREGATE),
    (Peer::Ekuiper, "last_hit_count", STATE),
    (Peer::Ekuiper, "last_hit_time", STATE),
    (Peer::Ekuiper, "last_value", AGGREGATE),
    (Peer::Ekuiper, "latest", STATE),
    (Peer::Ekuiper, "max", AGGREGATE),
    (Peer::Ekuiper, "median", AGGREGATE),
    (Peer::Ekuiper, "merge_agg", AGGREGATE),
    (Peer::Ekuiper, "meta", MESSAGE),
    (Peer::Ekuiper, "min", AGGREGATE),
    (Peer::Ekuiper, "mqtt", MESSAGE),
    (Peer::Ekuiper, "percentile_cont", AGGREGATE),
    (Peer::Ekuiper, "percentile_disc", AGGREGATE),
    (Peer::Ekuiper, "props", "a rule reads no environment; a rule file does: `${env:NAME}`"),
    (Peer::Ekuiper, "repeat", "`array_repeat(value, count)`; of text `repeat_text(text, count)`"),
    (Peer::Ekuiper, "row_number", AGGREGATE),
    (
        Peer::Ekuiper,
        "rule_start",
        "a rule does not know when it was started; `now()` is when the message came",
    ),
    (Peer::Ekuiper, "stddev", AGGREGATE),
    (Peer::Ekuiper, "stddevs", AGGREGATE),
    (Peer::Ekuiper, "sum", AGGREGATE),
    (Peer::Ekuiper, "var", AGGREGATE),
    (Peer::Ekuiper, "vars", AGGREGATE),
    (Peer::Ekuiper, "window_end", AGGREGATE),
    (Peer::Ekuiper, "window_start", AGGREGATE),
    (Peer::Ekuiper, "window_trigger", AGGREGATE),
];

/// What to do instead of a function of any peer.
#[must_use]
pub fn advice(name: &str) -> Option<&'static str> {
    PEER_NAMES
        .iter()
        .find(|(_, known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, _, advice)| *advice)
}

/// What to do instead of a function, by the peer that the statement is from if it has one.
pub(super) fn of(peer: Peer, name: &str) -> Option<&'static str> {
    PEER_NAMES
        .iter()
        .find(|(whose, known, _)| *whose == peer && known.eq_ignore_ascii_case(name))
        .map(|(_, _, advice)| *advice)
        .or_else(|| advice(name))
}
