"use strict";
// Everything here only helps: without it the page holds the same figures.

// Sorting: a button in each heading; rows move by their cells' data-v, or text.
const collator = new Intl.Collator(undefined, {numeric: true});
function value(row, column) {
  const cell = row.cells[column];
  if (!cell) return null;
  if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  return cell.textContent.trim();
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null); // what was not measured is last
  return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
}
function sort(table, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, row => [value(row, heading.cellIndex), row]);
  rows.sort(([a], [b]) => a === null || b === null || !down ? compare(a, b) : compare(b, a));
  body.append(...rows.map(([, row]) => row));
}
function sortable(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    if (table.tBodies.length === 0 || table.tBodies[0].rows.length < 4) continue;
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  }
}

// Filtering: a field above each list; what does not hold all of its words goes.
function filterable(root) {
  for (const holder of root.querySelectorAll("[data-filter]")) {
    const items = Array.from(holder.querySelectorAll("tbody tr, details.cell"));
    if (items.length < 8) continue;
    const texts = items.map(item => (item.dataset.name || item.textContent).toLowerCase());
    const field = document.createElement("input"), count = document.createElement("span"), tools = document.createElement("div");
    field.type = "search";
    field.placeholder = "Filter, e.g. nginx mt";
    field.setAttribute("aria-label", "Filter " + holder.dataset.filter);
    count.setAttribute("role", "status");
    tools.className = "tools";
    tools.append(field, count);
    holder.prepend(tools);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      items.forEach((item, i) => {
        item.hidden = !words.every(word => texts[i].includes(word));
        shown += !item.hidden;
      });
      count.textContent = words.length ? shown + " of " + items.length : "";
    });
  }
}

// Names of points, at once and also for the keyboard.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);
function nameOf(mark) {
  const title = mark.querySelector("title");
  if (title) {
    mark.dataset.tip = title.textContent;
    title.remove(); // or the browser shows it a second time
  }
  return mark.dataset.tip;
}
function show(mark) {
  tip.textContent = nameOf(mark);
  tip.hidden = false;
  const at = mark.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const left = Math.min(Math.max(6, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 6);
  tip.style.left = left + "px";
  tip.style.top = (at.top > size.height + 14 ? at.top - size.height - 8 : at.bottom + 8) + "px";
}
for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, event => {
    const mark = event.target.closest && event.target.closest(".mark");
    if (mark) show(mark);
  });
  document.addEventListener(off, event => {
    if (event.target.closest && event.target.closest(".mark")) tip.hidden = true;
  });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") tip.hidden = true; });

// A link to a cell opens it.
function reveal() {
  let target = null;
  try { target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return; }
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target.hidden = false;
  target.scrollIntoView({block: "start"});
}
addEventListener("hashchange", reveal);

// A run under way: look again when the store has more of it, and keep what the
// reader has opened, sorted and filtered, and what is at the top of the screen.
function enhance(root) { sortable(root); filterable(root); }
function tables(main) { return Array.from(main.querySelectorAll("table.sortable"), table => [table.parentNode.getAttribute("aria-label"), table]); }
function fields(main) { return Array.from(main.querySelectorAll("[data-filter] input"), field => [field.getAttribute("aria-label"), field]); }
function replace(main, fresh) {
  const open = Array.from(main.querySelectorAll("details[open][id]"), d => d.id);
  const sorted = new Map(tables(main).map(([name, table]) => {
    const heading = table.querySelector("th[aria-sort]");
    return [name, heading && [heading.cellIndex, heading.getAttribute("aria-sort")]];
  }));
  const filtered = new Map(fields(main).map(([name, field]) => [name, field.value]));
  const top = Array.from(main.querySelectorAll("section[id], details[id]")).findLast(e => e.getClientRects().length && e.getBoundingClientRect().top <= 0);
  const was = top && top.getBoundingClientRect().top;
  main.replaceChildren(...fresh.childNodes);
  enhance(main);
  for (const id of open) { const d = document.getElementById(id); if (d) d.open = true; }
  for (const [name, table] of tables(main)) {
    const [column, way] = sorted.get(name) || [];
    const heading = way && table.tHead.rows[0].cells[column];
    for (let i = 0; heading && i < 2 && heading.getAttribute("aria-sort") !== way; i++) sort(table, heading);
  }
  for (const [name, field] of fields(main)) {
    if (!filtered.get(name)) continue;
    field.value = filtered.get(name);
    field.dispatchEvent(new Event("input"));
  }
  // Sections above are laid out in the next frames, which moves the place again.
  const now = top && document.getElementById(top.id);
  const hold = frames => {
    scrollBy({top: now.getBoundingClientRect().top - was, behavior: "instant"});
    if (frames > 0) requestAnimationFrame(() => hold(frames - 1));
  };
  if (now) hold(5);
}
async function follow(main) {
  const seconds = Number(main.dataset.follow);
  if (!seconds) return;
  let seen = main.dataset.version;
  for (;;) {
    await new Promise(done => setTimeout(done, seconds * 1000));
    if (document.hidden) continue;
    try {
      const answer = await fetch(main.dataset.state, {cache: "no-store"});
      if (!answer.ok) continue;
      const state = await answer.json();
      if (state.version === seen) continue;
      const page = new DOMParser().parseFromString(await (await fetch(location.href, {cache: "no-store"})).text(), "text/html");
      const fresh = page.querySelector("main"), head = page.querySelector("header");
      if (!fresh || document.activeElement && document.activeElement.matches("input")) continue;
      if (head) document.querySelector("header").replaceChildren(...head.childNodes);
      replace(main, fresh);
      seen = state.version;
      if (!fresh.dataset.follow) return;
    } catch { /* the server is gone or busy: the page stays as it is */ }
  }
}
enhance(document);
reveal();
follow(document.querySelector("main"));
