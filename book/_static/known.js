// Sources of one bit, with sliders. Closed forms and recorded values; a test compares with Python.
"use strict";

const known = {
  entropy: (p) => [p, 1 - p].reduce((sum, q) => sum - (q > 0 ? q * Math.log2(q) : 0), 0),
  // What the labels share, in bits: d_s (1 − h(p)).
  information: (sources, p) => sources * (1 - known.entropy(p)),
  ceiling: (m, alpha) => Math.log2(m / alpha),
  // With negatives from the batch, n = m: the smallest proved weight.
  alphaBatch: (n) => (2 / Math.E) * n / (Math.ceil(n / 2) * (Math.floor(n / 2) + 1)),
  // What the answers of a classifier share; counts of class (rows) and answer (columns).
  lower: (sources, p, counts) => {
    const given = counts.map((row) => row.map((each) => each / (row[0] + row[1])));
    const cell = (a, b) => [[0, 0], [0, 1], [1, 0], [1, 1]].reduce((sum, [c, d]) =>
      sum + (c === d ? 1 - p : p) / 2 * given[c][a] * given[d][b], 0);
    const joint = [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]];
    const row = [0, 1].map((a) => joint[a][0] + joint[a][1]);
    const column = [0, 1].map((b) => joint[0][b] + joint[1][b]);
    let bits = 0;
    for (const a of [0, 1]) for (const b of [0, 1]) {
      if (joint[a][b] > 0) bits += joint[a][b] * Math.log2(joint[a][b] / (row[a] * column[b]));
    }
    return sources * Math.max(0, bits);
  },
  nearest: (list, value) => list.reduce((best, each, place) =>
    Math.abs(each - value) < Math.abs(list[best] - value) ? place : best, 0),
};

function drawKnown(root) {
  const data = JSON.parse(root.dataset.recorded);
  const find = (name) => root.querySelector(`[data-known="${name}"]`);
  const weights = Object.keys(data.values).filter((name) => name.startsWith("ml_cpc:"));
  const [width, height, left, bottom] = [420, 300, 44, 40];

  function update() {
    const sources = Number(find("sources").value);
    const p = Number(find("flip").value);
    const m = 2 ** Number(find("m").value);
    const alpha = 10 ** Number(find("alpha").value);
    const most = sources * 1.25;
    const x = (flip) => left + flip / 0.5 * (width - left - 12);
    const y = (bits) => height - bottom - Math.min(bits, most) / most * (height - bottom - 12);
    const flips = Array.from({length: 101}, (_, i) => i / 200);
    const line = (of) => flips.map((each) => `${x(each)},${y(of(each))}`);
    const high = line((each) => known.information(sources, each));
    const low = line((each) => known.lower(sources, each, data.confusion));
    const flat = (bits, name) => bits > most ? "" :
      `<line x1="${left}" x2="${width - 12}" y1="${y(bits)}" y2="${y(bits)}" class="known-${name}"/>`;
    const [plain, lifted] = [known.ceiling(m, 1), known.ceiling(m, alpha)];

    const place = known.nearest(weights.map((name) => Math.log10(name.split(":")[1])),
      Math.log10(alpha));
    const near = known.nearest(data.flips, p);
    const fits = sources === data.sources && m === data.batch;
    const shown = {"cpc:1": "cpc", [weights[place]]: "ml", "dv": "dv"};
    const points = !fits ? "" : Object.entries(shown).map(([name, kind]) =>
      data.flips.map((flip, i) => data.values[name][i] === null ? "" :
        `<circle cx="${x(flip)}" cy="${y(data.values[name][i])}" r="5" class="known-${kind}"/>`)
        .join("")).join("");
    const ticks = [0, 0.1, 0.2, 0.3, 0.4, 0.5].map((flip) =>
      `<text x="${x(flip)}" y="${height - bottom + 18}" text-anchor="middle">${flip}</text>`)
      .concat([0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * sources * 10) / 10)
        .map((bits) => `<text x="${left - 8}" y="${y(bits) + 4}" text-anchor="end">${bits}</text>` +
          `<line x1="${left}" x2="${width - 12}" y1="${y(bits)}" y2="${y(bits)}" class="caps-grid"/>`));

    // A slider of a logarithm is read out as the number that it stands for.
    const settings = {sources, flip: p.toFixed(3), m, alpha: alpha.toPrecision(3)};
    for (const [name, value] of Object.entries(settings)) {
      find(`${name}-value`).textContent = value;
      find(name).setAttribute("aria-valuetext", value);
    }
    find("chart").innerHTML = ticks.join("") +
      `<polygon class="known-band" points="${high.concat(low.reverse()).join(" ")}"/>` +
      flat(plain, "cpc") + flat(lifted, "ml") + points +
      `<line x1="${x(p)}" x2="${x(p)}" y1="12" y2="${height - bottom}" class="known-here"/>` +
      `<text x="${(left + width) / 2}" y="${height - 4}" text-anchor="middle">flip probability p</text>` +
      `<text x="14" y="${(height - bottom) / 2}" text-anchor="middle" ` +
      `transform="rotate(-90 14 ${(height - bottom) / 2})">bits</text>`;
    const proved = alpha >= known.alphaBatch(m) * (1 - 1e-12);
    const said = (name) => `${name} ${data.values[name][near] === null ? "diverged"
      : data.values[name][near].toFixed(2)}`;
    find("summary").textContent =
      `The labels share ${known.information(sources, p).toFixed(2)} bits, samples with the ` +
      `classifier's errors at least ${known.lower(sources, p, data.confusion).toFixed(2)}. ` +
      `CPC says at most ${plain.toFixed(2)} bits, ML-CPC at most ${lifted.toFixed(2)}; its weight is ` +
      (proved ? "proved in the batch." : "below what is proved in the batch.") +
      (fits ? ` Recorded at ${data.bits[near].toFixed(0)} bits: ` +
        `${Object.keys(shown).map(said).join(", ")}.`
        : ` Recorded values are for ${data.sources} sources and m = ${data.batch}.`);
  }

  ["sources", "flip", "m", "alpha"].forEach((name) =>
    find(name).addEventListener("input", update));
  update();
}

// The site loads this file in the head of every page; only one has the figure.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-known='root']").forEach(drawKnown);
});
