#!/usr/bin/env bash
# u8-mqtt 0.6.7 (npm): `connect()` without arguments asks to keep the session (clean session 0) under a client
# identifier that it makes anew for each client. With MQTT 3.1.1 nothing ends such a session, and nobody can take
# it up again: every start of the program leaves one behind on the broker, with its subscriptions and their queue.
# Seen 2026-11-30 with Node 20: the output below. A broker has to end such sessions by itself after some time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --no-audit --no-fund --silent u8-mqtt@0.6.7

cat >"$work/connect.mjs" <<'JS'
import net from 'node:net'
import { mqtt_v4 } from 'u8-mqtt'

const seen = []
const server = net.createServer(socket => socket.once('data', data => {
  const flags = data[9]
  const length = data.readUInt16BE(12)
  seen.push({ flags, id: data.toString('utf8', 14, 14 + length) })
  socket.write(Buffer.from([0x20, 2, 0, 0]))
}))
server.listen(0, '127.0.0.1', async () => {
  for (const _ of [1, 2]) {
    const client = mqtt_v4().with_tcp(`tcp://127.0.0.1:${server.address().port}`)
    await client.connect()
  }
  for (const { flags } of seen) console.log('clean session', flags >> 1 & 1)
  console.log('the same identifier', seen[0].id === seen[1].id)
  console.log('made up', seen.every(({ id }) => id.startsWith('u8-mqtt--')))
  process.exit(0)
})
JS

cat >"$work/expected" <<'TEXT'
clean session 0
clean session 0
the same identifier false
made up true
TEXT
# The client writes lines of its own.
(cd "$work" && timeout 60 node connect.mjs | grep -v "^\[\[u8-mqtt" >seen)
cat "$work/seen"
diff "$work/expected" "$work/seen"
