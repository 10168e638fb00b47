// Who chats: one from the list, or somebody typed in. The choice is kept in the address after "#", so that a link or a
// reload leads back to it.

import { byId, element } from "../shared/dom.js";

const SOMEBODY_ELSE = "somebody else";

/** Fills the list and calls `chatAs(customer)`, now and at every change. */
export function setUpCustomers(customers, chatAs) {
  const choice = byId("customer");
  const dialog = byId("somebody");
  const known = [...customers];
  let current = null;

  const list = () => {
    choice.replaceChildren(
      ...known.map((customer, index) => element("option", { value: String(index) }, label(customer))),
      element("option", { value: SOMEBODY_ELSE }, "Somebody else…"));
    choice.value = String(known.indexOf(current));
  };
  const change = (customer) => {
    let listed = known.find((one) => sameId(one, customer) && one.customer_name === customer.customer_name);
    if (!listed) known.push((listed = customer));
    const changed = listed !== current;
    current = listed;
    list();
    if (changed) {
      history.replaceState(null, "", toHash(listed));
      chatAs(listed);
    }
  };

  choice.addEventListener("change", () => {
    if (choice.value !== SOMEBODY_ELSE) {
      change(known[Number(choice.value)]);
      return;
    }
    choice.value = String(known.indexOf(current));
    byId("somebody-form").reset();
    dialog.showModal();
  });
  byId("somebody-cancel").addEventListener("click", () => dialog.close());
  byId("somebody-form").addEventListener("submit", () => {
    const customer_id = byId("somebody-id").value.trim();
    const customer_name = byId("somebody-name").value.trim() || customer_id || "Unauthenticated person";
    change({ customer_id, customer_name });
  });
  window.addEventListener("hashchange", () => {
    const customer = fromHash(known);
    if (customer) change(customer);
  });
  change(fromHash(known) ?? known[0]);
}

/** An id may be a number, and is a text in an address: LCH takes both for the same customer. */
function sameId(one, other) {
  return String(one.customer_id) === String(other.customer_id);
}

function label({ customer_id, customer_name }) {
  return customer_id && String(customer_id) !== customer_name ? `${customer_name} (${customer_id})` : customer_name || String(customer_id);
}

function toHash({ customer_id, customer_name }) {
  return `#${new URLSearchParams({ customer: customer_id, name: customer_name })}`;
}

function fromHash(known) {
  const asked = new URLSearchParams(window.location.hash.slice(1));
  const customer_id = asked.get("customer");
  if (customer_id === null) return null;
  const customer_name = asked.get("name");
  if (customer_name !== null) return { customer_id, customer_name };
  return known.find((one) => sameId(one, { customer_id })) ?? { customer_id, customer_name: customer_id };
}
