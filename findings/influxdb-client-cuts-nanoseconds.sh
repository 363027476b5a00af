#!/usr/bin/env bash
# influxdb-client 1.50.0 (PyPI): a time given as text with nanoseconds, written with the precision `NS`, is cut to
# microseconds and filled with zeros, without a word: two events within one microsecond become one point, and the
# second overwrites the first. Given as an integer it stays. A field that is not a number (NaN) or None is left out, and a
# point without other fields becomes an empty line.
# Seen 2026-11-30 with Python 3.11: the output below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check influxdb-client==1.50.0

cat >"$work/points.py" <<'PY'
from influxdb_client import Point, WritePrecision

for time in ("2026-11-30T07:00:00.123456789Z", 1796022000123456789):
    print(Point("m").field("t", 41.5).time(time, WritePrecision.NS).to_line_protocol())
for value in (float("nan"), None):
    print(repr(Point("m").tag("device", "pump1").field("t", value).to_line_protocol()))
PY

cat >"$work/expected" <<'TEXT'
m t=41.5 1796022000123456000
m t=41.5 1796022000123456789
''
''
TEXT
"$work/venv/bin/python" "$work/points.py" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
