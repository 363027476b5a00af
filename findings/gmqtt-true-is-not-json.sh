#!/usr/bin/env bash
# gmqtt 0.8.0 (PyPI): a payload that is a dict or list is written as JSON, numbers as their digits, which are JSON, too.
# But True, False and NaN are written as Python prints them: `True`, `False`, `nan`. None of them is JSON, so one
# switch that reports its bare state is unreadable for rules, while {"on": True} is well. Characters that UTF-8 cannot
# have are replaced by `?` without a word.
# Seen 2026-11-30 with Python 3.11: the output below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check gmqtt==0.8.0

cat >"$work/payloads.py" <<'PY'
from gmqtt.client import Message

for payload in ({"on": True}, 41.5, True, False, float("nan"), "\udc94"):
    print(ascii(payload), Message("t", payload).payload.decode())
PY

cat >"$work/expected" <<'TEXT'
{'on': True} {"on": true}
41.5 41.5
True True
False False
nan nan
'\udc94' ?
TEXT
"$work/venv/bin/python" "$work/payloads.py" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
