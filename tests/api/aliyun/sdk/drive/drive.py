"""The vendor's Python clients, told what to call on standard input: see tests/api/aliyun/drive.rs.

`drive.py core|tea KEY SECRET`; `core` is aliyun-python-sdk-iot, `tea` alibabacloud_iot20180120."""
import importlib
import json
import re
import sys

which, key, secret = sys.argv[1:]


class Unfit(Exception):
    """The client has no way to say what is asked."""


def nested(flat):
    """`Tag.1.TagKey` as a list of dicts, `DeviceName.1` as a list."""
    whole = {}
    for name, value in flat.items():
        first, *rest = name.split(".")
        if not rest:
            whole[first] = value
            continue
        places = whole.setdefault(first, {})
        if len(rest) == 1:
            places[int(rest[0])] = value
        else:
            places.setdefault(int(rest[0]), {})[rest[1]] = value
    for name, places in whole.items():
        if isinstance(places, dict):
            if sorted(places) != list(range(1, len(places) + 1)):
                raise Unfit(f"{name} has gaps")
            whole[name] = [places[place] for place in sorted(places)]
    return whole


def core():
    from aliyunsdkcore.acs_exception.exceptions import ServerException
    from aliyunsdkcore.client import AcsClient
    client = AcsClient(key, secret, "cn-shanghai")

    def call(address, action, parameters):
        try:
            module = importlib.import_module(f"aliyunsdkiot.request.v20180120.{action}Request")
        except ModuleNotFoundError as problem:
            raise Unfit(str(problem)) from problem
        request = getattr(module, f"{action}Request")()
        request.set_endpoint(address)
        for name, value in parameters.items():
            setter = getattr(request, f"set_{name}" + "s" * isinstance(value, list), None)
            setter = setter or getattr(request, f"set_{name}", None)
            if setter is None:
                raise Unfit(f"{action}Request has no {name}")
            setter(value)
        try:
            return json.loads(client.do_action_with_exception(request))
        except ServerException as problem:
            raise Refused(problem.get_error_code()) from problem
    return call


def tea():
    from alibabacloud_iot20180120 import models
    from alibabacloud_iot20180120.client import Client
    from alibabacloud_tea_openapi import models as open_api
    from Tea.exceptions import TeaException

    def call(address, action, parameters):
        client = Client(open_api.Config(
            access_key_id=key, access_key_secret=secret, region_id="cn-shanghai", endpoint=address, protocol="HTTP"))
        request = getattr(models, f"{action}Request", None)
        if request is None:
            raise Unfit(action)
        try:
            request = request().from_map(parameters)
        except AttributeError as problem:
            raise Unfit(str(problem)) from problem
        if lost := set(parameters) - set(request.to_map()):
            raise Unfit(f"{action}Request has no {lost}")
        method = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", action).lower()
        method = getattr(client, method, None) or getattr(client, method.replace("lo_ra", "lo_ra_"), None)
        try:
            return method(request).body.to_map()
        except TeaException as problem:
            raise Refused(problem.code) from problem
    return call


class Refused(Exception):
    """The gateway has refused the call with a code."""


call = {"core": core, "tea": tea}[which]()
for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {"answer": call(asked["address"], asked["action"], nested(asked["parameters"]))}
    except Unfit as problem:
        told = {"unfit": str(problem)}
    except Refused as problem:
        told = {"refused": str(problem)}
    print(json.dumps(told), flush=True)
