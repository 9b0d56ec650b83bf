// A form for one value of a JSON Schema, filled in with what the model said. What has no control of its own is edited as JSON.

const NOTHING = Symbol("left out");
const DEEPEST = 8;

export function el(tag, options = {}, ...children) {
  const { on = {}, text, ...rest } = options;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name in made && typeof value !== "string") made[name] = value;
    else if (value !== undefined) made.setAttribute(name, value);
  }
  if (text !== undefined) made.textContent = text;
  for (const [name, hear] of Object.entries(on)) made.addEventListener(name, hear);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** `element` to show, `read()` the value, `tell(problems)` puts each {path, message} to its field and says which have none. */
export function formOf(schema, value, { fields = {}, threshold = null } = {}) {
  const made = { schema, fields, threshold, leaves: [] };
  const root = node(made, schema ?? {}, value, [], true, 0);
  const element = el("div", { class: "form", on: { input: () => made.leaves.forEach((leaf) => leaf.compare()) } }, root.element);
  return { element, read: () => (root.get() === NOTHING ? null : root.get()), tell: (problems) => tell(made, problems) };
}

function node(form, schema, value, path, required, depth) {
  const [found, nullable] = resolve(form.schema, schema);
  const none = nullable ? null : NOTHING;
  const may = nullable || !required;
  const at = { form, schema: found, value, path, none, may, depth };
  const kinds = found.properties ? "object" : found.type;
  if ("const" in found) return leaf(at, el("output", { text: show(found.const) }), () => found.const);
  if (Array.isArray(found.enum)) return choice(at, found.enum);
  if (found.anyOf || found.oneOf || depth >= DEEPEST) return json(at);
  if (kinds === "boolean") return choice(at, [true, false]);
  if (kinds === "string") return words(at);
  if (kinds === "number" || kinds === "integer") return number(at);
  if (kinds === "object" && found.properties) return group(at);
  if (kinds === "array" && found.items) return values(at);
  return json(at);
}

/** The node with references followed and null taken away, and whether null is allowed. */
function resolve(root, schema) {
  let found = typeof schema === "object" && schema ? { ...schema } : {};
  let nullable = false;
  for (let steps = 0; steps < 50; steps++) {
    if (typeof found.$ref === "string") {
      const { $ref, ...rest } = found;
      const parts = $ref.replace(/^#\/?/, "").split("/").filter(Boolean);
      const target = parts.reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
      found = { ...target, ...rest };
      continue;
    }
    const name = ["anyOf", "oneOf", "allOf"].find((one) => Array.isArray(found[one]));
    const rest = name && found[name].filter((one) => name === "allOf" || one.type !== "null");
    if (name) nullable ||= rest.length < found[name].length;
    if (!name || rest.length !== 1) {
      if (name) found[name] = rest;
      if (name === "allOf") found = { ...found, anyOf: rest };
      break;
    }
    const { [name]: _, ...outer } = found;
    found = { ...rest[0], ...outer };
  }
  if (Array.isArray(found.type)) {
    const kinds = found.type.filter((kind) => kind !== "null");
    nullable ||= kinds.length < found.type.length;
    found.type = kinds.length === 1 ? kinds[0] : undefined;
  }
  if (Array.isArray(found.enum) && found.enum.includes(null)) {
    nullable = true;
    found.enum = found.enum.filter((one) => one !== null);
  }
  return [found, nullable];
}

/** One field: its name, how sure the model is, what it said where that is changed, and what is wrong. */
function leaf(at, control, get, { several = false } = {}) {
  const { form, schema, path } = at;
  const id = `f-${form.leaves.length}`;
  const sure = form.fields[path.join(".")];
  const low = sure !== undefined && sure < (form.threshold ?? 0.5);
  const was = el("span", { class: "was" });
  const problem = el("p", { class: "problem", id: `${id}-problem` });
  const target = several ? control : control.matches("input, select, textarea, output") ? control : control.querySelector("input, select, textarea");
  const head = [el("span", { class: "name", text: nameOf(schema, path) }), sure === undefined ? null : meter(sure, low), was];
  if (several) control.setAttribute("role", "group");
  if (several) control.setAttribute("aria-labelledby", `${id}-label`);
  else target.id = id;
  target.setAttribute("aria-describedby", `${id}-problem`);
  const label = several ? el("div", { class: "label", id: `${id}-label` }, ...head) : el("label", { class: "label", for: id }, ...head);
  const help = schema.description ? el("p", { class: "help", text: schema.description }) : null;
  const element = el("div", { class: low ? "field low" : "field" }, el("div", { class: "head" }, label), help, control, problem);
  const first = show(at.value);
  const made = { element, get };
  const compare = () => {
    const changed = at.value !== undefined && show(made.get()) !== first;
    was.textContent = changed ? `was ${first.length > 40 ? `${first.slice(0, 40)}…` : first}` : "";
  };
  form.leaves.push({ path, element, problem, target, compare });
  return made;
}

function meter(sure, low) {
  const told = `${sure.toFixed(2)}${low ? " unsure" : ""}`;
  return el("span", { class: "sure", title: "how sure the model is" }, el("meter", { min: "0", max: "1", value: String(sure) }), ` ${told}`);
}

function choice(at, options) {
  const { value, may, none } = at;
  const listed = options.map((one) => ({ value: one, text: show(one) }));
  const known = listed.findIndex((one) => one.text === show(value));
  const control = el("select");
  // A value that is none of the listed ones must not look like the first of them.
  if (may || known < 0) control.append(el("option", { value: "", text: may ? (none === null ? "– none –" : "– left out –") : "– choose –" }));
  for (const [place, one] of listed.entries()) control.append(el("option", { value: String(place), text: one.text }));
  control.value = known < 0 ? "" : String(known);
  return leaf(at, control, () => (control.value === "" ? (may ? none : NOTHING) : listed[Number(control.value)].value));
}

function number(at) {
  const control = el("input", { inputmode: at.schema.type === "integer" ? "numeric" : "decimal", autocomplete: "off" });
  control.value = at.value === undefined || at.value === null ? "" : show(at.value);
  const get = () => {
    const text = control.value.trim().replace(",", ".");
    if (text === "") return at.may ? at.none : NOTHING;
    return Number.isFinite(Number(text)) ? Number(text) : control.value; // the gateway says what is wrong with it
  };
  return leaf(at, control, get);
}

function words(at) {
  const text = typeof at.value === "string" ? at.value : at.value === undefined || at.value === null ? "" : show(at.value);
  const control = el("textarea", { rows: String(Math.min(8, Math.max(1, Math.ceil(text.length / 60), text.split("\n").length))) });
  control.value = text;
  return perhaps(at, leaf(at, control, () => control.value), [control]);
}

function json(at) {
  const text = at.value === undefined ? "" : JSON.stringify(at.value, null, 1);
  const control = el("textarea", { rows: String(Math.min(16, text.split("\n").length + 1)), class: "json", spellcheck: "false" });
  control.value = text;
  const get = () => {
    if (control.value.trim() === "") return at.may ? at.none : NOTHING;
    try {
      return JSON.parse(control.value);
    } catch {
      return control.value;
    }
  };
  return leaf(at, control, get);
}

function group(at) {
  const { form, schema, path, value, depth } = at;
  const given = typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
  const must = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties).map(([name, one]) => [name, node(form, one, given[name], [...path, name], must.has(name), depth + 1)]);
  const get = () => Object.fromEntries(parts.map(([name, one]) => [name, one.get()]).filter(([, one]) => one !== NOTHING));
  const inside = el("div", { class: "parts" }, ...parts.map(([, one]) => one.element));
  if (!path.length) return { element: inside, get };
  const element = el("fieldset", {}, el("legend", { text: nameOf(schema, path) }), inside);
  return perhaps(at, { element, get }, [], inside);
}

function values(at) {
  const { form, schema, path, value, depth } = at;
  const given = Array.isArray(value) ? value : [];
  const [items] = resolve(form.schema, schema.items);
  if (Array.isArray(items.enum)) return ticks(at, items.enum, given);
  const list = el("ol", { class: "items" });
  let rows = [];
  const read = () => rows.map((row) => row.get()).filter((one) => one !== NOTHING);
  const add = (one) => {
    const place = rows.length;
    const row = node(form, schema.items, one, [...path, place], true, depth + 1);
    const drop = () => {
      // Made again, since every item after this one has another place now.
      const left = rows.toSpliced(place, 1).map((other) => other.get());
      rows = [];
      list.replaceChildren();
      left.forEach((other) => add(other === NOTHING ? undefined : other));
      changed();
    };
    const label = `Remove ${nameOf(schema, path)} ${place + 1}`;
    rows.push(row);
    list.append(el("li", {}, row.element, el("button", { type: "button", class: "plain", text: "Remove", "aria-label": label, on: { click: drop } })));
  };
  const changed = () => list.dispatchEvent(new Event("input", { bubbles: true }));
  given.forEach(add);
  const more = () => {
    add(undefined);
    list.lastElementChild.querySelector("input, select, textarea")?.focus();
    changed();
  };
  const button = el("button", { type: "button", class: "plain", text: "Add", "aria-label": `Add to ${nameOf(schema, path)}`, on: { click: more } });
  const control = el("div", {}, list, button);
  return perhaps(at, leaf(at, control, read, { several: true }), [], control);
}

function ticks(at, options, given) {
  const told = new Set(given.map(show));
  const boxes = options.map((one) => [one, el("input", { type: "checkbox", checked: told.has(show(one)) })]);
  const control = el("div", { class: "ticks" }, ...boxes.map(([one, box]) => el("label", {}, box, ` ${show(one)}`)));
  const get = () => boxes.filter(([, box]) => box.checked).map(([one]) => one);
  return perhaps(at, leaf(at, control, get, { several: true }), boxes.map(([, box]) => box), null);
}

/** With a box that says that there is no value, where there need not be one. */
function perhaps(at, made, controls, hidden = null) {
  if (!at.may) return made;
  const box = el("input", { type: "checkbox", checked: at.value === undefined || at.value === null });
  const follow = () => {
    for (const control of controls) control.disabled = box.checked;
    if (hidden) hidden.hidden = box.checked;
  };
  box.addEventListener("change", follow);
  follow();
  const label = el("label", { class: "none" }, box, at.none === null ? " none" : " left out");
  const head = made.element.querySelector(":scope > .head");
  if (head) head.append(label);
  else made.element.querySelector("legend").after(label);
  const get = made.get;
  made.get = () => (box.checked ? at.none : get());
  return made;
}

function tell(form, problems) {
  for (const one of form.leaves) {
    one.problem.textContent = "";
    one.target.removeAttribute("aria-invalid");
  }
  const left = [];
  for (const { path, message } of problems) {
    // The field itself, or what holds it: an item of a list, a part of what is edited as JSON.
    const over = form.leaves.filter((one) => one.path.every((key, place) => String(key) === String(path[place])) && one.element.isConnected);
    const found = over.sort((a, b) => b.path.length - a.path.length)[0];
    if (!found || (!found.path.length && path.length)) {
      left.push(`${path.join(".")}: ${message}`);
      continue;
    }
    found.problem.textContent = message;
    found.target.setAttribute("aria-invalid", "true");
  }
  const first = form.leaves.find((one) => one.problem.textContent)?.target;
  first?.focus();
  first?.scrollIntoView({ block: "center" });
  return left;
}

const nameOf = (schema, path) => schema.title ?? (typeof path.at(-1) === "number" ? String(path.at(-1) + 1) : String(path.at(-1) ?? "answer"));
const show = (value) => (typeof value === "string" ? value : value === undefined || value === NOTHING ? "nothing" : JSON.stringify(value));
