// Streams one prompt into both columns. Each column is a request of its own to /write/stream, whose answer is
// OpenAI's stream of `data:` lines; aborting the request frees its place in the batch.
(function () {
  "use strict";
  const form = document.getElementById("write-form");
  const start = document.getElementById("start");
  const stop = document.getElementById("stop");
  const status = document.getElementById("write-status");
  const columns = Array.from(document.querySelectorAll(".column[data-column]"));
  const token = document.querySelector("meta[name='csrf-token']").content;
  const SEEDS = 2 ** 31;
  let abort = null;

  async function begin(event) {
    event.preventDefault();
    if (abort) return;
    abort = new AbortController();
    start.disabled = true;
    stop.hidden = false;
    status.textContent = "Writing …";
    const seed = Math.floor(Math.random() * SEEDS);
    const signal = abort.signal;
    await Promise.all(columns.map((column) => fill(column, seed, signal)));
    status.textContent = signal.aborted ? "Stopped." : "Done.";
    if (document.activeElement === stop) start.focus();
    start.disabled = false;
    stop.hidden = true;
    abort = null;
  }

  async function fill(column, seed, signal) {
    const output = column.querySelector(".output");
    clear(column);
    column.classList.add("streaming");
    try {
      const response = await ask(column.dataset.column, seed, signal);
      if (!response.ok) throw new Error(await complaint(response));
      await read(response, (piece) => output.append(piece));
      sign(column, response, "");
    } catch (error) {
      if (signal.aborted) sign(column, null, "Stopped. ");
      else say(column, error instanceof TypeError ? "The connection was lost. Your prompt is still here; try again." : error.message);
    } finally {
      column.classList.remove("streaming");
    }
  }

  function ask(name, seed, signal) {
    const body = new FormData(form);
    body.set("column", name);
    body.set("seed", seed);
    return fetch(form.action, { method: "POST", body, signal, headers: { "X-CSRFToken": token } });
  }

  async function complaint(response) {
    try {
      return (await response.json()).error.message;
    } catch {
      return "That did not work (HTTP " + response.status + "). Reload the page and try again.";
    }
  }

  async function read(response, write) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n").trim();
        if (!data || data === "[DONE]") continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message);
        for (const choice of chunk.choices) write(choice.text);
      }
    }
  }

  function clear(column) {
    column.querySelector(".output").textContent = "";
    column.querySelector(".prompt-echo").textContent = form.elements.prompt.value;
    column.querySelector(".problem").textContent = "";
    column.querySelector(".made-with").textContent = "";
    column.querySelector("[data-copy]").hidden = true;
  }

  function sign(column, response, before) {
    const version = response && response.headers.get("x-idiolect-version");
    const maker = version ? column.dataset.maker + ", version " + version : column.dataset.maker;
    column.querySelector(".made-with").textContent = before + "Made with " + maker + ".";
    column.querySelector("[data-copy]").hidden = column.querySelector(".output").textContent === "";
  }

  function say(column, problem) {
    column.querySelector(".problem").textContent = problem;
  }

  form.addEventListener("submit", begin);
  form.elements.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", () => abort && abort.abort());
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && abort) abort.abort(); });
  form.elements.temperature.addEventListener("input", () => {
    document.getElementById("temperature-now").value = form.elements.temperature.value;
  });
  const picker = document.getElementById("voice-picker");
  if (picker) picker.addEventListener("change", () => { location.href = picker.value; });
})();
