"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const unpack = (text, kind) => new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const x = unpack(data.x, Float32Array), y = unpack(data.y, Float32Array), n = x.length;
for (const field of data.fields) field.codes = unpack(field.codes, Int32Array);
const GREY = "#cbd5e1", FAINT = "#eef1f5", MARK = "#0f172a";
let field = data.fields[0], only = new Set(), chosen = [];

// Hues a golden angle apart, in three lightnesses: neighbours in a long list differ.
const colourOf = (f, i) =>
  f === data.fields[0] && i === data.outliers ? GREY : `hsl(${Math.round((i * 137.508) % 360)},${62 + (i % 2) * 14}%,${[44, 60, 34][i % 3]}%)`;

function scale(f) {
  // Codes 0..k-1 are colours, k is what the legend has put aside.
  const colours = [...f.words.map((_, i) => colourOf(f, i)), FAINT], k = colours.length;
  return { colorscale: colours.flatMap((c, i) => [[i / k, c], [(i + 1) / k, c]]), cmin: -0.5, cmax: k - 0.5 };
}
const shades = () => (only.size ? Array.from(field.codes, (c) => (only.has(c) ? c : field.words.length)) : field.codes);
const wrapped = (text) => escaped(text.slice(0, 240)).replace(/(.{1,56})(\s|$)/g, "$1<br>");
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const size = n > 50000 ? 2.5 : n > 5000 ? 4 : 7;
// Without WebGL the same is drawn as SVG, which is slow beyond some ten thousand points.
const kind = document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter";
const points = { type: kind, mode: "markers", x, y, hoverinfo: "none", marker: { size, opacity: n > 50000 ? 0.6 : 0.85, color: shades(), ...scale(field), line: { width: 0 } } };
// Never empty: a WebGL trace without points makes Plotly's lasso fail.
const marked = (rows) => ({ x: rows.length ? rows.map((i) => x[i]) : [x[0]], y: rows.length ? rows.map((i) => y[i]) : [y[0]], opacity: rows.length ? 1 : 0 });
const hits = { type: kind, mode: "markers", ...marked([]), hoverinfo: "skip", marker: { size: size + 6, color: "rgba(0,0,0,0)", line: { width: 2, color: MARK } } };
const label = { visible: false, showarrow: true, arrowhead: 0, ax: 0, ay: -24, align: "left", bgcolor: "#fff", bordercolor: "#94a3b8", borderpad: 6, font: { size: 12, color: "#1e293b" } };
const axis = { visible: false, zeroline: false, showgrid: false };
const layout = { margin: { l: 0, r: 0, t: 0, b: 0 }, dragmode: "pan", hovermode: "closest", showlegend: false, uirevision: 1, xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, annotations: [], paper_bgcolor: "#fff", plot_bgcolor: "#fff" };
const map = $("map");

function draw() {
  return Plotly.react(map, [points, hits], layout, { responsive: true, scrollZoom: true, displayModeBar: false });
}
function paint() {
  Object.assign(points.marker, { color: shades() }, scale(field));
  points.marker = { ...points.marker };
  draw();
}
function legend() {
  const counts = new Array(field.words.length).fill(0);
  for (const c of field.codes) counts[c]++;
  const wanted = $("filter").value.toLowerCase(), list = $("legend");
  $("legend-head").textContent = `${field.words.filter((_, i) => field !== data.fields[0] || i !== data.outliers).length} ${field.name === "topic" ? "topics" : "values of " + field.name}, ${n.toLocaleString("en")} rows`;
  list.replaceChildren();
  const order = field.words.map((_, i) => i).sort((a, b) => (a === data.outliers && field === data.fields[0]) - (b === data.outliers && field === data.fields[0]) || counts[b] - counts[a] || a - b);
  for (const i of order) {
    if (!counts[i] || !field.words[i].toLowerCase().includes(wanted)) continue;
    const row = document.createElement("li"), dot = document.createElement("i"), name = document.createElement("span"), many = document.createElement("small");
    dot.style.background = colourOf(field, i);
    name.textContent = field.words[i];
    many.textContent = counts[i].toLocaleString("en");
    row.className = only.has(i) ? "on" : "";
    row.tabIndex = 0;
    row.onclick = () => { only.has(i) ? only.delete(i) : only.add(i); legend(); paint(); };
    row.onkeydown = (event) => { if (event.key === "Enter") row.onclick(); };
    row.append(dot, name, many);
    list.append(row);
  }
}
function search() {
  const wanted = $("search").value.trim().toLowerCase(), at = [];
  if (wanted) for (let i = 0; i < n; i++) if (data.texts[i].toLowerCase().includes(wanted)) at.push(i);
  Object.assign(hits, marked(at));
  $("found").textContent = wanted ? `${at.length.toLocaleString("en")} found` : "";
  if (wanted) choose(at.slice(), true); else if (chosen.bySearch) choose([]);
  draw();
}
function choose(rows, bySearch = false) {
  chosen = rows;
  chosen.bySearch = bySearch;
  $("chosen").hidden = !rows.length;
  $("count").textContent = `${rows.length.toLocaleString("en")} rows chosen`;
  $("rows").replaceChildren(...rows.slice(0, 50).map((i) => {
    const line = document.createElement("li");
    line.textContent = data.texts[i].slice(0, 300);
    return line;
  }));
}
function save() {
  const lines = chosen.map((i) => {
    const row = data.cut ? { item_id: data.ids[i] } : { item_id: data.ids[i], input_text: data.texts[i] };
    for (const f of data.fields) row[f.name] = f.words[f.codes[i]];
    return JSON.stringify(row);
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" }));
  link.download = "chosen.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function mode(name) {
  for (const id of ["pan", "lasso", "box"]) $(id).className = id === name ? "on" : "";
  layout.dragmode = name === "box" ? "select" : name;
  layout.datarevision = (layout.datarevision || 0) + 1; // drawn anew: only then has a WebGL scene what a lasso needs
  draw();
}

$("title").textContent = data.title;
data.fields.forEach((f, i) => { if (f.colours) $("colour").add(new Option(f.name, i)); });
$("colour").onchange = (event) => { field = data.fields[event.target.value]; only = new Set(); $("filter").value = ""; legend(); paint(); };
$("filter").oninput = legend;
let waiting;
$("search").oninput = () => { clearTimeout(waiting); waiting = setTimeout(search, n > 50000 ? 300 : 80); };
$("save").onclick = save;
$("clear").onclick = () => { $("search").value = ""; search(); choose([]); delete layout.selections; points.selectedpoints = null; draw(); };
for (const id of ["pan", "lasso", "box"]) $(id).onclick = () => mode(id);
$("reset").onclick = () => Plotly.relayout(map, { "xaxis.autorange": true, "yaxis.autorange": true });
legend();
draw().then(() => {
  map.on("plotly_selected", (event) => { if (event) choose(event.points.filter((p) => p.curveNumber === 0).map((p) => p.pointNumber)); });
  map.on("plotly_hover", (event) => {
    const i = event.points[0].pointNumber;
    const facts = data.fields.map((f) => `<b>${escaped(f.name)}</b> ${escaped(f.words[f.codes[i]].slice(0, 80))}`).join("<br>");
    const below = y[i] > (map._fullLayout.yaxis.range[0] + map._fullLayout.yaxis.range[1]) / 2;
    const [left, right] = map._fullLayout.xaxis.range, part = (x[i] - left) / (right - left);
    const side = part < 0.3 ? "left" : part > 0.7 ? "right" : "center";
    Plotly.relayout(map, { annotations: [{ ...label, visible: true, x: x[i], y: y[i], text: wrapped(data.texts[i]) + facts, ay: below ? 24 : -24, yanchor: below ? "top" : "bottom", xanchor: side }] });
  });
  map.on("plotly_unhover", () => Plotly.relayout(map, { annotations: [] }));
  document.body.dataset.ready = "yes";
});
