// A client whose `auth` is a function that has a fresh token for each connection. What happens goes out as JSON lines.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, tokens] = process.argv.slice(2);
const fresh = JSON.parse(tokens);
const tell = (line) => console.log(JSON.stringify(line));

const socket = io(url, {
  transports: ["websocket"],
  reconnectionDelay: 100,
  auth: (use) => use({ token: fresh.shift() }),
});
socket.on("connect", () => tell({ tells: "connected" }));
socket.on("disconnect", (reason) => tell({ tells: "disconnected", reason }));
socket.on("connect_error", (error) => tell({ tells: "refused", message: error.message }));
socket.on("serverMessage", (payload, acknowledge) => {
  tell({ tells: "message", text: payload.text[0] });
  acknowledge();
});
createInterface({ input: process.stdin }).on("close", () => process.exit());
