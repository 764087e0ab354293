// The writing page: asks for drafts, streams them into two columns, and puts what is accepted into the text. Each column
// is a request of its own to /write/stream; aborting it frees its place in the batch. What app/web/drafts.py sends is
// read here. In a blind trial the columns are only the first and the second: the server alone knows who wrote which.
// Whoever signs in again elsewhere voids the form token that this page holds; it is renewed while they are the same person.
(function () {
  "use strict";
  const { gettext } = window.words;
  const SEEDS = 2 ** 31;
  const LEAD_CHARS = 90;
  const SAID_MS = 2000;
  const NOT_KEPT = 422;  // the page comes and says why
  const LOST = gettext("The connection was lost here. What came is kept.");
  const NOTHING_CAME = gettext("The connection was lost before anything came. Your text is still here.");
  const byId = (id) => document.getElementById(id);
  const form = byId("write-form");
  const text = byId("text");
  const stop = byId("stop");
  const status = byId("write-status");
  const against = byId("against");
  const blind = byId("blind");
  const choice = byId("choice");
  const tasks = Array.from(document.querySelectorAll("#tasks [name='task']:enabled"));
  const places = Array.from(document.querySelectorAll(".column[data-place]"));
  const held = Array.from(document.querySelectorAll("[name='csrf_token']"));  // by every form of the page
  let renewal = null; // while another form token is asked for
  let abort = null;   // while something is being written
  let trial = null;   // the blind trial that is shown, until it is decided
  let touched = false;
  let settled = "";  // the text as it was last kept, or sent along: what another voice's page sent is stored nowhere

  class Refused extends Error {}

  // asking

  function send(url, body, signal) {
    body.delete("csrf_token");  // a wish that is sent once more may hold an old one
    return fetch(url, { method: "POST", body, signal, headers: { "X-CSRFToken": held[0].value } });
  }

  async function post(url, body, signal) {
    const response = await send(url, body, signal);
    if (!(await isStale(response))) return response;
    renewal = renewal || renewed().finally(() => { renewal = null; });  // two columns ask for one
    await renewal;
    return send(url, body, signal);
  }

  async function isStale(response) {
    if (response.status !== 400) return false;
    try {
      return (await response.clone().json()).error.code === "stale_form";
    } catch {
      return false;
    }
  }

  // Refused where nobody is signed in, or somebody else.
  async function renewed() {
    const response = await fetch(form.dataset.token);
    if (!response.ok) throw new Refused(await complaint(response));
    const { token } = await response.json();
    for (const field of held) field.value = token;
  }

  async function complaint(response) {
    try {
      return (await response.json()).error.message;
    } catch {
      return gettext("That did not work (HTTP %(status)s). Your text is still here: try again.", { status: response.status });
    }
  }

  async function asked(url, fields, signal) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    const response = await post(url, body, signal);
    if (!response.ok) throw new Refused(await complaint(response));
    return response;
  }

  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) if (event.startsWith("data:")) yield JSON.parse(event.slice(5));
    }
  }

  // a round of drafts

  function wishOf(task) {
    const wish = Object.fromEntries(new FormData(form));
    for (const kept of ["text", "accepted", "title"]) delete wish[kept];
    const end = touched ? text.selectionEnd : text.value.length;
    const start = task === "rewrite" ? text.selectionStart : end;
    wish.before = task === "brief" ? "" : text.value.slice(0, start);
    wish.passage = task === "rewrite" ? text.value.slice(start, end) : "";
    wish.task = task;
    wish.seed = Math.floor(Math.random() * SEEDS);
    return { wish, start, passage: wish.passage };
  }

  // What the server would refuse each column for, before the drafts that stand there are cleared away.
  function missing(wish) {
    const nothingBefore = !wish.before.trim();
    if (wish.task === "continue" && nothingBefore) return text.value.trim() ? gettext("Nothing stands before the cursor: put it behind the words to go on from.") : gettext("Write a few words to begin with.");
    if (wish.task === "brief" && !(wish.brief || "").trim()) return gettext("Say in a sentence or two what the text should be.");
    if (wish.task === "rewrite" && !wish.passage.trim()) return gettext("Select the words in your text that should be written anew.");
    if (wish.task === "rewrite" && nothingBefore && !("takesRequests" in form.dataset)) return gettext("This base model writes a passage anew from what stands before it, and nothing does: select something further on.");
    return "";
  }

  async function begin(task) {
    if (abort) return;
    const round = wishOf(task);
    const lacking = missing(round.wish);
    status.textContent = lacking;
    if (lacking) return;
    const blindly = Boolean(blind && blind.checked);
    if (choice) choice.hidden = true;
    if (choice) byId("choice-said").textContent = "";
    for (const place of places) clear(place);
    trial = null;
    await busy(async (signal) => {
      if (blindly) {
        const { voice_id, against: rival, strength } = round.wish;
        const drawn = await (await asked(form.dataset.trials, { voice_id, against: rival, strength }, signal)).json();
        trial = drawn.trial;
        round.wish.trial = trial;
        round.wish.drafts = 1;
      }
      dress(blindly);
      const columns = byId("columns");  // what comes is to be seen coming
      if (columns.getBoundingClientRect().top > innerHeight * 0.75) columns.scrollIntoView();
      const came = await Promise.all(places.filter((place) => !place.hidden).map((place) => {
        const column = blindly ? place.dataset.place : place.dataset.writer === "mine" ? "mine" : "other";
        const wish = { ...round.wish, column };
        const drafts = Array.from({ length: Number(wish.drafts) }, (_, index) => draftIn(place, wish, round, index));
        return fill(place, wish, drafts, signal);
      }));
      return came.some(Boolean);
    });
    offerChoice();
  }

  function offerChoice() {
    if (trial && places.every(hasText)) choice.hidden = false;
  }

  // work: resolves to whether anything was written.
  async function busy(work) {
    abort = new AbortController();
    const signal = abort.signal;
    for (const button of tasks) button.disabled = true;
    stop.hidden = false;
    status.textContent = gettext("Writing …");
    let said = "";
    try {
      said = (await work(signal)) ? gettext("Done.") : gettext("Nothing was written.");
    } catch (error) {
      said = error instanceof Refused ? error.message : NOTHING_CAME;
    }
    status.textContent = signal.aborted ? gettext("Stopped.") : said;
    for (const button of tasks) button.disabled = false;
    if (document.activeElement === stop || document.activeElement === document.body) tasks[0].focus({ preventScroll: true });
    stop.hidden = true;
    abort = null;
  }

  async function fill(place, wish, drafts, signal) {
    const problem = place.querySelector(".problem");
    let done = null;
    place.classList.add("streaming");
    try {
      for await (const event of eventsOf(await asked(form.dataset.stream, wish, signal))) {
        if (event.text) drafts[event.index].write(event.text);
        if (event.end) drafts[event.index].ended = true;
        if (event.error) throw new Refused(event.error);
        if (event.done) done = event;
      }
      if (!done) throw new TypeError("cut off");
      sign(place, done);
    } catch (error) {
      if (signal.aborted) place.querySelector(".made-with").textContent = gettext("Stopped.");
      else if (!drafts.some((draft) => draft.text)) problem.textContent = error instanceof Refused ? error.message : NOTHING_CAME;
      for (const draft of drafts) if (!signal.aborted && !draft.ended) draft.cutOff(error instanceof Refused ? gettext("%(sentence)s What came is kept.", { sentence: error.message }) : LOST);
    } finally {
      place.classList.remove("streaming");
      for (const draft of drafts) await draft.finish();
    }
    return drafts.some((draft) => draft.text);
  }

  // columns

  function clear(place) {
    place.querySelector(".drafts").replaceChildren();
    place.querySelector(".problem").textContent = "";
    place.querySelector(".made-with").textContent = "";
  }

  function title(place, said, writer) {
    place.querySelector("h2").textContent = said;
    place.classList.remove("base", "mine", "other");
    if (writer) place.classList.add(writer);
  }

  function dress(blindly) {
    for (const place of places) {
      if (blindly) title(place, place.dataset.place === "first" ? gettext("The first") : gettext("The second"), "");
      else if (place.dataset.writer === "mine") title(place, gettext("In your voice"), "mine");
      else if (against) title(place, against.selectedOptions[0].dataset.title || "", against.value === "base" ? "base" : "other");
      if (against && place.dataset.writer !== "mine") place.hidden = !blindly && against.value === "none";
    }
    byId("columns").classList.toggle("alone", places.some((place) => place.hidden));
  }

  function hasText(place) {
    return Array.from(place.querySelectorAll(".output")).some((output) => output.textContent.trim());
  }

  function sign(place, done) {
    const made = place.querySelector(".made-with");
    if (trial) made.textContent = "";
    else made.textContent = done.version === null ? byBase(form.dataset.base) : byVoice({ voice: form.dataset.voice, ...done });
  }

  function byBase(model) {
    return model ? gettext("Made with the base model %(model)s.", { model }) : gettext("Made with the base model.");
  }

  function byVoice(made) {
    if (made.strength === null || made.strength === 1) return gettext("Made with your voice “%(voice)s”, version %(version)s.", made);
    if (made.strength) return gettext("Made with your voice “%(voice)s”, version %(version)s, strength %(strength)s.", made);
    return gettext("Made with your voice “%(voice)s”, version %(version)s, strength 0: that is what the base model writes.", made);
  }

  // one draft

  function draftIn(place, wish, round, index) {
    const card = byId("draft").content.cloneNode(true).querySelector(".draft");
    const part = (name) => card.querySelector("." + name);
    const button = (act) => card.querySelector("[data-act='" + act + "']");
    const area = card.querySelector("textarea");
    const lead = wish.task === "continue" ? round.wish.before.slice(-LEAD_CHARS) : "";
    card.setAttribute("aria-label", gettext("Draft %(number)s", { number: index + 1 }));
    part("lead").textContent = lead.length === LEAD_CHARS ? "… " + lead.slice(lead.search(/\s/) + 1) : lead;
    if (wish.task === "rewrite") button("accept").textContent = gettext("Put it in place");
    place.querySelector(".drafts").append(card);

    const draft = {
      text: "",
      ended: false,
      write(piece) {
        const spaced = /\s$/.test(wish.before + draft.text) ? piece.replace(/^ +/, "") : piece;
        draft.text += spaced;
        part("output").append(spaced);
      },
      cutOff(why) {
        if (!draft.text) return;
        part("cut").textContent = why;
        part("cut").hidden = false;
        button("more").textContent = gettext("Go on from here");
      },
      async finish() {
        part("draft-actions").hidden = false;
        for (const act of ["accept", "edit", "copy"]) button(act).hidden = !draft.text;
        if (!area.hidden) button("edit").hidden = button("more").hidden = true;
        button("more").textContent = part("cut").hidden ? (draft.text ? gettext("Go on") : gettext("Try again")) : gettext("Go on from here");
        if (wish.task === "rewrite" && draft.text) await compare();
      },
    };

    async function compare() {
      try {
        part("compared").innerHTML = await (await asked(form.dataset.changes, { old: round.passage, new: draft.text })).text();
      } catch {
        part("compared").textContent = "";  // the draft itself is there; what it changes can be seen without this
      }
    }

    async function more() {
      if (abort) return;
      const further = { ...wish, drafts: 1, seed: Math.floor(Math.random() * SEEDS) };
      if (draft.text) Object.assign(further, { task: "continue", before: wish.before + draft.text, passage: "" });
      part("cut").hidden = true;
      place.querySelector(".problem").textContent = "";
      draft.ended = false;
      await busy((signal) => fill(place, further, [draft], signal));
      offerChoice();
    }

    // One draft of a round at a time is in the text: taking another puts it where that one was.
    function accept() {
      const words = area.hidden ? draft.text : area.value;
      const chosen = wish.task === "rewrite" ? words.trimEnd() + /\s*$/.exec(round.passage)[0] : words;
      if (round.takeOut) round.takeOut();
      const there = wish.task !== "brief" && text.value.startsWith(round.wish.before + round.passage);
      const from = there ? round.start : text.selectionEnd;
      const before = text.value;
      text.setRangeText(chosen, from, there ? from + round.passage.length : from, "end");
      touched = true;
      const after = text.value;
      const mark = Object.assign(document.createElement("input"), { type: "hidden", name: "accepted", value: draft.text });
      byId("accepted").append(mark);
      part("draft-actions").hidden = true;
      part("taken").hidden = false;
      round.takeOut = () => {
        round.takeOut = null;
        part("draft-actions").hidden = false;
        part("taken").hidden = true;
        if (text.value !== after) return false;
        text.value = before;
        text.setSelectionRange(from, from + (there ? round.passage.length : 0));
        mark.remove();
        return true;
      };
      status.textContent = there || wish.task === "brief" ? gettext("Put into your text.") : gettext("Your text has changed there since: put where the cursor is.");
      text.focus();
    }

    button("undo").onclick = () => {
      status.textContent = round.takeOut() ? gettext("Taken out again.") : gettext("Your text has changed since: take it out by hand.");
      button("accept").focus();
    };
    button("accept").onclick = accept;
    button("more").onclick = more;
    button("dismiss").onclick = () => {
      const next = card.nextElementSibling || card.previousElementSibling;
      card.remove();
      (next ? next.querySelector("button:not([hidden])") : text).focus();
    };
    button("edit").onclick = () => {
      area.value = draft.text;
      area.hidden = false;
      card.querySelector(".prose").hidden = true;
      button("edit").hidden = button("more").hidden = true;
      area.focus();
    };
    button("copy").onclick = async () => {
      try {
        await navigator.clipboard.writeText(area.hidden ? draft.text : area.value);
        button("copy").textContent = gettext("Copied");
      } catch {
        getSelection().selectAllChildren(part("output"));
        button("copy").textContent = gettext("Selected: press Ctrl+C");
      }
      setTimeout(() => { button("copy").textContent = gettext("Copy"); }, SAID_MS);
    };
    return draft;
  }

  // blind trials

  async function choose(side) {
    const decided = trial;
    if (!decided || abort || choice.hidden) return;
    choice.hidden = true;
    let answer;
    try {
      answer = await (await asked(form.dataset.trials + "/" + decided + "/choice", { side })).json();
    } catch (error) {
      byId("choice-said").textContent = error instanceof Refused ? error.message : gettext("The connection was lost. Choose once more.");
      choice.hidden = false;
      return;
    }
    trial = null;
    for (const place of places) {
      const name = place.dataset.place;
      title(place, answer.titles[name], answer.writers[name]);
    }
    byId("choice-said").textContent = answer.said;
  }

  // keeping the text

  async function keep(button) {
    const sent = text.value;
    try {
      const response = await post(button.formAction, new FormData(form));
      if (!response.ok && response.status !== NOT_KEPT) throw new Refused(await complaint(response));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      byId("keep-said").replaceChildren(...page.getElementById("keep-said").childNodes);
      if (response.ok) settled = sent;
    } catch (error) {
      const said = error instanceof Refused ? error.message : gettext("That did not work, and nothing was kept. Your text is still here: try again.");
      byId("keep-said").replaceChildren(Object.assign(document.createElement("p"), { className: "field-error", role: "alert", textContent: said }));
    }
  }

  // wiring

  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button && button.id === "use-voice") {  // the text goes along to the other voice's page
      settled = text.value;
      return;
    }
    event.preventDefault();
    if (button && button.id === "keep") keep(button);
    else begin(button && button.name === "task" ? button.value : "continue");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && abort) abort.abort();
    if (event.key !== "Enter") return;
    if (event.target === text && (event.ctrlKey || event.metaKey)) begin("continue");
    if (event.target.id === "brief") { event.preventDefault(); begin("brief"); }
    if (event.target.id === "sample-title") { event.preventDefault(); keep(byId("keep")); }
  });
  stop.addEventListener("click", () => abort && abort.abort());
  text.addEventListener("focus", () => { touched = true; });
  for (const name of ["temperature", "strength"]) {
    const slider = byId(name);
    if (slider) slider.addEventListener("input", () => { byId(name + "-now").value = slider.value; });
  }
  if (against) against.addEventListener("change", () => { if (!trial && !abort) { for (const place of places) clear(place); dress(false); } });
  if (choice) choice.addEventListener("click", (event) => { if (event.target.dataset.side) choose(event.target.dataset.side); });
  addEventListener("beforeunload", (event) => { if (text.value.trim() && text.value !== settled) event.preventDefault(); });
  for (const part of document.querySelectorAll(".js-only")) part.hidden = false;
  const phone = matchMedia("(max-width: 40rem)");  // there the drafts would be far below the settings
  const settings = byId("settings");
  const fold = () => { settings.open = !phone.matches; };
  phone.addEventListener("change", fold);
  fold();
})();
