// Charts as SVG, drawn in the width that they have: values with their intervals, bars, shares that add up. Behind each is its table.

import { bucket, count, h, moment, percent, percentTick, s, told } from "./draw.js";

const LEFT = 50, RIGHT = 10, TOP = 8, BOTTOM = 22;

/** Round steps, at most `most` of them, that span low..high. */
function ticks(low, high, most = 4) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const from = Math.floor(low / step + 1e-9), to = Math.ceil(high / step - 1e-9);
  return Array.from({ length: to - from + 1 }, (_, i) => (from + i) * step);
}

function axes(width, height, marks, format, span, labels) {
  const [low, high] = [marks[0], marks.at(-1)];
  const x = (at) => LEFT + ((at - span[0]) / (span[1] - span[0])) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low || 1)) * (height - TOP - BOTTOM);
  const lines = marks.map((mark) => [
    s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(mark), y2: y(mark) }),
    s("text", { class: "tick", x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, (format === percent ? percentTick : format)(mark)),
  ]);
  const places = labels.map(([at, text]) => {
    const anchor = x(at) > width - RIGHT - 24 ? "end" : "middle";
    return s("text", { class: "tick", x: x(at), y: height - 6, "text-anchor": anchor }, text);
  });
  return { x, y, base: y(low), parts: [...lines, ...places] };
}

/** Labels of buckets, as many as have room. */
function labelled(starts, step, width, label) {
  const all = [];
  for (let at = starts[0]; at < starts[1]; at += step) all.push(at);
  const each = Math.max(1, Math.ceil((all.length * 58) / Math.max(60, width - LEFT - RIGHT)));
  return all.filter((_, i) => i % each === 0).map((at) => [at + step / 2, label(at)]);
}

/** What a chart is about, a line that says what is pointed at, the drawing, and its table. */
function figure(id, title, drawing, rest, table) {
  const readout = h("p", { class: "readout", "aria-hidden": "true" }, rest);
  const made = h("figure", { class: "chart", id }, h("figcaption", {}, title), readout, drawing, table);
  return { made, say: (text) => (readout.textContent = text ?? rest) };
}

/** Point at a bucket, by mouse or by finger: the nearest one is read out. */
function pointing(svg, chart, places, x, say) {
  const find = (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    const near = places.reduce((best, one) => (Math.abs(x(one.at) - at) < Math.abs(x(best.at) - at) ? one : best));
    chart.say(say(near));
  };
  if (places.length) {
    svg.addEventListener("pointermove", find);
    svg.addEventListener("pointerdown", find);
    svg.addEventListener("pointerleave", () => chart.say());
  }
}

/** A table that stands closed behind its chart. */
export function behind(head, rows) {
  return h("details", {}, h("summary", {}, "Table"), h("div", { class: "scroll" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(([first, ...cells]) => h("tr", {}, h("th", { scope: "row" }, first), cells.map((text) => h("td", {}, text))))))));
}

/**
 * One or more series of figures by bucket, each value with its interval. `series`: [{name, points: [{start, value, low, high, n}]}];
 * a bucket without a value is a gap. `share`: values lie in 0..1.
 */
export function lines({ id, title, note = "", series, starts, step, width, height = 170, format, share = false, zero = false, label = (at) => bucket(at, step) }) {
  const known = series.flatMap((one) => one.points.filter((point) => point.value !== null));
  const ends = known.flatMap((one) => [one.value, one.low ?? one.value, one.high ?? one.value]);
  let [low, high] = [zero ? 0 : Math.min(...ends), Math.max(...ends)];
  if (share) [low, high] = [Math.max(0, Math.min(low, high - 0.1)), Math.min(1, Math.max(high, low + 0.1))];
  let marks = ticks(low, high === low ? low + 1 : high);
  if (share) marks = marks.filter((mark) => mark > -1e-9 && mark < 1 + 1e-9);
  const axis = axes(width, height, marks, format, starts, labelled(starts, step, width, label));
  const middle = (point) => axis.x(point.start + step / 2), clip = (value) => axis.y(Math.min(marks.at(-1), Math.max(marks[0], value)));
  const drawn = series.map((one, k) => {
    const points = one.points.filter((point) => point.value !== null), runs = [];
    for (const point of points) (point.start - (runs.at(-1)?.at(-1)?.start ?? -Infinity) > step ? runs.push([point]) : runs.at(-1).push(point));
    return s("g", { class: `series c${k + 1}` },
      points.filter((point) => point.low !== null && point.high !== null).map((point) =>
        s("line", { class: "whisker", x1: middle(point), x2: middle(point), y1: clip(point.low), y2: clip(point.high) })),
      runs.map((run) => s("polyline", { points: run.map((point) => `${middle(point)},${clip(point.value)}`).join(" ") })),
      points.map((point) => s("circle", { cx: middle(point), cy: clip(point.value), r: points.length > 45 ? 1.8 : 3 })));
  });
  const svg = s("svg", { width, height, role: "img", "aria-label": `${title}: the table below has its figures` }, axis.parts, drawn);
  const buckets = new Map();
  for (const one of series) for (const point of one.points) buckets.set(point.start, [...(buckets.get(point.start) ?? []), [one.name, point]]);
  const places = [...buckets].sort(([a], [b]) => a - b).map(([start, found]) => ({ at: start + step / 2, start, found }));
  const words = (found) => found.map(([name, point]) => (series.length > 1 ? `${name} ` : "") + told(point, format)).join(" · ");
  const table = behind(["from", ...series.map((one) => one.name)], places.map(({ start, found }) =>
    [label(start), ...series.map((one) => { const mine = found.find(([name]) => name === one.name); return mine ? told(mine[1], format) : "–"; })]));
  const key = series.length > 1 && h("p", { class: "key" }, series.map((one, k) => h("span", { class: `c${k + 1}` }, h("i", {}), one.name)));
  const chart = figure(id, [title, key], svg, note, table);
  pointing(svg, chart, places, axis.x, ({ start, found }) => `${label(start)}: ${words(found)}`);
  return chart.made;
}

/** Requests by bucket, those that failed at the foot of each bar. `points`: [{start, requests, errors: figure}]. */
export function bars({ id, title, note = "", points, starts, step, width, height = 170, words, label = (at) => bucket(at, step) }) {
  const marks = ticks(0, Math.max(1, ...points.map((one) => one.requests))).filter((mark) => Number.isInteger(mark));
  const axis = axes(width, height, marks, count, starts, labelled(starts, step, width, label));
  const drawn = points.map((one) => {
    const x = axis.x(one.start), wide = Math.max(1, axis.x(one.start + step) - x - 1), failed = Math.round(one.errors.value * one.requests);
    const foot = axis.y(failed);
    return [
      s("rect", { class: "bar", x, y: axis.y(one.requests), width: wide, height: foot - axis.y(one.requests) }),
      failed > 0 && s("rect", { class: "bar failed", x, y: Math.min(foot, axis.base - 2), width: wide, height: Math.max(2, axis.base - foot) }),
    ];
  });
  const svg = s("svg", { width, height, role: "img", "aria-label": `${title}: the table below has its figures` }, axis.parts, drawn);
  const table = behind(["from", "requests", "failed"], points.map((one) => [label(one.start), count(one.requests), words(one)]));
  const chart = figure(id, title, svg, note, table);
  const places = points.map((one) => ({ ...one, at: one.start + step / 2 }));
  pointing(svg, chart, places, axis.x, (one) => `${label(one.start)}: ${count(one.requests)} requests, failed ${words(one)}`);
  return chart.made;
}

/** Shares that add up to 1 and hold until the next decision. `points`: [{at, weights: {name: share}}]; `until` is now. */
export function shares({ id, title, points, names, colours, since, until, width, height = 190, format }) {
  const from = Math.max(since, points[0].at), span = [from, Math.max(until, from + 1)];
  const times = Array.from({ length: width > 500 ? 5 : 3 }, (_, i, all = width > 500 ? 4 : 2) => span[0] + ((span[1] - span[0]) * i) / all);
  const axis = axes(width, height, [0, 0.25, 0.5, 0.75, 1], format, span, times.map((at) => [at, moment(at).split(",")[span[1] - span[0] > 172800 ? 0 : 1].trim()]));
  const steps = points.map((one, i) => ({ from: Math.max(from, one.at), to: i + 1 < points.length ? points[i + 1].at : span[1], weights: one.weights }));
  const drawn = steps.filter((one) => one.to > from).flatMap((one) => {
    let below = 0;
    return names.map((name) => {
      const part = one.weights[name] ?? 0, top = axis.y(Math.min(1, below + part)), foot = axis.y(below);
      below += part;
      const x = Math.round(axis.x(one.from));
      return part > 0 && s("rect", { class: `area ${colours[name]}`, x, y: top, width: Math.max(1, Math.round(axis.x(one.to)) - x), height: foot - top });
    });
  });
  const svg = s("svg", { width, height, role: "img", "aria-label": `${title}: the table below has its figures` }, axis.parts, drawn);
  const words = (one) => names.map((name) => `${name} ${format(one.weights[name] ?? 0)}`).join(" · ");
  const table = behind(["from", ...names], points.map((one) => [moment(one.at), ...names.map((name) => format(one.weights[name] ?? 0))]).reverse());
  const key = h("span", { class: "key" }, names.map((name) => h("span", { class: colours[name] }, h("i", {}), name)));
  const chart = figure(id, [title, key], svg, `now: ${words(points.at(-1))}`, table);
  const places = points.map((one) => ({ ...one, at: Math.max(from, one.at) }));
  pointing(svg, chart, places, axis.x, (one) => `${moment(one.at)}: ${words(one)}`);
  return chart.made;
}

/** A value on a line from low to high, with its interval: for tables. */
export function whisker(figure, [low, high], width = 120) {
  const x = (value) => 5 + ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (width - 10);
  return s("svg", { class: "whiskers", width, height: 16, "aria-hidden": "true" },
    s("line", { class: "grid", x1: 5, x2: width - 5, y1: 8, y2: 8 }),
    figure.low !== null && figure.high !== null && s("line", { class: "whisker", x1: x(figure.low), x2: x(figure.high), y1: 8, y2: 8 }),
    figure.value !== null && s("circle", { cx: x(figure.value), cy: 8, r: 4 }));
}
