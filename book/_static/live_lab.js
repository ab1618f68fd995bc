// The lab: a lower bound on mutual information, estimated in the browser. The same steps as
// mlcpc.estimate with a smaller critic; a test compares the two. Nothing leaves the page.
"use strict";

// All that is computed, in one function without surroundings: a worker runs its text.
const labEngine = () => {
  const zeros = (count) => new Float64Array(count);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;
  const range = (count) => Array.from({ length: count }, (_, i) => i);
  const TWO_OVER_E = 2 / Math.E;

  // Seeded random numbers (mulberry32), and a random order of values.
  const stream = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const shuffled = (values, random) => {
    const found = values.slice();
    for (let i = found.length - 1; i > 0; i -= 1) {
      const j = Math.floor(random() * (i + 1));
      [found[i], found[j]] = [found[j], found[i]];
    }
    return found;
  };

  // -- Matrices, row by row in one array ------------------------------------------------------
  // out (n, m) += A (n, k) B (k, m), two rows and four products at a time.
  const times = (out, A, B, n, k, m) => {
    const [pairs, fours] = [n - (n % 2), k - (k % 4)];
    for (let i = 0; i < pairs; i += 2) {
      const o = i * m, p = o + m;
      for (let l = 0; l < fours; l += 4) {
        const a = i * k + l, c = a + k, b = l * m;
        const a0 = A[a], a1 = A[a + 1], a2 = A[a + 2], a3 = A[a + 3];
        const c0 = A[c], c1 = A[c + 1], c2 = A[c + 2], c3 = A[c + 3];
        for (let j = 0; j < m; j += 1) {
          const b0 = B[b + j], b1 = B[b + m + j], b2 = B[b + 2 * m + j], b3 = B[b + 3 * m + j];
          out[o + j] += a0 * b0 + a1 * b1 + a2 * b2 + a3 * b3;
          out[p + j] += c0 * b0 + c1 * b1 + c2 * b2 + c3 * b3;
        }
      }
    }
    for (let i = 0; i < n; i += 1) {
      for (let l = i < pairs ? fours : 0; l < k; l += 1) {
        const a = A[i * k + l], b = l * m, o = i * m;
        for (let j = 0; j < m; j += 1) out[o + j] += a * B[b + j];
      }
    }
    return out;
  };
  const transposed = (A, n, m) => {
    const out = zeros(n * m);
    for (let i = 0; i < n; i += 1) for (let j = 0; j < m; j += 1) out[j * n + i] = A[i * m + j];
    return out;
  };
  const product = (A, B, n, k, m) => times(zeros(n * m), A, B, n, k, m);
  const columns = (A, n, m, from, to) => {
    const out = zeros(n * (to - from));
    for (let i = 0; i < n; i += 1) for (let j = from; j < to; j += 1) out[i * (to - from) + j - from] = A[i * m + j];
    return out;
  };

  // Singular triplets of A (n, m), largest first, by rotations of its columns (Jacobi).
  const svd = (A, n, m) => {
    if (n < m) {
      const { left, values, right, rank } = svd(transposed(A, n, m), m, n);
      return { left: right, values, right: left, rank };
    }
    const U = transposed(A, n, m), V = zeros(m * m); // columns as rows
    for (let i = 0; i < m; i += 1) V[i * m + i] = 1;
    for (let sweep = 0, turned = 1; turned && sweep < 60; sweep += 1) {
      turned = 0;
      for (let p = 0; p < m; p += 1) for (let q = p + 1; q < m; q += 1) {
        let a = 0, b = 0, c = 0;
        for (let i = 0; i < n; i += 1) {
          const u = U[p * n + i], v = U[q * n + i];
          a += u * u; b += v * v; c += u * v;
        }
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a * b) || c === 0) continue;
        turned = 1;
        const zeta = (b - a) / (2 * c);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cosine = 1 / Math.sqrt(1 + t * t), sine = cosine * t;
        for (const [W, size] of [[U, n], [V, m]]) for (let i = 0; i < size; i += 1) {
          const u = W[p * size + i], v = W[q * size + i];
          W[p * size + i] = cosine * u - sine * v;
          W[q * size + i] = sine * u + cosine * v;
        }
      }
    }
    const sizes = range(m).map((j) => Math.sqrt(sum(U.subarray(j * n, j * n + n).map((u) => u * u))));
    const order = range(m).sort((i, j) => sizes[j] - sizes[i]);
    const left = zeros(n * m), right = zeros(m * m);
    order.forEach((from, to) => {
      for (let i = 0; i < n; i += 1) left[i * m + to] = sizes[from] > 0 ? U[from * n + i] / sizes[from] : 0;
      for (let i = 0; i < m; i += 1) right[i * m + to] = V[from * m + i];
    });
    return { left, values: order.map((j) => sizes[j]), right, rank: m };
  };

  // -- Columns of like scale: mlcpc.samples.Standardiser --------------------------------------
  // Quantile of the normal law (Acklam), to nine digits.
  const quantile = (p) => {
    const poly = (c, x) => c.reduce((total, each) => total * x + each, 0);
    const low = [-7.784894002430293e-3, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783];
    const under = [7.784695709041462e-3, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
    if (p > 0.5) return -quantile(1 - p);
    if (p < 0.02425) {
      const q = Math.sqrt(-2 * Math.log(p));
      return poly(low, q) / poly(under, q);
    }
    const q = p - 0.5, r = q * q;
    return poly([-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239], r) * q /
      poly([-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1], r);
  };
  // How many of the sorted values lie below (or not above) a value.
  const below = (known, value, equal) => {
    let [low, high] = [0, known.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (known[middle] < value || (equal && known[middle] === value)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const knots = (known) => {
    const found = new Map();
    known.forEach((value, k) => {
      const score = quantile((k + 0.5) / known.length), step = Math.floor(score / 0.1);
      const each = found.get(step) || [0, 0, 0];
      found.set(step, [each[0] + value, each[1] + score, each[2] + 1]);
    });
    const same = new Map();
    [...found.values()].forEach(([value, score, count]) => {
      same.set(value / count, [...(same.get(value / count) || []), score / count]);
    });
    const points = [...same].map(([value, scores]) => [value, mean(scores)]).sort((a, b) => a[0] - b[0]);
    if (points.length < 2) return points;
    const further = ([v, s], [w, t], by) => [v + (v - w) / (s - t) * by, s + by];
    const last = points.length - 1;
    return [further(points[0], points[1], -3), ...points, further(points[last], points[last - 1], 3)];
  };
  const interpolated = (points, value) => {
    const k = points.findIndex(([at]) => at > value);
    if (k === 0) return points[0][1];
    if (k < 0) return points[points.length - 1][1];
    const [[v, s], [w, t]] = [points[k - 1], points[k]];
    return s + (t - s) * (value - v) / (w - v);
  };
  // A few whole numbers are classes, too: they get indicator columns besides.
  const classes = (column) => {
    const known = [...new Set(column)].sort((a, b) => a - b);
    const few = known.length > 2 && known.length <= 32 && column.length >= 10 * known.length;
    return few && known.every(Number.isInteger) ? known : [];
  };
  // Standardised columns of all rows, fitted on some: (N, width), and how many are numbers.
  const standardised = (table, rows, how) => {
    const made = table.map((column) => {
      const fitted = rows.map((row) => column[row]), known = fitted.slice().sort((a, b) => a - b);
      if (how === "moments") {
        const middle = mean(known), scale = Math.sqrt(mean(known.map((v) => (v - middle) ** 2)));
        return column.map((value) => (value - middle) / Math.max(scale, 1e-300));
      }
      if (how === "smooth") {
        const points = knots(known);
        return column.map((value) => interpolated(points, value));
      }
      return column.map((value) => quantile(
        ((below(known, value, false) + below(known, value, true)) / 2 + 0.5) / (known.length + 1)));
    });
    const numbers = made.length;
    table.forEach((column) => classes(column).forEach((code) => {
      const share = mean(rows.map((row) => Number(column[row] === code)));
      made.push(column.map((value) => (Number(value === code) - share) / Math.sqrt(Math.max(share * (1 - share), 0.05))));
    }));
    const [n, width] = [table[0].length, made.length], out = zeros(n * width);
    made.forEach((column, k) => column.forEach((value, i) => { out[i * width + k] = value; }));
    return { values: out, width, numbers };
  };
  const chosen = (A, width, rows, used = width) => {
    const out = zeros(rows.length * used);
    rows.forEach((row, i) => { for (let k = 0; k < used; k += 1) out[i * used + k] = A[row * width + k]; });
    return out;
  };
  // What the network reads: the columns, and the log length of a row where there are several.
  const inputs = (scaled, rows) => {
    const { values, width } = scaled, n = values.length / width;
    if (width === 1) return { values, width };
    const length = range(n).map((i) => Math.log(
      sum(values.subarray(i * width, (i + 1) * width).map((v) => v * v)) / width + 1e-6));
    const fitted = rows.map((row) => length[row]), middle = mean(fitted);
    const spread = Math.max(1e-6, Math.sqrt(sum(fitted.map((v) => (v - middle) ** 2)) / (fitted.length - 1)));
    const out = zeros(n * (width + 1));
    for (let i = 0; i < n; i += 1) {
      out.set(values.subarray(i * width, (i + 1) * width), i * (width + 1));
      out[i * (width + 1) + width] = (length[i] - middle) / spread;
    }
    return { values: out, width: width + 1 };
  };

  // -- The normal pair that a critic starts from: mlcpc.canonical ------------------------------
  const FAR = 5, LARGEST = 1 - 1e-12;
  const cut = (value) => Math.max(-FAR, Math.min(FAR, value));
  const centre = (A, n, d) => {
    const middle = range(d).map((k) => mean(range(n).map((i) => A[i * d + k])));
    return [middle, A.map((value, place) => value - middle[place % d])];
  };
  // Principal directions (d, p), largest first, scaled to components of variance 1.
  const whitening = (A, n, d) => {
    const { values, right } = svd(product(transposed(A, n, d), A, d, n, d), d, d);
    const sizes = values.map((value) => value / n);
    const limit = Math.max(1e-12, 1e-10 * sizes[0]);
    const kept = range(d).filter((k) => k === 0 || (sizes[k] > limit && k < Math.max(1, n >> 1))).length;
    const out = columns(right, d, d, 0, kept);
    return [out.map((value, place) => value / Math.sqrt(Math.max(1e-12, sizes[place % kept]))), kept];
  };
  function* candidates(cross, p, q, turnX, turnY, dx, dy, rows) {
    for (const level of [1, 2, 3, 5, 8, 12, 20, 32, 64, Infinity]) {
      const last = level >= Math.max(p, q);
      const [a, b] = [Math.min(p, level), Math.min(q, level)];
      yield { a, b, ...svd(columns(cross.slice(0, a * q), a, q, 0, b), a, b) };
      if (last) break;
    }
    if (p * q < 16) return;
    const unit = (W, d, k) => {
      const sizes = range(k).map((j) => Math.sqrt(sum(range(d).map((i) => W[i * k + j] ** 2))));
      return W.map((value, place) => value / sizes[place % k]);
    };
    const [X, Y] = [unit(turnX, dx, p), unit(turnY, dy, q)];
    const ofColumns = product(product(X, cross, dx, p, q), transposed(Y, dy, q), dx, q, dy);
    for (const threshold of [2, 2.5, 3, 3.5, 4]) {
      const limit = threshold / Math.sqrt(rows);
      const { left, values, right, rank } = svd(ofColumns.map((v) => (Math.abs(v) > limit ? v : 0)), dx, dy);
      if (values[0] > 0) {
        yield { a: p, b: q, rank, left: product(transposed(X, dx, p), left, p, dx, rank),
          values: values.map((v) => Math.min(v, 0.9999)), right: product(transposed(Y, dy, q), right, q, dy, rank) };
      }
    }
  }
  // The candidate that fits the validation rows best: coordinates, correlations, and its gain.
  const normalPair = (x, y, validX, validY, dx, dy) => {
    const [n, v] = [x.length / dx, validX.length / dy && validX.length / dx];
    const [meanX, offX] = centre(x, n, dx), [meanY, offY] = centre(y, n, dy);
    const [whiteX, p] = whitening(offX, n, dx), [whiteY, q] = whitening(offY, n, dy);
    const cross = product(transposed(product(offX, whiteX, n, dx, p), n, p), product(offY, whiteY, n, dy, q), p, n, q)
      .map((value) => value / n);
    const less = (A, middle) => A.map((value, place) => value - middle[place % middle.length]);
    const atX = product(less(validX, meanX), whiteX, v, dx, p), atY = product(less(validY, meanY), whiteY, v, dy, q);
    let best = null;
    for (const { a, b, left, values, right, rank } of candidates(cross, p, q, whiteX, whiteY, dx, dy, n)) {
      const sides = [[atX, p, a, left], [atY, q, b, right]].map(([at, width, used, turn]) => {
        const u = product(columns(at, v, width, 0, used), turn, v, used, rank);
        const sizes = range(rank).map((k) => Math.max(1e-6, Math.sqrt(sum(range(v).map((i) => u[i * rank + k] ** 2)) / v)));
        return { sizes, u: u.map((value, place) => cut(value / sizes[place % rank])) };
      });
      const [{ u, sizes: sizeU }, { u: w, sizes: sizeW }] = sides;
      const squares = range(rank).map((k) => Math.max(2, sum(range(v).map((i) => u[i * rank + k] ** 2 + w[i * rank + k] ** 2)) / v));
      const cross2 = range(rank).map((k) => sum(range(v).map((i) => u[i * rank + k] * w[i * rank + k])) / v);
      for (const share of [1, 0.9, 0.75, 0.5, 0.35, 0.2, 0.1, 0.05, 0.02]) {
        let total = 0;
        const rho = values.map((value) => {
          const squared = Math.min(Math.max(value, 0), Math.sqrt(LARGEST)) ** 2;
          const strength = squared / (1 - squared) * share;
          return Math.min(Math.sqrt(strength / (1 + strength)), Math.sqrt(LARGEST));
        });
        for (let k = 0; k < rank; k += 1) {
          const r = rho[k];
          total -= 0.5 * (Math.log1p(-r * r) + (r * r * squares[k] - 2 * r * cross2[k]) / (1 - r * r));
          if (!best || total > best.gain) {
            best = { gain: total, rho: rho.slice(0, k + 1), left, right, a, b, rank, sizeU, sizeW };
          }
        }
      }
    }
    const pairs = best.rho.length;
    const ofSide = (white, d, width, used, turn, sizes) => product(columns(white, d, width, 0, used),
      columns(turn, used, best.rank, 0, pairs).map((value, place) => value / sizes[place % pairs]), d, used, pairs);
    return { gain: best.gain, rho: best.rho, meanX, meanY,
      ofX: ofSide(whiteX, dx, p, best.a, best.left, best.sizeU),
      ofY: ofSide(whiteY, dy, q, best.b, best.right, best.sizeW) };
  };
  const coordinates = (A, middle, turn, d, k) => product(A.map((value, place) => value - middle[place % d]),
    turn, A.length / d, d, k).map(cut);
  // Log density ratios of all pairs of coordinates u (n, k) and v (m, k).
  const logRatio = (u, v, rho, n, m) => {
    const k = rho.length, out = zeros(n * m);
    const share = rho.map((r) => r / (1 - r * r)), own = rho.map((r, i) => -0.5 * share[i] * r);
    const constant = -0.5 * sum(rho.map((r) => Math.log1p(-r * r)));
    const squares = (A, count) => range(count).map((i) => sum(own.map((o, j) => o * A[i * k + j] ** 2)));
    const [ofU, ofV] = [squares(u, n), squares(v, m)];
    for (let i = 0; i < n; i += 1) out.set(ofV.map((each) => each + ofU[i] + constant), i * m);
    return times(out, u.map((value, place) => value * share[place % k]), transposed(v, m, k), n, k, m);
  };

  // -- What held-out scores say: mlcpc.valuation ------------------------------------------------
  const alphaOf = (bound, n) => {
    const a = (n - 1) >> 1;
    return bound === "cpc" ? TWO_OVER_E : (TWO_OVER_E * n) / ((a + 1) * (n - a));
  };
  const ceiling = (bound, n) => Math.log(n / alphaOf(bound, n));
  const valued = (bound, scores, n, alpha = alphaOf(bound, n)) => {
    const [logAlpha, logBeta] = [Math.log(alpha), Math.log((n - alpha) / (n - 1))];
    const weighted = scores.map((value, place) => value + (place % (n + 1) === 0 ? logAlpha : logBeta));
    const rows = zeros(n);
    for (let i = 0; i < n; i += 1) {
      let most = -Infinity, total = 0;
      for (let j = i * n; j < i * n + n; j += 1) if (weighted[j] > most) most = weighted[j];
      for (let j = i * n; j < i * n + n; j += 1) total += Math.exp(weighted[j] - most);
      rows[i] = most + Math.log(total);
    }
    const positive = range(n).map((i) => scores[i * n + i]);
    const influence = zeros(n), column = zeros(n), row = zeros(n);
    const top = Math.max(...rows), all = top + Math.log(sum(rows.map((r) => Math.exp(r - top))));
    for (let i = 0; i < n; i += 1) for (let j = 0; j < n; j += 1) {
      const share = Math.exp(weighted[i * n + j] - (bound === "cpc" ? rows[i] : all));
      row[i] += share;
      if (i !== j) column[j] += share;
    }
    for (let i = 0; i < n; i += 1) {
      influence[i] = bound === "cpc" ? positive[i] - rows[i] + Math.log(n) - column[i]
        : positive[i] - n * (column[i] + row[i]);
    }
    const value = bound === "cpc" ? Math.log(n) + mean(positive) - mean(rows) : mean(positive) - all + 2 * Math.log(n);
    const middle = mean(influence);
    return { value, influence: influence.map((each) => each - middle), rows };
  };
  const standardError = (influence) => Math.sqrt(sum(influence.map((each) => each * each)) *
    influence.length / Math.max(1, influence.length - 1)) / influence.length;
  // The least information that so many rows and columns would mostly have shown.
  const unseen = (rows, widthX, widthY) => {
    const noise = (widthX * widthY + 10 * (widthX + widthY)) / (1.2 * rows), least = 8 / rows;
    return (least + Math.sqrt(least * least + 4 * least * noise)) / 2;
  };

  // -- A critic and its training: mlcpc.critics, mlcpc.crossfit ---------------------------------
  const SETTINGS = { width: 32, embedding: 16, batch: 128, steps: 3000, every: 50, patience: 4, rate: 2e-3 };
  const BLOCK = 2048, VALIDATED = 768;

  const shapeOf = (dx, dy, { width, embedding }) => {
    let at = 1; // the first number is the trust in the normal pair
    const nets = [dx, dy].map((d) => [[d, width], [width, width], [width, embedding]].map(([a, b]) => {
      const layer = { a, b, at, bias: at + a * b };
      at += a * b + b;
      return layer;
    }));
    return { nets, size: at, embedding };
  };
  const forward = (layers, theta, x, n) => {
    const passed = [x];
    layers.forEach(({ a, b, at, bias }, depth) => {
      const out = zeros(n * b);
      for (let i = 0; i < n; i += 1) out.set(theta.subarray(bias, bias + b), i * b);
      times(out, passed[depth], theta.subarray(at, bias), n, a, b);
      if (depth < layers.length - 1) for (let i = 0; i < out.length; i += 1) if (out[i] < 0) out[i] = 0;
      passed.push(out);
    });
    return passed;
  };
  const backward = (layers, theta, passed, gradient, n, grad) => {
    for (let depth = layers.length - 1; depth >= 0; depth -= 1) {
      const { a, b, at, bias } = layers[depth], input = passed[depth];
      times(grad.subarray(at, bias), transposed(input, n, a), gradient, a, n, b);
      for (let i = 0; i < n; i += 1) for (let j = 0; j < b; j += 1) grad[bias + j] += gradient[i * b + j];
      if (depth) {
        gradient = product(gradient, transposed(theta.subarray(at, bias), a, b), n, b, a);
        for (let i = 0; i < gradient.length; i += 1) if (input[i] <= 0) gradient[i] = 0;
      }
    }
  };
  const scoresOf = (split, theta, rows) => {
    const n = rows.length, { nets, embedding } = split.shape;
    const [a, b] = [split.x, split.y].map(({ values, width }, side) =>
      forward(nets[side], theta, chosen(values, width, rows), n)[3]);
    const scores = product(a, transposed(b, n, embedding), n, embedding, n);
    const start = split.start(rows);
    for (let i = 0; i < scores.length; i += 1) scores[i] += theta[0] * start[i];
    return scores;
  };
  // Value of CPC at weight one on a batch; its gradient is added to grad.
  const lossGradient = (split, theta, rows, grad) => {
    const n = rows.length, { nets, embedding: e } = split.shape;
    const [ofX, ofY] = [split.x, split.y].map(({ values, width }, side) =>
      forward(nets[side], theta, chosen(values, width, rows), n));
    const scores = product(ofX[3], transposed(ofY[3], n, e), n, e, n), start = split.start(rows);
    let value = Math.log(n);
    for (let i = 0; i < n; i += 1) {
      let most = -Infinity, total = 0;
      for (let j = i * n; j < i * n + n; j += 1) {
        scores[j] += theta[0] * start[j];
        if (scores[j] > most) most = scores[j];
      }
      value += (scores[i * n + i] - most) / n;
      for (let j = i * n; j < i * n + n; j += 1) total += scores[j] = Math.exp(scores[j] - most);
      value -= Math.log(total) / n;
      for (let j = i * n; j < i * n + n; j += 1) {
        scores[j] = (scores[j] / total - Number(j === i * n + i)) / n; // now the gradient
        grad[0] += scores[j] * start[j];
      }
    }
    if (split.strong) grad[0] = 0;
    backward(nets[0], theta, ofX, product(scores, ofY[3], n, n, e), n, grad);
    backward(nets[1], theta, ofY, product(transposed(scores, n, n), ofX[3], n, n, e), n, grad);
    return value;
  };
  const firstWeights = (shape, random) => {
    const theta = zeros(shape.size);
    theta[0] = 1;
    shape.nets.flat().forEach(({ a, b, at }) => {
      for (let i = at; i < at + a * b + b; i += 1) theta[i] = (2 * random() - 1) / Math.sqrt(a);
    });
    return theta;
  };
  // Train until the validation rows say stop; the best averaged weights.
  const train = (split, settings, random, said) => {
    const { train: rows, valid } = split.rows, looked = valid.slice(0, VALIDATED);
    const theta = firstWeights(split.shape, random), size = theta.length;
    const [averaged, one, two] = [theta.slice(), zeros(size), zeros(size)];
    const batch = Math.min(settings.batch, rows.length);
    let [best, highest, risen, last, queue] = [theta.slice(), -Infinity, -Infinity, 0, []];
    for (let step = 0; ; step += 1) {
      if (step % settings.every === 0 || step === settings.steps) {
        const { value } = valued("cpc", scoresOf(split, averaged, looked), looked.length, 1);
        if (value > highest) [highest, best] = [value, averaged.slice()];
        if (value > risen + 0.002) [risen, last] = [value, step];
        said(step, highest);
        if (step - last >= settings.patience * settings.every) return { theta: best, finished: true, step };
        if (step === settings.steps) return { theta: best, finished: false, step };
      }
      if (queue.length < batch) queue = shuffled(rows, random);
      const grad = zeros(size);
      lossGradient(split, theta, queue.splice(0, batch), grad);
      const [fade, fade2] = [1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)];
      const share = 1 - Math.min(0.99, step / (step + 10));
      for (let i = 0; i < size; i += 1) {
        one[i] += 0.1 * (grad[i] - one[i]);
        two[i] += 0.001 * (grad[i] * grad[i] - two[i]);
        theta[i] -= (i ? 1 : 10) * settings.rate * (one[i] / fade) / (Math.sqrt(two[i] / fade2) + 1e-8);
        averaged[i] += share * (theta[i] - averaged[i]);
      }
    }
  };

  // -- Splits and what they know before training -------------------------------------------------
  const splitsOf = (count, folds, random) => {
    const order = shuffled(range(count), random);
    const parts = (some) => range(some).map((k) => {
      const [size, more] = [Math.floor(count / some), count % some];
      return order.slice(k * size + Math.min(k, more), (k + 1) * size + Math.min(k + 1, more));
    });
    return [parts(2)[0], ...parts(folds)].map((test) => {
      const held = new Set(test), rest = order.filter((row) => !held.has(row));
      const edge = Math.max(10, Math.floor(rest.length / 5));
      return { train: rest.slice(edge), valid: rest.slice(0, edge), test };
    });
  };
  const prepared = (x, y, rows, settings) => {
    let [best, highest] = [null, -Infinity];
    for (const how of ["ranks", "smooth", "moments"]) {
      const sides = [x, y].map((table) => standardised(table, rows.train, how));
      const [a, b] = sides, pick = ({ values, width, numbers }, some) => chosen(values, width, some, numbers);
      const normal = normalPair(pick(a, rows.train), pick(b, rows.train), pick(a, rows.valid), pick(b, rows.valid), a.numbers, b.numbers);
      const all = range(x[0].length), k = normal.rho.length;
      const u = coordinates(pick(a, all), normal.meanX, normal.ofX, a.numbers, k);
      const v = coordinates(pick(b, all), normal.meanY, normal.ofY, b.numbers, k);
      const start = (some) => logRatio(chosen(u, k, some), chosen(v, k, some), normal.rho, some.length, some.length);
      const looked = rows.valid.slice(0, VALIDATED);
      const worth = (bound) => valued(bound, start(looked), looked.length).value;
      if (worth("cpc") <= 0) normal.rho = normal.rho.map((r) => 0.02 * r);
      const value = normal.gain > 2.5 ? worth("ml_cpc") : 0;
      if (!best || value > highest + 0.02) {
        const [ofX, ofY] = sides.map((side) => inputs(side, rows.train));
        best = { rows, start, normal, x: ofX, y: ofY, strong: value > 0 && value > 0.8 * normal.gain,
          shape: shapeOf(ofX.width, ofY.width, settings) };
        highest = value;
      }
      if (value === 0) break;
    }
    return best;
  };
  const blocks = (rows) => {
    const count = Math.ceil(rows.length / BLOCK);
    return range(count).map((k) => rows.slice(Math.floor(k * rows.length / count), Math.floor((k + 1) * rows.length / count)));
  };
  const heldOut = (split, theta) => {
    const [valid] = blocks(split.rows.valid);
    const looked = scoresOf(split, theta, valid);
    const low = valued("cpc", looked, valid.length);
    let bound = "cpc";
    if (low.value >= ceiling("cpc", valid.length) - 4) {
      const high = valued("ml_cpc", looked, valid.length);
      if (high.value - standardError(high.influence) > low.value) bound = "ml_cpc";
    }
    const parts = blocks(split.rows.test).map((rows) => {
      const scores = scoresOf(split, theta, rows);
      return { scores, rows, ...valued(bound, scores, rows.length) };
    });
    const count = split.rows.test.length;
    const value = sum(parts.map((part) => part.value * part.influence.length)) / count;
    const influence = parts.flatMap((part) => [...part.influence].map((each) => each + part.value - value));
    return { value, influence, bound, parts, ceiling: ceiling(bound, parts[0].influence.length) };
  };
  // Chance of positives as high as these, if x and y were independent: ranks among permutations.
  const pValue = (parts, random) => {
    let [seen, above, permuted] = [0, 0, zeros(999)];
    parts.forEach(({ scores, influence }) => {
      const n = influence.length, less = valued("cpc", scores, n, 1).rows;
      for (let i = 0; i < n; i += 1) seen += scores[i * n + i] - less[i];
      for (let k = 0; k < permuted.length; k += 1) {
        shuffled(range(n), random).forEach((j, i) => { permuted[k] += scores[i * n + j] - less[i]; });
      }
    });
    const slack = 1e-9 * Math.max(1, Math.abs(seen));
    permuted.forEach((value) => { if (value > seen - slack) above += 1; }); // ties count against
    return (above + 1) / (permuted.length + 1);
  };

  // -- What is doubtful about the samples --------------------------------------------------------
  const varied = (table) => table.filter((column) => column.some((value) => value !== column[0]));
  // Rows that are copies, where a variable is fine enough for that to be no accident.
  const distinctRows = (x, y) => {
    const ids = (table) => table[0].map((_, i) => table.map((column) => column[i]).join());
    const [ofX, ofY] = [ids(x), ids(y)], both = ofX.map((id, i) => `${id};${ofY[i]}`);
    const pairs = (keys) => {
      const counts = new Map();
      keys.forEach((key) => counts.set(key, (counts.get(key) || 0) + 1));
      return sum([...counts.values()].map((count) => (count * (count - 1)) / 2));
    };
    const first = new Map(both.map((key, i) => [key, i]).reverse());
    const rows = [...first.values()].sort((a, b) => a - b);
    if (rows.length === both.length || rows.length < both.length / 50) return null;
    const copies = [[x, ofX], [y, ofY]].some(([table, keys]) => table.some((column) =>
      new Set(column).size > 32 && !column.every(Number.isInteger)) && pairs(both) >= 0.9 * pairs(keys));
    return copies ? rows : null;
  };
  const serial = (table) => Math.max(...table.map((column) => {
    const known = column.slice().sort((a, b) => a - b);
    const ranks = column.map((value) => (below(known, value, false) + below(known, value, true)) / 2);
    const middle = mean(ranks), off = ranks.map((rank) => rank - middle);
    return mean(off.slice(1).map((value, i) => value * off[i])) / mean(off.map((value) => value * value));
  }));

  // A lower bound in nats on what x shares with y; both are lists of columns of numbers.
  const estimate = (x, y, seed = 0, said = () => {}, changed = {}) => {
    const settings = { ...SETTINGS, ...changed }, warnings = [];
    [x, y] = [["x", x], ["y", y]].map(([name, table]) => {
      const kept = varied(table);
      if (kept.length < table.length) warnings.push(`${table.length - kept.length} constant column(s) of ${name} left out`);
      return kept;
    });
    if (!x.length || !y.length) throw new Error(`All columns of ${x.length ? "y" : "x"} are constant: choose at least one that varies.`);
    const distinct = distinctRows(x, y);
    if (distinct) {
      warnings.push(`only ${distinct.length} of ${x[0].length} rows are distinct: copies are left out, so that none stands on both sides of a split`);
      [x, y] = [x, y].map((table) => table.map((column) => distinct.map((row) => column[row])));
    }
    const count = x[0].length, folds = count >= 5000 ? 3 : 5;
    if (count < 20 * folds) throw new Error(`There are ${count} rows${distinct ? " without copies" : ""}: at least ${20 * folds} are needed.`);
    const alike = distinct ? [0, 0] : [serial(x), serial(y)];
    if (Math.min(...alike) > Math.max(0.2, 4 / Math.sqrt(count))) {
      warnings.push(`rows are like the row before them, in x (correlation ${alike[0].toFixed(2)}) and in y (${alike[1].toFixed(2)}): of a time series the value and its error are wrong here; use mlcpc.estimate with order="time"`);
    }
    const random = stream(seed), all = splitsOf(count, folds, random);
    let finished = true, exact = false;
    const found = all.map((rows, k) => {
      const split = prepared(x, y, rows, settings);
      const trained = train(split, settings, stream(1000 * seed + k + 1), (step, nats) =>
        said({ share: (k + 1 - 1 / (1 + step / 300)) / all.length, split: k + 1, splits: all.length, step, nats }));
      finished = finished && trained.finished;
      exact = exact || Math.max(...split.normal.rho) ** 2 > 1 - 1e-8;
      const held = heldOut(split, trained.theta);
      if (k) held.parts = null; // only the first is needed again
      return held;
    });
    const kept = found.slice(1);
    const influence = kept.flatMap((each) => each.influence);
    const mi = sum(kept.map((each) => each.value * each.influence.length)) / influence.length;
    const error = standardError(influence);
    const lower = mi - 1.645 * error, interval = [mi - 1.96 * error, mi + 1.96 * error];
    const top = mean(kept.map((each) => each.ceiling)), hidden = unseen(count, x.length, y.length);
    const p = pValue(found[0].parts, random);
    const curve = all.slice(0, 2).map((rows, k) => [rows.train.length + rows.valid.length, k ? mi : found[0].value]);
    const [[few, before], [more, after]] = curve, reach = 1.96 * error, growth = after - Math.max(0, before);
    const fine = (table) => table.some((column) => new Set(column).size > 32);
    if (exact && fine(x) && fine(y)) {
      warnings.push("a column of y is all but a function of one of x, or the other way round: the information may be infinite, and the value only says how many rows there are");
    }
    if (interval[1] > top - 2) {
      warnings.push(`the value is near its ceiling of ${top.toFixed(2)} nats, and the information may be far above it: more rows lift it`);
    }
    if (growth > Math.max(0.08 * after, reach / 2) && (lower > 0 || growth > 0.05)) {
      warnings.push(`still grows with more rows: ${before.toFixed(2)} nats learned from ${few} rows, ${after.toFixed(2)} from ${more}: the information is probably larger`);
    }
    if (lower > 0 && reach > mi / 4) {
      warnings.push(`few rows for so little information: the value is uncertain by ${reach.toPrecision(2)} of ${mi.toPrecision(2)} nats`);
    }
    if (lower <= 0 && p <= 0.05) {
      warnings.push(`dependent (p = ${p.toFixed(3)}), but too few rows to say how much`);
    } else if (lower <= 0) {
      warnings.push(`nothing found; less than about ${hidden.toPrecision(2)} nats, or dependence of a form too wild for so many rows, would have gone unseen`);
    } else if (hidden > Math.max(0.05, mi / 2)) {
      warnings.push(`few rows for so many columns: they may hide about ${hidden.toPrecision(2)} nats beside what was found`);
    }
    if (!finished) warnings.push(`not converged in ${settings.steps} steps: the value may be too low`);
    return { mi, lower, interval, ceiling: top, curve, warnings, rows: count, pValue: p,
      bound: kept.map((each) => each.bound) };
  };
  return { estimate, normalPair, valued, standardError, standardised, svd, unseen, quantile, lossGradient,
    prepared, splitsOf, firstWeights, stream, logRatio, alphaOf, SETTINGS };
};

// What is pasted, as columns of numbers with names; what is wrong with it, as a sentence.
const labTable = (text) => {
  const MOST = { rows: 5000, columns: 20 };
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/).filter((line) => line.trim());
  if (!lines.length) throw new Error("There is nothing to read: paste rows of numbers, or choose a file.");
  const mark = ["\t", ";", ","].find((each) => lines[0].includes(each)) || ",";
  const rows = lines.map((line) => line.split(mark).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1").trim()));
  const number = (cell) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(cell) && Number.isFinite(Number(cell));
  const missing = (cell) => /^(|na|n\/a|nan|null|none|[.?-])$/i.test(cell);
  const titled = !rows[0].every((cell) => number(cell) || missing(cell));
  const names = rows[0].map((cell, k) => (titled && cell) || `column ${k + 1}`);
  const body = rows.slice(titled ? 1 : 0), first = titled ? 2 : 1;
  const width = names.length;
  if (!body.length) throw new Error("There are names of columns and no rows below them.");
  if (width > MOST.columns) throw new Error(`There are ${width} columns; the lab takes at most ${MOST.columns}.`);
  if (width < 2) throw new Error("There is one column; at least two are needed, one for x and one for y, with commas, semicolons or tabs between them.");
  if (body.length > MOST.rows) throw new Error(`There are ${body.length.toLocaleString("en")} rows; the lab takes at most ${MOST.rows.toLocaleString("en")}.`);
  body.forEach((row, i) => {
    if (row.length !== width) throw new Error(`Line ${i + first} has ${row.length} cells, and the first line has ${width}.`);
  });
  names.forEach((name, k) => {
    const empty = body.findIndex((row) => missing(row[k]));
    if (empty >= 0) {
      const count = body.filter((row) => missing(row[k])).length;
      throw new Error(`Column "${name}" has no value in line ${empty + first}, and in ${count} of ${body.length} rows: leave those rows out, or fill them in.`);
    }
    const text = body.findIndex((row) => !number(row[k]));
    if (text >= 0) throw new Error(`Column "${name}" holds text, "${body[text][k].slice(0, 20)}" in line ${text + first}: the lab reads numbers with a decimal point only; mlcpc.estimate takes classes, too.`);
  });
  return { names, columns: names.map((_, k) => body.map((row) => Number(row[k]))) };
};

// Columns of a group: as the names say, or the first half and the second.
const labGroups = (names) => {
  const named = names.map((name) => (/^[xy]/i.exec(name.trim()) || [""])[0].toLowerCase());
  if (names.every((_, k) => named[k]) && named.includes("x") && named.includes("y")) return named;
  return names.map((_, k) => (k < Math.ceil(names.length / 2) ? "x" : "y"));
};

function drawLab(root) {
  const find = (name) => root.querySelector(`[data-lab="${name}"]`);
  let [table, worker] = [null, null];

  const busy = (on) => {
    find("start").disabled = on;
    find("stop").disabled = !on;
    find("progress").hidden = !on;
  };
  const told = (text, wrong = false) => {
    find("said").textContent = text;
    find("said").classList.toggle("lab-wrong", wrong);
    find("warnings").replaceChildren();
    find("chart").setAttribute("hidden", "");
  };
  const read = () => {
    find("groups").replaceChildren();
    table = null;
    try {
      table = labTable(find("text").value);
    } catch (error) {
      return told(error.message, true);
    }
    const groups = labGroups(table.names);
    find("groups").append(Object.assign(document.createElement("legend"), { textContent: "Which column belongs to x, which to y?" }));
    table.names.forEach((name, k) => {
      const [label, select] = [document.createElement("label"), document.createElement("select")];
      ["x", "y", "leave out"].forEach((each) => select.add(new Option(each, each)));
      select.value = groups[k];
      label.append(`${name} `, select);
      find("groups").append(label);
    });
    return told(`${table.columns[0].length.toLocaleString("en")} rows and ${table.names.length} columns read.`);
  };
  const show = (found) => {
    const nats = (value) => `${Math.max(0, value).toFixed(3)} nats`;
    told(found.lower <= 0 ? `Nothing found: estimate ${nats(found.mi)}, independence p = ${found.pValue.toFixed(3)}.`
      : `x tells of y at least ${nats(found.lower)} (95 %). Estimate ${nats(found.mi)}, interval of the bound ` +
        `${found.interval.map((each) => Math.max(0, each).toFixed(3)).join(" to ")}, independence p = ${found.pValue.toFixed(3)}. ` +
        `${found.rows.toLocaleString("en")} rows, ceiling ${found.ceiling.toFixed(2)} nats.`);
    find("warnings").replaceChildren(...found.warnings.map((each) =>
      Object.assign(document.createElement("li"), { textContent: `Warning: ${each}.` })));
    const most = Math.max(0.1, found.interval[1] * 1.25), x = (value) => 20 + (Math.max(0, value) / most) * 520;
    find("chart").removeAttribute("hidden");
    find("chart").innerHTML = `<line x1="20" x2="540" y1="60" y2="60" stroke="#333"/>` +
      [0, 1, 2, 3, 4].map((k) => `<text x="${x((most * k) / 4)}" y="82" text-anchor="${["start", "middle", "middle", "middle", "end"][k]}">${((most * k) / 4).toFixed(2)}</text>`).join("") +
      `<line x1="${x(found.interval[0])}" x2="${x(found.interval[1])}" y1="36" y2="36" stroke="#0072b2" stroke-width="10" opacity="0.4"/>` +
      `<circle cx="${x(found.mi)}" cy="36" r="7" fill="#0072b2"/>` +
      (found.lower > 0 ? `<path d="M${x(found.lower)} 14 V58" stroke="#d55e00" stroke-width="3"/>` : "");
  };
  const start = () => {
    if (!table) read();
    if (!table) return;
    const kinds = [...find("groups").querySelectorAll("select")].map((select) => select.value);
    const [x, y] = ["x", "y"].map((group) => table.columns.filter((_, k) => kinds[k] === group));
    if (!x.length || !y.length) {
      told(`No column belongs to ${x.length ? "y" : "x"}: choose at least one for each group.`, true);
      return;
    }
    const seed = Number(find("seed").value);
    if (!Number.isInteger(seed) || seed < 0) {
      told("The seed must be a whole number of at least 0.", true);
      return;
    }
    // A worker from text: a page that was opened from a file may load no other script.
    const source = `const lab = (${labEngine})(); onmessage = ({ data: { x, y, seed } }) => { try { postMessage({ found: ` +
      `lab.estimate(x, y, seed, (at) => postMessage({ at })) }); } catch (error) { postMessage({ wrong: error.message }); } };`;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    worker = new Worker(address);
    URL.revokeObjectURL(address);
    busy(true);
    told("Training …");
    find("progress").value = 0;
    worker.onmessage = ({ data: { at, found, wrong } }) => {
      if (at) {
        find("progress").value = Math.max(find("progress").value, at.share);
        find("progress").setAttribute("aria-valuetext", `part ${at.split} of ${at.splits}`);
        find("said").textContent = `Training: part ${at.split} of ${at.splits}, step ${at.step}, ${Math.max(0, at.nats).toFixed(2)} nats on validation rows.`;
        return;
      }
      stop();
      if (wrong) told(wrong, true);
      else show(found);
    };
    worker.onerror = (event) => { stop(); told(`The worker failed: ${event.message}`, true); };
    worker.postMessage({ x, y, seed });
  };
  const stop = () => {
    if (worker) worker.terminate();
    worker = null;
    busy(false);
  };
  const example = () => {
    const random = labEngine().stream(1);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    find("text").value = ["x,y", ...Array.from({ length: 1000 }, () => {
      const x = normal();
      return `${x.toFixed(4)},${(x * x + 0.5 * normal()).toFixed(4)}`;
    })].join("\n");
    read();
  };
  const load = async (file) => {
    if (!file) return;
    if (file.size > 5e6) {
      told(`The file has ${(file.size / 1e6).toFixed(0)} MB; 5,000 rows of 20 columns are at most 5.`, true);
      return;
    }
    find("text").value = await file.text();
    read();
  };

  find("text").addEventListener("change", () => { stop(); read(); });
  find("file").addEventListener("change", () => { stop(); load(find("file").files[0]); });
  find("example").addEventListener("click", () => { stop(); example(); });
  find("start").addEventListener("click", start);
  find("stop").addEventListener("click", () => { stop(); told("Stopped."); });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    stop();
    load(event.dataTransfer.files[0]);
  });
  root.addEventListener("submit", (event) => event.preventDefault());
  busy(false);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-lab='root']").forEach(drawLab);
});
