-- Statements as people write them for EMQX. `-- =>` lines say what becomes of each here:
-- `UPDATE_EXPECT=1 cargo test --test integration peers` writes them.

SELECT * FROM "t/#"
-- => works as it stands
-- =>   note: `*` is the payload alone: add `topic() AS topic` and the like

SELECT payload.temp AS temp FROM "sensors/+/data" WHERE payload.temp > 30
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT temp AS temp FROM "sensors/+/data" WHERE temp > 30

SELECT clientid, topic, payload.humidity AS h FROM "rooms/#"
-- => works after changes
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT clientId() AS clientid, topic() AS topic, humidity AS h FROM "rooms/#"

SELECT payload FROM "raw/+"
-- => works after one change
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   write: SELECT payload() AS payload FROM "raw/+"

SELECT payload.x.y AS y, payload.list[1] AS first, payload.list[-1] AS last FROM "t/+"
-- => works after changes
-- =>   change: indices start at 0, not at 1
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT x.y AS y, list[0] AS first, list[-1] AS last FROM "t/+"

SELECT payload.list[1..3] AS some FROM "t/+"
-- => cannot be said here
-- =>   why: there are no ranges in brackets
-- =>   nearest: single elements: `a[0]`, `a[-1]`, or a JSONPath in double quotes: `"$.a[0:4]"`

SELECT payload.'serial number' AS serial FROM "t/+" WHERE payload.'serial number' != ''
-- => works after changes
-- =>   change: a key in quotes behind a dot stands in backticks
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT `serial number` AS serial FROM "t/+" WHERE `serial number` != ''

SELECT json_decode(payload) AS p, p.speed AS speed, p.pos[2].lat AS lat FROM "cars/+" WHERE p.speed > 130
-- => works after changes
-- =>   change: the payload is read already: nothing has to be decoded
-- =>   change: indices start at 0, not at 1
-- =>   write: SELECT speed AS speed, pos[1].lat AS lat FROM "cars/+" WHERE speed > 130

SELECT p.speed AS speed, json_decode(payload) AS p FROM "cars/+"
-- => works after one change
-- =>   change: the payload is read already: nothing has to be decoded
-- =>   write: SELECT speed AS speed FROM "cars/+"

SELECT nth(2, tokens(topic, '/')) AS device, payload.v AS v FROM "site/+/data"
-- => works after changes
-- =>   change: `topic(n)` is the n-th level of the topic
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT topic(2) AS device, v AS v FROM "site/+/data"

SELECT payload.v AS v FROM "site/+/data", "plant/+/data"
-- => works after changes
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   change: a rule reads one topic filter: write one rule for each
-- =>   write: SELECT v AS v FROM "site/+/data"
-- =>   write: SELECT v AS v FROM "plant/+/data"

SELECT payload.v AS v FROM "site/+/data", "plant/+/data", "home/#" WHERE payload.v >= 1
-- => works after changes
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   change: a rule reads one topic filter: write one rule for each
-- =>   write: SELECT v AS v FROM "site/+/data" WHERE v >= 1
-- =>   write: SELECT v AS v FROM "plant/+/data" WHERE v >= 1
-- =>   write: SELECT v AS v FROM "home/#" WHERE v >= 1

SELECT * FROM "#" WHERE topic =~ 'site/+/alarm'
-- => cannot be said here
-- =>   why: `topic_matches` takes 1 argument, not 2; expected `topic_matches(filter)`
-- =>   nearest: for example `topic_matches('/a1Pk/+/user/#')`

SELECT * FROM "$events/client_connected" WHERE username = 'emqx'
-- => cannot be said here
-- =>   why: topics below `$events/` exist in EMQX only
-- =>   nearest: the status topics of devices: FROM "/as/mqtt/status/{productKey}/{deviceName}"

SELECT * FROM "$bridges/mqtt:upstream"
-- => cannot be said here
-- =>   why: topics below `$bridges/` exist in EMQX only
-- =>   nearest: a source reads other systems under topics of its own

FOREACH payload.sensors AS s DO s.name AS name, s.value AS value FROM "gateway/+"
-- => works after changes
-- =>   change: FOREACH is UNNEST behind the topic: one record for each element; INCASE joins WHERE
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT s.name AS name, s.value AS value FROM "gateway/+", UNNEST(sensors) AS s

FOREACH payload.sensors AS s DO s.name AS name, clientid AS gateway INCASE s.value > 10 FROM "gateway/+" WHERE payload.ok = true
-- => works after changes
-- =>   change: FOREACH is UNNEST behind the topic: one record for each element; INCASE joins WHERE
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT s.name AS name, clientId() AS gateway FROM "gateway/+", UNNEST(sensors) AS s WHERE (ok = true) AND (s.value > 10)

FOREACH payload.sensors FROM "gateway/+"
-- => works after changes
-- =>   change: FOREACH is UNNEST behind the topic: one record for each element; INCASE joins WHERE
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT item.* FROM "gateway/+", UNNEST(sensors) AS item

FOREACH payload.list AS e INCASE e.level >= 3 FROM "gateway/+"
-- => works after changes
-- =>   change: FOREACH is UNNEST behind the topic: one record for each element; INCASE joins WHERE
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT e.* FROM "gateway/+", UNNEST(list) AS e WHERE e.level >= 3

SELECT payload.a div 2 AS half, payload.a mod 3 AS rest FROM "t/+"
-- => works after changes
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   change: `a mod b` is `a % b`
-- =>   write: SELECT a div 2 AS half, a % 3 AS rest FROM "t/+"

SELECT CASE WHEN payload.v > 8 THEN 'high' WHEN payload.v < 2 THEN 'low' ELSE 'normal' END AS level FROM "t/#"
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT CASE WHEN v > 8 THEN 'high' WHEN v < 2 THEN 'low' ELSE 'normal' END AS level FROM "t/#"

SELECT payload.v AS a.b.c, payload.w AS list[1].x FROM "t/#"
-- => works after changes
-- =>   change: a key with a dot stands in double quotes and stays flat: `AS "a.b"`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT v AS "a.b.c", w AS "list[1].x" FROM "t/#"

SELECT [payload.a, payload.b] AS pair FROM "t/#"
-- => works after changes
-- =>   change: objects are made by `object(key, value, …)`, arrays by `array(value, …)`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT array(a, b) AS pair FROM "t/#"

SELECT is_null(payload.v) AS gone FROM "t/#" WHERE is_not_null(payload.w)
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT is_null(v) AS gone FROM "t/#" WHERE is_not_null(w)

SELECT kv_store_get('last', 0) AS last, payload.v AS v FROM "t/#"
-- => cannot be said here
-- =>   why: there is no function `kv_store_get`
-- =>   nearest: a rule remembers nothing between messages; compare in the table that the action `sqlite` or `postgres` fills

SELECT proc_dict_put(clientid, payload.v) AS x, jq('.a', payload) AS y FROM "t/#"
-- => cannot be said here
-- =>   why: there is no function `proc_dict_put`
-- =>   nearest: a rule remembers nothing between messages; compare in the table that the action `sqlite` or `postgres` fills
-- =>   why: there is no function `jq`
-- =>   nearest: a JSONPath in double quotes, such as `"$.a[*].b"`

SELECT schema_decode('s1', payload) AS decoded, getenv('SITE') AS site FROM "t/#"
-- => cannot be said here
-- =>   why: there is no function `schema_decode`
-- =>   nearest: there is no schema registry: payloads are JSON, or bytes in a rule with `data_type: binary`, such as `to_base64(*)`
-- =>   why: there is no function `getenv`
-- =>   nearest: a rule reads no environment; a rule file does: `${env:NAME}`

SELECT mongo_date() AS now, payload.v AS v FROM "t/#"
-- => cannot be said here
-- =>   why: there is no function `mongo_date`
-- =>   nearest: `to_rfc3339(ms)`

SELECT upper(payload.name) AS name, timestamp AS at, qos, id FROM "t/#"
-- => works after changes
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT upper(name) AS name, timestamp() AS at, qos() AS qos, messageId() AS id FROM "t/#"

SELECT payload.select AS a, payload.from.where AS b FROM "t/#" WHERE payload.in IN (1, 2)
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT `select` AS a, `from`.where AS b FROM "t/#" WHERE `in` IN (1, 2)

SELECT payload.v AS v FROM "t/#" WHERE payload.v = 1 -- one rule
  AND payload.state IN ('on', 'off')
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT v AS v FROM "t/#" WHERE v = 1 -- one rule
-- =>          AND state IN ('on', 'off')

SELECT payload.v AS topic FROM "t/#" WHERE topic = 'a'
-- => works after one change
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT v AS topic FROM "t/#" WHERE topic = 'a'

SELECT sum(payload.v) AS total FROM "t/#"
-- => cannot be said here
-- =>   why: there is no function `sum`
-- =>   nearest: a rule sees one message: there are no aggregates or windows; aggregate over the table that the action `sqlite` or `postgres` fills

SELECT username, payload.v AS v FROM "t/#" WHERE peerhost = '10.0.0.1'
-- => works after changes
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   change: fields stand at the top of the document: `payload.x` is `x`
-- =>   write: SELECT username() AS username, v AS v FROM "t/#" WHERE peerhost() = '10.0.0.1'

SELECT pub_props.'User-Property'.site AS site FROM "t/#"
-- => works after one change
-- =>   change: a key in quotes behind a dot stands in backticks
-- =>   write: SELECT pub_props.`User-Property`.site AS site FROM "t/#"

SELECT payload.a, payload.b FROM t
-- => cannot be said here
-- =>   why: unexpected `t`; expected a topic filter in quotes
-- =>   nearest: write FROM "/product/+/user/data", with quotes
