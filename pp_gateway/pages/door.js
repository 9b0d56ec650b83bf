// How a page asks its gateway: with the key of the session, which is asked for when the gateway wants one and forgotten with the tab.

const KEY = "pp-key";
let asking = null; // one dialog, however many requests wait for it

/** A refusal: `status` of HTTP, `code` for programs, `where` names what is wrong; `data` is all of the answer. */
export class Refused extends Error {
  constructor(status, data) {
    const error = (data && data.error) || {};
    super(error.what || `the gateway answers ${status}`);
    Object.assign(this, { status, code: error.code, how: error.how, where: error.where, data });
  }
}

/** The JSON that a path answers with; a `body` makes it a POST. Throws Refused, or TypeError where nobody answers. */
export async function ask(path, body) {
  const answer = await reach(path, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
  const data = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, data);
  return data;
}

/**
 * Server-sent events of a path, for ever: `hear(data, id)` gets each, `tell(true | false)` whether the line is open. A line that the gateway
 * ends is opened again at once, one that breaks later and later, up to half a minute. `path` may be a function of the last id. Returns
 * what ends it.
 */
export function follow(path, hear, tell = () => {}) {
  const end = new AbortController();
  (async () => {
    let last = null;
    for (let pause = 500; !end.signal.aborted; ) {
      let ended = false;
      try {
        const answer = await reach(typeof path === "function" ? path(last) : path, { signal: end.signal });
        if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
        tell(true);
        await read(answer.body.getReader(), (data, id) => {
          last = id ?? last;
          hear(data, id);
        });
        ended = true;
      } catch (error) {
        if (!(error instanceof Refused || error instanceof TypeError) && !end.signal.aborted) throw error;
      }
      if (end.signal.aborted) return;
      if (!ended) tell(false);
      pause = ended ? 500 : Math.min(2 * pause, 30000);
      await new Promise((done) => setTimeout(done, pause));
    }
  })();
  return () => end.abort();
}

/** Forget the key. */
export const forget = () => sessionStorage.removeItem(KEY);

async function reach(path, options) {
  for (let wrong = false; ; wrong = true) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...(key && { Authorization: `Bearer ${key}` }), ...(options.body && { "Content-Type": "application/json" }) };
    const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (answer.status !== 401) return answer;
    // Another request may have been given a key while this one was refused.
    if (sessionStorage.getItem(KEY) === key) await (asking ??= dialog(wrong || key !== null).finally(() => (asking = null)));
  }
}

async function read(reader, hear) {
  const text = new TextDecoder();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + text.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const of = (name) => lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trim());
      if (of("data:").length) hear(JSON.parse(of("data:").join("\n")), of("id:")[0]);
    }
  }
}

function dialog(wrong) {
  return new Promise((done) => {
    const box = document.createElement("dialog");
    box.className = "door";
    box.innerHTML = `<form><label for="door-key">Key of this gateway</label>
      <input id="door-key" type="password" autocomplete="off" spellcheck="false" required>
      <p role="alert"></p><button type="submit">Open</button></form>`;
    if (wrong) box.querySelector("p").textContent = "That key is not known here.";
    box.addEventListener("cancel", (event) => event.preventDefault());
    box.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, box.querySelector("input").value.trim());
      box.close();
      box.remove();
      done();
    });
    document.body.append(box);
    box.showModal();
  });
}
