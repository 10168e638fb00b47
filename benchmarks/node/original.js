// The plain Node hook that LCH is measured against: Express, Socket.IO and axios, with the habits of the Node program
// that LCH replaces. It checks nothing, keeps nothing, and knows one thing: a Map from customer to socket id.
// Where that program leaves a choice, this takes the cheaper way.
'use strict';

const http = require('http');
const axios = require('axios');
const bodyParser = require('body-parser');
const cors = require('cors');
const express = require('express');
const jwt = require('jsonwebtoken');
const { Server } = require('socket.io');

const { DMS_URL, JWT_ISSUER, JWT_SECRET, PORT, ALLOWED_ORIGIN, PING_INTERVAL = '25' } = process.env;
const ACK_TIMEOUT_MS = 10000;

const app = express();
app.use(cors({ origin: ALLOWED_ORIGIN }));
app.use(bodyParser.json());
const server = http.createServer(app);
const io = new Server(server, { cors: { origin: ALLOWED_ORIGIN }, pingInterval: Number(PING_INTERVAL) * 1000 });
const dms = axios.create({ httpAgent: new http.Agent({ keepAlive: true }) });

const socketOfCustomer = new Map();

io.on('connection', (socket) => {
  console.log(`connected: ${socket.id}`);

  socket.on('clientMessage', async (message) => {
    console.log(`clientMessage from ${message.customer_id}: ${message.type}`);
    socketOfCustomer.set(message.customer_id, socket.id);
    const token = jwt.sign({ iss: JWT_ISSUER }, JWT_SECRET, { algorithm: 'HS256', expiresIn: 30 });
    try {
      const response = await dms.post(DMS_URL, message, {
        headers: { Authorization: `Bearer ${token}`, connection_id: JWT_ISSUER, 'Content-Type': 'application/json' },
      });
      console.log(`DMS answered ${response.status}`);
    } catch (error) {
      console.error(`DMS: ${error.message}`);
      socket.emit('serverError', 'Error forwarding request to external API');
    }
  });

  socket.on('serverMessage', (...args) => socket.emit('serverMessage', ...args));

  socket.on('disconnect', (reason) => {
    console.log(`disconnected: ${socket.id} (${reason})`);
    for (const [customer, id] of socketOfCustomer) {
      if (id === socket.id) socketOfCustomer.delete(customer);
    }
  });
});

app.get('/webhook', (request, response) => response.send('the webhook is here'));

app.post('/webhook', (request, response) => {
  const id = socketOfCustomer.get(request.body.customer_id);
  const socket = id && io.sockets.sockets.get(id);
  console.log(`webhook for ${request.body.customer_id}: ${request.body.type}`);
  if (socket) {
    socket.timeout(ACK_TIMEOUT_MS).emit('serverMessage', request.body, (error) => {
      if (error) console.error(`not acknowledged: ${id}`);
      else console.log(`acknowledged: ${id}`);
    });
  }
  response.send('OK');
});

server.listen(Number(PORT), '127.0.0.1', 4096);
