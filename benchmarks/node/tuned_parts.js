// What both tuned hooks are made of: the bare http server, one pool of connections to DMS, a token signed once a second.
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');
const { Server } = require('socket.io');
const { Pool } = require('undici');

const { DMS_URL, JWT_ISSUER, JWT_SECRET, PORT, ALLOWED_ORIGIN, PING_INTERVAL = '25' } = process.env;

const server = http.createServer();
const io = new Server(server, { cors: { origin: ALLOWED_ORIGIN }, pingInterval: Number(PING_INTERVAL) * 1000 });

// To DMS

const address = new URL(DMS_URL);
const pool = new Pool(address.origin, { connections: 500, headersTimeout: 30000, bodyTimeout: 30000 });
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const signature = (text) => crypto.createHmac('sha256', JWT_SECRET).update(text).digest('base64url');
let token = '';
let tokenSecond = 0;

function authorization() {
  const second = Math.floor(Date.now() / 1000);
  if (second !== tokenSecond) {
    const text = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded({ iss: JWT_ISSUER, iat: second, exp: second + 300 })}`;
    token = `Bearer ${text}.${signature(text)}`;
    tokenSecond = second;
  }
  return token;
}

// Calls done(status), or done(0) where no answer came. The body of the answer is not looked at.
function post(body, done) {
  const headers = { 'content-type': 'application/json', connection_id: JWT_ISSUER, authorization: authorization() };
  let status = 0;
  pool.dispatch(
    { path: address.pathname, method: 'POST', headers, body },
    {
      onRequestStart() {},
      onResponseStart(controller, statusCode) {
        status = statusCode;
      },
      onResponseData() {},
      onResponseEnd() {
        done(status);
      },
      onResponseError() {
        done(0);
      },
    },
  );
}

// From DMS

// Calls taken(payload, text, headers, answer) for each webhook; answer(status, text) is to be called once.
function onWebhook(taken) {
  // Socket.IO has its own listener, for its own path.
  server.on('request', (request, response) => {
    if (request.url.startsWith('/socket.io/')) return;
    const answer = (status, text) => {
      response.writeHead(status, { 'Content-Type': 'text/plain', 'Content-Length': text.length });
      response.end(text);
    };
    if (request.url !== '/webhook') return answer(404, 'not here');
    if (request.method !== 'POST') return answer(200, 'the webhook is here');
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const text = pieces.length === 1 ? pieces[0].toString() : Buffer.concat(pieces).toString();
      let payload;
      try {
        payload = JSON.parse(text);
      } catch {
        return answer(400, 'no JSON');
      }
      taken(payload, text, request.headers, answer);
    });
  });
}

function listen() {
  server.listen(Number(PORT), '127.0.0.1', 4096);
}

module.exports = { io, post, onWebhook, listen, signature, JWT_ISSUER };
