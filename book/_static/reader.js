// The link for mistakes carries the place on the page, and what scrolls sideways takes the keyboard.
"use strict";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.mistake");
  if (link && link.href.includes("/issues/new") && location.hash) {
    link.href = link.href.replace(/(body=Page:\+[^%]*)/, `$1${encodeURIComponent(location.hash)}`);
  }
});

const SCROLLERS = "article :is(table, pre, mjx-container[display], .wide-figure)";

function reach(each) {
  const scrolls = each.scrollWidth > each.clientWidth && /auto|scroll/.test(getComputedStyle(each).overflowX);
  if (scrolls) each.tabIndex = 0;
  else each.removeAttribute("tabindex");
}

// What is unfolded, turned or resized changes its size; a font that comes late only what is in it.
const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => reach(target)));
addEventListener("load", () => {
  const scrollers = document.querySelectorAll(SCROLLERS);
  scrollers.forEach((each) => watch.observe(each));
  document.fonts.ready.then(() => scrollers.forEach(reach));
});
