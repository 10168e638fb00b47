// Behaves as LCC, the browser client in the field: each render, so each key stroke, opens a new connection and closes none,
// and a message goes out on the newest. Commands come as JSON lines on stdin, what happens goes out as JSON lines on stdout.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, customerId, options] = process.argv.slice(2);
const tell = (line) => console.log(JSON.stringify(line));

const sockets = [];

function render() {
  const number = sockets.length;
  const socket = io(url, JSON.parse(options));
  socket.on("serverMessage", (payload, acknowledge) => {
    tell({ tells: "serverMessage", socket: number, payload });
    acknowledge?.();
  });
  sockets.push(socket);
}

function send(fields) {
  const message = { customer_id: customerId, customer_name: "Kim", message_id: Date.now(), ...fields };
  sockets.at(-1).emit("clientMessage", message, (outcome) =>
    tell({ tells: "ack", socket: sockets.length - 1, message, outcome }),
  );
}

const commands = {
  type({ text }) {
    for (const _ of text) render();
    send({ type: "text", text: [text] });
  },
  choose({ payload }) {
    render();
    send({ type: "text", text: [payload], postback: payload });
  },
  end() {
    render();
    send({ type: "customer_end_session", text: [null] });
  },
  // LCH sends a serverMessage straight back: behind its echo, nothing is under way on that socket any more.
  async settle() {
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise((resolve) => {
            socket.on("serverMessage", (payload) => payload === "settled?" && resolve());
            socket.emit("serverMessage", "settled?");
          }),
      ),
    );
    tell({ tells: "settled", sockets: sockets.length });
  },
};

render();
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: command, ...fields } = JSON.parse(line);
    commands[command](fields);
  })
  .on("close", () => process.exit());
