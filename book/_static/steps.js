// Bound and accuracy of an encoder against training steps; the reader chooses encoder, loss, step.
// The values stand in the page, as JSON. Without this file the page shows them as a table.
"use strict";

function drawSteps(root) {
  const find = (name) => root.querySelector(`[data-steps="${name}"]`);
  const data = JSON.parse(find("data").textContent);
  const [width, left, right, high, gap, top] = [560, 58, 22, 160, 58, 18];

  function panel(each, of, what, offset, unit, floor) {
    const [mean, low, most] = of[what];
    // One scale for all losses of an encoder, so that they can be compared.
    const all = Object.values(each.losses).flatMap((loss) => loss[what].flat());
    if (floor !== null) all.push(floor);
    let [least, last] = [Math.min(...all), Math.max(...all)];
    const margin = (last - least) * 0.05 || 1;
    [least, last] = [least - margin, last + margin];
    const end = each.steps[each.steps.length - 1];
    const x = (step) => left + (step / end) * (width - left - right);
    const y = (value) => offset + high - ((value - least) / (last - least)) * high;
    const points = (values) => values.map((value, i) => `${x(each.steps[i])},${y(value)}`);
    const ticks = [0, 1, 2, 3, 4].map((i) => least + (i / 4) * (last - least)).map((value) =>
      `<line class="steps-grid" x1="${left}" x2="${width - right}" y1="${y(value)}" ` +
      `y2="${y(value)}"/><text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">` +
      `${value.toFixed(1)}</text>`);
    const at = Number(find("step").value);
    return ticks.join("") +
      `<polygon class="steps-band" points="${[...points(low), ...points(most).reverse()].join(" ")}"/>` +
      `<polyline class="steps-line" points="${points(mean).join(" ")}"/>` +
      (floor === null ? "" : `<line class="steps-floor" x1="${left}" x2="${width - right}" ` +
        `y1="${y(floor)}" y2="${y(floor)}"/>`) +
      `<circle class="steps-mark" r="5" cx="${x(each.steps[at])}" cy="${y(mean[at])}"/>` +
      `<text x="${left}" y="${offset - 4}">${unit}</text>` +
      each.steps.map((step) => `<text x="${x(step)}" y="${offset + high + 20}" ` +
        `text-anchor="middle">${step}</text>`).join("");
  }

  function update() {
    const each = data[find("encoder").value];
    const of = each.losses[find("loss").value];
    find("step").max = each.steps.length - 1;
    const at = Number(find("step").value);
    const told = (what, digits) => {
      const [mean, low, most] = of[what].map((values) => values[at].toFixed(digits));
      return `${mean} [${low}, ${most}]`;
    };
    find("step-value").textContent = each.steps[at];
    find("chart").innerHTML = panel(each, of, "bound", top + 6, "bound, test images (nats)", null) +
      panel(each, of, "accuracy", top + high + gap, "linear accuracy (%); line: pixels",
        each.pixels);
    find("summary").textContent =
      `${find("encoder").value}, ${find("loss").value}, after ${each.steps[at]} steps: bound ` +
      `${told("bound", 2)} nats, linear accuracy ${told("accuracy", 1)} %, pixels ` +
      `${each.pixels.toFixed(1)} %. In brackets: 95 % interval over seeds.`;
  }

  ["encoder", "loss", "step"].forEach((name) => find(name).addEventListener("input", update));
  find("step").value = find("step").max;
  find("controls").hidden = false;
  find("static").hidden = true;
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-steps='root']").forEach(drawSteps);
});
