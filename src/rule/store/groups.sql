CREATE TABLE device_groups (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    super_id INTEGER REFERENCES device_groups (id),
    created_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX device_groups_by_super ON device_groups (super_id, id);
CREATE TABLE device_group_tags (
    group_id INTEGER NOT NULL REFERENCES device_groups (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (group_id, key)
) STRICT;
CREATE INDEX device_group_tags_by_key ON device_group_tags (key, value);
CREATE TABLE device_group_members (
    group_id INTEGER NOT NULL REFERENCES device_groups (id) ON DELETE CASCADE,
    device_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, device_id)
) STRICT;
CREATE INDEX device_group_members_by_device ON device_group_members (device_id);
