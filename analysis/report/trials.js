// The table of trials: rows from the page's data, sorted and filtered here, shown a page at a time.
(() => {
  "use strict";
  const source = document.getElementById("trials-data");
  if (!source) return;
  const PAGE = 100;
  const data = JSON.parse(source.textContent);
  const table = document.getElementById("trials-table");
  const [head, body] = [table.tHead, table.tBodies[0]];
  const [form, count, more] = ["filters", "count", "more"].map((name) => document.getElementById(`trials-${name}`));
  const fields = ["text", "stage", "status"].map((name) => document.getElementById(`trials-${name}`));
  const columns = data.columns.map((column) => ({
    ...column,
    at: column.kind === "number" ? (row) => column.values[row] : (row) => column.values.texts[column.values.places[row]],
  }));
  const find = (label) => columns.find((column) => column.label === label);
  const all = Array.from({ length: data.count }, (_, row) => row);
  let rows = all, sorted = null, descending = false, shown = PAGE;

  function text(column, value) {
    if (value === null || value === "") return "";
    if (column.kind !== "number") return value;
    if (column.places !== null) return value.toFixed(column.places).replace("-", "\u2212");
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "\u2212");
    return String(Number(value.toPrecision(4))).replace("-", "\u2212");
  }

  // What the text filter looks through: every text, and every value as name=value.
  let haystacks = null;
  function haystack(row) {
    return columns.map((column) => {
      const value = column.at(row);
      return value === null ? "" : `${column.label}=${value} ${text(column, value)}`;
    }).join("\n").toLowerCase();
  }

  function filter() {
    const [words, stage, status] = fields.map((field) => field.value);
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length && !haystacks) haystacks = all.map(haystack);
    const [stages, statuses] = [find("Stage"), find("Status")];
    rows = all.filter((row) =>
      (!stage || stages.at(row) === stage) && (!status || statuses.at(row) === status) &&
      wanted.every((word) => haystacks[row].includes(word)));
    sort();
  }

  function sort() {
    if (sorted) {
      const sign = descending ? -1 : 1;
      rows = [...rows].sort((a, b) => {
        const [x, y] = [sorted.at(a), sorted.at(b)];
        const [noX, noY] = [x === null || x === "", y === null || y === ""];
        if (noX || noY) return noX - noY || a - b; // what is missing stands last either way
        return (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true })) * sign || a - b;
      });
    }
    shown = PAGE;
    show();
  }

  const classes = (column) => [column.kind === "number" ? "number" : "", column.aside ? "aside" : ""].join(" ").trim();

  function cell(column, row, first) {
    const value = column.at(row);
    const made = document.createElement(first ? "th" : "td");
    if (first) made.scope = "row";
    made.textContent = text(column, value);
    made.className = classes(column);
    if (value !== null && String(value) !== made.textContent) made.title = value;
    else if (made.textContent.length > 40) made.title = made.textContent;
    return made;
  }

  function show() {
    const made = document.createDocumentFragment();
    for (const row of rows.slice(0, shown)) {
      const line = document.createElement("tr");
      line.append(...columns.map((column, i) => cell(column, row, i === 0)));
      made.append(line);
    }
    body.replaceChildren(made);
    const visible = Math.min(shown, rows.length), n = (value) => value.toLocaleString("en");
    const fit = rows.length === all.length ? `${n(all.length)} trial${all.length === 1 ? "" : "s"}` : `${n(rows.length)} of ${n(all.length)} trials fit`;
    count.textContent = rows.length === 0 ? "No trial fits the filters." : fit + (visible < rows.length ? `; the first ${n(visible)} are shown` : "");
    more.hidden = visible >= rows.length;
  }

  const line = document.createElement("tr");
  for (const column of columns) {
    const made = document.createElement("th"), button = document.createElement("button");
    made.scope = "col";
    made.className = classes(column);
    button.type = "button";
    button.textContent = column.label;
    button.title = column.about;
    button.addEventListener("click", () => {
      descending = sorted === column ? !descending : column.falls;
      sorted = column;
      for (const other of line.children) other.removeAttribute("aria-sort");
      made.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort();
    });
    made.append(button);
    line.append(made);
  }
  head.append(line);
  form.hidden = false;
  for (const kind of ["input", "change"]) form.addEventListener(kind, filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  more.addEventListener("click", () => {
    shown += 5 * PAGE;
    show();
  });
  show();
})();
