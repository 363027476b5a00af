"""The whole life of a rule through aliyun-python-sdk-core and aliyun-python-sdk-iot."""
import json
import sys

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from aliyunsdkiot.request.v20180120 import (
    CreateRuleActionRequest, CreateRuleRequest, DeleteRuleActionRequest, DeleteRuleRequest,
    GetRuleActionRequest, GetRuleRequest, ListRuleActionsRequest, ListRuleRequest,
    StartRuleRequest, StopRuleRequest, UpdateRuleActionRequest, UpdateRuleRequest)

address, key, secret = sys.argv[1:]


def client(secret):
    made = AcsClient(key, secret, "cn-shanghai")
    made.add_endpoint("cn-shanghai", "Iot", address)
    return made


def call(module, **parameters):
    name = module.__name__.rsplit(".", 1)[1]
    request = getattr(module, name)()
    for parameter, value in parameters.items():
        getattr(request, "set_" + parameter)(value)
    return json.loads(good.do_action_with_exception(request))


good = client(secret)
made = call(CreateRuleRequest, Name="规则_core", ProductKey="a1Pk", ShortTopic="+/user/#",
            Select="a, 'x +*~' as b", Where="a > 1", TopicType=1, DataType="JSON")
assert made["Success"], made
rule = made["RuleId"]
info = call(GetRuleRequest, RuleId=rule)["RuleInfo"]
assert info["Select"] == "a, 'x +*~' as b" and info["Topic"] == "/a1Pk/+/user/#", info
call(UpdateRuleRequest, RuleId=rule, Name="core_rule", RuleDesc="new")
configuration = json.dumps({"topic": "/a1Pk/dev/user/alert", "topicType": 1})
action = call(CreateRuleActionRequest, RuleId=rule, Type="REPUBLISH", Configuration=configuration,
              ErrorActionFlag=False)["ActionId"]
got = call(GetRuleActionRequest, ActionId=action)["RuleActionInfo"]
assert json.loads(got["Configuration"])["topic"] == "/a1Pk/dev/user/alert", got
call(UpdateRuleActionRequest, ActionId=action, Type="MNS",
     Configuration='{"themeName":"mns-test-topic1"}')
assert len(call(ListRuleActionsRequest, RuleId=rule)["RuleActionList"]["RuleActionInfo"]) == 1
assert call(StartRuleRequest, RuleId=rule)["Success"]
assert call(GetRuleRequest, RuleId=rule)["RuleInfo"]["Status"] == "RUNNING"
assert call(StopRuleRequest, RuleId=rule)["Success"]
assert call(DeleteRuleActionRequest, ActionId=action)["Success"]
assert call(ListRuleRequest, PageSize=10, CurrentPage=1)["Data"]["RuleInfo"][0]["Id"] == rule
assert call(DeleteRuleRequest, RuleId=rule)["Success"]
assert call(DeleteRuleRequest, RuleId=rule)["Code"] == "iot.rule.NotFoundRule"

common = CommonRequest()
common.set_domain(address)
common.set_version("2018-01-20")
common.set_action_name("ListRule")
common.set_method("GET")
assert json.loads(good.do_action_with_exception(common))["Success"]

common.set_action_name("Nothing")
typed = ListRuleRequest.ListRuleRequest()
typed.set_PageSize(10)
typed.set_CurrentPage(1)
# The client says InvalidAccessKeySecret when the server signs the very same text as it does.
for bad, request, code in [(client("wrong"), typed, "InvalidAccessKeySecret"),
                           (good, common, "InvalidApi.NotFound")]:
    try:
        bad.do_action_with_exception(request)
        raise AssertionError(code)
    except ServerException as error:
        assert error.get_error_code() == code, error
print("done")
