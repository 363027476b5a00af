CREATE TABLE history_series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    kind INTEGER NOT NULL,
    identifier TEXT NOT NULL,
    UNIQUE (device, kind, identifier)
) STRICT;
CREATE TABLE history_values (
    series INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    nth INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (series, time_ms, nth)
) STRICT, WITHOUT ROWID;
CREATE TABLE history_place (
    cursor TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;
