"use strict";
// The data, how figures are written, colours, the tooltip, and the summary on top. What the data are:
// page.c (timeline) and table.h (report).
const { report: REPORT, timeline: LINE } = JSON.parse(
  document.getElementById("profile").textContent,
);

// ---- figures -----------------------------------------------------------------------------------

// Three digits that count.
function figure(value) {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.0995 || value === 0) return value.toFixed(2);
  return value.toPrecision(2);
}

function scaled(value, units) {
  for (const [least, unit] of units)
    if (Math.abs(value) >= least * 0.9995) return `${figure(value / least)} ${unit}`;
  const [least, unit] = units[units.length - 1];
  return `${figure(value / least)} ${unit}`;
}

const duration = seconds =>
  seconds === 0
    ? "0 s"
    : scaled(seconds, [
        [1, "s"],
        [1e-3, "ms"],
        [1e-6, "µs"],
        [1e-9, "ns"],
      ]);
const bytes = value =>
  scaled(value, [
    [1e9, "GB"],
    [1e6, "MB"],
    [1e3, "kB"],
    [1, "B"],
  ]);
const count = value =>
  value >= 1e6
    ? scaled(value, [
        [1e12, "T"],
        [1e9, "G"],
        [1e6, "M"],
      ])
    : value.toLocaleString("en");
const percent = share => (share > 0 && share < 0.0005 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`);
const giga = value => figure(1e-9 * value);

// ---- elements ----------------------------------------------------------------------------------

// A new element with text or children; never parses markup.
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties))
    if (key in element && key !== "style" && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, value);
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

const byId = id => document.getElementById(id);

// ---- colours -----------------------------------------------------------------------------------

// By kernel, the one that took longest first; what comes behind these is grey.
const KERNEL_COLOURS = [
  "#3f76dd",
  "#e5803a",
  "#2f9e6e",
  "#c8477f",
  "#8c66d6",
  "#c9a227",
  "#2a9db8",
  "#d4525f",
  "#84963e",
  "#a1704f",
];
const OTHER_COLOUR = "#8b93a1";
const KERNEL_RANK = new Map(REPORT.tables.kernel.map((row, i) => [row.name, i]));

function kernelColour(name) {
  return KERNEL_COLOURS[KERNEL_RANK.get(name)] ?? OTHER_COLOUR;
}

// Phases and places take turns through tints that no kernel has.
const TINTS = ["#5b7088", "#7a6a8c", "#5c8079", "#8a7460", "#6b7a55", "#876878"];
const tint = number => TINTS[number % TINTS.length];

// Black or white, whichever is legible on a colour.
const inkOn = (() => {
  const known = new Map();
  return colour => {
    if (!known.has(colour)) {
      const [r, g, b] = [1, 3, 5]
        .map(i => parseInt(colour.slice(i, i + 2), 16) / 255)
        .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      known.set(colour, 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.3 ? "#10151c" : "#ffffff");
    }
    return known.get(colour);
  };
})();

const variable = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// ---- what is chosen: a kernel, shown in timeline, roofline and table alike -----------------------

const choice = { kernel: null, listeners: [] };

function chooseKernel(name) {
  choice.kernel = choice.kernel === name ? null : name;
  for (const listener of choice.listeners) listener(choice.kernel);
}

// ---- the tooltip -------------------------------------------------------------------------------

// A description is a title and pairs of name and value.
function showTip(description, x, y) {
  const tip = byId("tip"),
    list = make("dl");
  for (const [name, value] of description.pairs)
    list.append(make("dt", {}, name), make("dd", {}, value));
  tip.replaceChildren(make("b", {}, description.title), list);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const right = x + 16 + width > innerWidth - 8 ? x - 16 - width : x + 16;
  tip.style.left = `${Math.max(8, right)}px`;
  tip.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - height - 8))}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

const sentence = description =>
  [description.title, ...description.pairs.map(([name, value]) => `${name} ${value}`)].join(" · ");

// ---- the summary -------------------------------------------------------------------------------

const ACCOUNTS = [
  ["busy", "GPU busy"],
  ["gaps", "gaps"],
  ["transfers", "transfers"],
  ["host", "host"],
];

function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b),
    half = sorted.length >> 1;
  if (!sorted.length) return NaN;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function showAccount() {
  const whole = REPORT.accounting.whole,
    bar = byId("account-bar"),
    legend = byId("account-legend");
  const all = ACCOUNTS.reduce((sum, [key]) => sum + whole[key], 0) || 1;
  bar.setAttribute(
    "aria-label",
    ACCOUNTS.map(([key, name]) => `${name} ${percent(whole[key] / all)}`).join(", "),
  );
  for (const [key, name] of ACCOUNTS) {
    const colour = `var(--${key})`;
    bar.append(
      make("span", {
        style: `width:${(100 * whole[key]) / all}%;background:${colour}`,
        title: `${name}: ${duration(whole[key])}`,
      }),
    );
    legend.append(
      make(
        "li",
        {},
        make("i", { style: `background:${colour}` }),
        `${name} `,
        make("b", {}, duration(whole[key])),
        ` ${percent(whole[key] / all)}`,
      ),
    );
  }
}

function addFact(name, value, more) {
  byId("facts").append(
    make(
      "div",
      {},
      make("dt", {}, name),
      make("dd", {}, value, more ? make("small", {}, ` ${more}`) : null),
    ),
  );
}

function showFacts() {
  const whole = REPORT.accounting.whole,
    steps = REPORT.steps;
  const commands = REPORT.tables.kernel.reduce((sum, row) => sum + row.calls, 0);
  addFact("wall time", duration(whole.wall));
  addFact("GPU busy", whole.wall ? percent(whole.busy / whole.wall) : "-");
  addFact("commands", count(commands), `${REPORT.tables.kernel.length} kernels`);
  if (steps.count) {
    const tokens = LINE.steps.reduce((sum, step) => sum + step[3], 0);
    const seconds = LINE.steps.reduce((sum, step) => sum + 1e-9 * (step[1] - step[0]), 0);
    addFact("steps", count(steps.count), `median ${duration(median(steps.wall))}`);
    addFact("tokens", count(tokens), seconds ? `${figure(tokens / seconds)}/s` : "");
    const losses = LINE.steps.map(step => step[2]).filter(loss => loss !== null);
    if (losses.length)
      addFact("loss", figure(losses[losses.length - 1]), `from ${figure(losses[0])}`);
  }
  for (const [key, name] of [
    ["uploads", "uploads"],
    ["downloads", "downloads"],
  ])
    if (REPORT.accounting[key].count)
      addFact(
        name,
        bytes(REPORT.accounting[key].bytes),
        `in ${count(REPORT.accounting[key].count)}`,
      );
}

const NOTED = ["serialized", "timestamps", "calibrated"]; // said in sentences

// The whole step against that of an earlier profile.
function showComparison() {
  const step = REPORT.compared?.rows.find(row => row.table === "step");
  if (!step?.ratio) return;
  const bounds = step.low && step.high ? `, ${figure(step.low)} to ${figure(step.high)}` : "";
  addFact("step, new / old", figure(step.ratio), `${step.change}${bounds}`);
}

function showNotes() {
  const notes = byId("notes"),
    clock = REPORT.accounting.clock_error,
    set = REPORT.settings;
  const say = text => notes.append(make("p", {}, text));
  if (set.timestamps === "no")
    say(
      "The device has no timestamps: each command was submitted alone, and times are the host's.",
    );
  else
    say(
      `The device's times stand on the host's clock to within ${duration(clock)}` +
        (set.calibrated === "yes" ? "." : " (estimated: the driver has no calibrated timestamps)."),
    );
  if (set.serialized === "yes" && set.timestamps !== "no")
    say(
      "Each command was submitted alone and waited for: single times are exact, their sum is longer than usual.",
    );
  if (LINE.omitted)
    say(`The timeline ends before the last ${count(LINE.omitted)} commands; the tables have all.`);
  if (REPORT.compared)
    say([`Compared with ${REPORT.compared.file}.`, ...REPORT.compared.notes].join(" "));
  const settings = Object.entries(set)
    .filter(([name]) => !NOTED.includes(name))
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  say(`strata ${REPORT.strata}, ${REPORT.date}${settings ? `; ${settings}` : ""}`);
}

function showSummary() {
  document.title = `${REPORT.title} · strata profile`;
  byId("title").textContent = REPORT.title;
  byId("machine").textContent = `${REPORT.device} · ${REPORT.driver}`;
  showAccount();
  showFacts();
  showComparison();
  showNotes();
}

showSummary();
