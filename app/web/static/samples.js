// Lets files be dropped anywhere on the samples form, one lot after the other, names what has been chosen, and asks of a
// mailbox whose it is: who wrote in it is read here, so that the question comes before anything is sent.
(function () {
  "use strict";
  const { gettext, ngettext } = window.words;
  const form = document.getElementById("sample-form");
  const input = document.getElementById("files");
  const chosen = document.getElementById("chosen");
  const whose = document.getElementById("whose");
  const senders = document.getElementById("senders");
  const mostBytes = Number(form.dataset.mostBytes);
  let asked = 0;
  const NAMED = 12;
  const OFFERED = 6;
  const LOOKED_AT_BYTES = 8 * 1024 * 1024;

  function said(files) {
    const names = files.slice(0, NAMED).map((file) => file.name).join(", ");
    if (files.length <= NAMED) return gettext("Ready to add: %(files)s", { files: names });
    return gettext("Ready to add: %(files)s and %(number)s more", { files: names, number: files.length - NAMED });
  }

  function tell() {
    const files = Array.from(input.files);
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const tooMuch = bytes > mostBytes;
    chosen.textContent = !files.length ? "" : tooMuch ? gettext("%(files)s. That is too much at once: choose fewer.", { files: said(files) }) : said(files);
    chosen.classList.toggle("field-error", tooMuch);
    askWhose(files);
  }

  function addDropped(dropped) {
    const all = new DataTransfer();
    for (const file of [...input.files, ...dropped]) all.items.add(file);
    input.files = all.files;
    tell();
  }

  async function addressesIn(file) {
    const text = await file.slice(0, LOOKED_AT_BYTES).text();
    const counts = new Map();
    if (!/^From \S+/.test(text)) return counts;
    for (const [, line] of text.matchAll(/^From: *(.*(?:\r?\n[ \t].*)?)$/gim)) {
      const found = /[^\s<>"(),;:]+@[^\s<>"(),;:]+/.exec(line);
      if (found) counts.set(found[0].toLowerCase(), (counts.get(found[0].toLowerCase()) || 0) + 1);
    }
    return counts;
  }

  async function askWhose(files) {
    const mine = (asked += 1);
    const letters = files.filter((file) => /(\.(mbox|mbx|eml)|^[^.]+)$/i.test(file.name));
    if (letters.length) whose.open = true;
    const counts = new Map();
    for (const file of letters) {
      for (const [address, count] of await addressesIn(file)) counts.set(address, (counts.get(address) || 0) + count);
    }
    if (mine !== asked) return; // others were chosen meanwhile
    const known = document.getElementById("addresses").value.toLowerCase();
    const most = [...counts].sort((one, other) => other[1] - one[1]).slice(0, OFFERED);
    senders.hidden = !most.length;
    senders.replaceChildren(senders.firstElementChild, ...most.map(([address, count]) => choice(address, count, known)));
  }

  function choice(address, count, known) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    label.className = "choice";
    box.type = "checkbox";
    box.name = "addresses";
    box.value = address;
    box.checked = known.includes(address);
    label.append(box, ngettext("%(address)s (%(num)s message)", "%(address)s (%(num)s messages)", count, { address }));
    return label;
  }

  form.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    form.classList.add("dropping");
  });
  form.addEventListener("dragleave", () => form.classList.remove("dropping"));
  form.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    form.classList.remove("dropping");
    addDropped(event.dataTransfer.files);
  });
  form.addEventListener("submit", () => {
    if (!input.files.length) return;
    chosen.textContent = ngettext("Sending and reading the file …", "Sending and reading the files …", input.files.length);
    form.querySelector("button[type=submit]").disabled = true;
  });
  window.addEventListener("pageshow", () => (form.querySelector("button[type=submit]").disabled = false));
  input.addEventListener("change", tell);
})();
