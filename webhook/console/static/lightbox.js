// The lightbox's keys, and copying the prompt. Without this script, everything is a link.

import { notice } from "./console.js";

const box = document.querySelector("#lightbox");
const copy = document.querySelector("#copy");
const keys = document.querySelector("#keys");
const FROM_GALLERY = "lightbox: opened in the gallery";

// The gallery returns to where it was left, even after stepping through images.
const from = document.referrer ? new URL(document.referrer) : null;
const shown = new URLSearchParams(location.search).get("index");
if (from?.origin === location.origin && from.pathname === "/gallery") sessionStorage.setItem(FROM_GALLERY, from.search);
else if (!from?.pathname.startsWith("/generations/")) sessionStorage.removeItem(FROM_GALLERY);
const gallery = sessionStorage.getItem(FROM_GALLERY);
if (gallery !== null) {
  sessionStorage.setItem(`gallery ${gallery}`, `t-${box.dataset.generation}${shown === null ? "" : `.${shown}`}`);
}

/** Replace this image with another one, so that one step back is the gallery. */
function go(link) {
  if (link) location.replace(link.href);
}

function back(event) {
  if (gallery === null || history.length < 2) return;
  event?.preventDefault();
  history.back();
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain HTTP from another machine, the clipboard is not available.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    copy?.focus();
    if (!isDone) return notice("The browser does not let this page copy. Select the prompt and copy it yourself.");
  }
  return notice("Prompt copied.");
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, video, [popover]:popover-open")) return;
  const image = /^[1-9]$/.test(event.key) && document.querySelectorAll(".strip a")[Number(event.key) - 1];
  if (image) go(image);
  else if (event.key === "ArrowLeft") go(document.querySelector("#before"));
  else if (event.key === "ArrowRight") go(document.querySelector("#after"));
  else if (event.key === "?") keys.togglePopover();
  else if (event.key === "c") copy?.click();
  else if (event.key === "Escape" && !keys.matches(":popover-open")) {
    back(event);
    if (!event.defaultPrevented) location.href = document.querySelector("#back").href;
  } else return;
  event.preventDefault();
}

addEventListener("keydown", onKey);
document.querySelector("#back").addEventListener("click", back);
for (const link of document.querySelectorAll("#before, #after, .strip a")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(link);
  });
}
if (copy) {
  copy.classList.remove("with-scripts");
  copy.addEventListener("click", () => copyText(document.getElementById(copy.dataset.copy).textContent));
}
