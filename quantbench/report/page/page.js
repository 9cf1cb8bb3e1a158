"use strict";
// Without this script the page lacks only sorting and the copy buttons.

function sortKey(row, column) {
  const cell = row.cells[column];
  if (!cell) return null;
  const value = cell.dataset.value;
  if (value !== undefined && value !== "" && Number.isFinite(Number(value))) return Number(value);
  return cell.textContent.trim() || null;
}

// Numbers before texts before nothing in both directions, so that what is missing never comes first.
function compareKeys(a, b, direction) {
  const rank = (key) => (key === null ? 2 : typeof key === "number" ? 0 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a === null) return 0;
  return direction * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

function sortTable(table, header) {
  const state = { none: "ascending", ascending: "descending", descending: "none" };
  const next = state[header.getAttribute("aria-sort") || "none"];
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  if (next !== "none") header.setAttribute("aria-sort", next);
  for (const body of table.tBodies) {
    const rows = body.originalRows || (body.originalRows = [...body.rows]);
    const keyed = rows.map((row) => [sortKey(row, header.cellIndex), row]);
    const direction = next === "ascending" ? 1 : -1;
    if (next !== "none") keyed.sort((one, two) => compareKeys(one[0], two[0], direction)); // stable
    body.append(...keyed.map(([, row]) => row));
  }
}

function makeSortable(table) {
  if (!table.tHead || !table.tHead.rows.length) return;
  for (const header of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortTable(table, header));
  }
}

function select(element) {
  const selection = window.getSelection();
  selection.removeAllRanges();
  const range = document.createRange();
  range.selectNodeContents(element);
  selection.addRange(range);
}

function addCopyButton(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  let timer;
  const say = (short, long) => {
    button.textContent = short;
    document.getElementById("announcer").textContent = long;
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      say("Copied", "The command was copied.");
    } catch {
      select(code);
      say("Selected", "The command is selected: copy it with Ctrl+C.");
    }
  });
  code.before(button);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("td.command > code").forEach(addCopyButton);
