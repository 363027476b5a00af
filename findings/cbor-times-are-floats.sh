#!/usr/bin/env bash
# Three npm encoders write the same whole number of JavaScript in three ways. cbor-x 1.6.9 writes every whole number
# of more than 32 bits as a float of 64 bits, so a time in milliseconds (2026 has 41 bits) is a float; cbor 10.0.12
# and @msgpack/msgpack 3.1.3 write it as an integer. From 2^53 on, cbor writes the shortest float: 2^53 has four bytes.
# A rule that tells integers from floats by their tag takes one device's time for a measurement and another's not.
# Seen 2026-11-30 with Node 20: the output below. What is a whole number has to be told from the value, not the tag.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --no-audit --no-fund --silent cbor-x@1.6.9 cbor@10.0.12 @msgpack/msgpack@3.1.3

cat >"$work/encode.mjs" <<'JS'
import * as cborx from 'cbor-x'
import cbor from 'cbor'
import * as msgpack from '@msgpack/msgpack'
const hex = bytes => Buffer.from(bytes).toString('hex')
for (const number of [3000000000, 1700000000000, 2 ** 53]) {
  console.log(number, hex(cborx.encode(number)), hex(cbor.encode(number)), hex(msgpack.encode(number)))
}
JS

# The number, then cbor-x, cbor, msgpack. CBOR: 1a and 1b are integers of 4 and 8 bytes, fa and fb floats;
# MessagePack: ce and cf are integers, cb is a float.
cat >"$work/expected" <<'TEXT'
3000000000 1ab2d05e00 1ab2d05e00 ceb2d05e00
1700000000000 fb4278bcfe56800000 1b0000018bcfe56800 cf0000018bcfe56800
9007199254740992 fb4340000000000000 fa5a000000 cb4340000000000000
TEXT
(cd "$work" && node encode.mjs >seen)
cat "$work/seen"
diff "$work/expected" "$work/seen"
