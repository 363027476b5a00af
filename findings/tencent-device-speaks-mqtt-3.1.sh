#!/usr/bin/env bash
# tencent-iot-device 1.0.0 (PyPI, the vendor's newest) connects with MQTT 3.1: protocol name `MQIsdp`, level 3.
# MQTT 3.1.1 (2014) has `MQTT` and 4, so a broker that follows 3.1.1 and 5.0 to the letter refuses every device
# with this SDK: there is no setting for it. The key is read as base64, and the password is the HMAC of the
# whole user name with `;hmacsha1` behind it.
# Seen 2026-11-30 with Python 3.11: the output below. Its requirement pycrypto 2.6.1 does not build on
# Python 3.11; pycryptodome has the same modules.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check paho-mqtt==1.5.1 pycryptodome==3.23.0 setuptools==65.5.0
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps tencent-iot-device==1.0.0

cat >"$work/device.json" <<'JSON'
{ "auth_mode": "KEY", "productId": "127", "productSecret": "", "deviceName": "pump1", "region": "china",
  "key_deviceinfo": { "deviceSecret": "c2VjcmV0LW9mLXB1bXAx" },
  "cert_deviceinfo": { "devCaFile": "", "devCertFile": "", "devPrivateKeyFile": "" } }
JSON

# The client's host is product and domain in one word, and its port 1883: an own address of the loopback range.
cat >"$work/connect.py" <<'PY'
import os, socket, struct, sys
from explorer.explorer import QcloudExplorer

listener = socket.create_server(("127.83.19.1", 1883))
listener.settimeout(30)
device = QcloudExplorer(sys.argv[1], tls=False, domain=".83.19.1")
device.registerMqttCallback(*[lambda *_: None] * 6)
device.connect()
stream, _ = listener.accept()
stream.settimeout(30)
data = stream.recv(4096)
at = 2 if data[1] < 128 else 3

def text():
    global at
    length = struct.unpack_from("!H", data, at)[0]
    at += 2 + length
    return data[at - length:at].decode()

name = text()
level = data[at]
at += 4
client, user, password = text(), text(), text()
parts = user.split(";")
print("protocol", name, "level", level)
print("client", client)
print("user", parts[0], parts[1], len(parts[2]), "characters, milliseconds", parts[3].isdigit())
print("password", len(password.split(";")[0]), "hex digits,", password.split(";")[1])
sys.stdout.flush()
os._exit(0)
PY

cat >"$work/expected" <<'TEXT'
protocol MQIsdp level 3
client 127pump1
user 127pump1 21010406 5 characters, milliseconds True
password 40 hex digits, hmacsha1
TEXT
(cd "$work" && venv/bin/python connect.py device.json >seen 2>errors) || { cat "$work/errors" >&2; exit 1; }
cat "$work/seen"
diff "$work/expected" "$work/seen"
