// The caps of CPC and ML-CPC, with sliders. Closed forms only; a test compares them with Python.
"use strict";

const caps = {
  alphaMin: (n, m) => m / (n * (m - 1) + 1),
  // With negatives from the batch, n = m: the smallest proved weight.
  alphaBatch: (n) => (2 / Math.E) * n / (Math.ceil(n / 2) * (Math.floor(n / 2) + 1)),
  ceiling: (m, alpha) => Math.log(m / alpha),
  // What no proved bound exceeds on average: the truth, and the cap.
  capped: (information, cap) => Math.min(information, cap),
};

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function drawCaps(root) {
  const find = (name) => root.querySelector(`[data-caps="${name}"]`);
  const [width, height, left, bottom, most] = [560, 300, 44, 40, 14];
  const x = (nats) => left + (nats / most) * (width - left - 12);
  const y = (nats) => height - bottom - (nats / most) * (height - bottom - 12);

  const ticks = [0, 2, 4, 6, 8, 10, 12, 14].map((nats) =>
    `<text x="${x(nats)}" y="${height - bottom + 18}" text-anchor="middle">${nats}</text>` +
    `<text x="${left - 8}" y="${y(nats) + 4}" text-anchor="end">${nats}</text>` +
    `<line x1="${left}" x2="${width - 12}" y1="${y(nats)}" y2="${y(nats)}" class="caps-grid"/>`);

  function line(name, cap) {
    const bend = Math.min(cap, most);
    return `<polyline class="caps-${name}" points="${x(0)},${y(0)} ${x(bend)},${y(bend)} ` +
      `${x(most)},${y(bend)}"/>`;
  }

  function update() {
    const n = 2 ** Number(find("n").value);
    const m = 2 ** Number(find("m").value);
    const smallest = caps.alphaMin(n, m);
    const alpha = Math.min(m, smallest * 2 ** (Number(find("alpha").value) / 2));
    const proved = alpha >= smallest * (1 - 1e-12);
    const batch = caps.alphaBatch(n);
    const inBatch = n !== m || n < 2 ? "" : alpha >= batch * (1 - 1e-12)
      ? " With negatives from the batch, too."
      : ` With negatives from the batch α ≥ ${batch.toPrecision(3)} is proved.`;
    const [plain, lifted] = [caps.ceiling(m, 1), caps.ceiling(m, alpha)];
    find("n-value").textContent = n;
    find("m-value").textContent = m;
    const times = alpha / smallest;
    find("alpha-value").textContent = `${alpha.toPrecision(3)} = ${times.toPrecision(3)} αmin`;
    find("alpha").setAttribute("aria-valuetext", find("alpha-value").textContent);
    find("n").setAttribute("aria-valuetext", n);
    find("m").setAttribute("aria-valuetext", m);
    find("chart").innerHTML = ticks.join("") +
      line("truth", most) + line("cpc", plain) + line(proved ? "ml" : "ml caps-unproved", lifted) +
      `<text x="${(left + width) / 2}" y="${height - 4}" text-anchor="middle">` +
      "mutual information (nats)</text>" +
      `<text class="caps-side" x="14" y="${(height - bottom) / 2}" text-anchor="middle" ` +
      `transform="rotate(-90 14 ${(height - bottom) / 2})">limit of the estimate (nats)</text>`;
    find("summary").textContent =
      `${count(n, "anchor")}, ${m} candidates each, ${count(n * (m - 1), "negative")}. ` +
      `CPC stops at log m = ${plain.toFixed(2)} nats. ` +
      `ML-CPC stops at log(m/α) = ${lifted.toFixed(2)} nats; ` +
      (proved ? "a proved lower bound with fresh negatives."
        : "α is below α_min: not a guaranteed bound.") + inBatch;
  }

  ["n", "m", "alpha"].forEach((name) => find(name).addEventListener("input", update));
  update();
}

// The site loads this file in the head of every page; only the first one has the figure.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-caps='root']").forEach(drawCaps);
});
