// The link for mistakes carries the place on the page, and what scrolls sideways takes the keyboard.
"use strict";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.mistake");
  if (link && link.href.includes("/issues/new") && location.hash) {
    link.href = link.href.replace(/(body=Page:\+[^%]*)/, `$1${encodeURIComponent(location.hash)}`);
  }
});

function reach() {
  document.querySelectorAll("article :is(table, pre, mjx-container[display], .wide-figure)").forEach((each) => {
    const scrolls = each.scrollWidth > each.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(each).overflowX);
    if (scrolls) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  });
}
addEventListener("load", reach);
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
