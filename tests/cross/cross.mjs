// One step of a blind signature with the official client's library: a JSON request on stdin, a JSON answer on
// stdout. As the official client does, nothing is prepared: the message is signed as it is (RFC 9474,
// RSABSSA-SHA384-PSS-Deterministic).

import { constants, createPublicKey, verify, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { RSABSSA } from '@cloudflare/blindrsa-ts'

const suite = RSABSSA.SHA384.PSS.Randomized()
const algorithm = { name: 'RSA-PSS', hash: 'SHA-384' }
const request = JSON.parse(readFileSync(0, 'utf8'))
const bytes = (name) => new Uint8Array(Buffer.from(request[name], 'base64'))
const text = (array) => Buffer.from(array).toString('base64')
const publicKey = () => webcrypto.subtle.importKey('spki', bytes('spki'), algorithm, true, ['verify'])

const steps = {
  async blind() {
    const { blindedMsg, inv } = await suite.blind(await publicKey(), bytes('message'))
    return { blinded: text(blindedMsg), inv: text(inv) }
  },
  async sign() {
    const key = await webcrypto.subtle.importKey('pkcs8', bytes('pkcs8'), algorithm, true, ['sign'])
    return { blindSignature: text(await suite.blindSign(key, bytes('blinded'))) }
  },
  async finalize() {
    const signature = await suite.finalize(
      await publicKey(),
      bytes('message'),
      bytes('blindSignature'),
      bytes('inv'),
    )
    return { signature: text(signature) }
  },
  async verify() {
    const library = await suite.verify(await publicKey(), bytes('signature'), bytes('message'))
    const key = createPublicKey({ key: Buffer.from(bytes('spki')), format: 'der', type: 'spki' })
    const padding = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }
    return { library, openssl: verify('sha384', bytes('message'), padding, bytes('signature')) }
  },
}

process.stdout.write(JSON.stringify(await steps[request.step]()))
