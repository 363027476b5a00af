CREATE TABLE device_desired (
    device_id BIGINT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    identifier TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, identifier)
);
