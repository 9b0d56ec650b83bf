// Elements and numbers, as all panels write them. Text is always set as text: what comes from data is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: attributes (`class`, `aria-label`, …; null and false are left out), then texts and elements. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

export const NONE = "–";
const plain = new Intl.NumberFormat("en");
const significant = (digits) => new Intl.NumberFormat("en", { maximumSignificantDigits: digits });

/** 12,345 */
export const count = (value) => plain.format(value);

/** Shares as per cent; two decimals where they are close to 0 or to 100 %. */
export function percent(value) {
  if (value === null || value === undefined) return NONE;
  const points = 100 * value, near = Math.min(points, 100 - points);
  return `${points.toFixed(near > 0 && near < 1 ? 2 : 1)} %`;
}

/** Of a scale: as many decimals as its steps need. */
export const percentTick = (value) => `${+(100 * value).toFixed(1)} %`;

/** 850 µs, 12 ms, 1.3 s */
export function milliseconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value > 0 && value < 1) return `${significant(2).format(value * 1000)} µs`;
  return value < 1000 ? `${significant(3).format(value)} ms` : `${significant(3).format(value / 1000)} s`;
}

export const number = (value) => (value === null || value === undefined ? NONE : significant(3).format(value));
export const dollars = (value) => (value === null || value === undefined ? NONE : `$${significant(2).format(value)}`);
export const bytes = (value) =>
  value < 1024 ? `${value} bytes` : value < 1024 ** 2 ? `${Math.round(value / 1024)} KiB` : `${(value / 1024 ** 2).toFixed(1)} MiB`;

/** `[low, high]` of a figure, or why there is none. */
export function interval(figure, format) {
  if (figure.value === null) return figure.why || "";
  return figure.low === null || figure.high === null ? figure.why || "no interval" : `[${format(figure.low)}, ${format(figure.high)}]`;
}

/** A figure in one line: value, interval, n. */
export const told = (figure, format) =>
  figure.value === null ? `${NONE} (${figure.why}, n ${count(figure.n)})` : `${format(figure.value)} ${interval(figure, format)}, n ${count(figure.n)}`;

/** Figures of zeros and ones are shares. */
export const formatOf = (figure) => (figure && figure.interval !== "Wilson" ? number : percent);

const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const whole = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });

/** The start of a bucket: days are those of UTC, shorter ones are told in local time. */
export const bucket = (start, width) => (width >= 86400 ? day : clock).format(new Date(start * 1000));
export const moment = (seconds) => whole.format(new Date(seconds * 1000));

/** How long ago, in the largest unit that fits. */
export function ago(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}
