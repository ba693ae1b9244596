// The wall of images: keys and mouse, a selection, late thumbnails, and the position to return to.

import { notice } from "./console.js";

const wall = document.querySelector("#wall");
const bulk = document.querySelector("#bulk");
const form = bulk?.elements;
const selected = new Set();
const RETRIES = [1000, 2000, 4000, 8000, 15000, 30000];
const MOST_PICKED = 5000;
let isAll = false;
let current = null;
let anchor = null;
const tiles = [];

// Tiles: links become options of a listbox; the arrow keys move its focus.

function adopt() {
  const pages = [...wall.querySelectorAll(":scope > .wall")];
  if (pages.length > 1 && !pages.at(-1).dataset.joined) mend(pages.slice(-2));
  for (const page of pages.slice(-1)) page.dataset.joined = "1";
  for (const list of wall.querySelectorAll("ul:not([role])")) list.role = "presentation";
  for (const tile of wall.querySelectorAll(".tile:not([role])")) {
    tiles.push(tile);
    tile.role = "option";
    tile.ariaSelected = String(isAll);
    tile.tabIndex = -1;
    tile.querySelector("a").removeAttribute("href");
    if (isAll) selected.add(tile.dataset.pick);
    const image = tile.querySelector("img");
    if (image) watchFor(image);
    const film = tile.querySelector("video");
    if (film) playOn(tile, film);
  }
  if (current === null && tiles.length) current = tiles[0];
  if (current) current.tabIndex = 0;
}

function moveTo(tile) {
  if (!tile) return;
  if (current) current.tabIndex = -1;
  current = tile;
  tile.tabIndex = 0;
  tile.focus({ preventScroll: true });
  tile.scrollIntoView({ block: "nearest" });
  // Load the next page before the last row is reached.
  if (tiles.indexOf(tile) > tiles.length - 12) next();
}

/** The nearest tile in the row that is `rows` above or below. */
function away(from, rows) {
  const middle = (one) => {
    const { left, width } = one.getBoundingClientRect();
    return left + width / 2;
  };
  const step = Math.sign(rows);
  const wanted = middle(from);
  let found = from;
  for (let left = Math.abs(rows), place = tiles.indexOf(from); left > 0; left -= 1) {
    const before = topOf(found);
    while (tiles[place] && topOf(tiles[place]) === before) place += step;
    if (!tiles[place]) break;
    const top = topOf(tiles[place]);
    found = tiles[place];
    for (let at = place; tiles[at] && topOf(tiles[at]) === top; at += step) {
      if (Math.abs(middle(tiles[at]) - wanted) < Math.abs(middle(found) - wanted)) found = tiles[at];
    }
  }
  return found;
}

function topOf(tile) {
  return Math.round(tile.getBoundingClientRect().top);
}

/** Move the last row of each page to the next one, so that no row between them is short. */
function mend(pages) {
  for (const [place, page] of pages.entries()) {
    const following = pages[place + 1];
    if (!following || !page.children.length) continue;
    const last = [...page.children];
    const top = topOf(last.at(-1));
    following.prepend(...last.filter((tile) => topOf(tile) === top));
  }
}

function rowsOnScreen() {
  return Math.max(1, Math.floor(innerHeight / (current.offsetHeight + 4)) - 1);
}

function open(tile, inNewTab) {
  remember();
  if (inNewTab) window.open(tile.dataset.open, "_blank", "noopener");
  else location.href = tile.dataset.open;
}

// The selection: some images, or all that match, whether shown or not.

function set(tile, is) {
  tile.ariaSelected = String(is);
  if (is) selected.add(tile.dataset.pick);
  else selected.delete(tile.dataset.pick);
}

function toggle(tile) {
  if (isAll) leaveAll();
  set(tile, tile.ariaSelected !== "true");
  anchor = tile;
  show();
}

function range(to) {
  if (isAll) leaveAll();
  const ends = [tiles.indexOf(anchor ?? current), tiles.indexOf(to)].sort((a, b) => a - b);
  for (const tile of tiles.slice(ends[0], ends[1] + 1)) set(tile, true);
  show();
}

function all() {
  isAll = true;
  for (const tile of tiles) set(tile, true);
  show();
  notice(`${everything()} selected, including images that are not shown yet.`);
}

function leaveAll() {
  isAll = false;
  notice("Only the images shown are selected now.");
}

function none() {
  isAll = false;
  for (const tile of tiles) set(tile, false);
  selected.clear();
  show();
}

/** Why the selection cannot be sent. With groups of similar images, nobody means all images of the batch. */
function refusal() {
  if (!selected.size && "many" in wall.dataset) return "Select the images first.";
  if (isAll || selected.size <= MOST_PICKED) return "";
  return `Select at most ${MOST_PICKED.toLocaleString()} images by hand, or all that match.`;
}

function everything() {
  const number = wall.dataset.number;
  return number ? `All ${Number(number).toLocaleString()} that match` : "All that match";
}

function show() {
  const isPicking = selected.size > 0 || isAll;
  wall.classList.toggle("picking", isPicking);
  if (!bulk) return;
  const what = !selected.size && "many" in wall.dataset ? "Select images first" : isAll || !selected.size ? everything() : `${selected.size.toLocaleString()} selected`;
  document.querySelector("#picked").textContent = what;
  document.querySelector("#pick-all").hidden = isAll || !selected.size || "many" in wall.dataset;
  document.querySelector("#pick-none").hidden = !isPicking;
}

// Thumbnails that are still being made are requested again; until then, their colour is the placeholder.

function watchFor(image) {
  let tries = 0;
  const address = image.getAttribute("src");
  image.addEventListener("load", () => image.classList.remove("waits"));
  image.addEventListener("error", failed);
  if (image.complete && image.naturalWidth === 0 && image.currentSrc) failed();

  function failed() {
    image.classList.add("waits");
    const wait = RETRIES[tries];
    tries += 1;
    if (wait !== undefined) setTimeout(() => { image.src = `${address}?try=${tries}`; }, wait);
    else if (address.startsWith("/thumbs/") && tries === RETRIES.length + 1) image.src = address.replace("thumbs", "originals");
  }
}

function playOn(tile, film) {
  const play = () => film.play().catch(() => {});
  for (const begins of ["pointerenter", "focus"]) tile.addEventListener(begins, play);
  for (const ends of ["pointerleave", "blur"]) tile.addEventListener(ends, () => film.pause());
}

// More pages, and the return to the previous position.

/** Request the next page; false if there is none, or if htmx does not handle the link yet, so a click would navigate. */
function next() {
  const link = document.querySelector('#more a[hx-trigger*="revealed"]');
  if (!link || link.dataset.asked) return Boolean(link);
  let isTaken = false;
  document.addEventListener("click", (event) => {
    isTaken = event.defaultPrevented;
    event.preventDefault();
  }, { once: true });
  link.click();
  return isTaken;
}

// Scrolling to the link, clicking it or moving towards it sends a single request.
document.addEventListener("htmx:before:request", (event) => {
  const link = event.target.closest?.("#more a");
  if (!link) return;
  if (link.dataset.asked) event.preventDefault();
  link.dataset.asked = "1";
});
document.addEventListener("htmx:error", (event) => delete event.target.dataset?.asked);

const place = `gallery ${location.search}`;

function remember() {
  if (current) sessionStorage.setItem(place, current.id);
}

async function comeBack() {
  const id = sessionStorage.getItem(place);
  const how = performance.getEntriesByType("navigation")[0]?.type;
  if (!id || how === "navigate") return;
  // Before that, htmx does not handle the link, and a click would navigate.
  if (document.readyState !== "complete") await new Promise((done) => addEventListener("load", done, { once: true }));
  for (let tries = 0; tries < 200 && !document.getElementById(id); tries += 1) {
    if (!document.querySelector("#more a")) return;
    next();
    await new Promise((done) => setTimeout(done, 50));
  }
  const tile = document.getElementById(id);
  if (tile) {
    moveTo(tile);
    tile.scrollIntoView({ block: "center" });
  }
}

const KEYS = {
  ArrowLeft: () => moveTo(tiles[tiles.indexOf(current) - 1]),
  ArrowRight: () => moveTo(tiles[tiles.indexOf(current) + 1]),
  ArrowUp: () => moveTo(away(current, -1)),
  ArrowDown: () => moveTo(away(current, 1)),
  PageUp: () => moveTo(away(current, -rowsOnScreen())),
  PageDown: () => moveTo(away(current, rowsOnScreen())),
  Home: () => moveTo(tiles[0]),
  End: () => moveTo(tiles.at(-1)),
  Enter: () => open(current, false),
  Escape: none,
  " ": () => toggle(current),
};

function onKey(event) {
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key.toLowerCase() === "a" && !("many" in wall.dataset)) {
    event.preventDefault();
    all();
  } else if (!command && !event.altKey && event.key in KEYS) {
    event.preventDefault();
    const from = current;
    if (event.shiftKey && event.key === " ") return range(current);
    KEYS[event.key]();
    if (event.shiftKey && current !== from) {
      anchor ??= from;
      range(current);
    }
  }
}

function onClick(event) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  moveTo(tile);
  if (event.shiftKey) range(tile);
  else if (event.target.closest(".tick") || event.ctrlKey || event.metaKey || selected.size) toggle(tile);
  else open(tile, false);
}

if (wall) {
  wall.role = "listbox";
  wall.ariaMultiSelectable = "true";
  wall.ariaLabel = "Images";
  for (const group of wall.querySelectorAll("section")) {
    group.role = "group";
    group.ariaLabel = group.querySelector("h2").textContent;
    group.querySelector("h2").ariaHidden = "true";
  }
  let width = wall.clientWidth;
  addEventListener("resize", () => {
    if (wall.clientWidth !== width) mend([...wall.querySelectorAll(":scope > .wall")]);
    width = wall.clientWidth;
  });
  adopt();
  show();
  wall.addEventListener("keydown", onKey);
  wall.addEventListener("click", onClick);
  wall.addEventListener("auxclick", (event) => {
    const tile = event.target.closest(".tile");
    if (tile && event.button === 1) open(tile, true);
  });
  wall.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".tile");
    if (tile && tile !== current) {
      current.tabIndex = -1;
      current = tile;
      tile.tabIndex = 0;
    }
  });
  document.addEventListener("htmx:after:swap", adopt);
  addEventListener("pagehide", remember);
  document.querySelector("#pick-all")?.addEventListener("click", all);
  document.querySelector("#pick-none")?.addEventListener("click", none);
  bulk?.addEventListener("submit", (event) => {
    const why = refusal();
    if (why) {
      event.preventDefault();
      delete bulk.dataset.sent;
      notice(why);
      return;
    }
    form.namedItem("picks").value = isAll ? "" : [...selected].join(" ");
  });
  comeBack();
}
