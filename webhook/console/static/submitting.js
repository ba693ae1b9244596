// The page Submit: pictures and batch files that are dropped, mistakes at their fields, and times of the reader's clock.

import { notice } from "./console.js";

// A mistake that a check found is said by its field, too.
function markFields() {
  for (const told of document.querySelectorAll(".mistake[id]")) {
    const control = document.getElementById(told.id.replace(/^m-/, "f-"));
    if (told.textContent.trim()) control?.setAttribute("aria-invalid", "true");
    else control?.removeAttribute("aria-invalid");
  }
}

/** Let files be dropped on `zone` as if they were chosen in `input`. */
function droppable(zone, input, sort) {
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("over");
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    sort([...event.dataTransfer.files], input);
  });
}

function give(input, files) {
  if (!input || !files.length) return;
  const chosen = new DataTransfer();
  for (const file of input.multiple ? files : files.slice(0, 1)) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

for (const fieldset of document.querySelectorAll(".pictures")) {
  droppable(fieldset, fieldset.querySelector("input[type=file]"), (files, input) => give(input, files));
}

const batch = document.querySelector("#batch");
if (batch) {
  const { file, pictures } = batch.elements;
  droppable(batch.querySelector(".zone"), file, (files) => {
    const images = files.filter((one) => one.type.startsWith("image/"));
    const others = files.filter((one) => !one.type.startsWith("image/"));
    if (others.length > 1) notice("One batch file at a time: the first one was taken.");
    // The pictures first: choosing the file checks it together with them.
    if (images.length) {
      const chosen = new DataTransfer();
      for (const one of images) chosen.items.add(one);
      pictures.files = chosen.files;
    }
    if (others.length) give(file, others);
    else if (images.length) pictures.dispatchEvent(new Event("change", { bubbles: true }));
  });
  batch.addEventListener("change", () => {
    const zone = batch.querySelector("#chosen-file");
    const extra = pictures.files.length ? ` and ${pictures.files.length} ${pictures.files.length === 1 ? "picture" : "pictures"}` : "";
    zone.textContent = file.files.length ? `${file.files[0].name}${extra}` : zone.dataset.empty;
  });
}

// A time is entered by the reader's own clock.
const start = document.querySelector("#f-start");
if (start) {
  document.querySelector("#h-start").textContent = "By your own clock.";
  const note = () => { start.form.elements.offset.value = start.value ? String(new Date(start.value).getTimezoneOffset()) : ""; };
  start.addEventListener("change", note);
  note();
}

// What is uploaded is not sent again with the form.
document.addEventListener("htmx:after:swap", () => {
  markFields();
  for (const input of document.querySelectorAll("input[type=file][name^='file.']")) input.value = "";
});
