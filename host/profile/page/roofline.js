// The roofline plot (Williams, Waterman and Patterson, 2009): operations a second over operations a
// byte, a dot for each kernel, under what the device can do. Kernels that do no arithmetic stand in a
// lane of their own at the left, as high below the roof as their bandwidth is below memory's.

const ROOF = { width: 1200, height: 460, left: 70, lane: 90, right: 24, top: 18, bottom: 46 };

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A range of powers of ten around positive values.
function decades(values, least) {
  const { low, high } = extremes(values.filter(value => value > 0 && Number.isFinite(value)));
  if (low > high) return { low: 0, high: least };
  let from = Math.floor(Math.log10(low) - 0.1),
    to = Math.ceil(Math.log10(high) + 0.1);
  while (to - from < least) {
    to++;
    if (to - from < least) from--;
  }
  return { low: from, high: to };
}

// Where kernels go: intensity null in the lane.
function roofDots() {
  return REPORT.tables.kernel
    .filter(row => row.total > 0 && row.bytes > 0)
    .map(row => ({
      row,
      intensity: row.operations > 0 ? row.operations / row.bytes : null,
      rate: row.operation_rate,
      radius: 4 + 16 * Math.sqrt(row.share),
    }));
}

function roofScales(dots) {
  const { byte_rate: memory, cache_byte_rate: cache, operation_rate: compute } = REPORT.ceilings;
  const own = dots.filter(dot => dot.intensity !== null);
  const x = decades(
    [...own.map(dot => dot.intensity), memory && compute ? compute / memory : 0],
    3,
  );
  const lane = 10 ** x.low; // the intensity that the lane stands for
  for (const dot of dots) dot.height = dot.intensity === null ? dot.row.byte_rate * lane : dot.rate;
  const y = decades([...dots.map(dot => dot.height), compute, memory * lane, cache * lane], 3);
  const { width, height, left, right, top, bottom } = ROOF;
  const room = dots.length > own.length ? ROOF.lane : 0;
  const begin = left + room,
    wide = width - right - begin,
    high = height - top - bottom;
  return {
    x,
    y,
    lane,
    room,
    begin,
    taken: [],
    toX: intensity =>
      intensity === null
        ? left + room / 2
        : begin + ((Math.log10(intensity) - x.low) / (x.high - x.low)) * wide,
    toY: rate => top + high - ((Math.log10(rate) - y.low) / (y.high - y.low)) * high,
  };
}

const powerText = power => (power < 0 ? (10 ** power).toFixed(-power) : count(10 ** power));

function roofGrid(scales) {
  const { width, height, left, right, top, bottom } = ROOF,
    grid = svg("g", { "aria-hidden": "true" });
  const line = (x1, y1, x2, y2, minor) =>
    grid.append(svg("line", { x1, y1, x2, y2, class: minor ? "grid minor" : "grid" }));
  const note = (x, y, anchor, text) =>
    grid.append(svg("text", { x, y, "text-anchor": anchor }, text));
  for (let power = scales.x.low; power <= scales.x.high; power++) {
    if (power < scales.x.high)
      for (let i = 2; i < 10; i++)
        line(scales.toX(i * 10 ** power), top, scales.toX(i * 10 ** power), height - bottom, true);
    line(scales.toX(10 ** power), top, scales.toX(10 ** power), height - bottom);
    note(scales.toX(10 ** power), height - bottom + 18, "middle", powerText(power));
  }
  for (let power = scales.y.low; power <= scales.y.high; power++) {
    line(left, scales.toY(10 ** power), width - right, scales.toY(10 ** power));
    note(left - 8, scales.toY(10 ** power) + 4, "end", powerText(power - 9));
  }
  line(left, top, left, height - bottom);
  note((scales.begin + width - right) / 2, height - 8, "middle", "operations per byte");
  if (scales.room) note(left + scales.room / 2, height - bottom - 10, "middle", "moves only");
  grid.append(
    svg(
      "text",
      {
        x: 16,
        y: (top + height - bottom) / 2,
        "text-anchor": "middle",
        transform: `rotate(-90 16 ${(top + height - bottom) / 2})`,
      },
      "GFLOP/s",
    ),
  );
  return grid;
}

// Text along a line that rises by `slope` degrees; names keep away from it.
function slantedText(scales, text, x, y, slope) {
  const wide = 6.6 * text.length * Math.cos((slope * Math.PI) / 180),
    rise = -6.6 * text.length * Math.sin((slope * Math.PI) / 180);
  for (let i = 0; i < 4; i++)
    // in four boxes, as stairs
    scales.taken.push([
      x + (i * wide) / 4,
      y - ((i + 1) * rise) / 4 - 16,
      x + ((i + 1) * wide) / 4,
      y - (i * rise) / 4,
    ]);
  return svg(
    "text",
    { x, y: y - 7, class: "ceiling", transform: `rotate(${slope} ${x} ${y})` },
    text,
  );
}

// A bandwidth as a line up to the roof of arithmetic, or to the edge.
function bandwidthLine(scales, rate, name, style, along) {
  const compute = REPORT.ceilings.operation_rate || 10 ** scales.y.high,
    level = rate * scales.lane;
  const knee = Math.max(scales.lane, Math.min(compute / rate, 10 ** scales.x.high));
  const from = { x: scales.begin, y: scales.toY(level) },
    to = { x: scales.toX(knee), y: scales.toY(rate * knee) };
  const points = [
    [ROOF.left, from.y],
    [from.x, from.y],
    [to.x, to.y],
  ]
    .map(point => point.join(","))
    .join(" ");
  const slope = (Math.atan2(to.y - from.y, to.x - from.x) * 180) / Math.PI;
  return svg(
    "g",
    {},
    svg("polyline", { points, class: `roof ${style}` }),
    slantedText(
      scales,
      `${name} ${giga(rate)} GB/s`,
      from.x + along * (to.x - from.x),
      from.y + along * (to.y - from.y),
      slope,
    ),
  );
}

function roofLines(scales) {
  const { byte_rate: memory, cache_byte_rate: cache, operation_rate: compute } = REPORT.ceilings;
  const lines = svg("g", {});
  if (compute) {
    const begin = Math.max(10 ** scales.x.low, compute / (cache || memory || Infinity)),
      y = scales.toY(compute);
    scales.taken.push([ROOF.width - ROOF.right - 130, y - 20, ROOF.width - ROOF.right, y]);
    lines.append(
      svg("line", {
        x1: scales.toX(begin),
        y1: y,
        x2: ROOF.width - ROOF.right,
        y2: y,
        class: "roof",
      }),
      svg(
        "text",
        { x: ROOF.width - ROOF.right - 4, y: y - 7, "text-anchor": "end", class: "ceiling" },
        `f32 ${giga(compute)} GFLOP/s`,
      ),
    );
  }
  if (cache) lines.append(bandwidthLine(scales, cache, "caches", "cache", 0.2));
  if (memory) lines.append(bandwidthLine(scales, memory, "memory", "", 0.55));
  return lines;
}

function describeKernel(row) {
  const part = (rate, unit, share, of) =>
    `${giga(rate)} ${unit}${share ? `, ${percent(share)} of ${of}` : ""}`;
  const pairs = [
    ["time", `${duration(row.total)}, ${percent(row.share)} of the GPU's`],
    ["calls", count(row.calls)],
    ["median", duration(row.median)],
    ["bandwidth", part(row.byte_rate, "GB/s", row.byte_share, "memory's")],
  ];
  if (row.operations > 0)
    pairs.push(
      ["arithmetic", part(row.operation_rate, "GFLOP/s", row.operation_share, "f32's")],
      ["operations per byte", figure(row.operations / row.bytes)],
    );
  if (row.limit !== "-") pairs.push(["nearest limit", row.limit]);
  return { title: row.name, pairs };
}

function roofDot(scales, dot) {
  const { row } = dot,
    description = describeKernel(row);
  const circle = svg("circle", {
    cx: scales.toX(dot.intensity),
    cy: scales.toY(dot.height),
    r: dot.radius,
    fill: kernelColour(row.name),
    class: "dot",
    tabindex: 0,
    role: "button",
    "data-kernel": row.name,
    "aria-label": sentence(description),
  });
  circle.addEventListener("pointermove", event =>
    showTip(description, event.clientX, event.clientY),
  );
  circle.addEventListener("pointerleave", hideTip);
  circle.addEventListener("focus", () => {
    const box = circle.getBoundingClientRect();
    showTip(description, box.right, box.bottom);
  });
  circle.addEventListener("blur", hideTip);
  circle.addEventListener("click", () => chooseKernel(row.name));
  circle.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    chooseKernel(row.name);
  });
  choice.listeners.push(name => {
    circle.classList.toggle("chosen", name === row.name);
    circle.classList.toggle("pale", name !== null && name !== row.name);
  });
  return circle;
}

// Names beside their dots where there is room, the largest dots first.
function roofNames(scales, dots) {
  const names = svg("g", { "aria-hidden": "true" });
  const taken = scales.taken.concat(
    dots.map(dot => {
      const x = scales.toX(dot.intensity),
        y = scales.toY(dot.height),
        r = dot.radius * 0.8;
      return [x - r, y - r, x + r, y + r];
    }),
  );
  const meets = box =>
    taken.some(own => box[0] < own[2] && box[2] > own[0] && box[1] < own[3] && box[3] > own[1]);
  for (const dot of dots) {
    const x = scales.toX(dot.intensity),
      y = scales.toY(dot.height),
      wide = 6.6 * dot.row.name.length,
      r = dot.radius + 4;
    const places = [
      [x + r, y, "start"],
      [x - r - wide, y, "end"],
      [x - wide / 2, y - r - 7, "middle"],
      [x - wide / 2, y + r + 7, "middle"],
    ];
    const place = places.find(
      ([left, middle]) =>
        left > ROOF.left &&
        left + wide < ROOF.width - ROOF.right &&
        middle > ROOF.top &&
        middle < ROOF.height - ROOF.bottom &&
        !meets([left, middle - 7, left + wide, middle + 7]),
    );
    if (!place) continue;
    const [left, middle, anchor] = place;
    taken.push([left, middle - 7, left + wide, middle + 7]);
    names.append(
      svg(
        "text",
        {
          class: "name",
          "text-anchor": anchor,
          y: middle + 4,
          x: anchor === "start" ? left : anchor === "end" ? left + wide : left + wide / 2,
        },
        dot.row.name,
      ),
    );
  }
  return names;
}

function showRoofline() {
  const dots = roofDots(),
    note = byId("roofline-note"),
    { width, height } = ROOF;
  const missing = REPORT.tables.kernel
    .filter(row => !dots.some(dot => dot.row === row))
    .map(row => row.name);
  const ceilings = REPORT.ceilings.byte_rate || REPORT.ceilings.operation_rate;
  note.textContent =
    "The larger a dot, the more time its kernel took; a click shows it alone everywhere. " +
    (ceilings
      ? "Lines are what strata peak measured on this device."
      : "The device's ceilings are not known: strata peak measures them.") +
    (missing.length ? ` Without known bytes, and so without a dot: ${missing.join(", ")}.` : "");
  if (!dots.length) return;
  const scales = roofScales(dots);
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      role: "group",
      "aria-label": "Roofline plot, a dot for each kernel",
    },
    roofGrid(scales),
    roofLines(scales),
  );
  picture.append(...dots.map(dot => roofDot(scales, dot)), roofNames(scales, dots));
  byId("roofline").append(picture);
}

showRoofline();
