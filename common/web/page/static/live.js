// Replaces the live part of a page by what the console sends, and fills text areas from files that a person chooses.
"use strict";
const live = document.querySelector("[data-live]");
if (live) {
  const state = document.getElementById("connection");
  const source = new EventSource(live.dataset.live);
  source.onopen = () => { state.textContent = "live"; state.className = "chip good"; };
  source.onmessage = (message) => {
    const open = new Set(Array.from(live.querySelectorAll("details[open]"), (part) => part.id));
    live.innerHTML = message.data;
    for (const part of live.querySelectorAll("details")) if (open.has(part.id)) part.open = true;
  };
  source.onerror = () => {
    const ended = source.readyState === EventSource.CLOSED;  // refused: another console, or no session any more
    state.textContent = ended ? "not live: load the page again" : "connecting again"; state.className = "chip warn";
  };
}
for (const input of document.querySelectorAll("input[type=file][data-fills]")) {
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (file) document.getElementById(input.dataset.fills).value = await file.text();
  });
}
