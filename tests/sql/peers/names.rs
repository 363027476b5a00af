//! The names of the functions that other rule engines document.

use sql::peers::Peer;

/// A peer, its names, and how many there are.
pub(crate) const NAMES: &[(Peer, &str, usize)] = &[
    (
        Peer::Aws,
        "abs acos asin atan atan2 ceil cos cosh exp floor ln log mod power rand remainder \
         round sign sin sinh sqrt tan tanh trunc bitand bitor bitxor bitnot chr concat \
         endswith indexof length lower lpad ltrim numbytes regexp_matches regexp_replace \
         regexp_substr replace rpad rtrim startswith substring trim upper md2 md5 sha1 sha224 \
         sha256 sha384 sha512 encode decode cast get get_or_default isNull isUndefined nanvl \
         transform parse_time time_to_epoch timestamp accountid clientid principal sourceip \
         topic traceid sql_version newuuid get_mqtt_property get_user_properties aws_lambda \
         get_dynamodb get_thing_shadow get_registry_data get_secret machinelearning_predict",
        82,
    ),
    (
        Peer::Emqx,
        "msgid qos flags flag topic clientid clientip peerhost username payload contains_topic \
         contains_topic_match null coalesce coalesce_ne div mod eq abs acos acosh asin asinh \
         atan atanh ceil cos cosh exp floor fmod log log10 log2 power round sin sinh sqrt tan \
         tanh random bitnot bitand bitor bitxor bitsl bitsr bitsize bytesize subbits str \
         str_utf8 str_utf16_le bool int float float2str map bin2hexstr hexstr2bin \
         sqlserver_bin2hexstr is_null is_null_var is_not_null is_not_null_var is_str is_bool \
         is_int is_float is_num is_map is_array is_empty lower upper trim ltrim rtrim \
         rm_prefix reverse strlen substr split tokens concat sprintf_s sprintf pad replace \
         regex_match regex_replace regex_extract ascii find join_to_string \
         join_to_sql_values_string map_to_redis_hset_args unescape jq map_new map_get map_put \
         map_keys map_values map_to_entries map_size mget mput nth length sublist first last \
         contains md5 sha sha256 hash gzip gunzip zip unzip zip_compress zip_uncompress \
         base64_encode base64_decode json_encode json_decode term_encode term_decode \
         now_rfc3339 unix_ts_to_rfc3339 rfc3339_to_unix_ts now_timestamp format_date \
         date_to_unix_ts timezone_to_second timezone_to_offset_seconds mongo_date \
         proc_dict_get proc_dict_put proc_dict_del kv_store_get kv_store_put kv_store_del \
         uuid_v4 uuid_v4_no_hyphen getenv schema_encode schema_decode schema_check \
         schema_encode_and_tag schema_decode_tagged avro_encode avro_decode sparkplug_encode \
         sparkplug_decode spb_encode spb_decode spb_zip_kvs ai_completion",
        162,
    ),
    (
        Peer::Ekuiper,
        "avg count max min sum collect last_value merge_agg deduplicate median stddev stddevs \
         var vars percentile_cont percentile_disc last_agg_hit_count last_agg_hit_time lag \
         latest changed_col changed_cols had_changed acc_sum acc_max acc_min acc_count acc_avg \
         cardinality array_position element_at array_contains array_create array_remove \
         array_last_position array_contains_any array_intersect array_union array_max \
         array_min array_except repeat sequence array_cardinality array_flatten array_distinct \
         array_map array_join array_shuffle array_concat array_sort kvpair_array_to_obj keys \
         values object zip items object_construct object_concat object_size erase object_pick \
         obj_to_kvpair_array to_json parse_json json_path_exists json_path_query \
         json_path_query_first abs acos asin atan atan2 bitand bitor bitxor bitnot ceil \
         ceiling cos cosh cot degrees radians conv exp floor ln log mod pi pow power rand \
         round sign sin sinh sqrt tan tanh concat endswith startswith format format_time \
         indexof length lower upper lpad rpad ltrim rtrim trim numbytes regexp_matches \
         regexp_replace regexp_substr reverse split_value substring now current_timestamp \
         local_time local_timestamp cur_date current_date cur_time current_time date_calc \
         date_diff day_name day_of_month day day_of_week day_of_year from_days from_unix_time \
         hour last_day microsecond minute month month_name second to_seconds convert_tz tstamp \
         event_time cast chr encode decode compress decompress trunc hex2dec dec2hex md5 sha1 \
         sha256 sha384 sha512 crc32 unnest extract meta mqtt rule_id rule_start newuuid isnull \
         coalesce get_keyed_state delay last_hit_count last_hit_time window_start window_end \
         window_trigger row_number bypass props",
        184,
    ),
];
