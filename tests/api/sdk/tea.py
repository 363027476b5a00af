"""Rules through alibabacloud_iot20180120, which checks the types of all answers."""
import sys

from alibabacloud_iot20180120 import models
from alibabacloud_iot20180120.client import Client
from alibabacloud_tea_openapi import models as open_api

address, key, secret = sys.argv[1:]
client = Client(open_api.Config(
    access_key_id=key, access_key_secret=secret, region_id="cn-shanghai", endpoint=address,
    protocol="HTTP", signature_algorithm="v2"))

made = client.create_rule(models.CreateRuleRequest(
    name="tea_rule", product_key="a1Pk", short_topic="+/user/#",
    select="a as '温 度'", topic_type=1)).body
assert made.success, made
info = client.get_rule(models.GetRuleRequest(rule_id=made.rule_id)).body.rule_info
assert info.id == made.rule_id and info.select == "a as '温 度'", info
action = client.create_rule_action(models.CreateRuleActionRequest(
    rule_id=made.rule_id, type="REPUBLISH", error_action_flag=True,
    configuration='{"topic":"/a1Pk/dev/user/alert","topicType":1}')).body
assert action.success, action
listed = client.list_rule_actions(models.ListRuleActionsRequest(rule_id=made.rule_id)).body
assert listed.rule_action_list.rule_action_info[0].error_action_flag is True
assert client.list_rule(models.ListRuleRequest(page_size=10, current_page=1)).body.total == 1
started = client.start_rule(models.StartRuleRequest(rule_id=made.rule_id)).body
assert (started.success, started.code) == (False, "iot.rule.NullForwardDestForRule"), started
assert client.delete_rule(models.DeleteRuleRequest(rule_id=made.rule_id)).body.success
