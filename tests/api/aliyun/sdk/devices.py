"""Products, devices, tags and topics through alibabacloud_iot20180120, which checks the types of all
answers. A fourth argument `v2` asks for the older signature."""
import json
import sys

from alibabacloud_iot20180120 import models
from alibabacloud_iot20180120.client import Client
from alibabacloud_tea_openapi import models as open_api

address, key, secret, *algorithm = sys.argv[1:]
client = Client(open_api.Config(
    access_key_id=key, access_key_secret=secret, region_id="cn-shanghai", endpoint=address,
    protocol="HTTP", signature_algorithm=algorithm[0] if algorithm else None))


def call(method, **parameters):
    request = "".join(word.title() for word in method.split("_")) + "Request"
    return getattr(client, method)(getattr(models, request)(**parameters)).body


made = call("create_product", product_name="产品_1", node_type=0, data_format=1, id_2=False,
            aliyun_commodity_code="iothub_senior", iot_instance_id="iot-1")
assert made.success and made.data.product_key == made.product_key, made
product = made.product_key
assert call("query_product", product_key=product).data.net_type == 3
listed = call("query_product_list", current_page=1, page_size=10).data
assert (listed.total, listed.list.product_info[0].product_key) == (1, product), listed
assert call("update_product", product_key=product, product_name="Meters").success

device = call("register_device", product_key=product, device_name="meter1", nickname="电表_1").data
assert len(device.device_secret) == 32, device
one = {"product_key": product, "device_name": "meter1"}
detail = call("query_device_detail", iot_id=device.iot_id).data
assert (detail.status, detail.nickname, detail.node_type) == ("UNACTIVE", "电表_1", 0), detail
checked = call("batch_check_device_names", product_key=product, device_name=["meter2", "meter3"]).data
assert call("batch_register_device_with_apply_id", product_key=product, apply_id=checked.apply_id).success
status = call("query_batch_register_device_status", product_key=product, apply_id=checked.apply_id).data
assert (status.status, status.valid_list.name) == ("CREATE_SUCCESS", []), status
page = call("query_page_by_apply_id", apply_id=checked.apply_id, page_size=1, current_page=2)
assert page.apply_device_list.apply_device_info[0].device_name == "meter3", page
wrong = call("batch_check_device_names", product_key=product, device_name=["meter1", "a b"]).data
assert wrong.invalid_device_name_list.invalid_device_name == ["a b"], wrong
assert call("batch_register_device", product_key=product, count=2).data.apply_id > checked.apply_id
devices = call("query_device", product_key=product, page_size=50)
assert (devices.total, devices.data.device_info[-1].device_name) == (5, "meter1"), devices
assert call("get_device_status", **one).data.status == "UNACTIVE"
states = call("batch_get_device_state", product_key=product, device_name=["meter1", "meter2"])
assert len(states.device_status_list.device_status) == 2, states
assert call("disable_thing", **one).success and call("enable_thing", iot_id=device.iot_id).success
assert call("query_device_statistics", product_key=product).data.device_count == 5

assert call("save_device_prop", props='{"color":"red"}', **one).success
assert json.loads(call("query_device_prop", **one).props) == {"color": "red"}
found = call("query_device_by_tags", tag=[
    models.QueryDeviceByTagsRequestTag(tag_key="color", tag_value="red")])
assert found.data.simple_device_info[0].iot_id == device.iot_id, found
assert call("delete_device_prop", prop_key="color", **one).success

wanted = call("set_device_desired_property", items='{"Level":1,"Mode":"eco"}', versions='{"Level":0}', **one)
assert json.loads(wanted.data.versions) == {"Level": 1, "Mode": 1}, wanted
desired = call("query_device_desired_property", identifier=["Level", "Mode"], **one).data.list
desired = [(info.identifier, info.value, info.version) for info in desired.desired_property_info]
assert desired == [("Level", "1", 1), ("Mode", "eco", 1)], desired
stale = call("set_device_desired_property", items='{"Level":2}', versions='{"Level":0}', **one)
assert (stale.success, stale.code) == (False, "iot.device.SetDevicePropertyFailed"), stale
files = call("query_device_file_list", current_page=1, page_size=200, **one)
assert (files.total, files.page_count, files.data.file_summary) == (0, 0, []), files
unknown = call("query_device_file", file_id="none", **one)
assert (unknown.success, unknown.code) == (False, "iot.common.InvalidFormattedParameter"), unknown
assert not call("delete_device_file", file_id="none", **one).success

topic = call("create_product_topic", product_key=product, topic_short_name="submit", operation="PUB")
topics = call("query_product_topic", product_key=product).data.product_topic_info
assert topics[-1].id == str(topic.topic_id), topics
assert call("update_product_topic", topic_id=str(topic.topic_id), operation="ALL").success
assert call("delete_product_topic", topic_id=str(topic.topic_id)).success
source, target = f"/{product}/meter1/update", f"/{product}/meter2/get"
inactive = call("create_topic_route_table", src_topic=source, dst_topic=[target])
assert (inactive.success, inactive.code) == (False, "iot.device.InactiveDevice"), inactive
gone = call("delete_topic_route_table", src_topic=source, dst_topic=[target])
assert (gone.is_all_succeed, gone.failure_topics.topic) == (False, [target]), gone
assert call("query_topic_route_table", topic=source).dst_topics.topic == []
assert call("query_topic_reverse_route_table", topic=target).src_topics.topic == []

assert call("delete_device", **one).success
assert call("query_device_detail", **one).code == "iot.device.NotExistedDevice"
assert call("delete_product", product_key=product).success
print("done")
