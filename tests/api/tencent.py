"""The vendor's own cloud client, unmodified: both calls under every signature."""
import json
import sys

from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.iotexplorer.v20190423 import iotexplorer_client, models

address, key_id, secret, product = sys.argv[1:5]


def client(method, verb, secret=secret):
    http = HttpProfile(endpoint=address, protocol="http", reqMethod=verb)
    profile = ClientProfile(httpProfile=http, signMethod=method)
    key = credential.Credential(key_id, secret)
    return iotexplorer_client.IotexplorerClient(key, "ap-guangzhou", profile)


def fill(request, device):
    request.ProductId = product
    request.DeviceName = device
    request.ActionId = "echo"
    request.InputParams = json.dumps({"message": "hello & 你好 ~*"})
    return request


def code_of(call, request):
    try:
        call(request)
    except TencentCloudSDKException as problem:
        return problem.get_code()


for method in ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"]:
    for verb in ["POST", "GET"]:
        cloud = client(method, verb)
        answer = cloud.CallDeviceActionSync(fill(models.CallDeviceActionSyncRequest(), "echo"))
        assert json.loads(answer.OutputParams) == {"message": "hello & 你好 ~*"}, answer
        assert answer.ClientToken and answer.RequestId, answer
        answer = cloud.CallDeviceActionAsync(fill(models.CallDeviceActionAsyncRequest(), "silent"))
        assert answer.Status == "succ" and answer.ClientToken, answer
        sync = models.CallDeviceActionSyncRequest
        for device, want in [
            ("nobody", "ResourceNotFound.DeviceNotExist"),
            ("away", "FailedOperation.ActionUnreachable"),
            ("silent", "FailedOperation.Timeout"),
        ]:
            got = code_of(cloud.CallDeviceActionSync, fill(sync(), device))
            assert got == want, (method, verb, device, got)
        wrong = client(method, verb, "other")
        got = code_of(wrong.CallDeviceActionSync, fill(sync(), "echo"))
        assert got == "AuthFailure.SignatureFailure", got
