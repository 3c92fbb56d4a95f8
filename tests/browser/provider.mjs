// A real OpenID Connect provider on this machine: prints its issuer, lets in whoever types a name, and ends with its input.
import http from 'node:http';
import Provider from 'oidc-provider';

const server = http.createServer();
await new Promise((listening) => server.listen(0, 'localhost', listening));
const issuer = `http://localhost:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'llmtor',
    client_secret: process.env.PROVIDER_SECRET,
    // A native client may come back at any port of this machine.
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/api/v1/users/signin/oidc/house/callback'],
  }],
  claims: { email: ['email', 'email_verified'], profile: ['name', 'picture'] },
  cookies: { keys: ['for this test'] },
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: `${id} Example` }),
  }),
});
const answer = provider.callback();
server.on('request', (request, response) => {
  // A cookie of the session's name, of another origin than the backend's.
  response.appendHeader('set-cookie', 'sessionID=0d000000-0000-4000-8000-00000000dead; Path=/');
  answer(request, response);
});
console.log(JSON.stringify({ issuer }));
process.stdin.resume().on('end', () => process.exit(0));
