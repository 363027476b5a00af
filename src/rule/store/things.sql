CREATE TABLE device_values (
    device_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    identifier TEXT NOT NULL,
    value TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, identifier)
) STRICT;
CREATE TABLE device_shadows (
    device_id INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;
CREATE TABLE sub_devices (
    device_id INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    gateway_id INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX sub_devices_by_gateway ON sub_devices (gateway_id);
