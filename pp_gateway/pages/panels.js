// The panels of the dashboard: each takes what the gateway has told and gives elements. Where there is nothing yet it says what to do.

import { bars, lines, shares, whisker } from "./charts.js";
import { ago, bytes, count, dollars, formatOf, h, interval, milliseconds, moment, NONE, number, percent, told } from "./draw.js";

const COLOURS = 8;
/** A colour for each variant, the same in all panels: by name, so that it does not change with the numbers. */
export function coloursOf(names) {
  return Object.fromEntries([...new Set(names)].sort().map((name, i) => [name, `c${(i % COLOURS) + 1}`]));
}

/** What stands in the place of figures that are not there. */
const empty = (...parts) => h("p", { class: "empty" }, ...parts);
const code = (text) => h("code", {}, text);
const chip = (text, kind = "") => h("span", { class: `chip ${kind}` }, text);
/** Figures of the chosen metric: zeros and ones make an accuracy, anything else a mean. */
export const accuracy = (figure) => (figure && figure.value !== null && figure.interval !== "Wilson" ? "Quality" : "Accuracy");

function tile(id, name, value, under, kind = "") {
  return h("div", { class: `tile ${kind}`, id, role: "group", "aria-label": name }, h("h3", {}, name), h("p", { class: "value" }, value), under.map((one) => one && h("p", { class: "under" }, one)));
}

export function tiles(now, log, metric) {
  const { quality, errors, p50, p95 } = now, format = formatOf(quality), minutes = `last ${now.minutes} min`;
  return [
    tile("sessions", "Active sessions", count(now.sessions), [`episodes of the ${minutes}`]),
    tile("rate", "Requests a minute", number(now.per_minute), [`${count(now.requests)} in the ${minutes}`]),
    tile("accuracy", `${accuracy(quality)} now`, format(quality.value), [
      quality.interval === "Wilson" && whisker(quality, [0, 1]), interval(quality, format), `n ${count(quality.n)}, ${metric ? `${metric}, ` : ""}answers of the last ${now.quality_minutes} min`]),
    tile("latency", "Response time", h("span", {}, milliseconds(p50.value), h("small", {}, " p50")), [
      `p95 ${milliseconds(p95.value)} ${p95.low === null ? "" : interval(p95, milliseconds)}`, `n ${count(p50.n)}, ${minutes}`]),
    tile("errors", "Errors", percent(errors.value), [interval(errors, percent), `n ${count(errors.n)}, ${minutes}`], errors.low > 0.01 ? "bad" : ""),
    logTile(log),
  ];
}

function logTile(log) {
  if (log.store === null) return tile("log", "Log", "off", ["this gateway keeps nothing"], "warn");
  if (log.mode === "off") return tile("log", "Log", "off", ["answers are not kept: logging is off in gateway.yaml"], "warn");
  const waits = log.journal_bytes > 0 ? [`${bytes(log.journal_bytes)} wait in journals${log.lag_s ? `, the oldest ${ago(log.lag_s)}` : ""}`] : [];
  const refused = log.refused > 0 ? [`${count(log.refused)} rows were refused: see refused.jsonl`] : [];
  const lost = log.rows.lost ? [`${count(log.rows.lost)} rows could not be kept`] : [];
  const state = log.store ? (waits.length ? "replaying" : "in the store") : "in the journal";
  const kind = lost.length || refused.length ? "bad" : log.store ? "" : "warn";
  const kept = `${count((log.rows.stored ?? 0) + (log.rows.journaled ?? 0))} kept by worker ${log.worker}, ${log.mode}`;
  return tile("log", "Log", state, [...lost, ...refused, ...waits, ...(log.store ? [] : [log.why]), kept], kind);
}

const ACTIONS = { keep: "good", tune: "warn", change: "warn", escalate: "bad" };
export function next(step, task) {
  if (!step) return empty("Nothing has been decided yet. A step is decided from feedback, once task.yaml says what is good enough (", code("serving: {standards: …}"), "): ", code(`pp next ${task}`));
  const { quality } = step.facts ?? {};
  return h("div", { class: "step" }, h("p", {}, chip(step.action, ACTIONS[step.action]), h("strong", {}, step.reason)),
    h("p", { class: "note" }, `decided ${moment(step.at)}`, quality ? `, n ${count(quality.n)}` : "",
      step.standards ? `; good from ${step.standards.good}, poor below ${step.standards.poor}` : "", step.more ? `; about ${count(step.more)} more values would tell` : ""));
}

export function trends(data, width) {
  const { traffic, metrics, starts } = data.trends, base = { starts, step: data.width, width };
  const order = Object.keys(metrics).sort((a, b) => (b === data.metric) - (a === data.metric) || a.localeCompare(b));
  const made = order.map((name) => {
    const points = metrics[name], all = points.every((one) => one.interval === "Wilson" || one.value === null);
    const title = name === data.metric ? `${all ? "Accuracy" : "Quality"}: ${name}` : name;
    return lines({ ...base, id: `trend-${name}`, title, series: [{ name, points }], format: all ? percent : number, share: all,
      note: data.whole.metrics[name] ? `whole time: ${told(data.whole.metrics[name], formatOf(data.whole.metrics[name]))}` : "" });
  });
  if (!order.length && !traffic.length) return empty("Nothing happened in this time: choose a longer one at the top.");
  if (!order.length) made.push(h("figure", { class: "chart" }, h("figcaption", {}, "Accuracy, resolution"), empty(
    "No feedback on these answers yet. Send it: ", code(`curl ${location.origin}/feedback -H 'Content-Type: application/json' -d '{"metric_name": "right", "value": true, "inference_id": "…"}'`),
    "; with episode_id and a metric such as resolved it is that of a whole session.")));
  if (!traffic.length) return made;
  const of = (name) => traffic.map((one) => ({ start: one.start, ...one[name] }));
  const queued = Object.keys(data.queue.counts).length > 0, title = "Escalated to people";
  return [...made,
    !queued && h("figure", { class: "chart" }, h("figcaption", {}, title), empty("Nothing was ever put before people.")),
    queued && lines({ ...base, id: "trend-escalated", title, series: [{ name: "escalated", points: of("escalated") }], format: percent, share: true, zero: true,
      note: `whole time: ${told(data.whole.escalated, percent)}` }),
    bars({ ...base, id: "trend-requests", title: "Requests, failed ones red", points: traffic, words: (one) => told(one.errors, percent), note: `${count(data.whole.requests)} requests, failed ${told(data.whole.errors, percent)}` }),
    lines({ ...base, id: "trend-latency", title: "Response time", series: [{ name: "p50", points: of("p50") }, { name: "p95", points: of("p95") }], format: milliseconds, zero: true,
      note: `whole time: p50 ${milliseconds(data.whole.p50.value)}, p95 ${milliseconds(data.whole.p95.value)}, n ${count(data.whole.p50.n)}` })];
}

const STATUS = { live: "good", winner: "good", lost: "", shadow: "", "rolled back": "bad" };
export function variants(data, colours) {
  const rows = data.variants;
  if (!rows.length) return empty("No variant has answered in this time.");
  const known = rows.map((one) => one.quality).filter((one) => one.value !== null), shared = known.every((one) => one.interval === "Wilson");
  const ends = known.flatMap((one) => [one.low ?? one.value, one.high ?? one.value]), domain = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
  const format = shared ? percent : number, decided = data.weights.latest?.variants ?? {}, weights = data.weights.points.at(-1)?.weights ?? {};
  const cell = (name, ...parts) => h("td", { "data-label": name }, h("div", {}, ...parts));
  const figure = (name, one, write, ...drawing) => cell(name, h("b", {}, write(one.value)), " ", h("small", {}, one.interval || one.value === null ? interval(one, write) : ""), " ",
    one.n > 0 && h("small", {}, `n ${count(one.n)}`), ...drawing);
  const heads = ["variant", "use", shared ? "accuracy" : "quality", "cost of an answer", "response time", "errors", "invalid"];
  return h("div", { class: "scroll" }, h("table", { class: "cards" },
    h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", { scope: "col" }, text, i === 2 && known.length ? h("small", {}, ` drawn from ${format(domain[0])} to ${format(domain[1])}`) : "")))),
    h("tbody", {}, rows.map((one) => {
      const status = one.shadow ? "shadow" : decided[one.name]?.status;
      const use = one.use && one.use.value !== null ? `${percent(one.use.value)} of ${count(one.use.n)}` : one.shadow ? `${count(one.requests)} copies` : NONE;
      return h("tr", {},
        h("th", { scope: "row", class: colours[one.name] }, h("i", {}), one.name || "answers from elsewhere", " ", status && chip(status, STATUS[status])),
        cell(heads[1], h("b", {}, use), one.name in weights && !one.shadow ? h("small", {}, ` weight now ${percent(weights[one.name])}`) : "",
          one.use && h("meter", { min: 0, max: 1, value: one.use.value ?? 0, "aria-hidden": "true" })),
        figure(heads[2], one.quality, format, one.quality.value !== null && whisker(one.quality, domain)),
        figure(heads[3], one.cost, dollars),
        cell(heads[4], h("b", {}, milliseconds(one.p50.value)), " ", h("small", {}, `p95 ${milliseconds(one.p95.value)}`), " ", h("small", {}, `n ${count(one.p50.n)}`)),
        figure(heads[5], one.errors, percent), figure(heads[6], one.invalid, percent));
    }))));
}

export function weights(data, colours, width) {
  const { points, latest } = data.weights, made = [];
  if (points.length) {
    const names = [...new Set(points.flatMap((one) => Object.keys(one.weights ?? {})))].sort();
    made.push(shares({ id: "weights-chart", title: "Share of the traffic", points: points.map((one) => ({ ...one, weights: one.weights ?? {} })), names, colours, since: data.since, until: data.now.at, width, format: percent }));
    if (latest?.reason) made.push(h("p", {}, latest.reason));
    made.push(...(latest?.warnings ?? []).map((text) => h("p", { class: "warning" }, text)));
  } else made.push(empty("No weights have been decided yet: the shares are those of the task's file. With two variants or more and a section ", code("serving: {routing: …}"), " they are decided from feedback."));
  if (data.events.length) made.push(h("h3", {}, "Promotions and roll-backs"), h("ul", { class: "events" }, data.events.map((one) =>
    h("li", {}, chip(one.kind === "rollback" ? "rolled back" : one.kind, one.kind === "rollback" ? "bad" : "good"), h("span", {}, `${moment(one.at)} `, one.reason ?? one.variant ?? "")))));
  return h("div", {}, made);
}

export function complaints(found, task) {
  if (!found) return empty("Feedback has not been grouped yet: ", code(`pp feedback clusters ${task}`));
  const made = h("p", { class: "note" }, `${count(found.entries)} entries, grouped ${moment(Date.parse(found.made) / 1000)}; heaviest first (how many × how bad × how lately)`);
  if (!found.topics.length) return [made, empty("Nobody complains: no topic of the feedback is negative.")];
  const most = found.topics[0].weight || 1;
  return [made, h("ul", { class: "topics" }, found.topics.map((one) => {
    const said = one.examples[0]?.comment || one.examples[0]?.input_text || "", broken = Object.entries(one.dimensions).slice(0, 2).map(([node, n]) => `${node} ${n}`).join(", ");
    return h("li", {}, h("p", {}, h("b", {}, one.topic), ` n ${count(one.size)}`, h("meter", { min: 0, max: most, value: one.weight, "aria-label": `weight ${number(one.weight)}` })),
      h("p", { class: "note" }, said && `“${said}”`, broken && ` breaks ${broken}`));
  })), found.more > 0 && h("p", { class: "note" }, `and ${found.more} more`)];
}

export function drift(found, task, width) {
  if (!found) return empty("Inputs have not been tested for drift yet: ", code(`pp drift ${task}`));
  if (!found.windows.length) return empty(`${count(found.rows)} inputs are too few to test; a window has 100.`);
  const last = found.windows.at(-1), points = found.windows.map((one, i) => ({ start: i, value: one.share, low: one.low, high: one.high, n: one.n, why: null }));
  const made = [h("p", {}, chip(last.drift ? "drifts" : "as before", last.drift ? "bad" : "good"), `of the newest ${count(last.n)} inputs ${percent(last.share)} ${interval(last, percent)} are novel, ${percent(last.expected)} expected`)];
  made.push(lines({ id: "drift-chart", title: "Share of novel inputs by window", series: [{ name: "novel", points }], starts: [0, points.length], step: 1, width, height: 140, format: percent, share: true, zero: true, label: (at) => `window ${at + 1}` }));
  if (last.drift && found.drivers.length) made.push(h("p", { class: "note" }, "farthest out: ", found.drivers.map((text) => `“${text.slice(0, 120)}”`).join(", ")));
  made.push(h("p", { class: "note" }, `tested ${moment(Date.parse(found.made) / 1000)}: adjusted p ${number(last.p)} of novelty, ${number(last.mix_p)} of moved topics; false alarms in at most ${percent(found.alpha)} of the windows`));
  return made;
}

export function queue(found, task, at) {
  const open = found.counts.open ?? 0, claimed = found.counts.claimed ?? 0, done = (found.counts.answered ?? 0) + (found.counts.dismissed ?? 0);
  const link = h("a", { href: `/queue?task=${encodeURIComponent(task)}` }, "Open the queue");
  if (!open && !claimed) return [empty(`Nothing waits for a person${done ? `; ${count(done)} items are done` : ""}.`), h("p", {}, link)];
  return [h("p", {}, h("b", {}, count(open)), " open, ", count(claimed), " being answered, ", count(done), " done. ", link),
    found.items.length > 0 && h("ul", { class: "events" }, found.items.map((one) => h("li", {}, h("span", { class: "note" }, ago(at - one.at)), one.reason)))];
}

const STAGES = { idle: "", training: "warn", shadow: "warn", watch: "good" };
export function flywheel(turns, task) {
  if (!turns.length) return empty("The flywheel has not turned yet. With ", code("flywheel: {enabled: true}"), " in task.yaml it turns while ", code("pp ui"), " runs: ", code(`pp flywheel ${task}`));
  return h("ol", { class: "events" }, turns.map((one) => h("li", {}, chip(one.stage ?? "step", STAGES[one.stage]), h("span", {}, `${moment(one.at)} `, one.reason ?? ""))));
}
