// A chat client under remote control: commands come as JSON lines on stdin, what happens goes out as JSON lines on stdout.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options, acknowledgement] = process.argv.slice(2);
const tell = (line) => console.log(JSON.stringify(line));

const socket = io(url, JSON.parse(options));
const tellTransport = () => tell({ tells: "transport", name: socket.io.engine.transport.name });
socket.on("connect", () => {
  tellTransport();
  socket.io.engine.on("upgrade", tellTransport);
});
socket.on("connect_error", (error) => tell({ tells: "refused", message: error.message }));
socket.on("serverMessage", (...args) => {
  const acknowledge = typeof args.at(-1) === "function" ? args.pop() : undefined;
  tell({ tells: "event", event: "serverMessage", args });
  if (acknowledgement === "ack") acknowledge?.();
});
socket.on("serverError", (...args) => tell({ tells: "event", event: "serverError", args }));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: command, number, event, args } = JSON.parse(line);
    if (command === "connect") socket.connect();
    if (command === "emit") socket.emit(event, ...args, (...acked) => tell({ tells: "ack", number, args: acked }));
  })
  .on("close", () => process.exit());
