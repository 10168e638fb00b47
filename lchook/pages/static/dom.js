// Small helpers of LCH's own pages. What makes nodes, and keeps text from outside harmless, is the chat's.

export { asJson, element, stickToEnd } from "/client/chat/dom.js";

export function byId(id) {
  return document.getElementById(id);
}
