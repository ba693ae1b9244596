// Deciding with the keyboard alone. Each key has a button or link that does the same.
import { notice } from "./console.js";

const $ = (selector) => document.querySelector(selector);
const picks = [...document.querySelectorAll("input[name=pick]")];
const sum = $("#sum");
const keys = $("#keys");

/** Show what is picked, and what it costs. */
function addUp() {
  if (!sum) return;
  const chosen = picks.filter((one) => one.checked);
  if (!chosen.length) {
    sum.textContent = "Select the images to continue with.";
    return;
  }
  const amounts = chosen.map((one) => one.dataset.amount);
  const known = amounts.every((amount) => amount !== "");
  const cost = amounts.reduce((total, amount) => total + Number(amount), 0) / 1e6;
  const most = Number(sum.dataset.max);
  const price = known ? ` · ${Number(cost.toFixed(6))} ${sum.dataset.currency}` : "";
  const over = sum.dataset.max && known && cost > most ? `: only as many as ${most} ${sum.dataset.currency} covers` : "";
  sum.textContent = `${chosen.map((one) => one.value).join(", ")} picked${price}${over}`;
}

function toggleZoom(on = !document.body.classList.contains("zoomed")) {
  document.body.classList.toggle("zoomed", on);
}

function decide(button) {
  if (!button) return;
  if (button.id === "approve" && picks.length && !picks.some((one) => one.checked)) {
    notice("Pick at least one image, or reject all with X.");
    return;
  }
  button.click();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || keys?.open) return;
  const at = event.target;
  const isWriting = at.matches("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    toggleZoom(false);
    if (isWriting) at.blur();
    return;
  }
  if (isWriting) return;
  // On a button or a link, these two keys keep their usual meaning.
  const isOnControl = at.closest("a, button, summary, input") !== null;
  if (isOnControl && (event.key === "Enter" || event.key === " ")) return;
  const act = {
    Enter: () => decide($("#approve")),
    p: () => decide($("#approve")),
    x: () => decide($("#reject")),
    u: () => ($("#undo button") ?? $("#undo-mark") ?? { click: () => notice("There is nothing to undo here.") }).click(),
    n: () => $("#why")?.focus(),
    ArrowLeft: () => $("#before")?.click(),
    ArrowRight: () => $("#after")?.click(),
    " ": () => toggleZoom(),
    "?": () => keys?.showModal(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const pick = picks.find((one) => one.value === event.key);
  if (pick) pick.click();
  else if (act) act();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);
for (const one of picks) one.addEventListener("change", addUp);
for (const [id, act] of [["#zoom", () => toggleZoom()], ["#help", () => keys.showModal()]]) {
  const button = $(id);
  if (button) {
    button.hidden = false;
    button.addEventListener("click", act);
  }
}
// After the browser's back button, boxes are still ticked.
addEventListener("pageshow", addUp);
