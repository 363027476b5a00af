"""A gateway with one sub-device: the vendor's own Python client, unmodified. Tells what happens as JSON lines."""
import json
import os
import sys

from linkkit import linkkit

host, port, product_key, device_name, secret, sub_key, sub_name, sub_secret = sys.argv[1:9]
SUB = [sub_key, sub_name, sub_secret]
SYS = "/sys/%s/%s/" % (sub_key, sub_name)
POST = SYS + "thing/event/property/post"


def tell(*what):
    print(json.dumps(what), flush=True)


gateway = linkkit.LinkKit(
    host_name="127.0.0.1",
    product_key=product_key,
    device_name=device_name,
    device_secret=secret,
)
gateway.config_mqtt(port=int(port), secure="", endpoint=host)


def on_connect(session_flag, rc, user_data):
    tell("enabled")
    assert gateway.gateway_add_subdev_topo([SUB])[0] == 0


def on_added(id, code, data, message, user_data):
    tell("added", code)
    assert gateway.gateway_login_subdev([SUB])[0] == 0


def on_login(id, code, data, message, user_data):
    tell("login", code, data)
    if code == 200:
        post = {"id": "7", "version": "1.0", "params": {"Level": 7}}
        gateway.publish_topic(POST, json.dumps(post), 0)


def on_topic_message(topic, payload, qos, user_data):
    text = payload.decode() if isinstance(payload, bytes) else payload
    if topic == POST + "_reply":
        tell("posted", json.loads(text)["code"])
    elif topic == SYS + "thing/service/property/set":
        asked = json.loads(text)
        reply = {"id": asked["id"], "code": 200, "data": {}}
        gateway.publish_topic(topic + "_reply", json.dumps(reply), 0)
        tell("set", asked["params"])
    elif topic.startswith(SYS + "rrpc/request/"):
        asked = json.loads(text)
        reply = {"id": asked["id"], "code": 200, "data": asked["params"]}
        gateway.publish_topic(topic.replace("/request/", "/response/"), json.dumps(reply), 0)
        tell("service", asked["params"])
    elif topic.startswith("/ext/error/"):
        tell("error", json.loads(text)["code"])


def on_topo_change(id, params, user_data):
    tell("changed", params["status"], params["subList"])
    if params["status"] == 2:
        assert gateway.gateway_login_subdev([SUB])[0] == 0
    elif params["status"] == 8:
        tell("disabled")


def on_logout(id, code, data, message, user_data):
    tell("logout", code)
    assert gateway.gateway_delete_subdev_topo([SUB])[0] == 0


gateway.on_connect = on_connect
gateway.on_gateway_add_subdev_topo_reply = on_added
gateway.on_gateway_login_subdev_reply = on_login
gateway.on_gateway_logout_subdev_reply = on_logout
gateway.on_gateway_delete_subdev_topo_reply = lambda id, code, data, message, _: tell("removed", code)
gateway.on_gateway_topo_change = on_topo_change
gateway.on_topic_message = on_topic_message
gateway.connect_async()
# One line: it logs the sub-device out and gives it away. The end: nobody wants it any more.
sys.stdin.readline()
gateway.gateway_logout_subdev([SUB])
sys.stdin.read()
os._exit(0)
