// Shared by all pages: times in the reader's time zone, forms that are sent once, and notices.

const MINUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const AGE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function age(seconds) {
  const [unit, length] = UNITS.find(([, one]) => Math.abs(seconds) >= one) ?? UNITS.at(-1);
  return AGE.format(-Math.trunc(seconds / length), unit);
}

/** Format the times below `root` for the reader's locale and time zone. */
export function localTimes(root = document) {
  for (const one of root.querySelectorAll("time[data-local]")) {
    const at = new Date(one.dateTime);
    one.title = MINUTE.format(at);
    one.textContent = one.dataset.local === "age" ? age((Date.now() - at) / 1000) : MINUTE.format(at);
  }
}

/** Show a temporary notice; screen readers announce it. */
export function notice(text) {
  const told = document.createElement("p");
  told.textContent = text;
  document.querySelector("#notices").append(told);
  setTimeout(() => told.remove(), 6000);
}

// The server carries out a form once; this avoids a second answer.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
});
// Going back or reloading shows the same forms, and sending one again from there repeats the same request.
function keepKeys() {
  const kept = history.state?.keys ?? {};
  const count = {};
  for (const field of document.querySelectorAll('form input[name="once"]')) {
    const action = field.form.getAttribute("action");
    const name = `${action} ${(count[action] = (count[action] ?? 0) + 1)}`;
    field.value = kept[name] ??= field.value;
  }
  history.replaceState({ ...history.state, keys: kept }, "");
}
// Forms of pages restored from the browser's cache can be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

keepKeys();
localTimes();
setInterval(() => localTimes(), 15000);
document.addEventListener("htmx:after:swap", () => localTimes());
