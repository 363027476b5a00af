-- Statements as people write them for eKuiper. `-- =>` lines say what becomes of each here:
-- `UPDATE_EXPECT=1 cargo test --test integration peers` writes them.

CREATE STREAM demo (temperature FLOAT, humidity BIGINT) WITH (DATASOURCE="sensors/+/data", FORMAT="JSON", KEY="ts");
-- => is not needed here
-- =>   change: the topic of a stream stands in FROM itself

SELECT * FROM demo
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT * FROM "sensors/+/data"

SELECT temperature, humidity FROM demo WHERE temperature > 30;
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature, humidity FROM "sensors/+/data" WHERE temperature > 30

SELECT demo.temperature AS t, demo.* FROM demo WHERE demo.humidity >= 80
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature AS t, * FROM "sensors/+/data" WHERE humidity >= 80

SELECT d.temperature AS t FROM demo AS d WHERE d.humidity < 20
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature AS t FROM "sensors/+/data" WHERE humidity < 20

SELECT temperature FROM other WHERE name = "kitchen"
-- => works after changes
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature FROM "other" WHERE name = 'kitchen'
-- =>   note: put the topic of the stream, its DATASOURCE, behind FROM

SELECT device->position->lat AS lat, device->tags[0] AS tag FROM demo
-- => works after changes
-- =>   change: a value inside an object is `a.b`, not `a->b`
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT device.position.lat AS lat, device.tags[0] AS tag FROM "sensors/+/data"

SELECT list[1:3] AS some FROM demo
-- => cannot be said here
-- =>   why: there are no slices in brackets
-- =>   nearest: a JSONPath in double quotes: `"$.a[1:3]"`

SELECT list[0]->name AS first, list[-1] AS last FROM demo
-- => works after changes
-- =>   change: a value inside an object is `a.b`, not `a->b`
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT list[0].name AS first, list[-1] AS last FROM "sensors/+/data"

SELECT avg(temperature) AS mean FROM demo GROUP BY TUMBLINGWINDOW(ss, 10)
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT count(*) FROM demo GROUP BY device, HOPPINGWINDOW(mi, 10, 5) HAVING count(*) > 3
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT window_start() AS a, max(temperature) AS top FROM demo GROUP BY SLIDINGWINDOW(ss, 60)
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT a.x, b.y FROM demo a INNER JOIN other b ON a.id = b.id GROUP BY TUMBLINGWINDOW(ss, 1)
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills
-- =>   why: a rule reads one topic filter: there are no joins
-- =>   nearest: a rule for each side writes to a table (`sqlite`, `postgres`) that joins them

SELECT lag(temperature) AS previous FROM demo
-- => cannot be said here
-- =>   why: there is no function `lag`
-- =>   nearest: a rule remembers nothing between messages; compare in the table that the action `sqlite` or `postgres` fills

SELECT had_changed(true, temperature) AS changed, latest(humidity, 0) AS h FROM demo
-- => cannot be said here
-- =>   why: there is no function `had_changed`
-- =>   nearest: a rule remembers nothing between messages; compare in the table that the action `sqlite` or `postgres` fills

SELECT lag(temperature) OVER (PARTITION BY device) AS previous FROM demo
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT count(*) FILTER (WHERE temperature > 3) AS c FROM demo
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: group where the records go: a query over the table that the action `sqlite` or `postgres` fills

SELECT * EXCEPT(humidity) FROM demo
-- => cannot be said here
-- =>   why: `*` takes all fields
-- =>   nearest: name the fields to keep: `SELECT a, b`

SELECT * REPLACE(temperature * 2 AS temperature) FROM demo WHERE temperature > 0
-- => works after changes
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   change: a later item replaces a field of `*`: `*, expression AS field`
-- =>   write: SELECT *, temperature * 2 AS temperature FROM "sensors/+/data" WHERE temperature > 0

SELECT *, upper(name) AS name FROM demo ORDER BY temperature LIMIT 5
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: sort where the records go

SELECT temperature FROM demo LIMIT 10
-- => cannot be said here
-- =>   why: each message is evaluated by itself: there are no groups and no windows
-- =>   nearest: limit where the records go

SELECT meta(topic) AS topic, mqtt(messageid) AS id, temperature FROM demo
-- => works after changes
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   change: what is known about a message is asked by functions: `topic()`, `messageId()`
-- =>   write: SELECT topic() AS topic, messageId() AS id, temperature FROM "sensors/+/data"

SELECT meta(device) AS d FROM demo
-- => cannot be said here
-- =>   why: there is no function `meta`
-- =>   nearest: what came with the message is `topic()`, `qos()`, `clientId()`, `userProperty(key)`

SELECT name FROM demo WHERE name LIKE "a%" AND name NOT LIKE "_b"
-- => works after changes
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT name FROM "sensors/+/data" WHERE name LIKE 'a%' AND name NOT LIKE '_b'
-- =>   note: `_` in the pattern '_b' stands for itself; `%` is the only wildcard of LIKE; for any one character write regexp_like(a, '^x.$')

SELECT flags & 1 AS low, flags | 2 AS more FROM demo
-- => cannot be said here
-- =>   why: `&` is no operator here
-- =>   nearest: `bitand(a, b)`
-- =>   why: `|` is no operator here
-- =>   nearest: `bitor(a, b)`

SELECT a ^ b AS x FROM demo
-- => cannot be said here
-- =>   why: `^` is no operator here
-- =>   nearest: `bitxor(a, b)`

SELECT CASE WHEN temperature > 30 THEN "hot" ELSE "fine" END AS state FROM demo
-- => works after changes
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT CASE WHEN temperature > 30 THEN 'hot' ELSE 'fine' END AS state FROM "sensors/+/data"

SELECT temperature FROM demo WHERE temperature BETWEEN 10 AND 20 AND device IN ("a", "b")
-- => works after changes
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature FROM "sensors/+/data" WHERE temperature BETWEEN 10 AND 20 AND device IN ('a', 'b')

SELECT temperature * 1.8 + 32 AS fahrenheit, total / parts AS each FROM demo
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT temperature * 1.8 + 32 AS fahrenheit, total / parts AS each FROM "sensors/+/data"
-- =>   note: 7 / 2 is 3.5 here; `7 DIV 2` is 3

SELECT log(level) AS decades, isnull(level) AS gone FROM demo
-- => works after changes
-- =>   change: `log(x)` is the natural logarithm: `log(x, 10)`
-- =>   change: `IS NULL` and `IS MISSING` ask for what is not there
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT log(level, 10) AS decades, (level IS NULL) AS gone FROM "sensors/+/data"

SELECT rule_id() AS rule, rule_start() AS since FROM demo
-- => cannot be said here
-- =>   why: there is no function `rule_start`
-- =>   nearest: a rule does not know when it was started; `now()` is when the message came

SELECT unnest(list) AS x, name FROM demo
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT unnest(list) AS x, name FROM "sensors/+/data"

SELECT concat(name, "-", device) AS label, `odd key` FROM demo /* one */ WHERE a = 'x'
-- => works after changes
-- =>   change: text stands in single quotes; double quotes name a key
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT concat(name, '-', device) AS label, `odd key` FROM "sensors/+/data" /* one */ WHERE a = 'x'

SELECT self FROM demo WHERE bypass(a) = 1
-- => cannot be said here
-- =>   why: there is no function `bypass`
-- =>   nearest: leave it out: `SELECT` passes values on as they are

SELECT demo.select AS s FROM demo
-- => works after one change
-- =>   change: FROM names a topic filter in quotes, not a stream; fields have no stream before them
-- =>   write: SELECT `select` AS s FROM "sensors/+/data"
