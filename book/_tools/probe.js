// What a page looks like to its reader: run in the page by browser.py, returns one object.
(async () => {
  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  for (let tries = 0; tries < 50 && !performance.getEntriesByType("paint").length; tries += 1) await wait(20);
  await wait(120);  // what moves soon after the first picture of the page, has moved
  const all = (selector) => [...document.querySelectorAll(selector)];
  // innerWidth would grow with a page that is too wide.
  const screen = document.documentElement.clientWidth, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const name = (element) => `${element.tagName}.${element.getAttribute("class") || ""}`;
  const scrolls = (element) => Boolean(element) && element !== document.body &&
    (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  // Any colour of CSS as red, green, blue (0 to 255) and opacity.
  const colours = new Map();
  function colour(text) {
    if (!colours.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      colours.set(text, [r, g, b, a / 255]);
    }
    return colours.get(text);
  }
  const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3]));
  const grounds = new Map();
  function ground(element) {
    if (!element) {
      const night = dark && /dark/.test(getComputedStyle(document.documentElement).colorScheme);
      return night ? [18, 18, 18] : [255, 255, 255];
    }
    if (!grounds.has(element)) {
      grounds.set(element, over(colour(getComputedStyle(element).backgroundColor),
        ground(element.parentElement)));
    }
    return grounds.get(element);
  }
  const light = (rgb) => rgb.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  function contrast(element) {
    const back = ground(element);
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
    const [r, g, b, a] = colour(getComputedStyle(element).color);
    const [high, low] = [light(over([r, g, b, a * opacity], back)), light(back)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  }
  const controls = "a[href], button, input, select, textarea, summary, output, iframe, [role=button]";
  const solutions = all("div.solution").map((box) => box.nextElementSibling)
    .filter((cell) => cell && cell.classList.contains("tag_hide-input"));
  const pictures = all("article img").filter(shown);
  const glare = (image) => {
    if (/invert\(|url\(/.test(getComputedStyle(image).filter)) return false;
    if (!image.complete || !image.naturalWidth) return false;
    canvas.canvas.width = canvas.canvas.height = 8;
    canvas.clearRect(0, 0, 8, 8);
    canvas.drawImage(image, 0, 0, 8, 8);
    try {
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return a > 128 && light([r, g, b]) > 0.8;
    } catch { return true; }
  };
  const levels = all("h1, h2, h3, h4, h5, h6").filter(shown).map((head) => [Number(head.tagName[1]), head.textContent]);
  const headings = levels.filter(([level], i) => (i === 0 ? level !== 1 : level > levels[i - 1][0] + 1 || level === 1))
    .map(([level, text]) => `h${level} ${text}`);
  const report = {
    screen,
    page_width: document.documentElement.scrollWidth,
    wide: all("article *, .bd-search-container *").filter((element) => element.getBoundingClientRect().right > screen + 1 &&
      !scrolls(element.parentElement)).slice(0, 5).map(name),
    written: all("span.math, div.math").length,
    set: all("mjx-container").length,
    lazy: Boolean(window.MathJax),
    plain: all("mjx-mi, mjx-mn").filter((e) => shown(e) && !/^"?MJX/.test(getComputedStyle(e).fontFamily))
      .slice(0, 3).map((e) => getComputedStyle(e).fontFamily),
    wrong: all("mjx-merror, [data-mjx-error]").map((e) => e.getAttribute("data-mjx-error") || e.textContent),
    stops: [...new Set(all("[tabindex]").filter((e) => e.tabIndex >= 0 && !e.matches(controls) && shown(e) &&
      e.scrollWidth <= e.clientWidth).map(name))],
    sideways: screen < 600 ? [] : all(".cell_output pre").filter((e) => shown(e) && e.scrollWidth > e.clientWidth + 1)
      .map((e) => e.textContent.trim().slice(0, 40)),
    open_outputs: solutions.flatMap((cell) => [...cell.querySelectorAll(".cell_output")])
      .filter(shown).map((e) => e.textContent.trim().slice(0, 40)),
    unsized: pictures.filter((image) => !/\.svg$/.test(image.src) && !(image.getAttribute("width") && image.getAttribute("height")))
      .map((image) => image.getAttribute("src")),
    glaring: dark ? pictures.filter(glare).map((image) => image.getAttribute("src")) : [],
    small: screen > 600 ? [] : pictures.filter((image) => Number(image.getAttribute("width")) > 400 &&
      image.getBoundingClientRect().width < Math.min(0.8 * Number(image.getAttribute("width")), 500))
      .map((image) => image.getAttribute("src")),
    headings,
    shift: window.shifted || 0,
    words: (document.querySelector("article") || document.body).innerText.trim().split(/\s+/).length,
  };
  // Contrast last, with all that is folded unfolded and nothing on its way to another colour.
  document.head.append(Object.assign(document.createElement("style"),
    { textContent: "* { transition: none !important; animation: none !important; }" }));
  all("details").forEach((fold) => { fold.open = true; });
  all(".toggle-hidden").forEach((fold) => fold.classList.remove("toggle-hidden"));
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const faint = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const judged = new Map();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || !element || element.closest("svg, script, style, noscript, mjx-assistive-mml, .visually-hidden, .skip-link, button[disabled]")) continue;
    if (!judged.has(element)) judged.set(element, shown(element) ? contrast(element) : 21);
    const ratio = judged.get(element);
    if (ratio < 4.45) {
      const key = name(element);
      if (!faint.has(key)) faint.set(key, [`${text.slice(0, 30)} in ${name(element.parentElement)} > ${key}`, ratio]);
    }
  }

  report.faint = [...faint.values()];
  return report;
})()
