// The tracks of the timeline: what is on them, and how they are painted however many slices meet one
// pixel. Times are nanoseconds from the beginning. What the reader does with them: view.js.

// ---- series: slices in order of time that do not overlap -----------------------------------------

function makeSeries(size) {
  return {
    size,
    begin: new Float64Array(size),
    end: new Float64Array(size),
    colours: new Array(size),
    sums: null,
  };
}

// The first slice that ends behind a time.
function firstAfter(series, time) {
  let low = 0,
    high = series.size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (series.end[middle] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

// The first slice from `from` on that does not begin before a time: searched in steps that double.
function firstFrom(series, time, from) {
  let step = 1,
    low = from,
    high = from + 1;
  while (high < series.size && series.begin[high] < time) {
    low = high;
    high += step;
    step *= 2;
  }
  high = Math.min(high, series.size);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (series.begin[middle] >= time) high = middle;
    else low = middle + 1;
  }
  return low;
}

// How much of a span the slices cover, 0 to 1.
function coverage(series, begin, end) {
  if (!series.sums) {
    series.sums = new Float64Array(series.size + 1);
    for (let i = 0; i < series.size; i++)
      series.sums[i + 1] = series.sums[i] + series.end[i] - series.begin[i];
  }
  const first = firstAfter(series, begin);
  if (first === series.size || series.begin[first] >= end) return 0;
  const last = firstFrom(series, end, first);
  let sum = series.sums[last] - series.sums[first];
  sum -= Math.max(0, begin - series.begin[first]) + Math.max(0, series.end[last - 1] - end);
  return Math.min(1, sum / (end - begin));
}

// ---- the data ----------------------------------------------------------------------------------

// Fields of LINE's lists: see page.c.
const NAME = 0,
  TAPE = 1,
  PLACE = 2,
  PHASE = 3,
  ROWS = 4,
  SHAPE = 5,
  GROUPS = 6,
  TENSORS = 7,
  BYTES = 8,
  OPERATIONS = 9;

function readCommands() {
  const { command, gap, duration: length } = LINE.events,
    series = makeSeries(command.length);
  const colours = LINE.commands.map(own => kernelColour(own[NAME]));
  let now = 0;
  for (let i = 0; i < series.size; i++) {
    series.begin[i] = now += gap[i];
    series.end[i] = now += length[i];
    series.colours[i] = colours[command[i]];
  }
  return series;
}

// Which call of gpu_run, and which submission, each command belongs to.
function readOwners(size) {
  const run = new Int32Array(size).fill(-1),
    submission = new Int32Array(size).fill(-1);
  LINE.submissions.forEach(([, , own, first, number], i) => {
    run.fill(own, first, first + number);
    submission.fill(i, first, first + number);
  });
  return { run, submission };
}

const COMMANDS = readCommands(),
  OWNERS = readOwners(COMMANDS.size);
const commandOf = i => LINE.commands[LINE.events.command[i]];

// The longest stretches of commands of one run (and of one slice of `within`) that share a field.
function stretches(field, within) {
  const firsts = [];
  let next = 0;
  for (let i = 0; i < COMMANDS.size; i++) {
    const breaks = within && next < within.size && within.firsts[next] === i;
    if (breaks) next++;
    if (
      !i ||
      breaks ||
      OWNERS.run[i] !== OWNERS.run[i - 1] ||
      commandOf(i)[field] !== commandOf(i - 1)[field]
    )
      firsts.push(i);
  }
  const series = makeSeries(firsts.length),
    numbers = new Map();
  series.firsts = firsts;
  firsts.forEach((first, i) => {
    const name = commandOf(first)[field];
    if (!numbers.has(name)) numbers.set(name, numbers.size);
    series.begin[i] = COMMANDS.begin[first];
    series.end[i] = COMMANDS.end[(firsts[i + 1] ?? COMMANDS.size) - 1];
    series.colours[i] = tint(numbers.get(name) + (field === PLACE ? 3 : 0));
  });
  return series;
}

// A series of what the host did: (list) of items, each with begin and end.
function hostSeries(items, colour) {
  const series = makeSeries(items.length);
  items.forEach((item, i) => {
    series.begin[i] = item.begin;
    series.end[i] = item.end;
    series.colours[i] = colour(item);
  });
  series.items = items;
  return series;
}

function readCalls() {
  const calls = LINE.runs.map(([begin, end, memory], i) => ({
    begin,
    end,
    memory,
    name: `run ${i + 1}`,
  }));
  for (const [upload, begin, end, size] of LINE.transfers)
    calls.push({ begin, end, size, name: upload ? "upload" : "download" });
  calls.sort((a, b) => a.begin - b.begin);
  return hostSeries(calls, call => (call.memory === undefined ? "#2a9db8" : "#7b6bc9"));
}

// Submissions in flight together lie on lanes of their own.
function readSubmissions() {
  const lanes = [];
  LINE.submissions.forEach(([begin, end, run, first, number], i) => {
    let lane = lanes.find(own => own[own.length - 1].end <= begin);
    if (!lane && lanes.length < 4) lanes.push((lane = []));
    (lane ?? lanes[0]).push({ begin, end, run, first, number, index: i });
  });
  return lanes.map(lane => hostSeries(lane, () => "#6c8399"));
}

// ---- descriptions ------------------------------------------------------------------------------

const span = (begin, end) => [
  ["begins at", duration(1e-9 * begin)],
  ["takes", duration(1e-9 * (end - begin))],
];

function describeCommand(i) {
  const own = commandOf(i),
    seconds = 1e-9 * (COMMANDS.end[i] - COMMANDS.begin[i]);
  const pairs = [
    ["place", own[PLACE]],
    ["phase", own[PHASE]],
    ["tape", own[TAPE]],
    ...span(COMMANDS.begin[i], COMMANDS.end[i]),
  ];
  if (own[SHAPE]) pairs.push(["shape", own[SHAPE]]);
  if (own[ROWS]) pairs.push(["rows", count(own[ROWS])]);
  if (own[GROUPS]) pairs.push(["groups", own[GROUPS]]);
  if (own[TENSORS]) pairs.push(["tensors", own[TENSORS]]);
  if (own[BYTES]) pairs.push(["moves", `${bytes(own[BYTES])}, ${giga(own[BYTES] / seconds)} GB/s`]);
  if (own[OPERATIONS])
    pairs.push([
      "computes",
      `${count(own[OPERATIONS])} op, ${giga(own[OPERATIONS] / seconds)} GFLOP/s`,
    ]);
  return { title: own[NAME], pairs };
}

function describeStretch(series, field, i) {
  const first = series.firsts[i],
    last = series.firsts[i + 1] ?? COMMANDS.size;
  return {
    title: commandOf(first)[field],
    pairs: [
      ...span(series.begin[i], series.end[i]),
      ["commands", count(last - first)],
      ["GPU busy", percent(coverage(COMMANDS, series.begin[i], series.end[i]))],
    ],
  };
}

function describeCall(call) {
  const pairs = span(call.begin, call.end);
  if (call.memory !== undefined) pairs.push(["tensors hold", bytes(call.memory)]);
  else
    pairs.push([
      "size",
      `${bytes(call.size)}, ${giga((1e9 * call.size) / (call.end - call.begin))} GB/s`,
    ]);
  return { title: call.name, pairs };
}

function describeStep(step) {
  const pairs = span(step.begin, step.end);
  if (step.loss !== null) pairs.push(["loss", figure(step.loss)]);
  pairs.push(
    ["tokens", count(step.tokens)],
    ["GPU busy", percent(coverage(COMMANDS, step.begin, step.end))],
  );
  return { title: step.name, pairs };
}

const describeSubmission = own => ({
  title: `submission ${own.index + 1}`,
  pairs: [
    ...span(own.begin, own.end),
    ["run", count(own.run + 1)],
    ["commands", count(own.number)],
  ],
});

// ---- tracks ------------------------------------------------------------------------------------

function slices(label, series, height, name, describe) {
  return { label, series, height, name, describe };
}

function stretchTrack(label, field, within) {
  const series = stretches(field, within);
  return slices(
    label,
    series,
    20,
    i => commandOf(series.firsts[i])[field],
    i => describeStretch(series, field, i),
  );
}

function itemTrack(label, series, height, name, describe) {
  return slices(
    label,
    series,
    height,
    i => name(series.items[i]),
    i => describe(series.items[i]),
  );
}

function makeTracks() {
  const tracks = [];
  if (LINE.steps.length) {
    const items = LINE.steps.map(([begin, end, loss, tokens], i) => ({
      begin,
      end,
      loss,
      tokens,
      name: `step ${i + 1}`,
      odd: i % 2,
    }));
    tracks.push(
      itemTrack(
        "steps",
        hostSeries(items, step => tint(step.odd ? 5 : 0)),
        20,
        step => step.name,
        describeStep,
      ),
    );
  }
  tracks.push(itemTrack("host", readCalls(), 20, call => call.name, describeCall));
  readSubmissions().forEach((series, lane) =>
    tracks.push(
      itemTrack(
        lane ? "" : "submissions",
        series,
        16,
        own => String(own.index + 1),
        describeSubmission,
      ),
    ),
  );
  const phases = stretchTrack("GPU: phase", PHASE, null);
  tracks.push(phases, stretchTrack("place", PLACE, phases.series));
  tracks.push(slices("kernel", COMMANDS, 40, i => commandOf(i)[NAME], describeCommand));
  return tracks;
}

// Curves: a value that holds from its time on.
function makeCurves() {
  const curves = [],
    losses = LINE.steps.filter(step => step[2] !== null);
  const curve = (label, times, values, text) =>
    curves.push({ label, times, values, text, height: 44 });
  if (losses.length)
    curve(
      "loss",
      losses.map(step => step[0]),
      losses.map(step => step[2]),
      figure,
    );
  if (LINE.runs.length)
    curve(
      "memory",
      LINE.runs.map(run => run[0]),
      LINE.runs.map(run => run[2]),
      bytes,
    );
  return curves;
}

const TRACKS = makeTracks(),
  CURVES = makeCurves();
const KERNELS = TRACKS[TRACKS.length - 1];
