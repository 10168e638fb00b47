// A real OpenID provider (the npm package oidc-provider) on 127.0.0.1, as a bank might run one. A line on standard input rotates
// its keys: the new one signs, the one before is still shown.

import { createServer } from "node:http";
import { createInterface } from "node:readline";

import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

const port = Number(process.argv[2]);
const names = { "customer-1": "Ada Lindgren" };
const keys = [];

async function provider() {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  keys.unshift({ ...(await exportJWK(privateKey)), kid: `key-${keys.length + 1}`, use: "sig", alg: "RS256" });
  return new Provider(`http://127.0.0.1:${port}`, {
    clients: [
      {
        client_id: "chat",
        redirect_uris: ["https://chat.example.com/logged-in"],
        response_types: ["code"],
        grant_types: ["authorization_code"],
        token_endpoint_auth_method: "none",
      },
    ],
    claims: { openid: ["sub", "customer_name", "context_data"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["of the tests"] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, customer_name: names[id], context_data: { logged_in: true } }),
    }),
    jwks: { keys: keys.slice(0, 2) },
    ttl: { IdToken: 600 },
  });
}

let answer = (await provider()).callback();
createServer((request, response) => answer(request, response)).listen(port, "127.0.0.1", () => console.log("ready"));
for await (const _ of createInterface({ input: process.stdin })) {
  answer = (await provider()).callback();
  console.log("rotated");
}
process.exit(0);
