CREATE TABLE device_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id INTEGER REFERENCES devices (id) ON DELETE SET NULL,
    file_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size INTEGER,
    complete INTEGER NOT NULL,
    check_mode TEXT,
    check_value TEXT,
    init_uid TEXT,
    created_ms INTEGER NOT NULL,
    UNIQUE (device_id, name, complete)
) STRICT;
CREATE INDEX device_files_unfinished ON device_files (created_ms) WHERE complete = 0;
