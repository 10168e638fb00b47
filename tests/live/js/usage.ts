// Compiled by a test, and not run: what a site's TypeScript does with the library.
import { LchClient, type CustomerEntry, type Entry, type Outcome } from "../../../client/lch-client.js";

export const client = new LchClient({
  url: "https://hook.example.com",
  token: async () => (await fetch("/chat-token")).text(),
  customerName: "Ada Lindgren",
  contextData: () => ({ page: location.pathname }),
  storage: sessionStorage,
});

client.addEventListener("connection", ({ detail }) => {
  const isThere: boolean = detail.state === "connected";
  // @ts-expect-error: no such state
  return isThere || detail.state === "conected";
});
client.addEventListener("history", ({ detail: { entries, complete } }) => complete && entries.forEach(words));
client.addEventListener("typing", ({ detail }) => detail.csr_name?.toUpperCase());
client.addEventListener("something else", (event: Event) => event.preventDefault());
client.send({ text: ["Hello"] });
// @ts-expect-error: a text is no number
client.send({ text: 7 });
// @ts-expect-error: there is no client without an address
new LchClient({});

export function words(entry: Entry): string {
  if (entry.from === "customer") return `${entry.payload.text?.[0] ?? ""} ${entry.status} ${entry.error ?? ""}`;
  switch (entry.payload.type) {
    case "menu":
      return entry.payload.items?.map(({ text }) => text).join(", ") ?? "";
    case "link_button":
      return entry.payload.url ?? "";
    case "text":
      return String(entry.payload.text);
    default:
      return entry.payload.type;
  }
}

export async function sendAgain({ payload, status }: CustomerEntry, file: File): Promise<Outcome | undefined> {
  const stored = await client.upload(file, { onProgress: (share) => console.log(share.toFixed(2)), signal: AbortSignal.timeout(9) });
  await client.send({ text: "See this", attachments: [stored], timestamp: Date.now() });
  await client.choose({ text: "Offers", payload: "offers" });
  return status === "failed" && payload.message_id !== undefined ? client.resend(payload.message_id) : undefined;
}
