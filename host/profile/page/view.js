// The timeline on its two canvases, and the reader's hands on it.

const GUTTER = 132,
  AXIS = 24,
  GAP = 3,
  LEAST_SPAN = 200; // pixels, and nanoseconds
const LENGTH = Math.max(1, LINE.length);

const view = {
  begin: 0,
  end: LENGTH,
  width: 0,
  pointer: null,
  over: null,
  chosen: null,
  waiting: false,
};
const canvas = byId("tracks"),
  overview = byId("overview");

const toX = time =>
  GUTTER + ((time - view.begin) / (view.end - view.begin)) * (view.width - GUTTER);
const toTime = x => view.begin + ((x - GUTTER) / (view.width - GUTTER)) * (view.end - view.begin);

function layOut() {
  let y = AXIS;
  for (const own of [...TRACKS, ...CURVES]) {
    own.y = y;
    y += own.height + GAP;
  }
  return y;
}

const HEIGHT = layOut();

// ---- painting ----------------------------------------------------------------------------------

function prepare(own, height) {
  const ratio = devicePixelRatio || 1;
  if (own.width !== Math.round(view.width * ratio) || own.height !== Math.round(height * ratio)) {
    own.width = Math.round(view.width * ratio);
    own.height = Math.round(height * ratio);
    own.style.height = `${height}px`;
  }
  const pen = own.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, view.width, height);
  pen.font = "11.5px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  return pen;
}

// A distance between ticks that is 1, 2 or 5 times a power of ten, for about so many of them.
function tickStep(span, wanted) {
  const rough = span / wanted,
    power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= rough);
}

function paintAxis(pen, colours) {
  const step = tickStep(view.end - view.begin, (view.width - GUTTER) / 110);
  for (let time = Math.ceil(view.begin / step) * step; time <= view.end; time += step) {
    const x = Math.round(toX(time)) + 0.5;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(x, AXIS - 6);
    pen.lineTo(x, HEIGHT);
    pen.stroke();
    pen.fillStyle = colours.soft;
    pen.textAlign = x < GUTTER + 28 ? "left" : x > view.width - 28 ? "right" : "center";
    pen.fillText(tickText(time, step), x, AXIS / 2);
  }
}

// As many decimals as neighbours need to differ.
function tickText(time, step) {
  const [unit, name] =
    time >= 1e9 || step >= 1e8
      ? [1e9, "s"]
      : time >= 1e6 || step >= 1e5
        ? [1e6, "ms"]
        : [1e3, "µs"];
  const decimals = Math.max(0, Math.ceil(-Math.log10(step / unit) - 1e-9));
  return time === 0 ? "0" : `${(time / unit).toFixed(Math.min(6, decimals))} ${name}`;
}

function fitText(pen, text, x, y, width) {
  if (width < 18) return;
  let own = text;
  if (pen.measureText(own).width > width - 8) {
    const letters = Math.floor((text.length * (width - 10)) / pen.measureText(own).width);
    if (letters < 3) return;
    own = `${text.slice(0, letters - 1)}…`;
    if (pen.measureText(own).width > width - 4) return;
  }
  pen.fillText(own, x, y);
}

const isPale = (track, i) =>
  choice.kernel !== null && track === KERNELS && commandOf(i)[NAME] !== choice.kernel;

function paintSlice(pen, track, i, x, right) {
  const { series, y, height } = track,
    from = Math.max(x, GUTTER),
    width = Math.min(right, view.width) - from;
  pen.globalAlpha = isPale(track, i) ? 0.2 : 1;
  pen.fillStyle = series.colours[i];
  pen.fillRect(from, y, Math.max(1, width - (right - x > 3 ? 1 : 0)), height);
  if (width > 18) {
    pen.fillStyle = inkOn(series.colours[i]);
    fitText(pen, track.name(i), from + 4, y + height / 2 + 0.5, width - 1);
  }
}

// The colour of the longest of a few of the slices first .. last - 1, which share a pixel.
function commonColour(track, first, last) {
  const step = Math.max(1, Math.floor((last - first) / 12)),
    { series } = track;
  let longest = first;
  for (let i = first; i < last; i += step) {
    const own = isPale(track, i) ? 0 : series.end[i] - series.begin[i];
    if (own > (isPale(track, longest) ? 0 : series.end[longest] - series.begin[longest]))
      longest = i;
  }
  return longest;
}

// All slices that begin within one pixel, as one line as dense as they cover it.
function paintPixel(pen, track, first, last, column) {
  const { series, y, height } = track,
    longest = commonColour(track, first, last);
  const share = coverage(series, toTime(column), toTime(column + 1));
  pen.globalAlpha = (isPale(track, longest) ? 0.2 : 1) * (0.35 + 0.65 * share);
  pen.fillStyle = series.colours[longest];
  pen.fillRect(column, y, 1, height);
}

function paintTrack(pen, track) {
  const { series } = track;
  for (let i = firstAfter(series, view.begin); i < series.size && series.begin[i] < view.end;) {
    const x = toX(series.begin[i]),
      right = toX(series.end[i]);
    if (right - x >= 1.5) {
      paintSlice(pen, track, i++, x, right);
      continue;
    }
    const column = Math.max(GUTTER, Math.floor(x));
    let last = Math.max(i + 1, firstFrom(series, toTime(column + 1), i));
    if (last > i + 1 && toX(series.end[last - 1]) >= column + 2) last--; // begins here, but is more than this pixel
    paintPixel(pen, track, i, last, column);
    i = last;
  }
  pen.globalAlpha = 1;
}

function extremes(values) {
  let low = Infinity,
    high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return { low, high };
}

function paintCurve(pen, curve, colours) {
  const { low, high } = (curve.range ??= extremes(curve.values)),
    { y, height } = curve;
  const least = curve.label === "memory" ? 0 : low,
    size = high - least || 1;
  const toY = value => y + height - 3 - ((value - least) / size) * (height - 8);
  pen.fillStyle = colours.faint;
  pen.fillRect(GUTTER, y, view.width - GUTTER, height);
  pen.beginPath();
  let started = false,
    top = 0,
    bottom = 0,
    column = -1;
  for (let i = 0; i < curve.times.length; i++) {
    const x = Math.min(view.width, Math.max(GUTTER, toX(curve.times[i])));
    const next = i + 1 < curve.times.length ? toX(curve.times[i + 1]) : view.width;
    if (next < GUTTER || x > view.width) continue;
    const at = toY(curve.values[i]);
    if (!started) pen.moveTo(x, at);
    started = true;
    if (Math.floor(x) === column && at >= top && at <= bottom) continue; // adds nothing to its pixel
    [top, bottom] = Math.floor(x) === column ? [Math.min(top, at), Math.max(bottom, at)] : [at, at];
    column = Math.floor(x);
    pen.lineTo(x, at);
    pen.lineTo(Math.min(view.width, next), at);
  }
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 1.5;
  pen.stroke();
  pen.lineWidth = 1;
}

function paintLabels(pen, colours) {
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, GUTTER, HEIGHT);
  pen.textAlign = "left";
  for (const own of [...TRACKS, ...CURVES]) {
    pen.fillStyle = colours.ink;
    pen.fillText(own.label, 10, own.y + (own.values ? 13 : own.height / 2));
    if (!own.values) continue;
    const { low, high } = own.range;
    pen.fillStyle = colours.soft;
    pen.fillText(
      low === high ? own.text(high) : `${own.text(low)} – ${own.text(high)}`,
      10,
      own.y + 30,
    );
  }
}

function outline(pen, colours, track, i) {
  const x = Math.max(GUTTER, toX(track.series.begin[i])),
    right = Math.min(view.width, toX(track.series.end[i]));
  if (right < GUTTER || x > view.width) return;
  pen.strokeStyle = colours.ink;
  pen.lineWidth = 2;
  pen.strokeRect(x, track.y + 1, Math.max(2, right - x - 1), track.height - 2);
  pen.lineWidth = 1;
}

// From a submission to its commands, and from a command to its submission.
function paintLink(pen, colours, { track, i }) {
  let own, first;
  if (track === KERNELS) {
    if (OWNERS.submission[i] < 0) return;
    const index = OWNERS.submission[i];
    own = TRACKS.find(other => other.series.items?.some(item => item.index === index));
    track = own;
    i = own.series.items.findIndex(item => item.index === index);
  }
  const item = track.series.items?.[i];
  if (item?.number === undefined || !item.number || item.first >= COMMANDS.size) return;
  first = item.first;
  const last = Math.min(first + item.number, COMMANDS.size) - 1;
  const x = toX(COMMANDS.begin[first]),
    right = toX(COMMANDS.end[last]),
    from = toX(item.begin);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, view.width - GUTTER, HEIGHT);
  pen.clip();
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 1.5;
  pen.strokeRect(x, KERNELS.y - 1, Math.max(2, right - x), KERNELS.height + 2);
  pen.beginPath();
  pen.moveTo(from, track.y + track.height);
  pen.bezierCurveTo(from, KERNELS.y - 20, x, track.y + track.height + 20, x, KERNELS.y);
  pen.stroke();
  pen.restore();
}

function paintTracks() {
  const pen = prepare(canvas, HEIGHT);
  const colours = Object.fromEntries(
    ["line", "soft", "ink", "panel", "faint", "accent"].map(name => [name, variable(`--${name}`)]),
  );
  paintAxis(pen, colours);
  pen.textAlign = "left";
  for (const track of TRACKS) paintTrack(pen, track);
  for (const curve of CURVES) paintCurve(pen, curve, colours);
  const shown = view.over ?? view.chosen;
  if (shown) paintLink(pen, colours, shown);
  for (const slice of [view.over, view.chosen])
    if (slice) outline(pen, colours, slice.track, slice.i);
  paintLabels(pen, colours);
}

// The whole time in one strip, the part in view in a frame.
function paintOverview() {
  const pen = prepare(overview, 30),
    size = view.width - GUTTER,
    pixel = LENGTH / size;
  pen.fillStyle = variable("--busy");
  for (let i = 0; i < size; i++) {
    const share = coverage(COMMANDS, i * pixel, (i + 1) * pixel);
    if (share > 0) pen.fillRect(GUTTER + i, 26 - 22 * share, 1, 22 * share);
  }
  pen.fillStyle = variable("--ink");
  pen.fillText("GPU busy", 10, 15);
  const x = GUTTER + (view.begin / LENGTH) * size,
    width = Math.max(3, ((view.end - view.begin) / LENGTH) * size);
  pen.strokeStyle = variable("--accent");
  pen.lineWidth = 2;
  pen.strokeRect(x + 1, 2, width - 2, 26);
  pen.globalAlpha = 0.12;
  pen.fillStyle = variable("--accent");
  pen.fillRect(x, 2, width, 26);
  pen.globalAlpha = 1;
}

function paint() {
  view.waiting = false;
  view.width = canvas.clientWidth;
  if (view.width <= GUTTER) return;
  paintTracks();
  paintOverview();
  const span = view.end - view.begin;
  byId("range").textContent =
    `${duration(1e-9 * view.begin)} – ${duration(1e-9 * view.end)}` +
    ` (${duration(1e-9 * span)}), GPU busy ${percent(coverage(COMMANDS, view.begin, view.end))}`;
}

function repaint() {
  if (!view.waiting) requestAnimationFrame(paint);
  view.waiting = true;
}

// ---- moving ------------------------------------------------------------------------------------

function show(begin, end) {
  const span = Math.min(LENGTH, Math.max(LEAST_SPAN, end - begin));
  view.begin = Math.min(Math.max(0, begin), LENGTH - span);
  view.end = view.begin + span;
  repaint();
}

function zoom(factor, time = (view.begin + view.end) / 2) {
  const begin = time - (time - view.begin) * factor;
  const span = (view.end - view.begin) * factor;
  // Clamped here, so that what is under the pointer stays there at the least span.
  if (span < LEAST_SPAN && factor < 1) return;
  show(begin, begin + span);
}

function move(share) {
  const by = share * (view.end - view.begin);
  show(view.begin + by, view.end + by);
}

// With a margin to either side.
function showSlice(begin, end) {
  const margin = 0.08 * (end - begin);
  show(begin - margin, end + margin);
}

// The step before or behind the one in the middle of the view.
function showStep(by) {
  const { series } = TRACKS[0];
  if (!LINE.steps.length) return;
  const whole = view.end - view.begin > 0.9 * LENGTH;
  const now = whole
    ? by > 0
      ? -1
      : series.size
    : Math.min(series.size - 1, firstAfter(series, (view.begin + view.end) / 2));
  const next = Math.min(series.size - 1, Math.max(0, now + by));
  showSlice(series.begin[next], series.end[next]);
}

// ---- choosing ----------------------------------------------------------------------------------

function sliceAt(x, y) {
  const track = TRACKS.find(own => y >= own.y && y < own.y + own.height + GAP);
  if (!track || x < GUTTER) return null;
  const near = toTime(x + 2) - toTime(x),
    time = toTime(x),
    i = firstAfter(track.series, time - near);
  return i < track.series.size && track.series.begin[i] <= time + near ? { track, i } : null;
}

function choose(slice) {
  const detail = byId("detail");
  view.chosen = slice;
  detail.hidden = !slice;
  if (slice) {
    const description = slice.track.describe(slice.i);
    detail.replaceChildren(
      make("b", {}, description.title),
      sentence({ ...description, title: "" }).slice(3),
    );
  }
  repaint();
}

function chooseNext(by) {
  const now =
    view.chosen?.track === KERNELS ? view.chosen.i + by : firstAfter(COMMANDS, view.begin);
  if (now < 0 || now >= COMMANDS.size) return;
  choose({ track: KERNELS, i: now });
  const span = view.end - view.begin,
    middle = (COMMANDS.begin[now] + COMMANDS.end[now]) / 2;
  if (middle < view.begin || middle > view.end) show(middle - span / 2, middle + span / 2);
}

// ---- the reader's hands ------------------------------------------------------------------------

const KEYS = {
  ArrowLeft: () => move(-0.2),
  ArrowRight: () => move(0.2),
  ArrowUp: () => zoom(0.7),
  ArrowDown: () => zoom(1 / 0.7),
  "+": () => zoom(0.7),
  "=": () => zoom(0.7),
  "-": () => zoom(1 / 0.7),
  0: () => show(0, LENGTH),
  Home: () => show(0, view.end - view.begin),
  End: () => show(LENGTH, LENGTH + view.end - view.begin),
  n: () => chooseNext(1),
  p: () => chooseNext(-1),
  ",": () => showStep(-1),
  ".": () => showStep(1),
  Escape: () => {
    choose(null);
    hideTip();
  },
};

canvas.addEventListener("keydown", event => {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
});

// Without Ctrl the wheel belongs to the page until the timeline is in use.
canvas.addEventListener(
  "wheel",
  event => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
    event.preventDefault();
    const lines = event.deltaMode ? 18 : 1;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move((event.deltaX * lines) / view.width);
    else zoom(1.0018 ** (event.deltaY * lines), toTime(Math.max(GUTTER, event.offsetX)));
  },
  { passive: false },
);

canvas.addEventListener("pointerdown", event => {
  if (event.button) return;
  canvas.setPointerCapture(event.pointerId);
  view.pointer = { x: event.offsetX, begin: view.begin, end: view.end, moved: false };
});

canvas.addEventListener("pointermove", event => {
  const held = view.pointer;
  if (held) {
    const by = ((held.x - event.offsetX) / (view.width - GUTTER)) * (held.end - held.begin);
    held.moved ||= Math.abs(held.x - event.offsetX) > 3;
    if (held.moved) {
      canvas.classList.add("held");
      hideTip();
      show(held.begin + by, held.end + by);
    }
    return;
  }
  view.over = sliceAt(event.offsetX, event.offsetY);
  if (view.over) showTip(view.over.track.describe(view.over.i), event.clientX, event.clientY);
  else hideTip();
  repaint();
});

canvas.addEventListener("pointerup", event => {
  canvas.classList.remove("held");
  if (view.pointer && !view.pointer.moved) choose(sliceAt(event.offsetX, event.offsetY));
  view.pointer = null;
});

canvas.addEventListener("pointercancel", () => {
  canvas.classList.remove("held");
  view.pointer = null;
});

canvas.addEventListener("pointerleave", () => {
  view.over = null;
  hideTip();
  repaint();
});

canvas.addEventListener("dblclick", event => {
  const slice = sliceAt(event.offsetX, event.offsetY);
  if (slice) showSlice(slice.track.series.begin[slice.i], slice.track.series.end[slice.i]);
});

function moveOverview(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const middle = ((event.offsetX - GUTTER) / (view.width - GUTTER)) * LENGTH,
    half = (view.end - view.begin) / 2;
  show(middle - half, middle + half);
}

overview.addEventListener("pointerdown", moveOverview);
overview.addEventListener("pointermove", moveOverview);

byId("zoom-in").addEventListener("click", () => zoom(0.5));
byId("zoom-out").addEventListener("click", () => zoom(2));
byId("fit").addEventListener("click", () => show(0, LENGTH));
byId("step-back").addEventListener("click", () => showStep(-1));
byId("step-on").addEventListener("click", () => showStep(1));

// The kernels that have a colour of their own; a click lets only one shine.
function showLegend() {
  for (const row of REPORT.tables.kernel.slice(0, KERNEL_COLOURS.length)) {
    const button = make(
      "button",
      { type: "button", "aria-pressed": "false" },
      make("i", { style: `background:${kernelColour(row.name)}` }),
      row.name,
    );
    button.addEventListener("click", () => chooseKernel(row.name));
    choice.listeners.push(name => button.setAttribute("aria-pressed", String(name === row.name)));
    byId("kernel-legend").append(make("li", {}, button));
  }
}

showLegend();
choice.listeners.push(repaint);
new ResizeObserver(repaint).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
for (const id of ["step-back", "step-on"]) byId(id).hidden = !LINE.steps.length;
