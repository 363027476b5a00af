// Rules through @alicloud/pop-core, by GET and by POST with everything in the body.
const assert = require('node:assert');
const { RPCClient } = require('@alicloud/pop-core');

const [address, accessKeyId, accessKeySecret] = process.argv.slice(2);
const endpoint = `http://${address}`;
const client = new RPCClient({ accessKeyId, accessKeySecret, endpoint, apiVersion: '2018-01-20' });

(async () => {
  for (const method of ['GET', 'POST']) {
    const call = (action, parameters) => client.request(action, parameters, { method });
    const rule = { Name: `规则_${method}`, ProductKey: 'a1Pk', ShortTopic: '+/user/#', Select: "'*()! +' as a" };
    const { RuleId } = await call('CreateRule', rule);
    const { RuleInfo } = await call('GetRule', { RuleId });
    assert.equal(RuleInfo.Select, rule.Select);
    const Configuration = JSON.stringify({ topic: '/a1Pk/dev/user/alert', topicType: 1 });
    await call('CreateRuleAction', { RuleId, Type: 'REPUBLISH', Configuration, ErrorActionFlag: false });
    await call('StartRule', { RuleId });
    await assert.rejects(call('DeleteRule', { RuleId }), (e) => e.code === 'iot.rule.DeleteRuleFailed');
    await call('StopRule', { RuleId });
    await call('DeleteRule', { RuleId });
    const refused = (code) => (error) => error.code === code || assert.fail(error);
    await assert.rejects(call('GetRule', { RuleId }), refused('iot.rule.NotFoundRule'));
    await assert.rejects(call('Nothing', {}), refused('InvalidApi.NotFound'));
    const wrong = new RPCClient({ accessKeyId, accessKeySecret: 'wrong', endpoint, apiVersion: '2018-01-20' });
    await assert.rejects(wrong.request('ListRule', {}, { method }), refused('SignatureDoesNotMatch'));
  }
  console.log('done');
})().catch((error) => { console.error(error); process.exit(1); });
