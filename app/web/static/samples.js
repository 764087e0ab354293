// Lets files be dropped anywhere on the samples form, and names what has been chosen.
(function () {
  "use strict";
  const form = document.getElementById("sample-form");
  const input = document.getElementById("files");
  const chosen = document.getElementById("chosen");

  function nameChosen() {
    const names = Array.from(input.files, (file) => file.name);
    chosen.textContent = names.length ? "Ready to add: " + names.join(", ") : "";
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
    input.files = event.dataTransfer.files;
    nameChosen();
  });
  input.addEventListener("change", nameChosen);
})();
