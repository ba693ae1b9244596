// Shows how fresh the page is, and restarts a silent stream; htmx applies the changes themselves.
import { notice } from "./console.js";

const live = document.querySelector("#live");
const state = document.querySelector("#live-state");
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
// Seconds after which an unread ledger counts as unavailable, and a silent stream as dead.
const OLD = 5;
const DEAD = 15;

let seen = new Date();
let heard = Date.now();

function show(name, text) {
  live.dataset.state = name;
  if (state.textContent !== text) state.textContent = text;
}

function away(who) {
  show("away", `Last updated ${CLOCK.format(seen)}: ${who} does not answer. Trying again…`);
}

function fresh(age = 0) {
  heard = Date.now();
  if (age > OLD) return away("the ledger");
  seen = new Date(Date.now() - age * 1000);
  if (live._htmx?.sse) show("live", "Live");
  else show("polling", "Updated every 5 seconds");
}

live.addEventListener("beat", (event) => fresh(Number(event.detail.data)));
live.addEventListener("htmx:sse:after:message", (event) => {
  if (!event.detail.message.event) fresh();
});
live.addEventListener("htmx:after:request", (event) => {
  const answer = event.detail.ctx.response;
  if (answer.status < 400) fresh();
  else away(answer.status === 503 ? "the ledger" : "Darkroom");
});
live.addEventListener("htmx:error", () => away("Darkroom"));
live.addEventListener("htmx:sse:error", (event) => {
  // After a logout, the reloaded page is the login page.
  if (event.detail.status === 401) location.reload();
  else away(event.detail.status === 503 ? "the ledger" : "Darkroom");
});
// A hidden page does not poll.
live.addEventListener("htmx:before:request", (event) => {
  if (document.hidden) event.preventDefault();
});
setInterval(() => {
  if (document.hidden || Date.now() - heard < DEAD * 1000) return;
  away("Darkroom");
  live._htmx?.sse?.reader?.cancel();
}, 5000);

// Show why a button's action failed.
document.addEventListener("htmx:response:error", (event) => {
  if (event.target === live) return;
  const page = new DOMParser().parseFromString(event.detail.ctx.text, "text/html");
  notice(page.querySelector("p")?.textContent ?? "That did not work. Reload the page and try again.");
});
document.addEventListener("htmx:error", (event) => {
  if (event.target !== live) notice("Darkroom does not answer. Try again.");
});
// Without a stream, show changes immediately as well.
document.addEventListener("htmx:after:request", (event) => {
  if (event.target !== live && !live._htmx?.sse) htmx.trigger(live, "every");
});

// If a row's focused button disappears, keep the focus in that row.
let row = null;
document.addEventListener("htmx:before:swap", () => {
  row = document.activeElement?.closest("[id]:is(.batch, #standing)")?.id ?? null;
});
document.addEventListener("htmx:after:swap", () => {
  if (row && document.activeElement === document.body) document.getElementById(row)?.querySelector("button, a")?.focus();
});
