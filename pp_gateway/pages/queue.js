// The queue: take an item, answer it in a form made of the task's schema, take an answer back; counts follow by themselves.

import { Refused, ask, follow } from "/pages/door.js";
import { el, formOf } from "/pages/form.js";

const $ = (id) => document.getElementById(id);
const REASONS = { invalid: "breaks the schema", contract: "refused by the contract", confidence: "unsure", audit: "chosen by chance" };
const LISTED = 30;
const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

let held = null; // what is being answered: { item, schema, form, id, renewed, … }
let last = null; // what ended last, and may be taken back
let passed = []; // what this person gave back
let waiting = {};

const by = () => $("name").value.trim() || guest();
const task = () => $("task").value || null;

function guest() {
  if (!sessionStorage.getItem("pp-guest")) sessionStorage.setItem("pp-guest", `guest-${random().slice(0, 6)}`);
  return sessionStorage.getItem("pp-guest");
}

/** Ask, and tell what is wrong where it is; undefined then. */
async function tried(path, body) {
  try {
    return await ask(path, body);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof TypeError)) throw error;
    if (error.status === 422) return void wrong(error.data.fields);
    if (error.status === 409) return void lost(error);
    say(error instanceof Refused ? `${error.message}. ${error.how ?? ""}` : "The gateway does not answer. What you typed is still here.", "bad");
  }
}

const work = (what, id, more = {}) => tried(`/api/queue/items/${encodeURIComponent(id)}/${what}`, { by: by(), ...more });

async function next() {
  const found = await tried("/api/queue/next", { by: by(), passed, ...(task() && { task: task() }) });
  if (found) found.item ? open(found) : empty();
}

async function claim(id) {
  const found = await work("claim", id);
  if (found) open(found);
}

function open(found) {
  const { item, schema } = found;
  const form = schema ? formOf(schema, item.output ?? undefined, { fields: item.detail.fields, threshold: item.detail.threshold }) : null;
  held = { ...found, form, id: random(), renewed: Date.now(), until: Date.parse(item.until) };
  const about = [item.task, item.variant, `waits for ${age(item.at)}`, item.confidence === null ? null : `confidence ${item.confidence.toFixed(2)}`];
  const head = el("h2", { tabindex: "-1" }, el("span", { class: `reason ${item.reason}`, text: REASONS[item.reason] ?? item.reason }), ` ${why(item)}`);
  const raw = item.output === null ? el("pre", { class: "raw", text: item.raw ?? "no answer" }) : null;
  const alert = el("p", { id: "wrong", role: "alert" });
  const buttons = el("div", { class: "actions" }, alert,
    el("button", { type: "submit", class: "main" }, "Submit ", el("kbd", { text: "Ctrl ↵" })),
    button("Skip", "s", skip, "It needs no answer"), button("Give back", "g", release), el("span", { id: "clock", class: "dim" }));
  const box = el("form", { novalidate: true, on: { submit: submit, input: renew } }, form?.element ?? el("p", { text: "This task is not served." }), buttons);
  show(head, el("p", { class: "dim", text: about.filter(Boolean).join(" · ") }), el("p", { class: "text", text: item.input }), raw, box);
  head.focus();
  clock();
}

function why({ reason, detail, confidence }) {
  if (reason === "confidence") return confidence === null ? "the model gives no confidence" : `below ${detail.threshold}`;
  const contract = detail.contract;
  if (reason !== "contract" || !contract) return "";
  const gates = (contract.gates ?? []).join(", ");
  const score = contract.score === null ? "no score" : `score ${contract.score}`;
  return [gates && `gate ${gates}`, contract.least !== undefined && `${score}, least ${contract.least}`].filter(Boolean).join("; ");
}

const button = (text, key, click, title) => el("button", { type: "button", title, on: { click } }, `${text} `, el("kbd", { text: key }));
const show = (...parts) => $("desk").replaceChildren(...parts.filter(Boolean));

function empty() {
  held = null;
  const count = Object.entries(waiting).reduce((sum, [name, one]) => sum + (!task() || task() === name ? one.open : 0), 0);
  const text = count ? `${count} ${count === 1 ? "item waits" : "items wait"}.` : "Nothing waits. New items appear here by themselves.";
  const take = count ? el("button", { type: "button", class: "main", on: { click: () => ((passed = []), next()) } }, "Take the next ", el("kbd", { text: "n" })) : null;
  show(el("p", { class: "empty", text }), take);
}

async function submit(event) {
  event.preventDefault();
  if (!held?.form || held.busy) return;
  const { item, id, form } = held;
  tell([], "");
  held.busy = true;
  const ended = await work("answer", item.id, { output: form.read(), id });
  if (held) held.busy = false;
  if (ended) await done(ended, ended.item.agrees ? "Answered as the model did." : "Answered.");
}

async function skip() {
  const ended = held && (await work("skip", held.item.id));
  if (ended) await done(ended, "Skipped: it needs no answer.");
}

async function release() {
  const given = held && (await work("release", held.item.id));
  if (!given) return;
  passed.push(given.item.id);
  say("Given back.");
  held = null;
  await next();
}

async function done(ended, text) {
  last = ended.item.id;
  say(text, "good", button("Undo", "u", undo));
  held = null;
  await next();
}

async function undo() {
  if (!last) return;
  const other = held?.item.id;
  const found = await work("undo", last);
  if (!found) return;
  last = null;
  say("Taken back. It is yours again.");
  open(found);
  if (other) await work("release", other);
}

function wrong(problems) {
  const left = held?.form ? held.form.tell(problems) : [];
  $("wrong").textContent = [`${problems.length === 1 ? "One thing is" : `${problems.length} things are`} wrong; nothing was stored.`, ...left].join(" ");
}

function tell(problems, text) {
  held.form.tell(problems);
  $("wrong").textContent = text;
}

function lost(error) {
  say(`${error.message}.`, "bad");
  empty();
}

/** Typing keeps the item: it is claimed again when half of the time has gone. */
async function renew() {
  if (!held || held.until - Date.now() > 30_000 * held.claim_minutes || Date.now() - held.renewed < 5_000) return;
  held.renewed = Date.now();
  const { id } = held;
  const found = await work("claim", held.item.id);
  if (found && held?.id === id) held.until = Date.parse(found.item.until);
}

function clock() {
  if (!held || !$("clock")) return;
  const left = Math.ceil((held.until - Date.now()) / 1000);
  const time = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  $("clock").textContent = left > 0 ? `yours for ${time}` : "Your time is over: somebody else may take it.";
  $("clock").classList.toggle("late", left <= 60);
}

let hiding = 0;
function say(text, kind = "", action = null) {
  clearTimeout(hiding);
  hiding = setTimeout(() => $("told").replaceChildren(), 15_000);
  $("told").className = kind;
  $("told").replaceChildren(el("span", { text }), ...(action ? [action] : []));
}

function age(at) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  const [count, unit] = seconds < 90 ? [seconds, "s"] : seconds < 5400 ? [seconds / 60, "min"] : seconds < 129600 ? [seconds / 3600, "h"] : [seconds / 86400, "days"];
  return `${Math.round(count)} ${unit}`;
}

async function list() {
  const found = await tried(`/api/queue?limit=${LISTED}${task() ? `&task=${encodeURIComponent(task())}` : ""}`);
  if (!found) return;
  const names = [...$("task").options].map((one) => one.value);
  for (const name of found.tasks) if (!names.includes(name)) $("task").append(el("option", { value: name, text: name }));
  const rows = found.items.map((one) => {
    const head = el("span", { class: "row" }, el("span", { class: `reason ${one.reason}`, text: REASONS[one.reason] ?? one.reason }), el("span", { class: "dim", text: age(one.at) }));
    const text = el("span", { class: "preview", text: one.input });
    return el("li", {}, el("button", { type: "button", on: { click: () => claim(one.id) } }, head, text));
  });
  $("list").querySelector("ul").replaceChildren(...rows);
}

async function measures() {
  const found = await tried(`/api/queue/measures${task() ? `?task=${encodeURIComponent(task())}` : ""}`);
  if (!found) return;
  const { n, rate, low, high } = found.agreement;
  const agree = n ? ` · agree with the model ${rate.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}] of ${n}` : "";
  $("measures").textContent = `${found.answered_today} answered today${agree}`;
}

let refreshing = null;
function refresh() {
  refreshing ??= setTimeout(async () => {
    await Promise.all([list(), measures()]);
    refreshing = null;
    if (!held) empty();
  }, 200);
}

function counted(found) {
  waiting = found;
  const all = Object.entries(found).filter(([name]) => !task() || name === task()).map(([, one]) => one);
  const [free, taken] = ["open", "claimed"].map((name) => all.reduce((sum, one) => sum + one[name], 0));
  $("counts").textContent = `${free} waiting · ${taken} in work`;
  document.title = free ? `(${free}) Queue` : "Queue";
  refresh();
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return void $("desk").querySelector("form")?.requestSubmit();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const act = { n: held ? null : () => ((passed = []), next()), s: held && skip, g: held && release, u: undo }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
$("name").value = localStorage.getItem("pp-queue-name") ?? "";
$("name").placeholder = guest();
$("name").addEventListener("change", () => localStorage.setItem("pp-queue-name", $("name").value.trim()));
$("task").addEventListener("change", () => counted(waiting));
if (matchMedia("(max-width: 800px)").matches) $("list").open = false;
setInterval(clock, 1000);
empty();
follow("/api/queue/events", counted, (is) => {
  $("line").textContent = is ? "" : "not live: the gateway does not answer";
});
