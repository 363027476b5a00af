CREATE TABLE device_values (
    device_id BIGINT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    identifier TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, identifier)
);
CREATE TABLE device_shadows (
    device_id BIGINT PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    document TEXT COLLATE "C" NOT NULL
);
CREATE TABLE sub_devices (
    device_id BIGINT PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    gateway_id BIGINT NOT NULL REFERENCES devices (id) ON DELETE CASCADE
);
CREATE INDEX sub_devices_by_gateway ON sub_devices (gateway_id);
