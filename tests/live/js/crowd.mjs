// Many browsers behind one address. What happens goes out as JSON lines on stdout.
import { io } from "socket.io-client";

const [url, count, options] = process.argv.slice(2);
let connected = 0;
let refused = 0;
const tell = () => console.log(JSON.stringify({ connected, refused }));

for (let number = 0; number < Number(count); number++) {
  const socket = io(url, { forceNew: true, ...JSON.parse(options) });
  socket.on("connect", () => tell(connected++));
  socket.on("disconnect", () => tell(connected--));
  socket.on("connect_error", () => tell(refused++));
}
setInterval(tell, 200);
process.stdin.resume();
process.stdin.on("end", () => process.exit());
