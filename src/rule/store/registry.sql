CREATE TABLE products (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    node_type INTEGER NOT NULL,
    data_format INTEGER NOT NULL,
    senior INTEGER NOT NULL,
    category_key TEXT,
    auth_type TEXT NOT NULL,
    net_type TEXT,
    protocol_type TEXT,
    validate_type INTEGER NOT NULL,
    secret TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    tsl TEXT
) STRICT;
CREATE TABLE devices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL REFERENCES products (product_key) ON DELETE CASCADE,
    name TEXT NOT NULL,
    iot_id TEXT NOT NULL UNIQUE,
    secret TEXT NOT NULL,
    nickname TEXT,
    disabled INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    active_ms INTEGER,
    online_ms INTEGER,
    address TEXT,
    apply_id INTEGER,
    UNIQUE (product_key, name)
) STRICT;
CREATE INDEX devices_by_product ON devices (product_key, id);
CREATE INDEX devices_by_apply ON devices (apply_id);
CREATE TABLE device_tags (
    device_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device_id, key)
) STRICT;
CREATE INDEX device_tags_by_key ON device_tags (key, value);
CREATE TABLE topic_classes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL REFERENCES products (product_key) ON DELETE CASCADE,
    short_name TEXT NOT NULL,
    operation INTEGER NOT NULL,
    description TEXT NOT NULL,
    UNIQUE (product_key, short_name)
) STRICT;
CREATE TABLE topic_routes (
    source TEXT NOT NULL,
    source_device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    destination_device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    PRIMARY KEY (source, destination)
) STRICT;
CREATE INDEX topic_routes_by_destination ON topic_routes (destination);
CREATE INDEX topic_routes_by_source_device ON topic_routes (source_device);
CREATE INDEX topic_routes_by_destination_device ON topic_routes (destination_device);
CREATE TABLE device_applies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    product_key TEXT NOT NULL REFERENCES products (product_key) ON DELETE CASCADE,
    status TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX device_applies_by_product ON device_applies (product_key);
CREATE TABLE device_apply_names (
    apply_id INTEGER NOT NULL REFERENCES device_applies (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    nickname TEXT,
    good INTEGER NOT NULL,
    PRIMARY KEY (apply_id, position)
) STRICT;
INSERT INTO sqlite_sequence (name, seq) VALUES ('topic_classes', 9999), ('device_applies', 999);
