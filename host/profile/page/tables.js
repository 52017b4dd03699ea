// The tables: one tab each, sorted by whatever heading is clicked.

// What compilers say of pipelines: the report's "fields", each with its meaning.
const FIELDS = Object.entries(REPORT.fields ?? {}).map(([name, title]) => ({
  key: name,
  head: name,
  title,
  field: true,
  show: row => (row[name] === null ? "" : String(row[name])),
}));

const COLUMNS = [
  { key: "name", head: "name", text: true },
  { key: "calls", head: "calls", show: row => count(row.calls) },
  { key: "total", head: "time", show: row => duration(row.total) },
  { key: "share", head: "share", show: row => shareBar(row.share) },
  { key: "median", head: "median", show: row => duration(row.median) },
  { key: "bytes", head: "moves", show: row => (row.bytes ? bytes(row.bytes) : "") },
  { key: "byte_rate", head: "GB/s", show: row => (row.byte_rate ? giga(row.byte_rate) : "") },
  {
    key: "byte_share",
    head: "of memory",
    show: row => (row.byte_share ? percent(row.byte_share) : ""),
  },
  { key: "operations", head: "op", show: row => (row.operations ? count(row.operations) : "") },
  {
    key: "operation_rate",
    head: "GFLOP/s",
    show: row => (row.operation_rate ? giga(row.operation_rate) : ""),
  },
  {
    key: "operation_share",
    head: "of f32",
    show: row => (row.operation_share ? percent(row.operation_share) : ""),
  },
  { key: "limit", head: "near", text: true },
  { key: "ratio", head: "new / old", show: row => (row.ratio ? figure(row.ratio) : "") },
  { key: "change", head: "change", text: true },
  ...FIELDS,
];

// Rows of a table with what a comparison with an earlier profile says of them, where there was one,
// and of pipelines what the compiler does: null where it does not.
function withChanges(kind, rows) {
  const changes = (REPORT.compared?.rows ?? []).filter(own => own.table === kind);
  const known = new Map(changes.map(own => [own.name, own]));
  return rows.map(row => {
    const { ratio = 0, change = "", regressed = false } = known.get(row.name) ?? {};
    const fields = FIELDS.map(({ key }) => [key, row.compiler?.[key] ?? null]);
    return { ...row, ratio, change, regressed, ...Object.fromEntries(fields) };
  });
}

function shareBar(share) {
  return make(
    "div",
    {},
    percent(share),
    make("span", { className: "well" }, make("i", { style: `width:${(100 * share).toFixed(2)}%` })),
  );
}

// Columns that have something to say in one of the rows.
const usedColumns = rows =>
  COLUMNS.filter(({ key, field }) =>
    field
      ? rows.some(row => row[key] !== null) // 0 spills are news
      : key === "name" || rows.some(row => row[key] && row[key] !== "-"),
  );

function makeRow(kind, columns, row) {
  const line = make("tr");
  for (const { key, show, text } of columns) {
    const cell = make(
      "td",
      { className: key === "share" ? "share" : "" },
      text ? row[key] : show(row),
    );
    if (key === "name" && kind === "kernel")
      cell.prepend(make("i", { className: "key", style: `background:${kernelColour(row.name)}` }));
    line.append(cell);
  }
  if (row.change) line.classList.add(row.change);
  if (row.regressed) line.classList.add("regressed");
  if (kind === "kernel") {
    line.style.cursor = "pointer";
    line.addEventListener("click", () => chooseKernel(row.name));
    choice.listeners.push(name => line.classList.toggle("chosen", name === row.name));
  }
  return line;
}

// Names with numbers in them in the order of the numbers.
function compareBy({ key, text }, direction) {
  return (a, b) =>
    direction *
    (text
      ? a.row[key].localeCompare(b.row[key], "en", { numeric: true })
      : (a.row[key] ?? -1) - (b.row[key] ?? -1));
}

function makeTable(kind, rows) {
  const columns = usedColumns(rows),
    body = make("tbody"),
    head = make("tr");
  const lines = rows.map(row => ({ row, line: makeRow(kind, columns, row) }));
  for (const column of columns) {
    const cell = make("th", { scope: "col", title: column.title ?? "" }),
      button = make("button", { type: "button" }, column.key === "name" ? kind : column.head);
    button.addEventListener("click", () => {
      const now = cell.getAttribute("aria-sort");
      const direction = now ? (now === "ascending" ? -1 : 1) : column.text ? 1 : -1;
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      lines.sort(compareBy(column, direction));
      body.replaceChildren(...lines.map(own => own.line));
    });
    if (column.key === "total") cell.setAttribute("aria-sort", "descending"); // as the report has it
    cell.append(button);
    head.append(cell);
  }
  body.append(...lines.map(own => own.line));
  return make("table", { id: `table-${kind}` }, make("thead", {}, head), body);
}

function showTab(kind) {
  for (const tab of byId("tabs").children) {
    const chosen = tab.dataset.kind === kind;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  for (const panel of byId("tables").children) panel.hidden = panel.dataset.kind !== kind;
}

// Arrow keys go from tab to tab.
function moveTab(event) {
  const tabs = [...byId("tabs").children],
    now = tabs.indexOf(document.activeElement);
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by || now < 0) return;
  event.preventDefault();
  const next = tabs[(now + by + tabs.length) % tabs.length];
  next.focus();
  showTab(next.dataset.kind);
}

function showTables() {
  for (const kind of ["kernel", "block", "phase", "shape", "pipeline"]) {
    const rows = withChanges(kind, REPORT.tables[kind] ?? []);
    const tab = make(
      "button",
      { type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": `panel-${kind}` },
      `by ${kind} (${rows.length})`,
    );
    tab.dataset.kind = kind;
    tab.addEventListener("click", () => showTab(kind));
    byId("tabs").append(tab);
    const panel = make(
      "div",
      {
        className: "scroll",
        role: "tabpanel",
        id: `panel-${kind}`,
        "aria-labelledby": `tab-${kind}`,
      },
      makeTable(kind, rows),
    );
    panel.dataset.kind = kind;
    byId("tables").append(panel);
  }
  byId("tabs").addEventListener("keydown", moveTab);
  showTab("kernel");
}

showTables();
