// A Node hook made to be fast, which promises nothing: it checks no signature, keeps no message, and logs no line.
'use strict';

const { io, post, onWebhook, listen } = require('./tuned_parts.js');

const socketOfCustomer = new Map();

io.on('connection', (socket) => {
  const customers = new Set();

  socket.on('clientMessage', (message) => {
    socketOfCustomer.set(message.customer_id, socket);
    customers.add(message.customer_id);
    post(JSON.stringify(message), (status) => {
      if (status !== 200) socket.emit('serverError', 'Error forwarding request to external API');
    });
  });

  socket.on('serverMessage', (...args) => socket.emit('serverMessage', ...args));

  socket.on('disconnect', () => {
    for (const customer of customers) {
      if (socketOfCustomer.get(customer) === socket) socketOfCustomer.delete(customer);
    }
  });
});

onWebhook((payload, text, headers, answer) => {
  const socket = socketOfCustomer.get(payload.customer_id);
  // Asked for an acknowledgement, as the original does.
  if (socket) socket.emit('serverMessage', payload, () => {});
  answer(200, 'OK');
});

listen();
