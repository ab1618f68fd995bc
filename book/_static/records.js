// Filters above the table of records. Without this script the table is whole, and without filters.
"use strict";

const FILTERED = ["Chapter", "Profile", "Device", "State"];

function addFilters(table) {
  const text = (cell) => cell.textContent.trim();
  // A stale record names what has changed; the filter asks only whether something has.
  const value = (row, column) => text(row.cells[column]).split(":")[0];
  const heads = [...table.tHead.rows[0].cells].map(text);
  const rows = [...table.tBodies[0].rows];
  const form = document.createElement("form");
  form.className = "record-filters";
  const count = document.createElement("output");
  const choices = FILTERED.map((head) => {
    const column = heads.indexOf(head);
    const label = document.createElement("label");
    const select = document.createElement("select");
    const values = [...new Set(rows.map((row) => value(row, column)))].sort();
    ["all", ...values].forEach((each) => select.add(new Option(each, each)));
    label.append(`${head} `, select);
    form.append(label);
    return { column, select };
  });
  function update() {
    rows.forEach((row) => {
      row.hidden = choices.some(({ column, select }) =>
        select.value !== "all" && select.value !== value(row, column));
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
