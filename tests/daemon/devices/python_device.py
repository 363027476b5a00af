"""A device: the vendor's own Python client, unmodified. Tells what happens as JSON lines."""
import json
import os
import sys
import tempfile

from linkkit import linkkit

host, port, product_key, device_name, secret = sys.argv[1:6]
REQUEST = "/sys/%s/%s/rrpc/request/" % (product_key, device_name)


def tell(*what):
    print(json.dumps(what), flush=True)


model = {
    "events": [{"identifier": "post", "outputData": []}, {"identifier": "Alarm", "outputData": []}],
    "services": [
        {"identifier": "set", "inputData": [{"identifier": "Level"}]},
        {"identifier": "get", "outputData": []},
        {"identifier": "Blink"},
        {"identifier": "Later"},
    ],
}
file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
json.dump(model, file)
file.close()

device = linkkit.LinkKit(
    host_name="127.0.0.1",
    product_key=product_key,
    device_name=device_name,
    device_secret=secret,
)
device.config_mqtt(port=int(port), secure="", endpoint=host)
assert device.thing_setup(file.name) == 0
os.unlink(file.name)


def on_thing_enable(user_data):
    tell("enabled")
    assert device.thing_post_property({"Level": 7})[0] == 0
    assert device.thing_trigger_event(("Alarm", {"level": 3}))[0] == 0
    assert device.thing_update_shadow({"color": "red"}, 1)[0] == 0
    assert device.subscribe_rrpc_topic("/%s/%s/user/get" % (product_key, device_name))[0] == 0


def on_topic_message(topic, payload, qos, user_data):
    if topic.startswith(REQUEST):
        answer = topic.replace("/request/", "/response/")
        device.publish_topic(answer, payload[::-1], 0)
    tell("message", topic.rsplit("/", 1)[0])


device.on_thing_enable = on_thing_enable
device.on_thing_prop_post = lambda id, code, data, message, _: tell("posted", code, message)
device.on_thing_event_post = lambda event, id, code, data, message, _: tell("event", event, code)
device.on_thing_prop_changed = lambda params, _: tell("set", params)
device.on_thing_shadow_get = lambda payload, _: tell("shadow", payload)
device.on_subscribe_rrpc_topic = lambda mid, qos, topics, _: tell("listens")
device.on_topic_message = on_topic_message


def on_thing_call_service(identifier, request_id, params, user_data):
    device.thing_answer_service(identifier, request_id, 200, params)
    tell("service", identifier, params)


def on_topic_rrpc_message(id, topic, payload, qos, user_data):
    device.thing_answer_rrpc(id, payload[::-1])
    tell("rrpc", topic.rsplit("/", 3)[0].split("/", 4)[1])


device.on_thing_call_service = on_thing_call_service
device.on_topic_rrpc_message = on_topic_rrpc_message
device.connect_async()
# Ends when nobody wants it any more.
sys.stdin.read()
os._exit(0)
