// The search of the book: titles first, then statements, symbols and terms, then prose. No server.
"use strict";

const GREEK = { α: "alpha", β: "beta", ρ: "rho", Φ: "phi", φ: "phi", θ: "theta", σ: "sigma",
  τ: "tau", λ: "lambda", γ: "gamma", "≥": " ", "≤": " " };
const WEIGHT = { page: 10, statement: 4, symbol: 4, term: 5, section: 4, exercise: 2 };

function words(text) {
  const plain = text.replace(/[αβρΦφθστλγ≥≤]/g, (letter) => GREEK[letter])
    .normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase()
    .replace(/ml-cpc/g, "mlcpc");  // a name of its own, not a kind of "cpc"
  return plain.match(/[a-z0-9]+(?:[_/][a-z0-9]+)*|[\u4e00-\u9fff]+/g) || [];
}

// "weights" finds "weight", and "proofs" "proof".
function stem(word) {
  return word.length > 4 ? word.replace(/(?:ies|ing|es|ed|ly|s|e)$/, "") : word;
}

function prepared(index) {
  const rarity = new Map();
  const ready = index.map((entry) => {
    const count = (text) => {
      const found = new Map();
      words(text).forEach((word) => {
        [word, ...(/[_/]/.test(word) ? word.split(/[_/]/) : [])].map(stem)
          .forEach((each) => found.set(each, (found.get(each) || 0) + 1));
      });
      return found;
    };
    const [title, text] = [count(entry.t), count(entry.x)];
    new Set([...title.keys(), ...text.keys()])
      .forEach((word) => rarity.set(word, (rarity.get(word) || 0) + 1));
    return { entry, title, text };
  });
  return { ready, rarity, size: index.length };
}

function score(query, { ready, rarity, size }) {
  const asked = [...new Set(words(query).map(stem))];
  const rare = asked.map((word) => Math.log(1 + size / (rarity.get(word) || size)));
  const found = [];
  ready.forEach(({ entry, title, text }) => {
    if (entry.k === "term" && ![...title.keys()].every((word) => asked.includes(word))) return;
    let sum = 0, met = 0;
    asked.forEach((word, place) => {
      const inTitle = title.get(word) || 0;
      const often = text.get(word) || 0;
      const begins = !inTitle && !often && word.length > 3 &&
        [...title.keys()].some((other) => other.startsWith(word)) ? 0.5 : 0;
      if (inTitle || often || begins) met += rare[place];
      sum += rare[place] * ((inTitle ? WEIGHT[entry.k] : begins * WEIGHT[entry.k]) +
        (often * 2.2) / (often + 1.2 + text.size / 150));
    });
    const whole = rare.reduce((a, b) => a + b, 0);
    if (met) found.push({ entry, points: sum * (met / whole) ** 2 });
  });
  return found.sort((a, b) => b.points - a.points);
}

// Pages in the order of their best piece, helped a little by the others; each with its pieces.
function find(query, ready) {
  const pages = new Map();
  score(query, ready).forEach(({ entry, points }) => {
    const address = entry.a.split("#")[0];
    if (!pages.has(address)) pages.set(address, { address, title: entry.p, points: 0, pieces: [] });
    const page = pages.get(address);
    page.points += points / 2 ** page.pieces.length;
    page.pieces.push(entry);
  });
  return [...pages.values()].sort((a, b) => b.points - a.points);
}

function excerpt(text, query) {
  const asked = words(query).map(stem);
  const list = text.split(/(?<=[.?!]) /);
  const hit = list.findIndex((part) => words(part).some((word) => asked.includes(stem(word))));
  const part = list.slice(Math.max(hit, 0), Math.max(hit, 0) + 2).join(" ");
  return part.length > 220 ? `${part.slice(0, 220)} …` : part;
}

document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("search-results");
  if (!place || typeof SEARCH_INDEX === "undefined") return;
  const ready = prepared(SEARCH_INDEX);
  const query = new URLSearchParams(location.search).get("q") || "";
  const field = document.querySelector(".bd-search-container input");
  const show = (text) => {
    const found = text.trim() ? find(text, ready).slice(0, 12) : [];
    const make = (tag, content, parent) => {
      const made = document.createElement(tag);
      made.textContent = content;
      parent.append(made);
      return made;
    };
    place.replaceChildren();
    if (text.trim()) {
      make("p", found.length ? `${found.length} pages, the closest first.` : "No page has these words.", place);
    }
    const list = make("ol", "", place);
    found.forEach((page) => {
      const item = make("li", "", list);
      make("a", page.title, item).href = page.address;
      const inner = make("ul", "", item);
      page.pieces.slice(0, 3).forEach((piece) => {
        const row = make("li", "", inner);
        if (piece.t !== page.title) make("a", piece.t, row).href = piece.a;
        make("p", excerpt(piece.x, text), row);
      });
    });
  };
  field.value = query;
  field.addEventListener("input", () => show(field.value));
  field.form.addEventListener("submit", (event) => event.preventDefault());
  show(query);
});
