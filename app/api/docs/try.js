// The page to try the API: lists the operations of openapi.json, shows the request as curl, sends that very request.
// The key lives in its input field alone. Everything shown goes through textContent, never through HTML.
"use strict";

const byId = (id) => document.getElementById(id);
let chosen = null; // {method, path, operation}
let running = null; // AbortController of the request under way

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function listOperations(spec) {
  const groups = new Map(spec.tags.map((tag) => [tag.name, []]));
  for (const [path, operations] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      groups.get(operation.tags[0]).push({ method: method.toUpperCase(), path, operation });
    }
  }
  for (const [tag, entries] of groups) {
    byId("operations").append(element("h2", tag));
    for (const entry of entries) byId("operations").append(operationButton(entry));
  }
}

function operationButton(entry) {
  const button = element("button", "", { type: "button", title: entry.operation.summary || "" });
  button.dataset.operation = `${entry.method} ${entry.path}`;
  const path = element("span", "", { class: "path" });
  path.append(...entry.path.split(/(?=\/)/).flatMap((step) => [document.createElement("wbr"), step]));
  button.append(element("span", entry.method, { class: "method" }), path);
  button.addEventListener("click", () => {
    for (const other of document.querySelectorAll("nav button")) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    choose(entry);
    byId("chosen").scrollIntoView({ block: "nearest" });
  });
  return button;
}

function choose(entry) {
  chosen = entry;
  byId("title").textContent = entry.operation.summary || entry.path;
  byId("description").textContent = entry.operation.description || "";
  byId("parameters").replaceChildren(...(entry.operation.parameters || []).map(parameterField));
  const json = entry.operation.requestBody?.content?.["application/json"];
  byId("body-label").hidden = !json;
  byId("body").value = json ? JSON.stringify(json.example || {}, null, 2) : "";
  byId("file-label").hidden = !formExample();
  byId("file").value = "";
  byId("request").hidden = false;
  byId("answer").hidden = true;
  showRequest();
}

// The fields beside the file of an operation that takes one; undefined for the others.
function formExample() {
  return chosen.operation.requestBody?.content?.["multipart/form-data"]?.example;
}

function parameterField(parameter) {
  const label = element("label", `${parameter.name} (${parameter.in}${parameter.required ? "" : ", optional"})`);
  const input = element("input", "", { autocomplete: "off", spellcheck: "false" });
  input.dataset.name = parameter.name;
  input.dataset.place = parameter.in;
  input.addEventListener("input", showRequest);
  label.append(input);
  return label;
}

function currentRequest() {
  let path = chosen.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of byId("parameters").querySelectorAll("input")) {
    if (input.dataset.place === "path") path = path.replace(`{${input.dataset.name}}`, encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (input.dataset.place === "header") headers[input.dataset.name] = input.value;
    else query.set(input.dataset.name, input.value);
  }
  const url = new URL(path + (query.size ? `?${query}` : ""), location.origin).href;
  const open = (chosen.operation.security || []).length === 0;
  if (!open) headers.Authorization = `Bearer ${byId("key").value.trim()}`;
  const withBody = !byId("body-label").hidden;
  if (withBody) headers["Content-Type"] = "application/json";
  return { url, method: chosen.method, headers, body: withBody ? byId("body").value : chosenForm() };
}

function chosenForm() {
  if (!formExample()) return undefined;
  const form = new FormData();
  for (const [name, value] of Object.entries(formExample())) form.set(name, value);
  for (const file of byId("file").files) form.set("file", file);
  return form;
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function showRequest() {
  if (!chosen) return;
  const { url, method, headers, body } = currentRequest();
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(url)}`];
  for (const [name, value] of Object.entries(headers)) {
    const shown = name === "Authorization" ? '"Authorization: Bearer $IDIOLECT_KEY"' : quoted(`${name}: ${value}`);
    lines.push(`  -H ${shown}`);
  }
  if (body instanceof FormData) {
    for (const [name, value] of body) lines.push(`  -F ${quoted(`${name}=${value.name ? `@${value.name}` : value}`)}`);
  } else if (body !== undefined) lines.push(`  -d ${quoted(body)}`);
  byId("curl").textContent = lines.join(" \\\n");
}

async function send(submitted) {
  submitted.preventDefault();
  const { url, ...options } = currentRequest();
  running = new AbortController();
  setBusy(true);
  try {
    await showAnswer(await fetch(url, { ...options, credentials: "omit", signal: running.signal }));
  } catch (failure) {
    showStatus(failure.name === "AbortError" ? "Stopped" : "The server did not answer", false);
  } finally {
    setBusy(false);
  }
}

async function showAnswer(answer) {
  byId("answer").hidden = false;
  showStatus(`${answer.status} ${answer.statusText}`, answer.ok);
  byId("headers").textContent = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  byId("output").textContent = "";
  if ((answer.headers.get("content-type") || "").startsWith("text/event-stream")) return showStream(answer);
  const text = await answer.text();
  byId("output").textContent = pretty(text);
}

async function showStream(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) byId("output").textContent += part.value;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function showStatus(text, good) {
  byId("answer").hidden = false;
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", !good);
}

function setBusy(busy) {
  byId("send").disabled = busy;
  byId("stop").hidden = !busy;
}

byId("key").addEventListener("input", showRequest);
byId("credentials").addEventListener("submit", (submitted) => submitted.preventDefault());
byId("body").addEventListener("input", showRequest);
byId("file").addEventListener("change", showRequest);
byId("request").addEventListener("submit", send);
byId("stop").addEventListener("click", () => running?.abort());
fetch("openapi.json", { credentials: "omit" })
  .then((answer) => answer.json())
  .then(listOperations)
  .catch(() => byId("operations").append(element("p", "openapi.json could not be loaded; load this page again.")));
