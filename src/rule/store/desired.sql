CREATE TABLE device_desired (
    device_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    identifier TEXT NOT NULL,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, identifier)
) STRICT;
