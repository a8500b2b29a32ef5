// Replaces the live part of a page by what the console sends, and reads files that a person chooses into a form.
"use strict";
const live = document.querySelector("[data-live]");
if (live) {
  const state = document.getElementById("connection");
  const say = (text, shade) => { state.textContent = text; state.className = `chip ${shade}`; };
  let source = null;
  const show = (message) => {
    const open = new Set(Array.from(live.querySelectorAll("details[open]"), (part) => part.id));
    live.innerHTML = message.data;
    for (const part of live.querySelectorAll("details")) if (open.has(part.id)) part.open = true;
  };
  const follow = () => {
    source = new EventSource(live.dataset.live);
    source.onopen = () => say("live", "good");
    source.onmessage = show;
    source.onerror = () => {
      const ended = source.readyState === EventSource.CLOSED;  // refused: another start, or no session any more
      say(ended ? "not live: open the address that the console printed last" : "connecting again", "warn");
    };
  };
  // A browser keeps six connections to one console, so a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; say("waits until it is seen", ""); } else if (!source) follow();
  });
  if (document.hidden) say("waits until it is seen", ""); else follow();
}
for (const input of document.querySelectorAll("input[type=file][data-fills]")) {
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (file) document.getElementById(input.dataset.fills).value = await file.text();
  });
}
// A table may be no text: it is sent as base64, in letters that a form does not have to escape.
for (const input of document.querySelectorAll("input[type=file][data-encodes]")) {
  const [content, name] = [input.dataset.encodes, input.dataset.names].map((id) => document.getElementById(id));
  const button = input.form.querySelector("button");
  input.addEventListener("change", () => {
    const file = input.files[0];
    content.value = name.value = "";
    const large = file && file.size > Number(input.dataset.most);
    input.setCustomValidity(large ? input.dataset.large : "");
    input.reportValidity();
    if (!file || large) return;
    button.disabled = true;
    const reader = new FileReader();
    reader.onload = () => {
      content.value = reader.result.slice(reader.result.indexOf(",") + 1).replaceAll("+", "-").replaceAll("/", "_");
      name.value = file.name;
      button.disabled = false;
    };
    reader.onerror = () => { input.setCustomValidity("The browser cannot read this file."); button.disabled = false; };
    reader.readAsDataURL(file);
  });
}
