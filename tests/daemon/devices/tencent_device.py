"""A device: another vendor's own Python client, unmodified, which speaks MQTT 3.1. Tells what happens as JSON lines."""
import json
import os
import socket
import sys
import tempfile

from explorer.explorer import QcloudExplorer

host, port, product, device, secret = sys.argv[1:6]
dial = socket.create_connection
# The client looks for the vendor's name at the vendor's port: here both lead to the broker.
socket.create_connection = lambda address, *rest, **named: dial((host, int(port)), *rest, **named)


def tell(*what):
    print(json.dumps(what), flush=True)


def file_with(content):
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(content, file)
    return file.name


info = file_with({
    "auth_mode": "KEY",
    "productId": product,
    "productSecret": "none",
    "deviceName": device,
    "key_deviceinfo": {"deviceSecret": secret},
    "cert_deviceinfo": {"devCaFile": "", "devCertFile": "", "devPrivateKeyFile": ""},
    "region": "none",
})
sdk = QcloudExplorer(info, tls=False)
os.unlink(info)
asked = set()


def on_connect(session_flag, rc, userdata):
    tell("enabled", rc, session_flag)
    rc, mid = sdk.templateInit(product, device, on_property, on_action, on_event, on_event)
    assert rc == 0


def on_subscribe(qos, mid, userdata):
    asked.add(mid)
    tell("granted", qos)
    # Properties, actions, events, services: now it listens.
    if len(asked) == 4:
        report = sdk.templateJsonConstructReportArray(product, device, {"Level": 7})
        assert sdk.templateReport(product, device, report)[0] == 0
        event = {"events": [{"eventId": "Alarm", "type": "alert", "timestamp": 1, "params": {"level": 3}}]}
        assert sdk.templateEventPost(product, device, event)[0] == 0


def on_property(topic, qos, payload, userdata):
    tell(payload["method"], payload)
    if payload["method"] == "control":
        reply = sdk.ReplyPara()
        reply.code, reply.status_msg = 0, "done"
        assert sdk.templateControlReply(product, device, reply)[0] == 0


def on_action(topic, qos, payload, userdata):
    tell("action", payload)
    reply = sdk.ReplyPara()
    reply.code, reply.status_msg = 0, "done"
    assert sdk.templateActionReply(product, device, payload["clientToken"], {"ok": 1}, reply)[0] == 0


def on_event(topic, qos, payload, userdata):
    tell("event", payload)


sdk.registerMqttCallback(
    on_connect,
    lambda rc, userdata: tell("gone", rc),
    lambda topic, qos, payload, userdata: tell("message", topic),
    lambda mid, userdata: tell("acknowledged", mid),
    on_subscribe,
    lambda mid, userdata: None,
)
assert sdk.connect() == 0
# Ends when nobody wants it any more.
sys.stdin.read()
os._exit(0)
