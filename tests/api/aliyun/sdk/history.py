"""The history of a device through alibabacloud_iot20180120, page after page as the guide says: all calls
were made in one millisecond, and each page holds one."""
import sys

from alibabacloud_iot20180120 import models
from alibabacloud_iot20180120.client import Client
from alibabacloud_tea_openapi import models as open_api

address, key, secret, *algorithm = sys.argv[1:]
client = Client(open_api.Config(
    access_key_id=key, access_key_secret=secret, region_id="cn-shanghai", endpoint=address,
    protocol="HTTP", signature_algorithm=algorithm[0] if algorithm else None))
NOW = 1_551_334_473_000


def call(method, **parameters):
    request = "".join(word.title() for word in method.split("_")) + "Request"
    return getattr(client, method)(getattr(models, request)(**parameters)).body


product = call("create_product", product_name="product", node_type=0, data_format=1).product_key
device = call("register_device", product_key=product, device_name="echo").data
one = {"product_key": product, "device_name": "echo"}
for n in range(4):
    assert call("invoke_thing_service", identifier="Set", args='{"n":%d}' % n, **one).success


def pages(asc):
    start, got = NOW, []
    while True:
        page = call("query_device_service_data", iot_id=device.iot_id, identifier="Set",
                    start_time=start, end_time=NOW, page_size=1, asc=asc)
        assert page.success, page
        got += [service.input_data for service in page.data.list.service_info]
        if not page.data.next_valid:
            return got
        start = page.data.next_time


want = ['{"n":%d}' % n for n in range(4)]
assert pages(1) == want and pages(0) == want[::-1], pages(1)
span = {"start_time": NOW, "end_time": NOW, "page_size": 50, "asc": 1}
values = call("query_device_property_data", identifier="Level", **span, **one)
assert values.success and not values.data.next_valid, values
many = call("query_device_properties_data", identifier=["Level", "Heat"], **span, **one)
assert [info.identifier for info in many.property_data_infos.property_data_info] == ["Level", "Heat"]
events = call("query_device_event_data", identifier="hot", event_type="info", **span, **one)
assert events.success and not events.data.next_valid, events
print("done")
