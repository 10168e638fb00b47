// A Node hook made to be fast, with what LCH promises on these two ways:
// - a webhook's token is verified; the message is in a SQLite file before the 200, goes out in its customer's order, and is
//   removed when the browser has acknowledged it; a webhook that DMS repeats is recognised;
// - what a customer says is in the file before it is posted; one post at a time for each customer, in order; its outcome is kept
//   for a day, by a fingerprint of all that was said, so that a repeat is recognised; the browser is told the outcome.
// All that is ready in one turn of the event loop goes into one transaction, which costs far less than one for each.
// What is left out of LCH's promises is left out in this one's favour: retries, several processes, limits, logs.
'use strict';

const crypto = require('node:crypto');
const path = require('node:path');
const { DatabaseSync } = require('node:sqlite');
const { io, post, onWebhook, listen, signature, JWT_ISSUER } = require('./tuned_parts.js');

const FORWARDING_FAILED = 'Error forwarding request to external API';
const FIELDS = ['type', 'customer_id', 'customer_name', 'message_id', 'text', 'attachments', 'metadata'];
const DAY_MS = 86400000;

// The store

const db = new DatabaseSync(path.join(process.env.STORE_FOLDER, 'store.sqlite3'));
db.exec(`
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE mailbox (number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, fingerprint TEXT NOT NULL,
                        payload TEXT NOT NULL);
  CREATE UNIQUE INDEX mailbox_fingerprint ON mailbox (customer, fingerprint);
  CREATE TABLE outbox (number INTEGER PRIMARY KEY, customer TEXT NOT NULL, at REAL NOT NULL, key TEXT NOT NULL,
                       message_id TEXT NOT NULL, body TEXT NOT NULL);
  CREATE INDEX outbox_customer ON outbox (customer, number);
  CREATE TABLE outcomes (key TEXT PRIMARY KEY, at REAL NOT NULL, outcome TEXT NOT NULL) WITHOUT ROWID;
`);
const begin = db.prepare('BEGIN IMMEDIATE');
const commit = db.prepare('COMMIT');
const putMessage = db.prepare('INSERT OR IGNORE INTO mailbox VALUES (?, ?, ?, ?, ?)');
const removeMessage = db.prepare('DELETE FROM mailbox WHERE number = ?');
const findOutcome = db.prepare('SELECT outcome FROM outcomes WHERE key = ? AND at > ?');
const putOutgoing = db.prepare('INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)');
const removeOutgoing = db.prepare('DELETE FROM outbox WHERE number = ?');
const putOutcome = db.prepare('INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)');

let works = [];

// Does work() in the next transaction, and then(result) when that is committed.
function inTransaction(work, then) {
  if (works.length === 0) setImmediate(runWorks);
  works.push({ work, then, result: undefined });
}

function runWorks() {
  const group = works;
  works = [];
  begin.run();
  for (const each of group) each.result = each.work();
  commit.run();
  for (const each of group) each.then(each.result);
}

const fingerprint = (...texts) => {
  const hash = crypto.createHash('sha256');
  for (const text of texts) hash.update(text).update('\0');
  return hash.digest('base64url');
};

// Connections

const socketOfCustomer = new Map();
let lastNumber = Date.now() * 1000;

io.on('connection', (socket) => {
  const customers = new Set();

  socket.on('clientMessage', (message, acknowledge) => {
    if (typeof message !== 'object' || message === null || typeof message.customer_id !== 'string') {
      return acknowledge?.({ status: 'rejected', error: 'no message' });
    }
    socketOfCustomer.set(message.customer_id, socket);
    customers.add(message.customer_id);
    toDms(message, (outcome) => {
      if (!socket.connected) return;
      acknowledge?.(outcome);
      if (outcome.status !== 'sent') socket.emit('serverError', FORWARDING_FAILED, outcome);
    });
  });

  socket.on('serverMessage', (...args) => socket.emit('serverMessage', ...args));

  socket.on('disconnect', () => {
    for (const customer of customers) {
      if (socketOfCustomer.get(customer) === socket) socketOfCustomer.delete(customer);
    }
  });
});

// To DMS

// What waits for DMS, by customer; the first is being posted. By key: those who wait for its outcome.
const queues = new Map();
const waiting = new Map();

function toDms(message, done) {
  const forwarded = {};
  for (const field of FIELDS) if (message[field] !== undefined) forwarded[field] = message[field];
  const body = JSON.stringify(forwarded);
  const key = fingerprint(body);
  const known = waiting.get(key);
  if (known) return known.push(done);
  waiting.set(key, [done]);
  const number = ++lastNumber;
  inTransaction(
    () => {
      const now = Date.now();
      const found = findOutcome.get(key, now - DAY_MS);
      if (found) return found.outcome;
      putOutgoing.run(number, message.customer_id, now, key, JSON.stringify(message.message_id), body);
    },
    (outcome) => {
      if (outcome) return tell(key, JSON.parse(outcome));
      const queue = queues.get(message.customer_id);
      const each = { number, key, body, id: message.message_id };
      if (queue) return queue.push(each);
      const begun = [each];
      queues.set(message.customer_id, begun);
      postFirst(message.customer_id, begun);
    },
  );
}

function postFirst(customer, queue) {
  const first = queue[0];
  post(first.body, (status) => {
    const taken = status >= 200 && status < 300;
    const outcome = { message_id: first.id, status: taken ? 'sent' : 'failed', dms_status: status || null };
    inTransaction(
      () => {
        removeOutgoing.run(first.number);
        putOutcome.run(first.key, Date.now(), JSON.stringify(outcome));
      },
      () => {
        tell(first.key, outcome);
        queue.shift();
        if (queue.length > 0) postFirst(customer, queue);
        else queues.delete(customer);
      },
    );
  });
}

function tell(key, outcome) {
  const all = waiting.get(key);
  waiting.delete(key);
  for (const done of all) done(outcome);
}

// To customers

onWebhook((payload, text, headers, answer) => {
  if (!isSigned(headers.authorization)) return answer(401, 'not signed');
  if (typeof payload.customer_id !== 'string') return answer(400, 'whose?');
  const number = ++lastNumber;
  inTransaction(
    () => putMessage.run(number, payload.customer_id, Date.now(), fingerprint(text), text).changes === 1,
    (isNew) => {
      answer(200, 'OK');
      if (!isNew) return;
      const socket = socketOfCustomer.get(payload.customer_id);
      socket?.emit('serverMessage', payload, () =>
        inTransaction(
          () => removeMessage.run(number),
          () => {},
        ),
      );
    },
  );
});

function isSigned(header) {
  const parts = header?.startsWith('Bearer ') ? header.slice(7).split('.') : [];
  if (parts.length !== 3) return false;
  const [head, claims, given] = parts;
  const wanted = signature(`${head}.${claims}`);
  if (given.length !== wanted.length || !crypto.timingSafeEqual(Buffer.from(given), Buffer.from(wanted))) return false;
  try {
    if (JSON.parse(Buffer.from(head, 'base64url')).alg !== 'HS256') return false;
    const { iss, exp } = JSON.parse(Buffer.from(claims, 'base64url'));
    return iss === JWT_ISSUER && (exp === undefined || exp > Date.now() / 1000);
  } catch {
    return false;
  }
}

setInterval(() => {
  const before = Date.now() - DAY_MS;
  db.prepare('DELETE FROM outcomes WHERE at < ?').run(before);
  db.prepare('DELETE FROM mailbox WHERE at < ?').run(before);
}, 60000).unref();

listen();
