#!/usr/bin/env bash
# pika 1.4.4 (PyPI, the usual AMQP client of Python) knows the field type `d`, a double, of AMQP's tables when it reads,
# and cuts the value to a whole number; writing a float is an error. A reading that another client put into a header
# (41.5 °C) arrives as 41, without a word, and cannot be sent on as it was.
# Seen 2026-11-30 with Python 3.11: the output below. Numbers with a fraction belong into headers as text.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pika==1.4.4

cat >"$work/headers.py" <<'PY'
import struct
from pika import data, exceptions

# A table with the one entry t = 41.5, as AMQP 0-9-1 and RabbitMQ's list of field types have it.
entry = b"\x01t" + b"d" + struct.pack("!d", 41.5)
table, _ = data.decode_table(struct.pack("!I", len(entry)) + entry, 0)
print("read:", table["t"] == 41, table["t"] == 41.5)
try:
    data.encode_table([], {"t": 41.5})
    print("written")
except exceptions.UnsupportedAMQPFieldException:
    print("refused to write")
PY

cat >"$work/expected" <<'TEXT'
read: True False
refused to write
TEXT
"$work/venv/bin/python" "$work/headers.py" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
