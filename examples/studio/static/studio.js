// The whole page: buttons send a request and do not wait for what comes of it; what comes of it arrives as events.

const MAX_BYTES = 15_000_000;
const SAMPLES = ["aurora.jpg", "city.png", "currents.jpg", "dunes.jpg", "forest.jpg", "fractal.jpg", "lights.jpg",
                 "mountains.jpg", "planet.jpg", "plasma.jpg", "sea.jpg", "sunflower.png"];
const SIZES = [96, 240, 480, 960];
const LOOKS = 6;

const $ = (id) => document.getElementById(id);
const say = (text) => { $("said").textContent = text; };

/** An element with a class and text. Names come from strangers: they only ever become text, never markup. */
function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

/** Change only what differs, so that nothing flickers and no screen reader is bothered. */
function set(element, values) {
  for (const [name, value] of Object.entries(values)) if (element[name] !== value) element[name] = value;
}

// ── what the buttons do ──────────────────────────────────────────────────────────────────────────────────────────────

async function send(method, path, body) {
  try {
    const answer = await fetch(path, { method, body });
    return answer.ok ? null : (await answer.text()) || `The studio answered ${answer.status}.`;
  } catch {
    return "The studio cannot be reached.";
  }
}

async function press(method, path) {
  const trouble = await send(method, path);
  if (trouble) complain(trouble);
}

async function upload(name, data) {
  const trouble = data.size > MAX_BYTES
    ? `More than ${MAX_BYTES / 1e6} MB is too much.`
    : await send("POST", `/pictures?name=${encodeURIComponent(name)}`, data);
  if (trouble) complain(`${name}: ${trouble}`);
}

async function uploadSample(name) {
  await upload(name, await (await fetch(`/static/${name}`)).blob());
}

function complain(text) {
  const problem = make("li");
  const dismiss = make("button", "", "close");
  dismiss.append($("picture").content.querySelector(".close svg").cloneNode(true));
  dismiss.ariaLabel = `Dismiss: ${text}`;
  dismiss.onclick = () => problem.remove();
  problem.append(make("span", text), dismiss);
  $("problems").append(problem);
  say(text);
}

$("file").onchange = ({ target }) => {
  for (const file of target.files) upload(file.name, file);
  target.value = "";
};
// Anywhere on the page will do; without this a picture that misses the field would replace the page.
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  for (const file of event.dataTransfer.files) upload(file.name, file);
});

for (const name of SAMPLES) {
  const button = make("button");
  const image = make("img");
  Object.assign(button, { type: "button", onclick: () => uploadSample(name) });
  Object.assign(image, { src: `/static/${name}`, alt: name, width: 56, height: 56 });
  button.append(image);
  const item = make("li");
  item.append(button);
  $("samples").append(item);
}
$("all-samples").onclick = () => SAMPLES.forEach(uploadSample);
$("send").onclick = () => press("POST", "/newsletter/send");
$("retry").onclick = () => press("POST", "/newsletter/retry");
$("start").onclick = async () => { say((await send("POST", "/workers")) ? "These are enough workers." : "A worker starts."); };
$("close").onclick = () => $("viewer").close();
$("viewer").onclick = ({ target }) => { if (target === $("viewer")) $("viewer").close(); };

function view(title, path) {
  $("viewer-title").textContent = title;
  Object.assign($("viewed"), { src: path, alt: title });
  $("viewer").showModal();
}

// ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const cards = new Map();
const cancelled = new Set();

/** What is to be said of a picture, from the states of its two tasks. */
function judge({ id, tasks: [thumbnails, sheet] }) {
  const task = thumbnails.state === "SUCCESS" ? sheet : thumbnails;
  const result = task.result ?? {};
  const done = Math.max(thumbnails.state === "SUCCESS" ? SIZES.length : 0, result.done ?? 0);
  const sizes = Math.min(done, SIZES.length);
  if (sheet.state === "SUCCESS") return { look: "done", done: SIZES.length + LOOKS, sizes, text: "" };
  if (task.state === "REVOKED") return { look: "cancelled", done, sizes, text: "Cancelled" };
  if (task.state === "FAILURE") return { look: "failed", done, sizes, text: String(result.exc_message?.[0] ?? result.exc_type) };
  if (cancelled.has(id)) return { look: "working", done, sizes, text: "Cancelling …" };
  if (task.state === "PROGRESS") return { look: "working", done, sizes, text: `${result.step} · ${whoWorks(id, task === sheet, result.hostname)}` };
  return { look: "waiting", done, sizes, text: done ? "Waiting for its contact sheet" : "Waiting in the queue" };
}

const lastWorkers = new Map();

/** The worker; and where the same task was with another one before, which has been killed, that too. */
function whoWorks(id, onSheet, hostname) {
  const worker = hostname.split("@")[0];
  const last = lastWorkers.get(id);
  const before = last?.onSheet === onSheet ? (last.worker === worker ? last.before : last.worker) : "";
  lastWorkers.set(id, { onSheet, worker, before });
  return before ? `${worker} took over from ${before}` : worker;
}

function newCard({ id, name }) {
  const card = $("picture").content.firstElementChild.cloneNode(true);
  card.querySelector(".title").textContent = card.querySelector(".title").title = name;
  card.querySelector("progress").ariaLabel = `Progress of ${name}`;
  card.querySelector(".close").onclick = () => {
    cancelled.add(id);
    press("DELETE", `/pictures/${id}`);
  };
  for (const [label, file] of [...SIZES.map((size) => [`${size}`, size]), ["Sheet", "sheet"]]) {
    const button = make("button", label);
    button.type = "button";
    button.ariaLabel = file === "sheet" ? `Sheet: ${name}` : `${label} pixels: ${name}`;
    button.onclick = () => view(button.ariaLabel, `/pictures/${id}/${file}`);
    card.querySelector(".made").append(button);
  }
  $("gallery").prepend(card);
  say(`${name} has arrived.`);
  return card;
}

function drawPictures(pictures) {
  for (const picture of pictures) {
    if (!cards.has(picture.id)) cards.set(picture.id, newCard(picture));
    const card = cards.get(picture.id);
    const { look, done, sizes, text } = judge(picture);
    if (card.dataset.look !== look) {
      if (["done", "failed", "cancelled"].includes(look)) say(`${picture.name}: ${text || "done"}`);
      set(card, { className: `picture ${look}` });
      card.dataset.look = look;
    }
    const ended = look !== "working" && look !== "waiting";
    set(card.querySelector("progress"), { value: done, hidden: ended });
    set(card.querySelector(".state"), { textContent: text, hidden: !text });
    set(card.querySelector(".made"), { hidden: look !== "done" });
    set(card.querySelector(".close"), { ariaLabel: `${ended ? "Remove" : "Cancel"} ${picture.name}` });
    // The smallest thumbnail shows as soon as it is there, and the sharper ones in its place.
    const best = SIZES[Math.min(sizes, 3) - 1];
    if (best) set(card.querySelector("img"), { hidden: false, src: new URL(`/pictures/${picture.id}/${best}`, location).href });
  }
  const there = new Set(pictures.map(({ id }) => id));
  for (const [id, card] of cards) if (!there.has(id)) { card.remove(); cards.delete(id); }
}

// ── mails ────────────────────────────────────────────────────────────────────────────────────────────────────────────

let mailsLeft = 0;

function drawMailing({ state, of, SUCCESS: sent = 0, RETRY: retrying = 0, FAILURE: failed = 0, begun }) {
  const left = begun ? of - sent - failed : 0;
  for (const [name, count] of Object.entries({ sent, retrying, failed })) {
    set($(name), { textContent: String(count) });
    $("stack").querySelector(`.${name}`).style.width = `${(100 * count) / of}%`;
  }
  set($("waiting"), { textContent: String(left - retrying) });
  set($("stack"), { ariaValueNow: String(sent) });
  const busy = left > 0 && state !== "FAILURE";
  set($("send"), { disabled: busy, textContent: busy ? "Sending …" : "Send to subscribers" });
  set($("retry"), { hidden: busy || !failed, textContent: `Retry ${failed} failed` });
  if (mailsLeft && !left) say(`${sent} mails sent, ${failed} failed.`);
  mailsLeft = left;
}

// ── behind the scenes ────────────────────────────────────────────────────────────────────────────────────────────────

const depths = [0];
let depth = 0;

setInterval(() => {
  depths.push(depth);
  if (depths.length > 120) depths.shift();
  const top = Math.max(10, ...depths);
  const points = depths.map((one, index) => `${index + 120 - depths.length},${(31 - (29 * one) / top).toFixed(1)}`).join(" L");
  $("depth").querySelector(".edge").setAttribute("d", `M${points}`);
  $("depth").querySelector(".area").setAttribute("d", `M${120 - depths.length},32 L${points} L119,32Z`);
}, 500);

/** Fill a list with one row for each item; what is there is kept where it says the same. */
function fill(list, items, row) {
  const key = JSON.stringify(items);
  if (list.dataset.key === key) return;
  const focused = list.contains(document.activeElement) && document.activeElement.ariaLabel;
  list.replaceChildren(...items.map(row));
  list.dataset.key = key;
  if (focused) [...list.querySelectorAll("button")].find((button) => button.ariaLabel === focused)?.focus();
}

function drawPanel({ queues, workers, running, latest }) {
  fill($("queues"), queues.map(({ name, ready, delayed, dead }) => [name, ready, delayed, dead]), (cells) => {
    const row = make("tr");
    row.append(...cells.map((cell) => make("td", cell)));
    return row;
  });
  fill($("workers"), workers, ({ name, alive, slots, busy, ours }) => {
    const item = make("li");
    const dots = make("span", "", "slots");
    dots.append(...Array.from({ length: slots }, (_, slot) => make("i", "", slot < busy ? "busy" : "")));
    item.append(make("span", name, alive ? "" : "dead"), dots);
    if (!alive) item.append(make("span", "killed"));
    if (alive && ours) {
      const kill = make("button", "Kill", "quiet");
      kill.ariaLabel = `Kill ${name}`;
      kill.onclick = () => { send("DELETE", `/workers/${name}`); say(`${name} is killed.`); };
      item.append(kill);
    }
    return item;
  });
  const line = ([what, note, className]) => {
    const item = make("li", "", className);
    item.append(make("span", what), make("span", note));
    return item;
  };
  fill($("running"), running.map(({ what, on }) => [what, on, ""]), line);
  fill($("latest"), latest.map(({ what, state }) => [what, WORDS[state], state]), line);
  depth = queues.reduce((sum, { ready }) => sum + ready, 0);
}
const WORDS = { SUCCESS: "done", FAILURE: "failed", REVOKED: "cancelled" };

// ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────────────

function showStore(text, away) {
  set($("store"), { textContent: text, className: away ? "store away" : "store" });
}

const events = new EventSource("/events"); // connects again by itself
events.onmessage = ({ data }) => {
  const drawn = JSON.parse(data);
  if (drawn.trouble) return showStore("the store is away", true);
  if (!drawn.store) return;
  showStore(`on ${drawn.store === "sqlite" ? "SQLite" : "Redis"}`, false);
  drawPictures(drawn.pictures);
  drawMailing(drawn.mailing);
  drawPanel(drawn);
};
events.onerror = () => showStore("the studio is closed", true);
