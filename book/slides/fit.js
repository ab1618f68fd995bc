// Gives a slide the largest letters that fit, down to a size that can still be read in a hall;
// what does not fit then is reported by window.ready.
const MOST = 1.24, LEAST = 0.6, WIDTH = 1280, HEIGHT = 720;
function holds(frame) {  // null where a file may not look into another
  const page = frame.contentDocument && frame.contentDocument.documentElement;
  return !page || (page.scrollHeight <= frame.clientHeight + 1 && page.scrollWidth <= frame.clientWidth + 1);
}
function fits(slide) {
  return slide.scrollHeight <= HEIGHT + 1 && slide.scrollWidth <= WIDTH + 1 && [...slide.querySelectorAll("iframe")].every(holds);
}
function resize(slide, size) {  // hidden in between, else Chromium keeps the heights of formulas
  slide.style.setProperty("display", "none", "important");
  slide.style.fontSize = `${100 * size}%`;
  void document.body.offsetHeight;
  slide.style.setProperty("display", "block", "important");
}
function fit() {
  const sizes = [];
  document.documentElement.classList.add("measuring");
  for (const slide of document.querySelectorAll(".reveal .slides > section")) {
    const shown = slide.getAttribute("style"), hidden = slide.hidden;
    slide.hidden = false;
    slide.style.cssText += ";display:block !important;position:static !important;visibility:visible;width:1280px;height:auto;min-height:0;transform:none";
    let size = slide.querySelector("img, iframe") ? 1 : MOST;
    resize(slide, size);
    while (!fits(slide) && size > LEAST) resize(slide, size -= 0.04);
    const height = slide.scrollHeight, width = slide.scrollWidth, good = fits(slide);
    slide.setAttribute("style", `${shown || ""};font-size:${100 * size}%`);
    slide.hidden = hidden;
    sizes.push({size, height, width, good, title: (slide.querySelector("h1, h2") || slide).textContent.trim().slice(0, 60)});
  }
  document.documentElement.classList.remove("measuring");
  return sizes;
}
window.ready = (async () => {
  await (window.MathJax && MathJax.startup ? MathJax.startup.promise : null);
  if (document.readyState !== "complete") await new Promise((done) => addEventListener("load", done));
  await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
  const sizes = fit();
  await Reveal.initialize({width: WIDTH, height: HEIGHT, margin: 0.02, hash: true, center: false,
    controls: true, progress: true, slideNumber: "c/t", plugins: [RevealNotes]});
  return sizes;
})();
