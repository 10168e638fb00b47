// How the chat looks. A constructed style sheet, so that a strict content security policy needs no exception for it. Sites
// set the properties --lch-…; those with an underscore are the chat's own. Every pair of ink and ground has a contrast of at
// least 4.5 to 1 in both schemes.

const DARK = `
  color-scheme: dark;
  --_accent: var(--lch-accent, #2a6db0);
  --_accent-ink: var(--lch-accent-ink, color-mix(in srgb, var(--_accent) 45%, white));
  --_surface: var(--lch-surface, #161b22);
  --_ink: var(--lch-ink, #e8edf2);
  --_ink-soft: var(--lch-ink-soft, #a3afbb);
  --_theirs: var(--lch-theirs, #252d37);
  --_line: #313a45;
  --_line-strong: #74818e;
  --_bad: #ffa198;
  --_shadow: 0 2px 8px rgb(0 0 0 / 35%), 0 16px 48px rgb(0 0 0 / 45%);
`;

const CSS = `
:host {
  color-scheme: light;
  --_accent: var(--lch-accent, #0b4f8a);
  --_on-accent: var(--lch-on-accent, #fff);
  --_accent-ink: var(--lch-accent-ink, var(--_accent));
  --_surface: var(--lch-surface, #fff);
  --_ink: var(--lch-ink, #17202a);
  --_ink-soft: var(--lch-ink-soft, #55626f);
  --_theirs: var(--lch-theirs, #eef2f6);
  --_line: #dbe2e9;
  --_line-strong: #7d8a97;
  --_bad: #a8261c;
  --_bad-ground: color-mix(in srgb, var(--_bad) 10%, var(--_surface));
  --_radius: var(--lch-radius, 16px);
  --_gap: var(--lch-gap, 20px);
  --_shadow: 0 2px 8px rgb(20 35 50 / 10%), 0 16px 48px rgb(20 35 50 / 18%);
  position: fixed;
  inset-block-end: calc(var(--_gap) + env(safe-area-inset-bottom, 0px));
  inset-inline-end: calc(var(--_gap) + env(safe-area-inset-right, 0px));
  z-index: var(--lch-z-index, 2147483000);
  font: 400 15px/1.45 var(--lch-font, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif);
  letter-spacing: normal;
  text-align: start;
  text-transform: none;
  color: var(--_ink);
  -webkit-text-size-adjust: 100%;
}
@media (prefers-color-scheme: dark) {
  :host(:not([theme="light"])) {${DARK}}
}
:host([theme="dark"]) {${DARK}}
:host([hidden]), [hidden] { display: none !important; }
:host([inline]) { display: block; position: static; height: 100%; }

*, *::before, *::after { box-sizing: border-box; }
p, h2, ul, figure, pre { margin: 0; padding: 0; }
ul { list-style: none; }
button, textarea { margin: 0; font: inherit; letter-spacing: inherit; color: inherit; }
button { touch-action: manipulation; } button:enabled { cursor: pointer; }
:focus-visible { outline: 2px solid var(--_accent-ink); outline-offset: 2px; }
.icon {
  display: block; width: 22px; height: 22px; fill: none;
  stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round;
}
.visually-hidden, .follows .speaker {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}

/* What opens it */
.launcher {
  position: relative; display: grid; place-items: center; width: 60px; height: 60px; padding: 0;
  border: 0; border-radius: 50%; background: var(--_accent); color: var(--_on-accent); box-shadow: var(--_shadow);
  transition: transform 0.15s ease-out;
}
.launcher:hover { transform: scale(1.05); }
.launcher:focus-visible { outline: 3px solid var(--_accent-ink); outline-offset: 3px; }
.launcher .icon { width: 28px; height: 28px; }
.launcher[aria-expanded="true"] .icon-open, .launcher[aria-expanded="false"] .icon-close { display: none; }
.badge {
  position: absolute; inset-block-start: -4px; inset-inline-end: -4px; min-width: 24px; padding: 0 7px;
  border: 2px solid var(--_surface); border-radius: 99px; background: #b3261e; color: #fff; pointer-events: none;
  font-size: 13px; font-weight: 700; line-height: 20px; text-align: center;
}

/* The panel */
.panel {
  position: fixed;
  inset-block-end: calc(var(--_gap) + 76px + env(safe-area-inset-bottom, 0px));
  inset-inline-end: calc(var(--_gap) + env(safe-area-inset-right, 0px));
  display: flex; flex-direction: column; overflow: hidden;
  width: var(--lch-width, 400px); max-width: calc(100vw - 2 * var(--_gap));
  height: var(--lch-height, 680px); max-height: calc(100dvh - 2 * var(--_gap) - 76px);
  border: 1px solid var(--_line); border-radius: var(--_radius); background: var(--_surface); box-shadow: var(--_shadow);
  animation: open 0.18s ease-out;
}
@keyframes open { from { opacity: 0; transform: translateY(12px); } }
:host([inline]) .panel {
  position: relative; inset: auto; width: 100%; max-width: none; height: 100%; max-height: none;
  box-shadow: none; animation: none;
}
.head {
  display: flex; align-items: center; gap: 12px; min-height: 68px; padding-block: 10px; padding-inline: 18px 10px;
  background: var(--_accent); color: var(--_on-accent);
}
.mark {
  flex: none; display: grid; place-items: center; width: 40px; height: 40px; border-radius: 50%;
  background: color-mix(in srgb, var(--_on-accent) 16%, transparent);
}
.who { flex: 1; min-width: 0; }
.title {
  overflow: hidden; font-size: 17px; font-weight: 650; line-height: 1.3; letter-spacing: -0.01em;
  text-overflow: ellipsis; white-space: nowrap;
}
.connection { display: flex; align-items: center; gap: 6px; font-size: 13px; line-height: 1.35; }
/* Not by colour alone: a full dot, a ring while it tries, a square when it has stopped (and the words beside it). */
.dot { flex: none; width: 8px; height: 8px; border: 2px solid currentColor; border-radius: 50%; background: currentColor; }
[data-state="connecting"] .dot, [data-state="reconnecting"] .dot { background: none; }
[data-state="disconnected"] .dot { border-radius: 1px; }
.head-button {
  flex: none; min-width: 36px; min-height: 36px; padding: 4px 10px; border: 0; border-radius: 10px;
  background: none; color: inherit; font-size: 14px; font-weight: 550;
}
.head-button:hover { background: color-mix(in srgb, var(--_on-accent) 16%, transparent); }
.head-button:focus-visible { outline-color: currentColor; outline-offset: -2px; }
.close { display: grid; place-items: center; padding: 0; }

.strip {
  display: flex; align-items: center; justify-content: space-between; flex-wrap: wrap; gap: 8px 12px;
  padding: 12px 18px; border-block-end: 1px solid var(--_line); background: var(--_theirs);
}
.strip p { font-weight: 550; } .strip div { display: flex; gap: 8px; }

.button {
  min-height: 36px; padding: 5px 14px; border: 1px solid var(--_line-strong); border-radius: 10px;
  background: var(--_surface); color: var(--_ink); font-weight: 550; font-size: 14px;
}
.button:hover:enabled { border-color: var(--_accent-ink); color: var(--_accent-ink); }
.button-main { border-color: transparent; background: var(--_accent); color: var(--_on-accent); }
.button-main:hover:enabled { border-color: transparent; color: var(--_on-accent); filter: brightness(0.92); }
.button-small { min-height: 28px; padding: 1px 10px; border-radius: 8px; font-size: 13px; }
.button:disabled { border-color: var(--_line); color: var(--_ink-soft); }

/* The conversation */
.body { position: relative; flex: 1; min-height: 0; display: flex; flex-direction: column; }
.log { flex: 1; min-height: 0; overflow: hidden auto; overscroll-behavior: contain; padding: 16px 18px 8px; }
.log:focus-visible { outline-offset: -3px; }
.items { display: flex; flex-direction: column; gap: 14px; }
.welcome {
  display: grid; place-content: center; gap: 6px; min-height: 100%; padding: 24px 12px;
  text-align: center; text-wrap: balance; color: var(--_ink-soft);
}
.welcome-text { font-size: 21px; font-weight: 650; letter-spacing: -0.015em; color: var(--_ink); }
.day { display: flex; align-items: center; gap: 12px; font-size: 12.5px; font-weight: 550; color: var(--_ink-soft); }
.day::before, .day::after { content: ""; flex: 1; height: 1px; background: var(--_line); }
.message { display: flex; flex-direction: column; align-items: flex-start; max-width: 86%; min-width: 0; }
.arrived { animation: arrive 0.2s ease-out; }
@keyframes arrive { from { opacity: 0; transform: translateY(6px); } }
.ours { align-self: flex-end; align-items: flex-end; }
.wide { max-width: none; margin-inline-end: -18px; } .follows { margin-block-start: -9px; }
.speaker { margin-block-end: 4px; margin-inline-start: 2px; font-size: 13px; font-weight: 600; color: var(--_ink-soft); }
.speaker time, .speaker .role { margin-inline-start: 2px; font-weight: 400; }
.bubble {
  display: grid; gap: 8px; min-width: 0; max-width: 100%; padding: 9px 14px; border-radius: var(--_radius);
  overflow-wrap: anywhere;
}
.bubble > * { min-width: 0; }
.theirs .bubble { border-start-start-radius: 5px; background: var(--_theirs); }
.ours .bubble { border-end-end-radius: 5px; background: var(--_accent); color: var(--_on-accent); }
.text { white-space: pre-wrap; }
.theirs a:not(.link-button) { color: var(--_accent-ink); font-weight: 550; }
.ours a { color: inherit; font-weight: 550; }
.bubble small { font-size: 13px; }
.theirs small { color: var(--_ink-soft); }
.ours[data-state="failed"] .bubble { outline: 1px solid var(--_bad); outline-offset: -1px; background: var(--_bad-ground); color: var(--_ink); }
.delivery {
  display: flex; flex-wrap: wrap; align-items: center; justify-content: flex-end; gap: 4px 6px; min-height: 18px;
  margin: 3px 2px 0; font-size: 12.5px; color: var(--_ink-soft); overflow-wrap: anywhere;
}
.ours[data-state="sent"]:has(+ .ours[data-state="sent"]) .delivery { display: none; }
.ours + .ours { margin-block-start: -8px; }
[data-state="failed"] .delivery { color: var(--_bad); font-weight: 550; }
[data-state="failed"] .delivery-sign {
  width: 16px; height: 16px; border: 1.5px solid currentColor; border-radius: 50%;
  font-weight: 700; font-size: 11px; line-height: 13px; text-align: center;
}
.announcement { align-self: center; max-width: 92%; padding: 2px 12px; text-align: center; text-wrap: balance; font-size: 13.5px; color: var(--_ink-soft); }
.announcement .delivery { justify-content: center; }

/* What DMS sends */
.choices { display: grid; gap: 6px; }
.choice {
  display: flex; align-items: center; gap: 10px; width: 100%; min-height: 44px; padding: 6px 12px;
  border: 1px solid var(--_line-strong); border-radius: 11px; background: var(--_surface); color: var(--_accent-ink);
  font-weight: 550; text-align: start;
}
.choice:hover:enabled { border-color: var(--_accent-ink); background: color-mix(in srgb, var(--_accent) 8%, var(--_surface)); }
.choice:disabled { border-color: var(--_line); background: none; color: var(--_ink-soft); font-weight: 400; }
.choice:disabled .choice-image { filter: grayscale(1); }
.choice.chosen { border-color: var(--_accent-ink); color: var(--_ink); font-weight: 600; }
.choice.chosen::after { content: "✓" / ""; margin-inline-start: auto; color: var(--_accent-ink); font-weight: 700; }
.choice-image { flex: none; width: 28px; height: 28px; border-radius: 7px; object-fit: cover; }
.choice-words { display: grid; min-width: 0; }
.choice-description { font-size: 13px; font-weight: 400; color: var(--_ink-soft); }
.carousel { overflow: auto hidden; overscroll-behavior-inline: contain; scroll-snap-type: inline proximity; padding-block-end: 8px; }
.carousel:focus-visible { outline-offset: -2px; }
.cards { display: flex; gap: 12px; width: max-content; padding-inline-end: 18px; }
.card {
  display: flex; flex-direction: column; gap: 2px; width: 232px; overflow: hidden; scroll-snap-align: start;
  border: 1px solid var(--_line); border-radius: 14px; background: var(--_surface); overflow-wrap: anywhere;
}
.card > p { padding-inline: 14px; }
.card-image { display: block; width: 100%; height: 112px; margin-block-end: 8px; object-fit: cover; }
.card-title { font-weight: 650; }
.card-title:first-child { padding-block-start: 12px; }
.card-sub { font-size: 14px; color: var(--_ink-soft); }
.card-choices { display: grid; gap: 6px; margin-block-start: auto; padding: 10px 12px 12px; }
.link-button {
  display: inline-flex; align-items: center; min-height: 40px; padding: 6px 16px; border-radius: 10px;
  background: var(--_accent); color: var(--_on-accent); font-weight: 600; text-decoration: none;
}
.link-button:hover { filter: brightness(0.92); }
.figure { display: grid; gap: 6px; }
.attached-image {
  display: block; max-width: 100%; max-height: 240px; min-width: 60px; border-radius: 10px; object-fit: contain; background: var(--_surface);
}
.unknown summary { cursor: pointer; min-height: 24px; font-size: 14px; color: var(--_ink-soft); }
.unknown pre { max-width: 100%; margin-block-start: 6px; overflow: auto; font-size: 12.5px; }
.typing { display: flex; align-items: center; gap: 8px; min-height: 0; font-size: 13px; color: var(--_ink-soft); }
.typing:not(:empty) { padding-block: 10px 2px; }
.dots { display: flex; gap: 4px; padding: 10px 12px; border-radius: 99px; background: var(--_theirs); }
.dots i { width: 6px; height: 6px; border-radius: 50%; background: var(--_ink-soft); animation: dots 1.2s infinite; }
.dots i:nth-child(2) { animation-delay: 0.15s; } .dots i:nth-child(3) { animation-delay: 0.3s; }
@keyframes dots { 30% { transform: translateY(-3px); } 60%, 100% { transform: none; } }
.to-end {
  position: absolute; inset-block-end: 10px; inset-inline: 0; width: max-content; margin-inline: auto;
  border-radius: 99px; box-shadow: var(--_shadow);
}

/* What the customer writes */
.ended { display: grid; gap: 12px; justify-items: center; padding: 16px 18px calc(18px + env(safe-area-inset-bottom, 0px)); border-block-start: 1px solid var(--_line); text-align: center; }
.ended .button { min-height: 44px; padding-inline: 20px; border-radius: 12px; font-size: 15px; }
.composer { padding: 10px 12px calc(12px + env(safe-area-inset-bottom, 0px)); border-block-start: 1px solid var(--_line); }
.row {
  display: flex; align-items: flex-end; gap: 2px; padding: 4px; border: 1px solid var(--_line-strong); border-radius: 24px;
}
.row:focus-within { border-color: var(--_accent-ink); box-shadow: 0 0 0 1px var(--_accent-ink); }
.row textarea {
  flex: 1; min-width: 0; max-height: 128px; padding: 8px 10px; border: 0; border-radius: 18px; outline: 0; resize: none;
  background: none; font-size: 16px; line-height: 22px;
}
.row textarea::placeholder { color: var(--_ink-soft); opacity: 1; }
.round {
  flex: none; display: grid; place-items: center; width: 38px; height: 38px; padding: 0; border: 0; border-radius: 50%;
  background: none; color: var(--_ink-soft);
}
.round:hover { background: var(--_theirs); color: var(--_ink); }
.round-main, .round-main:hover { background: var(--_accent); color: var(--_on-accent); }
.round-main:hover { filter: brightness(0.92); }
.photo { display: none; }
@media (pointer: coarse) { .photo { display: grid; } }
.files { display: grid; gap: 6px; max-height: 200px; margin-block-end: 8px; overflow: auto; }
.file-chip {
  display: grid; grid-template-columns: 40px minmax(0, 1fr) auto; align-items: center; gap: 0 10px; padding: 6px 8px;
  border: 1px solid var(--_line); border-radius: 12px;
}
.file-chip[data-state="failed"] { border-color: var(--_bad); }
.thumb { display: grid; place-items: center; width: 40px; height: 40px; border-radius: 8px; background: var(--_theirs); object-fit: cover; color: var(--_ink-soft); }
.file-name { overflow: hidden; font-size: 14px; font-weight: 550; text-overflow: ellipsis; white-space: nowrap; }
.file-state { font-size: 12.5px; color: var(--_ink-soft); }
[data-state="failed"] .file-state { color: var(--_bad); }
progress { display: block; width: 100%; height: 4px; margin-block-start: 4px; accent-color: var(--_accent-ink); }
.drop {
  position: absolute; inset: 8px; z-index: 1; display: grid; place-content: center; border: 2px dashed var(--_accent-ink);
  border-radius: calc(var(--_radius) - 6px); background: var(--_surface); font-weight: 600; color: var(--_accent-ink); pointer-events: none;
}

@media (max-width: 480px) {
  :host(:not([inline])) .panel {
    inset: 0; width: 100%; max-width: none; height: 100dvh; max-height: none; border: 0; border-radius: 0;
  }
  :host(:not([inline])) .head { padding-block-start: calc(10px + env(safe-area-inset-top, 0px)); }
  :host(:not([inline])) .launcher[aria-expanded="true"] { visibility: hidden; }
  .who { min-width: 90px; }
}
@media (max-width: 360px) { .mark { display: none; } .message { max-width: 92%; } }
@media (max-height: 560px) { .head { min-height: 52px; padding-block: 6px; } .mark { display: none; } }
@media (prefers-reduced-motion: reduce) { *, *::before, *::after { animation: none !important; transition: none !important; } }
@media (forced-colors: active) { .bubble, .launcher, .link-button, .button-main, .round-main, .badge { border: 1px solid; } }
`;

let sheet = null;

/** One sheet for all chats of a page. Made where a chat is, so that importing this needs no browser. */
export function styleSheet() {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
