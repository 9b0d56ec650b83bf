// The dashboard: asks for all figures of a task, draws what has changed, and follows what changes from then on.

import { ask, follow } from "./door.js";
import { h, moment } from "./draw.js";
import { coloursOf, complaints, drift, flywheel, next, queue, tiles, trends, variants, weights } from "./panels.js";

const $ = (id) => document.getElementById(id);
const wanted = new URLSearchParams(location.search);
let data = null, unfollow = () => {}, retry = 0, lost = 0, turn = 0;
const drawn = new Map(); // what each panel was drawn from, so that one that is read stays as it is

const query = () => "?" + new URLSearchParams([...wanted].filter(([name, value]) => value && ["task", "range", "metric"].includes(name)));

async function load() {
  const mine = ++turn; // an answer to an earlier question comes too late
  clearTimeout(retry);
  unfollow();
  try {
    const found = await ask(`/api/overview${query()}`);
    if (mine !== turn) return;
    data = found;
  } catch (error) {
    if (mine !== turn) return;
    banner("trouble", `${error.message}${error.how ? ` (${error.how})` : ""}`, "bad");
    if (error.code === "unknown_task") return forget("task");
    online(false);
    retry = setTimeout(load, 5000);
    return;
  }
  banner("trouble", null);
  draw();
  unfollow = follow(() => `/api/live${query()}`, hear, online);
}

function hear(message) {
  if (message.overview) data = message.overview;
  else Object.assign(data, message);
  draw();
}

function online(is) {
  clearTimeout(lost);
  const say = () => {
    $("line").className = is ? "on" : "off";
    $("line-text").textContent = is ? "live" : "no connection; figures stand still";
  };
  // A line that is renewed at once is not worth a word.
  if (is) say();
  else lost = setTimeout(say, 3000);
}

function banner(id, text, kind = "warn") {
  const there = $(`banner-${id}`);
  if (!text) there?.remove();
  else if (there) there.textContent = text;
  else $("banners").append(h("p", { id: `banner-${id}`, class: `banner ${kind}` }, text));
}

/** Draw a panel anew where what it is drawn from has changed; opened tables stay open. */
function panel(id, from, make) {
  const place = $(id), known = JSON.stringify([from, innerWidth]);
  if (drawn.get(id) === known) return;
  drawn.set(id, known);
  const key = (one) => one.closest("figure")?.id ?? id, open = new Set([...place.querySelectorAll("details[open]")].map(key));
  const body = place.querySelector(".tiles, .charts, .body") ?? place;
  const focused = body.contains(document.activeElement) && document.activeElement.tagName === "SUMMARY" ? key(document.activeElement) : null;
  body.replaceChildren(...[make(body)].flat(2).filter(Boolean));
  for (const one of body.querySelectorAll("details")) {
    one.open = open.has(key(one));
    if (key(one) === focused) one.querySelector("summary").focus();
  }
}

/** The width of a chart: as many columns as have room for 320 pixels each. */
function columnWidth(body) {
  const gap = 16, columns = Math.max(1, Math.min(3, Math.floor((body.clientWidth + gap) / (320 + gap))));
  body.dataset.columns = columns;
  return Math.floor((body.clientWidth - gap * (columns - 1)) / columns) - 26;
}

function draw() {
  controls();
  banner("stale", data.stale && `The store cannot be read. Figures are those of ${moment(data.stale.since)}; answers go on. ${data.stale.why}`);
  banner("reload", data.reload && `The configuration was changed and is not sound; what was served before goes on. ${data.reload}`);
  banner("skipped", data.skipped?.length ? `Not served: ${data.skipped.join("; ")}` : null);
  document.title = `${data.task || "Dashboard"} · PromptPrecision`;
  $("start").hidden = !data.empty;
  $("figures").hidden = data.empty;
  if (data.empty) return panel("start", [data.task, data.served], begin);
  const colours = coloursOf([...data.variants.map((one) => one.name), ...data.weights.points.flatMap((one) => Object.keys(one.weights ?? {}))]);
  panel("now", [data.now, data.log], () => tiles(data.now, data.log, data.metric));
  panel("next", [data.next_step, data.task], () => next(data.next_step, data.task));
  panel("trends", [data.trends, data.whole, data.metric, data.queue.counts], (body) => trends(data, columnWidth(body)));
  panel("variants", [data.variants, data.weights.latest], () => variants(data, colours));
  // Of the time of the last decision: the chart need not grow with every second.
  panel("weights", [data.weights, data.events, data.since, Math.floor(data.now.at / 60)], (body) => weights(data, colours, body.clientWidth - 26));
  panel("complaints", [data.complaints, data.task], () => complaints(data.complaints, data.task));
  panel("drift", [data.drift, data.task], (body) => drift(data.drift, data.task, body.clientWidth));
  panel("queue", [data.queue, Math.floor(data.now.at / 60)], () => queue(data.queue, data.task, data.now.at));
  panel("flywheel", [data.flywheel, data.task], () => flywheel(data.flywheel, data.task));
  const step = data.width >= 86400 ? "a day (UTC)" : data.width === 3600 ? "an hour" : "a minute";
  $("trends").querySelector(".note").textContent = `One value ${step}, with its 95 % interval, which takes values as independent. A value belongs to the time of its answer.`;
  $("variants").querySelector(".note").textContent = `Of the chosen time; quality by ${data.metric || "no metric yet"}. A value on a session counts for each variant that answered in it. Costs are means of priced answers; their spread is not kept.`;
}

function begin() {
  const line = (...parts) => h("li", {}, ...parts), code = (text) => h("code", {}, text);
  if (!data.task)
    return [h("h2", {}, "No task is served yet"), h("ol", {}, line("Make one: ", code("pp task init my-task")), line("Train its variants: ", code("pp run my-task")), line("This page and the gateway notice it by themselves."))];
  const body = data.served.includes(data.task) ? `{"function_name": "${data.task}", "input": "…"}` : "{…}";
  return [h("h2", {}, `${data.task} is served, and nobody has asked yet`), h("ol", {},
    line("Ask: ", code(`curl ${location.origin}/inference -H 'Content-Type: application/json' -d '${body}'`)),
    line("Say whether the answer was right: ", code(`curl ${location.origin}/feedback -H 'Content-Type: application/json' -d '{"metric_name": "right", "value": true, "inference_id": "…"}'`)),
    line("Figures come by themselves. OpenAI clients use ", code(`${location.origin}/v1`), "."))];
}

function options(id, values, chosen) {
  const known = JSON.stringify([values, chosen]);
  if (drawn.get(id) === known) return;
  drawn.set(id, known);
  $(id).replaceChildren(...values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  $(id).disabled = values.length < 1;
}

function controls() {
  options("task", data.tasks.map((name) => [name, data.served.includes(name) ? name : `${name} (not served)`]), data.task);
  options("range", data.ranges.map((name) => [name, `last ${name.replace(/(\d+)([hd])/, (_, n, unit) => `${n} ${unit === "h" ? "hour" : "day"}${n === "1" ? "" : "s"}`)}`]), data.range);
  const metrics = (data.metrics ?? []).map((one) => [one.name, `${one.name} (n ${one.n})`]);
  if (data.metric && !metrics.some(([name]) => name === data.metric)) metrics.unshift([data.metric, `${data.metric} (n 0)`]);
  options("metric", metrics.length ? metrics : [["", "no feedback yet"]], data.metric ?? "");
}

function forget(name) {
  wanted.delete(name);
  load();
}

$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("change", (event) => {
  wanted.set(event.target.name, event.target.value);
  if (event.target.name === "task") wanted.delete("metric"); // another task has others
  history.replaceState(null, "", query());
  load();
});
let resized = 0, wide = innerWidth;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    if (innerWidth !== wide && data) draw();
    wide = innerWidth;
  }, 150);
});
// A tab that nobody sees follows nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? unfollow() : load()));
load();
