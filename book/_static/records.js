// Filters above the table of records. Without this script the table is whole, and without filters.
"use strict";

const FILTERED = ["Chapter", "Profile", "Device", "State"];

function addFilters(table) {
  const text = (cell) => cell.textContent.trim();
  // A record may be shown in several chapters. A stale one names what has changed; the filter asks
  // only whether something has.
  const values = (row, column) => text(row.cells[column]).split(":")[0].split("; ");
  const heads = [...table.tHead.rows[0].cells].map(text);
  const rows = [...table.tBodies[0].rows];
  const form = document.createElement("form");
  form.className = "record-filters";
  const count = document.createElement("output");
  const choices = FILTERED.map((head) => {
    const column = heads.indexOf(head);
    const label = document.createElement("label");
    const select = document.createElement("select");
    const offered = [...new Set(rows.flatMap((row) => values(row, column)))].sort();
    ["all", ...offered].forEach((each) => select.add(new Option(each, each)));
    label.append(`${head} `, select);
    form.append(label);
    return { column, select };
  });
  function update() {
    rows.forEach((row) => {
      row.hidden = choices.some(({ column, select }) =>
        select.value !== "all" && !values(row, column).includes(select.value));
    });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} records`;
  }
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(count);
  (table.closest(".pst-scrollable-table-container") || table).before(form);
  update();
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.records").forEach(addFilters);
});
