-- Statements as people write them for AWS IoT. `-- =>` lines say what becomes of each here:
-- `UPDATE_EXPECT=1 cargo test --test integration peers` writes them.

SELECT * FROM 'factory/line1/sensors'
-- => works as it stands

SELECT temperature, humidity FROM 'sensors/+/climate' WHERE temperature > 30
-- => works as it stands

SELECT state.reported.speed AS speed, topic(2) AS vehicle FROM 'fleet/+/telemetry' WHERE state.reported.speed >= 120;
-- => works as it stands

SELECT *, timestamp() AS received_at, topic() AS source FROM 'meters/#'
-- => works as it stands

SELECT device AS id, battery * 100 AS percent FROM 'pets/+/collar' WHERE battery < 0.2 AND NOT charging = true
-- => works as it stands

SELECT * FROM 'doors/+' WHERE status = "open"
-- => works after one change
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   write: SELECT * FROM 'doors/+' WHERE status = 'open'

SELECT "unknown" AS room, level FROM 'tanks/+' WHERE endswith(name, "-A")
-- => works after one change
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   write: SELECT 'unknown' AS room, level FROM 'tanks/+' WHERE endswith(name, '-A')

SELECT upper(name) AS name, concat(site, '/', line) AS place FROM 'plant/#'
-- => works as it stands

SELECT VALUE readings FROM 'greenhouse/+'
-- => cannot be said here
-- =>   why: a record is an object: there is no SELECT VALUE
-- =>   nearest: `SELECT a.*` for an object, `SELECT a AS value` for anything else

SELECT VALUE {'t': temperature, 'when': timestamp()} FROM 'greenhouse/+'
-- => cannot be said here
-- =>   why: a record is an object: there is no SELECT VALUE
-- =>   nearest: `SELECT a.*` for an object, `SELECT a AS value` for anything else

SELECT {'celsius': temperature, 'device': topic(2)} AS reading FROM 'greenhouse/+/data'
-- => works after one change
-- =>   change: objects are made by `object(key, value, …)`, arrays by `array(value, …)`
-- =>   write: SELECT object('celsius', temperature, 'device', topic(2)) AS reading FROM 'greenhouse/+/data'

SELECT [temperature, humidity] AS pair FROM 'greenhouse/+/data'
-- => works after one change
-- =>   change: objects are made by `object(key, value, …)`, arrays by `array(value, …)`
-- =>   write: SELECT array(temperature, humidity) AS pair FROM 'greenhouse/+/data'

SELECT temperature AS reading.celsius, unit AS reading.unit FROM 'oven/+'
-- => works after one change
-- =>   change: a key with a dot stands in double quotes and stays flat: `AS "a.b"`
-- =>   write: SELECT temperature AS "reading.celsius", unit AS "reading.unit" FROM 'oven/+'

SELECT (SELECT VALUE v FROM values WHERE v > 10) AS high FROM 'series/+'
-- => cannot be said here
-- =>   why: a record is an object: there is no SELECT VALUE
-- =>   nearest: `SELECT a.*` for an object, `SELECT a AS value` for anything else
-- =>   why: there are no nested SELECTs
-- =>   nearest: `UNNEST(list) AS x` behind the topic makes one record for each element

SET @limit = 50 SELECT value FROM 'valves/+' WHERE value > @limit
-- => cannot be said here
-- =>   why: there are no variables
-- =>   nearest: an item with an alias: `SELECT a + 1 AS v`; later items and WHERE may name `v`

SELECT get(*, 'serial-number') AS serial, get(get(parts, 'left wheel'), 0) AS wheel FROM 'cars/+'
-- => works after one change
-- =>   change: a key with odd characters stands in backticks instead of `get(…)`
-- =>   write: SELECT `serial-number` AS serial, parts.`left wheel`[0] AS wheel FROM 'cars/+'

SELECT get(readings, 2) AS third FROM 'cars/+'
-- => works after one change
-- =>   change: a key with odd characters stands in backticks instead of `get(…)`
-- =>   write: SELECT readings[2] AS third FROM 'cars/+'

SELECT encode(*, 'base64') AS raw, topic() AS origin FROM 'binary/+'
-- => works after one change
-- =>   change: `to_base64(*)` is the payload in base64
-- =>   write: SELECT to_base64(*) AS raw, topic() AS origin FROM 'binary/+'

SELECT * FROM 'logs/+' WHERE isUndefined(level) OR isNull(message)
-- => works after one change
-- =>   change: `IS NULL` and `IS MISSING` ask for what is not there
-- =>   write: SELECT * FROM 'logs/+' WHERE isUndefined(level) OR (message IS NULL)

SELECT CASE mode WHEN 1 THEN 'auto' WHEN 2 THEN 'manual' ELSE 'off' END AS mode FROM 'pumps/+'
-- => works as it stands

SELECT aws_lambda('arn:aws:lambda:x', {'a': a}) AS answer FROM 'ask/+'
-- => cannot be said here
-- =>   why: there is no function `aws_lambda`
-- =>   nearest: a rule asks nobody while it runs; send the record with the action `http`

SELECT get_thing_shadow('car1', 'role').state.reported.color AS color FROM 'cars/+'
-- => cannot be said here
-- =>   why: there is no function `get_thing_shadow`
-- =>   nearest: a rule asks nobody while it runs; send the record with the action `http`

SELECT principal() AS who, clientid() AS client FROM 'audit/+'
-- => cannot be said here
-- =>   why: there is no function `principal`
-- =>   nearest: who has published is `clientId()`, `username()` or `deviceName()`

SELECT state.desired AS desired FROM '$aws/things/lamp1/shadow/update/accepted'
-- => cannot be said here
-- =>   why: topics below `$aws/` exist in AWS IoT only
-- =>   nearest: the topics that your own devices publish to

SELECT log(level) AS decades, power(level, 2) AS squared, rand() AS noise FROM 'lab/+'
-- => works after one change
-- =>   change: `log(x)` is the natural logarithm: `log(x, 10)`
-- =>   write: SELECT log(level, 10) AS decades, power(level, 2) AS squared, rand() AS noise FROM 'lab/+'

SELECT total / count AS mean FROM 'lab/+' WHERE count <> 0
-- => works as it stands
-- =>   note: 7 / 2 is 3.5 here; `7 DIV 2` is 3

SELECT crypto(serial, 'SHA256') AS hidden, newuuid() AS id FROM 'cars/+'
-- => works as it stands

SELECT abs(value) AS value FROM 'lab/+' WHERE abs(value) BETWEEN 1 AND 5
-- => works as it stands

SELECT sum(value) AS total FROM 'lab/+' GROUP BY device
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT color.red AS red, name FROM 'lamps/+' WHERE color.red > 200 AND name <> 'old lamp' -- no comments there
-- => works as it stands

SELECT machinelearning_predict('model', 'arn', *) AS answer, traceid() AS trace FROM 'lab/+'
-- => cannot be said here
-- =>   why: there is no function `machinelearning_predict`
-- =>   nearest: a rule asks nobody while it runs; send the record with the action `http`
-- =>   why: there is no function `traceid`
-- =>   nearest: each message has its `messageId()`

SELECT items[0].price AS first FROM 'shop/+' WHERE items[0].price % 2 = 0
-- => works as it stands

SELECT a, FROM 'x/+' WHERE
-- => works as it stands

SELECT 'text without an end FROM 'x/+'
-- => cannot be said here
-- =>   why: the string is not closed; expected `'`
-- =>   nearest: write a quote inside a string as `''` or `\'`
