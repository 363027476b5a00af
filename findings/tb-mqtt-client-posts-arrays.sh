#!/usr/bin/env bash
# tb-mqtt-client 1.13.14 (PyPI, ThingsBoard's device SDK): `send_telemetry` of one object posts an array with that
# object in it, `send_attributes` of one object posts the object. A rule that reads `temperature` from the payloads
# of the telemetry topic finds nothing, although the program on the device names no array.
# And importing it runs pip: it needs `mmh3`, which it does not declare, and installs the newest at run time.
# Seen 2026-11-30 with Python 3.11: the output below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check setuptools==65.5.0 tb-mqtt-client==1.13.14

cat >"$work/post.py" <<'PY'
import os, socket, struct, sys, threading
from importlib import invalidate_caches, util

print("mmh3 before the import:", util.find_spec("mmh3") is not None)
from tb_device_mqtt import TBDeviceMqttClient
invalidate_caches()
print("mmh3 after the import:", util.find_spec("mmh3") is not None)

listener = socket.create_server(("127.0.0.1", 0))
posts, three = [], threading.Event()

def packets(stream):
    data = b""
    while True:
        more = stream.recv(65536)
        if not more:
            return
        data += more
        while len(data) >= 2:
            length, shift, at = 0, 0, 1
            while True:
                if at >= len(data):
                    break
                length |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if data[at - 1] < 128:
                    break
            if len(data) < at + length:
                break
            yield data[0], data[at:at + length]
            data = data[at + length:]

def broker():
    stream, _ = listener.accept()
    for head, body in packets(stream):
        kind, qos = head >> 4, head >> 1 & 3
        if kind == 1:
            level = body[6]
            stream.sendall(bytes([0x20, 3, 0, 0, 0]) if level == 5 else bytes([0x20, 2, 0, 0]))
        elif kind == 8:
            stream.sendall(bytes([0x90, 4]) + body[:2] + bytes([0, 0]) if level == 5 else bytes([0x90, 3]) + body[:2] + bytes([0]))
        elif kind == 3:
            length = struct.unpack_from("!H", body)[0]
            topic, at = body[2:2 + length].decode(), 2 + length
            if qos:
                stream.sendall(bytes([0x40, 2]) + body[at:at + 2])
                at += 2
            if level == 5:
                at += 1 + body[at]
            if "/rpc/" not in topic:
                posts.append((topic, body[at:].decode().replace(" ", "")))
                if len(posts) == 3:
                    three.set()

threading.Thread(target=broker, daemon=True).start()
client = TBDeviceMqttClient("127.0.0.1", listener.getsockname()[1], "token")
client.connect(timeout=10)
client.send_telemetry({"temperature": 41.5})
client.send_telemetry({"ts": 1784000000000, "values": {"temperature": 41.5}})
client.send_attributes({"model": "M1"})
assert three.wait(30), posts
for post in posts:
    print(*post)
sys.stdout.flush()
os._exit(0)
PY

cat >"$work/expected" <<'TEXT'
mmh3 before the import: False
mmh3 after the import: True
v1/devices/me/telemetry [{"temperature":41.5}]
v1/devices/me/telemetry [{"ts":1784000000000,"values":{"temperature":41.5}}]
v1/devices/me/attributes {"model":"M1"}
TEXT
(cd "$work" && timeout 90 venv/bin/python post.py >all 2>errors) || { cat "$work/errors" >&2; exit 1; }
# What pip says of itself is left out.
grep -E '^(mmh3|v1/)' "$work/all" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
