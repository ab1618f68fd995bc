// Live figures: closed forms and recorded values. A test compares each with the package.
"use strict";

const live = {
  find: (root) => (name) => root.querySelector(`[data-live="${name}"]`),
  // Beside a slider, and read out with it: the number that it stands for.
  say: (find, name, text) => {
    find(`${name}-value`).textContent = text;
    find(name).setAttribute("aria-valuetext", text);
  },
  // Nats with a sign that is a minus.
  signed: (nats, digits = 2) => (nats < 0 ? "−" : "+") + Math.abs(nats).toFixed(digits),
  // α_min in a drawing, with its index below the line.
  sub: (text) => text.replace(/α_(\w+)/g, 'α<tspan dy="4" font-size="75%">$1</tspan><tspan dy="-4">&#8203;</tspan>'),
  // Axes of a drawing: maps of x and y, and their marks. A tick is a number, or [place, text].
  axes: ({ x: [left, right], y: [low, high], xTicks, yTicks, name, width = 560, height = 290, start = 50 }) => {
    const x = (value) => start + ((Math.max(left, Math.min(right, value)) - left) / (right - left)) * (width - start - 20);
    const y = (value) => height - 46 - ((Math.max(low, Math.min(high, value)) - low) / (high - low)) * (height - 60);
    const text = (tick) => (Array.isArray(tick) ? tick : [tick, String(tick).replace("-", "−")]);
    const drawn = yTicks.map(text).map(([value, said]) => `<line class="caps-grid" x1="${start}" x2="${width - 20}" y1="${y(value)}" y2="${y(value)}"/>` +
        `<text x="${start - 6}" y="${y(value) + 4}" text-anchor="end">${said}</text>`).join("") +
      xTicks.map(text).map(([value, said]) => `<text x="${x(value)}" y="${height - 26}" text-anchor="middle">${said}</text>`).join("") +
      `<text x="${(start + width) / 2}" y="${height - 6}" text-anchor="middle">${live.sub(name)}</text>`;
    const line = (points, colour, more = "") => `<polyline stroke="${colour}" ${more} points="${points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ")}"/>`;
    const mark = (at, said, colour = "#777", row = 0) => `<line x1="${x(at)}" x2="${x(at)}" y1="14" y2="${height - 46}" stroke="${colour}" stroke-dasharray="4 4"/>` +
      `<text x="${x(at) + 4}" y="${26 + 18 * row}">${live.sub(said)}</text>`;
    return { x, y, drawn, line, mark };
  },
  grid: (from, to, count) => [...Array(count + 1)].map((_, i) => from + (i / count) * (to - from)),
  logSumExp: (values) => {
    const most = Math.max(...values);
    return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  },
  // A square board of scores: positives on the diagonal. Z / (nm), L and J in nats, and the cap.
  board: (scores, alpha) => {
    const n = scores.length;
    const logAlpha = Math.log(alpha);
    const logBeta = Math.log((n - alpha) / (n - 1));
    const weighted = scores.map((row, i) => row.map((score, k) => score + (i === k ? logAlpha : logBeta)));
    const positive = scores.reduce((sum, row, i) => sum + row[i], 0) / n;
    const rows = weighted.map(live.logSumExp);
    const logZ = live.logSumExp(rows);
    return {
      logZ: logZ - 2 * Math.log(n),
      L: Math.log(n) + positive - rows.reduce((sum, row) => sum + row, 0) / n,
      J: 2 * Math.log(n) + positive - logZ,
      cap: Math.log(n / alpha),
    };
  },
  logFactorial: [0],
  factorial: (n) => {
    for (let k = live.logFactorial.length; k <= n; k += 1) {
      live.logFactorial.push(live.logFactorial[k - 1] + Math.log(k));
    }
    return live.logFactorial[n];
  },
  // Chances of s = 0 … 60 pairs that agree among n uniform letters: the birthday problem.
  collisions: (n, letters, most = 60) => {
    const chance = new Array(most + 1).fill(0);
    const log = live.factorial;
    const fill = (k, anchors, free, pairs, weight) => {
      if (k === 1) {
        if (anchors <= free) chance[pairs] += Math.exp(weight - log(anchors) - log(free - anchors));
        return;
      }
      for (let held = 0; held <= Math.floor(anchors / k); held += 1) {
        const more = pairs + (held * k * (k - 1)) / 2;
        if (more > most || held > free) break;
        fill(k - 1, anchors - held * k, free - held, more, weight - held * log(k) - log(held));
      }
    };
    fill(Math.min(n, 6), n, letters, 0, log(letters) + log(n) - n * Math.log(letters));
    return [chance, Math.max(0, 1 - chance.reduce((a, b) => a + b, 0))];
  },
  // J − I in nats of the copy y = x with K letters in a batch of n, from below.
  copyGap: (n, letters, alpha, law = live.collisions(n, letters)) => {
    const [chance, left] = law;
    const beta = (n - alpha) / (n - 1);
    const mean = chance.reduce((sum, share, pairs) =>
      sum + share * Math.log(((alpha * n + 2 * beta * pairs) * letters) / n ** 2), 0);
    return -mean - left * Math.log(letters);
  },
  // Two letters a side that agree with chance p, one negative, a critic that gives letters that
  // agree the weight g and others one: L of CPC with weight alpha, and the information.
  reweighted: (p, g, alpha) => {
    const beta = 2 - alpha;
    const part = (share) => (share > 0 ? share * Math.log(2 * share) : 0);
    return {
      L: (p / 2) * Math.log((2 * g) / (alpha * g + beta)) + ((1 - p) / 2) * Math.log(2 / (alpha + beta * g)),
      I: part(p) + part(1 - p),
    };
  },
  // The weight from which on each design is proved; null where the design does not exist.
  proved: (n, m) => ({
    cpc: 2 / Math.E,
    independent: (2 / Math.E) * caps.alphaMin(n, m),
    shared: Math.min(caps.alphaMin(n, m), 2 / Math.E),
    in_batch: n === m && n > 1 ? caps.alphaBatch(n) : null,
  }),
  // What the best critic of many anchors misses at least, at a = α/m.
  least: (information, a) => Math.log1p(a * Math.expm1(information)),
  // The difference of two gamma variables of shape k: places and weights of a sum over its law.
  gammas: (k = 10, most = 60, step = 0.1) => {
    const log = live.factorial;
    const density = (w) => [...Array(k)].reduce((sum, _, i) => sum + Math.exp(-w + log(k - 1 + i) - log(i) - log(k - 1 - i) -
      log(k - 1) - (k + i) * Math.LN2) * w ** (k - 1 - i), 0);
    return live.grid(-most, most, (2 * most) / step).map((w) => [w, step * density(Math.abs(w))]);
  },
  law: null,
  // What the best critic of many anchors misses of Gaussians in twenty dimensions. There the log
  // density ratio is I + ρ w, with w the difference of two gamma variables of shape ten.
  skewBias: (information, a) => {
    live.law = live.law || live.gammas();
    const rho = Math.sqrt(-Math.expm1(-information / 10));
    return live.law.reduce((sum, [w, chance]) => sum + chance * Math.log1p(a * Math.expm1(information + rho * w)), 0);
  },
  // Largest standard deviation of the normaliser of a batch, about that of log Z.
  spread: (n, alpha) => Math.sqrt(((2 * (n - alpha)) / (n - 1) / (alpha * n) + 1 / n) / 4),
  // The smallest batch that can miss as little, at α_min.
  leastBatch: (information, missed) => {
    const needed = Math.expm1(information) / Math.expm1(missed);
    return Math.max(2, Math.ceil((1 + Math.sqrt(Math.max(4 * needed - 3, 1))) / 2));
  },
  mean: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
};

function drawBoard(root) {
  const size = 3;
  const table = root.querySelector("table");
  const cells = [...Array(size)].map((_, i) => {
    const row = table.insertRow();
    row.insertCell().textContent = `x${i + 1}`;
    return [...Array(size)].map((__, k) => {
      const input = document.createElement("input");
      Object.assign(input, { type: "range", min: -4, max: 4, step: 0.1, value: i === k ? 2 : 0 });
      input.setAttribute("aria-label", i === k ? `score of positive ${i + 1}` : `score of x${i + 1} with y${k + 1}`);
      const cell = row.insertCell();
      if (i === k) cell.className = "positive";
      const value = document.createElement("output");
      cell.append(input, value);
      return { input, value };
    });
  });
  const [alpha, shown, chart, summary] = ["alpha", "alpha-value", "chart", "summary"]
    .map(live.find(root));
  const update = () => {
    const weight = 3 * 10 ** Number(alpha.value);
    shown.textContent = weight.toPrecision(3);
    alpha.setAttribute("aria-valuetext", shown.textContent);
    cells.flat().forEach(({ input, value }) => { value.textContent = Number(input.value).toFixed(1); });
    const found = live.board(cells.map((row) => row.map(({ input }) => Number(input.value))), weight);
    const bars = [["L, CPC", found.L, "#d55e00"], ["J, ML-CPC", found.J, "#0072b2"], ["cap log(m/α)", found.cap, "#777"]];
    const x = (nats) => 150 + (Math.max(-3, Math.min(5, nats)) + 3) * 48;
    chart.innerHTML = `<line x1="${x(0)}" x2="${x(0)}" y1="4" y2="104" stroke="#333"/>` +
      bars.map(([name, nats, colour], row) =>
        `<text x="140" y="${28 + 34 * row}" text-anchor="end">${name}</text>` +
        `<rect x="${Math.min(x(0), x(nats))}" y="${12 + 34 * row}" width="${Math.abs(x(nats) - x(0))}" height="22" fill="${colour}"/>`).join("");
    summary.textContent = `Z/(nm) = ${Math.exp(found.logZ).toPrecision(4)}, L = ${found.L.toFixed(3)}, ` +
      `J = ${found.J.toFixed(3)}, cap ${found.cap.toFixed(3)} nats. ` +
      (found.J <= found.L + 1e-9 ? "J is at most L on every board." : "");
  };
  root.addEventListener("input", update);
  update();
}

function drawCopies(root) {
  const find = live.find(root);
  const update = () => {
    const n = Number(find("n").value);
    const K = Math.max(2, Math.round((n * (n - 1)) / 2 / Number(find("K").value)));
    find("n-value").textContent = n;
    live.say(find, "K", `${K} letters`);
    const law = live.collisions(n, K);
    const smallest = n / (n * (n - 1) + 1);
    const gap = (ratio) => live.copyGap(n, K, ratio * smallest, law);
    const { y, drawn, line, mark } = live.axes({ x: [0.5, 1.5], y: [-0.5, 0.5], xTicks: [0.5, 0.75, 1, 1.25, 1.5],
      yTicks: [-0.4, -0.2, 0, 0.2, 0.4], name: "α as a multiple of α_min" });
    find("chart").innerHTML = drawn + `<line x1="50" x2="540" y1="${y(0)}" y2="${y(0)}" stroke="#333"/>` +
      mark(1, "α_min") + mark(2 / Math.E, "2/e α_min") +
      line(live.grid(0.5, 1.5, 100).map((ratio) => [ratio, gap(ratio)]), "#e69f00");
    const at = gap(1);
    find("summary").textContent = `${K} letters in a batch of ${n}: J − I = ${at.toFixed(4)} nats at α_min` +
      (at > 0 ? ": the bound is broken." : ", not above the truth.");
  };
  root.addEventListener("input", update);
  update();
}

function drawReweighted(root) {
  const find = live.find(root);
  const update = () => {
    const [p, logRatio, alpha] = ["p", "ratio", "alpha"].map((name) => Number(find(name).value));
    const ratio = 10 ** logRatio;
    live.say(find, "p", p.toFixed(2));
    live.say(find, "ratio", ratio.toPrecision(3));
    live.say(find, "alpha", alpha.toFixed(2));
    const at = live.reweighted(p, ratio, alpha);
    const { x, y, drawn, line } = live.axes({ x: [0, 2], y: [-0.4, 1], xTicks: [[0, 1], [0.5, "3.2"], [1, 10], [1.5, 32], [2, 100]],
      yTicks: [-0.4, 0, 0.4, 0.8], name: "weight g that the critic gives to letters that agree" });
    const points = live.grid(0, 2, 100).map((each) => [each, live.reweighted(p, 10 ** each, alpha).L]);
    find("chart").innerHTML = drawn + line([[0, at.I], [2, at.I]], "#000", 'stroke-dasharray="6 4"') +
      `<text x="${x(0.02)}" y="${y(at.I) - 6}">I</text>` + line(points, "#0072b2") +
      line(points.filter((each) => each[1] > at.I), "#d55e00") +
      `<circle cx="${x(logRatio)}" cy="${y(at.L)}" r="6" fill="${at.L > at.I + 1e-12 ? "#d55e00" : "#0072b2"}"/>`;
    const over = at.L - at.I;
    find("summary").textContent = `I = ${at.I.toFixed(4)}, value L = ${at.L.toFixed(4)} nats: ` +
      (over > 1e-12 ? `above the truth by ${over.toFixed(4)}. The "lower bound" is none.` : "not above the truth. ") +
      (over <= 1e-12 && alpha >= 2 / Math.E ? "At this weight no critic and no table can break it." : "");
  };
  root.addEventListener("input", update);
  update();
}

function drawDesigns(root) {
  const find = live.find(root);
  const rows = [["cpc", "CPC, any", "#d55e00"], ["independent", "fresh pairs", "#0072b2"],
    ["shared", "fresh y", "#009e73"], ["in_batch", "in the batch", "#b07800"]];
  const update = () => {
    const [n, m] = ["n", "m"].map((name) => 2 ** Number(find(name).value));
    const proved = live.proved(n, m);
    const [left, right] = [Math.log10(caps.alphaMin(n, m)) - 0.7, Math.log10(m)];
    const alpha = 10 ** (left + Number(find("alpha").value) * (right - left));
    live.say(find, "n", String(n));
    live.say(find, "m", String(m));
    live.say(find, "alpha", alpha.toPrecision(3));
    const ticks = [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3].filter((each) => each >= left && each <= right);
    const { x, drawn, mark } = live.axes({ x: [left, right], y: [0, 4], yTicks: [], start: 130, height: 250, name: "weight α, from the left end on proved",
      xTicks: ticks.map((each) => [each, each < 0 ? (10 ** each).toFixed(-each) : 10 ** each]) });
    const end = x(right);
    const holds = rows.filter(([name]) => proved[name] !== null && alpha >= proved[name] * (1 - 1e-12));
    find("chart").innerHTML = rows.map(([name, title, colour], row) => {
      const [from, top] = [proved[name] === null ? end : x(Math.log10(proved[name])), 44 + 40 * row];
      return `<text x="122" y="${top + 18}" text-anchor="end">${title}</text>` +
        `<rect x="130" y="${top}" width="${end - 130}" height="26" fill="none" stroke="#999" stroke-dasharray="3 3"/>` +
        (proved[name] === null ? `<text x="140" y="${top + 18}">only with n = m</text>`
          : `<rect x="${from}" y="${top}" width="${end - from}" height="26" fill="${colour}"/>`);
    }).join("") + drawn + mark(Math.log10(2 / Math.E), "2/e") +
      mark(Math.log10(caps.alphaMin(n, m)), "α_min") + `<line x1="${x(Math.log10(alpha))}" x2="${x(Math.log10(alpha))}" y1="34" y2="204" stroke="#000" stroke-width="3"/>`;
    find("summary").textContent = `α = ${alpha.toPrecision(3)}: cap log(m/α) = ${caps.ceiling(m, alpha).toFixed(2)} nats. ` +
      (holds.length ? `Proved: ${holds.map(([, title]) => title).join(", ")}.` : "Proved for none of the four.") +
      (proved.in_batch === null ? "" : ` In the batch from ${proved.in_batch.toPrecision(3)} on, cap ${caps.ceiling(m, proved.in_batch).toFixed(2)}.`);
  };
  root.addEventListener("input", update);
  update();
}

function drawAnchors(root) {
  const find = live.find(root);
  const update = () => {
    const [information, logN, logAlpha] = ["I", "n", "alpha"].map((name) => Number(find(name).value));
    const [n, alpha] = [2 ** logN, 10 ** logAlpha];
    live.say(find, "I", information.toFixed(1));
    live.say(find, "n", String(n));
    live.say(find, "alpha", alpha.toPrecision(3));
    const { x, y, drawn, line, mark } = live.axes({ x: [-5, 0], y: [0, 6], yTicks: [0, 2, 4, 6], name: "weight α of a positive",
      xTicks: [[-5, "10⁻⁵"], [-4, "10⁻⁴"], [-3, "0.001"], [-2, "0.01"], [-1, "0.1"], [0, "1"]] });
    const weights = live.grid(-5, 0, 80);
    const [bias, spread] = [live.skewBias(information, alpha / n), live.spread(n, alpha)];
    const dot = (value, colour) => `<circle cx="${x(logAlpha)}" cy="${y(value)}" r="6" fill="${colour}"/>`;
    const [smallest, batch] = [caps.alphaMin(n, n), caps.alphaBatch(n)];
    find("chart").innerHTML = drawn + mark(Math.log10(smallest), "α_min") + mark(Math.log10(batch), "α_batch", "#777", 1) +
      line(weights.map((each) => [each, live.skewBias(information, 10 ** each / n)]), "#0072b2") +
      line(weights.map((each) => [each, live.spread(n, 10 ** each)]), "#000", 'stroke-dasharray="7 3"') +
      dot(bias, "#0072b2") + dot(spread, "#000");
    find("summary").textContent = `Predicted bias ${bias.toFixed(2)} nats, spread of the normaliser at most ${spread.toFixed(2)}, cap ${caps.ceiling(n, alpha).toFixed(2)}. ` +
      (alpha >= batch * (1 - 1e-12) ? "Proved with negatives from the batch."
        : alpha >= (2 / Math.E) * smallest * (1 - 1e-12) ? "Proved with fresh negatives only." : "Not a guaranteed bound: a batch may overshoot the truth.");
  };
  root.addEventListener("input", update);
  update();
}

function drawStaircase(root) {
  const find = live.find(root);
  const records = LIVE_DATA.staircases;
  const NAMES = { cpc: ["CPC", "#d55e00"], ml_cpc: ["ML-CPC", "#0072b2"] };
  const options = (name, values) => {
    const kept = find(name).value;
    find(name).replaceChildren(...values.map(([value, text]) => new Option(text, value)));
    if (values.some(([value]) => String(value) === kept)) find(name).value = kept;
  };
  options("record", Object.keys(records).map((name) => [name, name.replace("-", ", ")]));
  options("alpha", [["0.01", "0.01"]]); // what is shown first
  let scale = null;
  const update = () => {
    const found = records[find("record").value];
    options("alpha", [...new Set(Object.keys(found.estimators).map((name) => name.split(":")[1]))].map((each) => [each, each]));
    options("seed", [["mean", "mean of all"], ...found.seeds.map((seed) => [seed, seed])]);
    const [alpha, seed] = [find("alpha").value, find("seed").value];
    find("level").max = found.levels.length - 1;
    const [at, end] = [Number(find("level").value), found.levels.length * found.steps];
    live.say(find, "level", `I = ${found.levels[at]}`);
    const top = caps.ceiling(found.batch, Number(alpha));
    scale = live.axes({ x: [0, end], y: [-0.5, 13], yTicks: [0, 2, 4, 6, 8, 10, 12], name: "training step, thousands",
      xTicks: live.grid(0, end, found.levels.length).map((each) => [each, each / 1000]) });
    const { x, y, drawn, line } = scale;
    const of = (values) => seed === "mean" ? live.mean(values) : values[found.seeds.indexOf(Number(seed))];
    const stairs = (heights) => heights.flatMap((height, k) => [[k * found.steps, height], [(k + 1) * found.steps, height]]);
    const shown = Object.keys(NAMES).filter((bound) => found.estimators[`${bound}:${alpha}`]);
    const words = [];
    find("chart").innerHTML = drawn + `<rect x="${x(at * found.steps)}" width="${x(found.steps) - x(0)}" y="14" height="230" fill="#000" opacity="0.07"/>` +
      line([[0, top], [end, top]], "#7f7f7f", 'stroke-dasharray="5 4"') + line(stairs(found.levels), "#000") +
      shown.map((bound) => {
        const [title, colour] = NAMES[bound], each = found.estimators[`${bound}:${alpha}`];
        const points = (kind) => found.at.map((step, k) => [step, each[kind][k]]).filter(([, value]) => value !== null);
        const area = [...points("lowest"), ...points("highest").reverse()].map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
        const here = each.levels[at];
        words.push(`${title} ${live.signed(of(here.bias))}, root of the squared error ${Math.sqrt(of(here.mse)).toFixed(2)}`);
        return `<polygon points="${area}" fill="${colour}" opacity="0.25"/>` + line(points("mean"), colour, bound === "cpc" ? "" : 'stroke-dasharray="7 3"') +
          found.levels.map((level, k) => `<line x1="${x((k + 0.5) * found.steps)}" x2="${x((k + 1) * found.steps)}" y1="${y(level + of(each.levels[k].bias))}" ` +
            `y2="${y(level + of(each.levels[k].bias))}" stroke="${colour}" stroke-width="4"/>`).join("");
      }).join("");
    find("summary").textContent = `Error at I = ${found.levels[at]}, α = ${alpha}, ${seed === "mean" ? "mean of all seeds" : `seed ${seed}`}: ${words.join("; ")} nats. ` +
      `Cap ${top.toFixed(2)}.` + (Number(alpha) < (2 / Math.E) ? " CPC is no guaranteed bound at this weight." : "") +
      (Number(alpha) < caps.alphaBatch(found.batch) ? " Nor is ML-CPC with negatives from the batch." : "") +
      (found.profile === "full" ? "" : " A short record: it shows the curves and decides nothing.");
  };
  root.addEventListener("input", update);
  find("chart").addEventListener("pointermove", (event) => {
    const box = find("chart").getBoundingClientRect(), { levels, steps } = records[find("record").value];
    const at = ((event.clientX - box.left) / box.width) * 560;
    const level = levels.findIndex((_, k) => at < scale.x((k + 1) * steps));
    if (level >= 0 && level !== Number(find("level").value)) {
      find("level").value = level;
      update();
    }
  });
  update();
}

function drawRivals(root) {
  const find = live.find(root);
  const data = LIVE_DATA.rivals, names = Object.keys(data.estimators);
  const COLOURS = { cpc: "#d55e00", ml_cpc: "#0072b2", dv: "#009e73", nwj: "#cc79a7", mine: "#b0a000", js: "#56b4e9", tuba: "#8c564b", interpolated: "#b09c00", smile: "#7b3fa0" };
  const boxes = names.map((name) => {
    const [label, box] = [document.createElement("label"), document.createElement("input")];
    Object.assign(box, { type: "checkbox", value: name, checked: !/mine|js|0\.5|smile:1/.test(name) });
    label.append(box, name.replace("ml_cpc", "ML-CPC").replace("cpc:", "CPC:").replace("dv", "Donsker-Varadhan").replace("nwj", "NWJ")
      .replace("mine", "MINE").replace("js", "NWJ by Jensen-Shannon").replace("tuba", "TUBA").replace("smile", "SMILE").replace(":", " "));
    find("choices").append(label);
    return box;
  });
  find("level").max = data.levels.length - 1;
  const update = () => {
    const at = Number(find("level").value), shown = boxes.filter((box) => box.checked);
    live.say(find, "level", `I = ${data.levels[at]}`);
    const height = 70 + 34 * shown.length;
    find("chart").setAttribute("viewBox", `0 0 560 ${height}`);
    const { x, drawn } = live.axes({ x: [-9, 3], y: [0, 1], yTicks: [], xTicks: [-9, -6, -3, 0, 3], start: 190, height, name: "bias, and root of the squared error (nats)" });
    const words = [];
    find("chart").innerHTML = `<line x1="${x(0)}" x2="${x(0)}" y1="8" y2="${height - 42}" stroke="#333"/>` + shown.map((box, row) => {
      const each = data.estimators[box.value], { bias, mse } = each.levels[at], colour = COLOURS[box.value.split(":")[0]];
      const [off, error, top] = [live.mean(bias), Math.sqrt(live.mean(mse)), 10 + 34 * row];
      words.push(`${box.parentElement.textContent} ${live.signed(off)} (${error.toFixed(2)})`);
      return `<text x="182" y="${top + 17}" text-anchor="end">${box.parentElement.textContent.replace("NWJ by Jensen-Shannon", "NWJ by J-S").replace("Donsker-Varadhan", "Donsker-V.")}</text>` +
        `<rect x="${Math.min(x(0), x(off))}" width="${Math.abs(x(off) - x(0))}" y="${top}" height="22" stroke="${colour}" stroke-width="2" fill="${each.promise === "bound" ? colour : "none"}"/>` +
        `<line x1="${x(-error)}" x2="${x(-error)}" y1="${top - 2}" y2="${top + 24}" stroke="#000" stroke-width="3"/>`;
    }).join("") + drawn;
    find("summary").textContent = `I = ${data.levels[at]}: bias, and in brackets the root of the squared error. ${words.join("; ") || "Nothing chosen"}. ` +
      (data.profile === "full" ? "" : `A short record of ${data.steps} steps a level: it shows who spreads, and ranks nobody.`);
  };
  root.addEventListener("input", update);
  update();
}

function drawChoosing(root) {
  const find = live.find(root);
  const update = () => {
    const [information, n] = [Number(find("I").value), 2 ** Number(find("n").value)];
    live.say(find, "I", information.toFixed(1));
    live.say(find, "n", String(n));
    const low = Math.min(1, 4 * caps.alphaMin(n, n));
    const { x, y, drawn, line } = live.axes({ x: [0, 14], y: [0, 8], xTicks: [0, 2, 4, 6, 8, 10, 12, 14], yTicks: [0, 2, 4, 6, 8],
      name: "information I (nats)" });
    const places = live.grid(0, 14, 70);
    const curves = [[1, "#d55e00"], [low, "#0072b2"]].map(([alpha, colour]) =>
      line(places.map((each) => [each, live.skewBias(each, alpha / n)]), colour) +
      line(places.map((each) => [each, live.least(each, alpha / n)]), colour, 'stroke-dasharray="3 4"') +
      `<circle cx="${x(information)}" cy="${y(live.skewBias(information, alpha / n))}" r="6" fill="${colour}"/>`).join("");
    const recorded = Object.entries((LIVE_DATA.choosing || { batches: {} }).batches[n] || {}).map(([name, levels]) => {
      const [bound, alpha] = name.split(":");
      const kind = bound === "cpc" ? "#d55e00" : Math.abs(Number(alpha) / low - 1) < 0.01 ? "#0072b2" : null;
      return kind === null ? "" : levels.map(({ mse }, k) => {
        const [a, b] = [x(LIVE_DATA.choosing.levels[k]), y(Math.sqrt(live.mean(mse)))];
        return `<rect x="${a - 5}" y="${b - 5}" width="10" height="10" stroke="${kind}" stroke-width="2" fill="#fff"/>`;
      }).join("");
    }).join("");
    find("chart").innerHTML = drawn + curves + recorded;
    const of = (alpha) => live.skewBias(information, alpha / n).toFixed(2);
    find("summary").textContent = `Batch of ${n}: try α = 1 and α = ${low.toPrecision(3)}, and take the higher value. At I = ${information.toFixed(1)} the best critic of the Gaussians ` +
      `misses ${of(1)} and ${of(low)} nats; no critic of any pair less than ${live.least(information, low / n).toFixed(2)} at the lower weight, with many anchors. ` +
      `For a tenth of a nat at α_min it takes a batch of at least ${live.leastBatch(information, 0.1).toLocaleString("en")}.`;
  };
  root.addEventListener("input", update);
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  const figures = { board: drawBoard, copies: drawCopies, reweighted: drawReweighted, designs: drawDesigns,
    anchors: drawAnchors, staircase: drawStaircase, rivals: drawRivals, choosing: drawChoosing };
  for (const [name, draw] of Object.entries(figures)) {
    document.querySelectorAll(`[data-live="${name}"]`).forEach(draw);
  }
});
