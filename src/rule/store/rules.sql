CREATE TABLE rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    data_type TEXT NOT NULL CHECK (data_type IN ('JSON', 'BINARY')),
    product_key TEXT,
    short_topic TEXT,
    topic_type INTEGER,
    select_list TEXT,
    filter TEXT,
    running INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id INTEGER NOT NULL REFERENCES rules (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    configuration TEXT NOT NULL,
    error_action INTEGER NOT NULL
) STRICT;
CREATE INDEX actions_by_rule ON actions (rule_id);
CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('read', 'operate', 'admin')),
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('rules', 99999), ('actions', 99999);
