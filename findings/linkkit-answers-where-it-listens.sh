#!/usr/bin/env bash
# aliyun-iot-linkkit 1.2.13 (PyPI, the vendor's device SDK): a device that takes requests on a custom topic subscribes
# to /ext/rrpc/+/{product}/{device}/{topic} and answers on the very topic that the request came on. On a broker that
# passes messages to all who subscribe, as MQTT says, the answer reaches the device as the next request, which it
# answers: one request goes round without end. The vendor's platform never sends a device its own answer.
# Seen 2026-11-30 with Python 3.11, Node 20 and the broker aedes 0.51.3: the output below.
set -euo pipefail
work=$(mktemp -d)
broker=
trap 'if [ -n "$broker" ]; then kill "$broker" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check paho-mqtt==1.6.1 aliyun-iot-linkkit==1.2.13
npm install --prefix "$work" --no-audit --no-fund --silent aedes@0.51.3

# A plain broker that sends one request when the device has subscribed, and counts for two seconds.
cat >"$work/broker.cjs" <<'JS'
const net = require('node:net')
const aedes = require('aedes')()
let answers = 0
aedes.on('subscribe', (subscriptions, client) => {
  if (!subscriptions.some(({ topic }) => topic.startsWith('/ext/rrpc/'))) return
  aedes.publish({ topic: '/ext/rrpc/77/pk1/dev1/user/get', payload: 'how warm?', qos: 0 })
  setTimeout(() => {
    console.log('requests 1')
    console.log('answers, more than 20 in two seconds:', answers > 20)
    client.close(() => process.exit(0))
  }, 2000)
})
aedes.on('publish', (packet, client) => {
  if (client && packet.topic === '/ext/rrpc/77/pk1/dev1/user/get') answers++
})
const server = net.createServer(aedes.handle)
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
JS

cat >"$work/device.py" <<'PY'
import sys, threading
from linkkit import linkkit

device = linkkit.LinkKit(host_name="127.0.0.1", product_key="pk1", device_name="dev1", device_secret="secret")
device.config_mqtt(port=int(sys.argv[1]), secure="", endpoint="127.0.0.1")
device.on_connect = lambda *_: device.subscribe_rrpc_topic("/pk1/dev1/user/get")
device.on_topic_rrpc_message = lambda id, topic, payload, qos, _: device.thing_answer_rrpc(id, "41.5")
device.on_disconnect = lambda *_: done.set()
done = threading.Event()
device.connect_async()
done.wait(20)
PY

cat >"$work/expected" <<'TEXT'
requests 1
answers, more than 20 in two seconds: true
TEXT
(cd "$work" && exec timeout 60 node broker.cjs >said) &
broker=$!
for _ in $(seq 100); do [ -s "$work/said" ] && break; sleep 0.1; done
port=$(head -n 1 "$work/said")
timeout 60 "$work/venv/bin/python" "$work/device.py" "$port" >"$work/device.log" 2>&1 || true
wait "$broker" || { cat "$work/device.log" >&2; exit 1; }
broker=
tail -n +2 "$work/said" >"$work/seen"
cat "$work/seen"
diff "$work/expected" "$work/seen"
