"""Rules through alibabacloud_iot20180120, which checks the types of all answers. A fourth argument `v2`
asks for the older signature; the newer is its default."""
import json
import sys

from alibabacloud_iot20180120 import models
from alibabacloud_iot20180120.client import Client
from alibabacloud_tea_openapi import models as open_api

address, key, secret, *algorithm = sys.argv[1:]


def client(secret):
    return Client(open_api.Config(
        access_key_id=key, access_key_secret=secret, region_id="cn-shanghai", endpoint=address,
        protocol="HTTP", signature_algorithm=algorithm[0] if algorithm else None))


def call(method, **parameters):
    request = "".join(word.title() for word in method.split("_")) + "Request"
    return getattr(good, method)(getattr(models, request)(**parameters)).body


good = client(secret)
odd = "a + 1 as '温 度 *~!()'"
made = call("create_rule", name="tea_rule", product_key="a1Pk", short_topic="+/user/#", select=odd,
            where="a > 1", rule_desc="说明", data_type="JSON", topic_type=1, iot_instance_id="iot cn")
assert made.success and made.code is None, made
rule = made.rule_id
info = call("get_rule", rule_id=rule).rule_info
assert (info.id, info.select, info.topic_type, info.status) == (rule, odd, 1, "STOP"), info
assert call("update_rule", rule_id=rule, name="tea_renamed", topic="/a1Pk/+/user/get").success
assert call("get_rule", rule_id=rule).rule_info.short_topic == "+/user/get"
topic = '{"topic":"/a1Pk/dev/user/alert","topicType":1}'
error = call("create_rule_action", rule_id=rule, type="REPUBLISH", configuration=topic,
             error_action_flag=True)
assert error.success, error
started = call("start_rule", rule_id=rule)
assert (started.success, started.code) == (False, "iot.rule.NullForwardDestForRule"), started
action = call("create_rule_action", rule_id=rule, type="MNS", error_action_flag=False,
              configuration='{"themeName":"mns-test-topic1"}').action_id
listed = call("list_rule_actions", rule_id=rule).rule_action_list.rule_action_info
assert [each.error_action_flag for each in listed] == [True, False], listed
got = call("get_rule_action", action_id=action).rule_action_info
assert json.loads(got.configuration)["themeName"] == "mns-test-topic1", got
assert call("update_rule_action", action_id=action, type="FC",
            configuration='{"serviceName":"weather","functionName":"f"}').success
page = call("list_rule", page_size=10, current_page=1)
assert page.total == 1 and page.data.rule_info[0].name == "tea_renamed", page
assert call("start_rule", rule_id=rule).success
assert call("delete_rule", rule_id=rule).code == "iot.rule.DeleteRuleFailed"
assert call("stop_rule", rule_id=rule).success
assert call("delete_rule_action", action_id=action).success
assert call("delete_rule", rule_id=rule).success
assert call("get_rule", rule_id=rule).code == "iot.rule.NotFoundRule"

for bad, code in [(lambda: client("wrong").list_rule(models.ListRuleRequest()), "SignatureDoesNotMatch"),
                  (lambda: call("get_rule"), "MissingRuleId"),
                  (lambda: call("query_edge_instance", current_page=1, page_size=10), "InvalidApi.NotFound")]:
    try:
        bad()
    except Exception as error:
        assert error.code == code, error
    else:
        raise AssertionError(code)
print("done")
