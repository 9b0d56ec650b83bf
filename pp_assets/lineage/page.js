"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.querySelector("svg"), details = document.getElementById("details");
const boxes = new Map([...svg.querySelectorAll(".node")].map((box) => [box.dataset.id, box]));
const into = new Map();
for (const [id, node] of Object.entries(data.nodes))
  for (const from of node.from) if (from.node) into.set(from.node, [...(into.get(from.node) || []), id]);

// Text from artifacts is shown as text: nothing here becomes markup.
function make(tag, text, parent) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function reached(start, next) {
  const found = new Set([start]), waiting = [start];
  while (waiting.length)
    for (const id of next(waiting.pop())) if (data.nodes[id] && !found.has(id)) (found.add(id), waiting.push(id));
  return found;
}

function choose(id, show) {
  const node = data.nodes[id];
  if (!node) return;
  const up = reached(id, (at) => data.nodes[at].from.map((from) => from.node).filter(Boolean));
  const down = reached(id, (at) => into.get(at) || []);
  svg.classList.add("chosen");
  for (const [at, box] of boxes) {
    box.classList.toggle("on", up.has(at) || down.has(at));
    box.classList.toggle("chosen", at === id);
  }
  for (const edge of svg.querySelectorAll(".edge")) {
    const { from, to } = edge.dataset;
    edge.classList.toggle("on", (up.has(from) && up.has(to)) || (down.has(from) && down.has(to)));
  }
  tell(id, node);
  if (show) (boxes.get(id) || details).scrollIntoView({ block: "center", inline: "center" });
  history.replaceState(null, "", "#" + encodeURIComponent(id));
}

function link(id, text, parent) {
  const button = make("button", text, parent);
  button.addEventListener("click", () => choose(id, true));
}

function rows(parent, pairs) {
  const list = make("dl", undefined, parent);
  for (const [name, value] of pairs) {
    make("dt", name, list);
    const cell = make("dd", value, list);
    if (String(value).includes("\n") || String(value).length > 80) cell.className = "words";
  }
}

function tell(id, node) {
  details.replaceChildren();
  make("h2", `${node.kind} ${node.version.slice(0, 8)}`, details);
  make("div", node.says, details).className = "soft";
  const facts = [["of", node.key], ["made", node.at.slice(0, 19)], ["why", node.why], ["digest", node.digest]];
  rows(details, [...facts, ["state", node.current ? "in force" : "an earlier version"], ["where", node.path]]);
  if (node.from.length) {
    make("h3", "made from", details);
    const list = make("ul", undefined, details);
    for (const from of node.from) {
      const item = make("li", `${from.name} `, list);
      if (data.nodes[from.node]) link(from.node, data.nodes[from.node].version.slice(0, 8), item);
      else make("code", from.digest.slice(0, 12), item);
    }
  }
  const made = into.get(id) || [];
  if (made.length) {
    make("h3", "what was made of it", details);
    const list = make("ul", undefined, details);
    for (const to of made) link(to, data.nodes[to].version.slice(0, 8), make("li", `${data.nodes[to].kind} `, list));
  }
  const told = data.events.filter((event) => event.node === id);
  if (told.length) {
    make("h3", "what happened to it", details);
    const list = make("ul", undefined, details);
    for (const event of told) make("li", `${event.at.slice(0, 19)} ${event.kind}: ${event.text}`, list);
  }
  const metadata = Object.entries(node.metadata);
  if (metadata.length) {
    make("h3", "metadata", details);
    rows(details, metadata);
  }
}

for (const [id, box] of boxes) {
  box.addEventListener("click", () => choose(id));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") (event.preventDefault(), choose(id));
  });
}
for (const button of document.querySelectorAll("td button")) button.addEventListener("click", () => choose(button.dataset.id, true));
const asked = decodeURIComponent(location.hash.slice(1));
choose(data.nodes[asked] ? asked : data.chosen, Boolean(data.nodes[asked]));
