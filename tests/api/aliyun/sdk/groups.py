"""Tags of products, groups of devices and LoRaWAN nodes through alibabacloud_iot20180120, which checks the
types of all answers. A fourth argument `v2` asks for the older signature."""
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


product = call("create_product", product_name="Meters", node_type=0).product_key
call("register_device", product_key=product, device_name="meter1")
one = {"product_key": product, "device_name": "meter1"}

line = [models.CreateProductTagsRequestProductTag(tag_key="line", tag_value="3")]
assert call("create_product_tags", product_key=product, product_tag=line).success
again = call("create_product_tags", product_key=product, product_tag=line)
assert (again.success, again.invalid_product_tags.product_tag[0].tag_key) == (False, "line"), again
changed = [models.UpdateProductTagsRequestProductTag(tag_key="line", tag_value="4")]
assert call("update_product_tags", product_key=product, product_tag=changed).success
tags = call("list_product_tags", product_key=product).data.product_tag
assert [(tag.tag_key, tag.tag_value) for tag in tags] == [("line", "4")], tags
found = call("list_product_by_tags", product_tag=[models.ListProductByTagsRequestProductTag(tag_key="line")])
assert found.product_infos.product_info[0].product_key == product, found
assert call("delete_product_tags", product_key=product, product_tag_key=["line"]).success

hall = call("create_device_group", group_name="hall_2", group_desc="一楼").data.group_id
room = call("create_device_group", group_name="room_7", super_group_id=hall).data.group_id
assert call("update_device_group", group_id=hall, group_desc="floor").success
device = models.BatchAddDeviceGroupRelationsRequestDevice(**one)
added = call("batch_add_device_group_relations", group_id=room, device=[device])
assert (added.success_added_device_count, added.exceed_ten_group_device_count) == (1, 0), added
info = call("query_device_group_info", group_id=room).data
assert (info.device_count, info.device_online, info.group_name) == (1, 0, "room_7"), info
groups = call("query_device_group_list", group_name="hall", page_size=200)
assert (groups.total, groups.data.group_info[0].group_desc) == (1, "floor"), groups
above = call("query_super_device_group", group_id=room).data.group_info
assert above[0].group_id == hall, above
tag_string = '[{"tagKey":"shift","tagValue":"night"}]'
assert call("set_device_group_tags", group_id=room, tag_string=tag_string).success
assert call("query_device_group_tag_list", group_id=room).data.group_tag_info[0].tag_value == "night"
tagged = call("query_device_group_by_tags", tag=[
    models.QueryDeviceGroupByTagsRequestTag(tag_key="shift", tag_value="night")])
assert (tagged.total, tagged.data.device_group[0].group_id) == (1, room), tagged
assert call("query_device_group_by_device", **one).group_infos.group_info[0].group_id == room
devices = call("query_device_list_by_device_group", group_id=room)
assert devices.data.simple_device_info[0].device_name == "meter1", devices
assert call("query_device_statistics", group_id=room).data.device_count == 1
assert call("delete_device_group", group_id=hall).code == "iot.group.SubGroupNotNull"
device = models.BatchDeleteDeviceGroupRelationsRequestDevice(**one)
gone = call("batch_delete_device_group_relations", group_id=room, device=[device])
assert (gone.success_device_count, gone.already_related_group_device_count) == (1, 1), gone
assert call("delete_device_group", group_id=room).success
assert call("delete_device_group", group_id=hall).success

permission = call("query_lo_ra_join_permissions").join_permissions.join_permission[0]
nodes = call("create_product", product_name="Nodes", node_type=0, net_type="LORA",
             join_permission_id=permission.join_permission_id).product_key
node = models.CreateLoRaNodesTaskRequestDeviceInfo(dev_eui="d896e0fffe000001", pin_code="562959")
task = call("create_lo_ra_nodes_task", product_key=nodes, device_info=[node]).task_id
state = call("get_lora_nodes_task", task_id=task)
assert (state.task_state, state.success_dev_euis.success_dev_eui) == ("FINISH", ["d896e0fffe000001"]), state
print("done")
