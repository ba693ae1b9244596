// The page Submit: dropped images and batch files, mistakes at their fields, and times in the reader's time zone.

import { notice } from "./console.js";

const batch = document.querySelector("#batch");

// Mark the fields in which a check found mistakes.
function markFields() {
  for (const told of document.querySelectorAll(".mistake[id]")) {
    const control = document.getElementById(told.id.replace(/^m-/, "f-"));
    if (told.textContent.trim()) control?.setAttribute("aria-invalid", "true");
    else control?.removeAttribute("aria-invalid");
  }
}

/** Set these files as if the user had chosen them. */
function choose(input, files, isQuiet = false) {
  const chosen = new DataTransfer();
  for (const file of input.multiple ? files : files.slice(0, 1)) chosen.items.add(file);
  input.files = chosen.files;
  if (!isQuiet) input.dispatchEvent(new Event("change", { bubbles: true }));
}

function dropOnBatch(files) {
  const { file, pictures } = batch.elements;
  const images = files.filter((one) => one.type.startsWith("image/"));
  const others = files.filter((one) => !one.type.startsWith("image/"));
  if (others.length > 1) notice("One batch file at a time: only the first one was added.");
  // Choosing the file checks it together with its images.
  if (images.length) choose(pictures, images, others.length > 0);
  if (others.length) choose(file, others);
}

const zoneOf = (event) => event.target.closest?.(".zone, .pictures");

for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    const zone = zoneOf(event);
    if (!zone || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  const zone = zoneOf(event);
  if (zone && !zone.contains(event.relatedTarget)) zone.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  const zone = zoneOf(event);
  const files = [...event.dataTransfer.files];
  if (!zone || !files.length) return;
  event.preventDefault();
  zone.classList.remove("over");
  if (zone.matches(".zone")) dropOnBatch(files);
  else choose(zone.querySelector("input[type=file]"), files);
});

function nameFile() {
  const { file, pictures } = batch.elements;
  const told = batch.querySelector("#chosen-file");
  const number = pictures.files.length;
  const more = number ? ` and ${number} ${number === 1 ? "image" : "images"}` : "";
  told.textContent = file.files.length ? `${file.files[0].name}${more}` : told.dataset.empty;
}

// Times are entered in the reader's time zone.
function noteOffset() {
  const start = batch.elements.batch_start;
  batch.elements.offset.value = start.value ? String(new Date(start.value).getTimezoneOffset()) : "";
}

if (batch) {
  document.querySelector("#h-batch_start").textContent = "By your own clock.";
  batch.addEventListener("change", () => {
    nameFile();
    noteOffset();
  });
  // Browsers keep chosen values after going back.
  nameFile();
  noteOffset();
}

// Opened sections stay open when another operation's options replace them.
let opened = [];
document.addEventListener("htmx:before:swap", () => {
  opened = [...document.querySelectorAll("#options details[open]")].map((one) => one.dataset.part);
});
document.addEventListener("htmx:after:swap", () => {
  for (const one of document.querySelectorAll("#options details")) one.open ||= opened.includes(one.dataset.part);
  markFields();
  // Images that are already stored are not sent again with the form.
  for (const input of document.querySelectorAll("input[type=file][name^='file.']")) input.value = "";
});
