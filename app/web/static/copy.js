// A button with data-copy="#id" copies that element's text and says so. Those of class js-only appear with this script.
(function () {
  "use strict";
  const { gettext } = window.words;
  const SAID_MS = 2000;

  async function copy(button) {
    const text = document.querySelector(button.dataset.copy).textContent;
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = gettext("Copied");
    } catch {
      getSelection().selectAllChildren(document.querySelector(button.dataset.copy));
      button.textContent = gettext("Selected: press Ctrl+C");
    }
    setTimeout(() => { button.textContent = before; }, SAID_MS);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  for (const button of document.querySelectorAll("[data-copy].js-only")) button.hidden = false;
})();
