// What a page does: one tip for all that answers to the mouse, the slider of edits, the filters of a sheet.

const tip = document.getElementById("tip");

function tell(left, top, text) {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const above = top - height - 14;
  tip.style.left = `${Math.min(innerWidth - width - 8, Math.max(8, left + 12))}px`;
  tip.style.top = `${above > 4 ? above : Math.min(innerHeight - height - 4, top + 18)}px`;
}

function tellBeside(surface, x, y, text) {
  const box = surface.getBoundingClientRect();
  tell(box.left + x, box.top + y, text);
}

function hush() {
  tip.hidden = true;
}

document.addEventListener("pointerover", (event) => {
  const asked = event.target.closest("[data-tip]");
  if (asked) tell(event.clientX, event.clientY, asked.dataset.tip);
});
document.addEventListener("pointerout", (event) => {
  if (event.target.closest("[data-tip]")) hush();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hush();
});

for (const figure of document.querySelectorAll(".chart")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  ({ lines, points, histograms })[data.kind](figure, data);
}

for (const edits of document.querySelectorAll(".comparisons")) {
  const slider = edits.querySelector("input");
  const uncover = () => edits.style.setProperty("--uncovered", `${slider.value}%`);
  slider.addEventListener("input", uncover);
  uncover();
}

for (const sheet of document.querySelectorAll(".sheet")) {
  const form = sheet.querySelector("form");
  const tiles = [...sheet.querySelectorAll("li")].map((tile) => [tile, JSON.parse(tile.dataset.facts)]);
  const least = [...form.querySelectorAll("[data-least]")];
  const start = least.map((slider) => slider.value); // as the browser rounds it
  const filter = () => {
    const wanted = [...form.querySelectorAll("select")].filter((select) => select.value);
    for (const slider of least) slider.nextElementSibling.value = told(+slider.value);
    const raised = least.filter((slider, place) => slider.value !== start[place]);
    for (const [tile, facts] of tiles) {
      tile.hidden = !(
        wanted.every((select) => String(facts[select.dataset.facet]) === select.value) &&
        raised.every((slider) => facts[slider.dataset.least] !== null && facts[slider.dataset.least] >= +slider.value)
      );
    }
    sheet.querySelector(".count").value = tiles.filter(([tile]) => !tile.hidden).length;
  };
  form.addEventListener("input", filter); // while a slider moves
  form.addEventListener("change", filter); // a select that a program chose from says only this
  form.addEventListener("reset", () => setTimeout(filter)); // after the controls have their values again
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}
