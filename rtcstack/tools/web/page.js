// The page: door, arena, peers with their graphs, chat.

import { CHAT, HELLO, Mesh } from "./mesh.js";
import { Signaling } from "./signaling.js";

const $ = (selector, root = document) => root.querySelector(selector);
const encode = (text) => new TextEncoder().encode(text);
const decode = (bytes) => new TextDecoder().decode(bytes);

const me = { name: "", dot: { x: 0.15 + 0.7 * Math.random(), y: 0.15 + 0.7 * Math.random() } };

// An id has the same colour everywhere, unless somebody here has it already.
const HUES = [230, 160, 35, 330, 190, 275, 95, 0, 210, 50, 300, 130];
const hues = new Map();
function hue(id) {
  if (!hues.has(id)) {
    let place = (Math.imul(id ^ (id >>> 15), 0x2c1b3c6d) >>> 8) % HUES.length;
    const taken = new Set(hues.values());
    for (let tries = 0; taken.has(HUES[place]) && tries < HUES.length; tries++) place = (place + 1) % HUES.length;
    hues.set(id, HUES[place]);
  }
  return `hsl(${hues.get(id)} 85% 68%)`;
}
const query = new URLSearchParams(location.search);
let signaling, mesh;

// -- the door --------------------------------------------------------------------------------------

const door = $("#door"), doorForm = $("form", door);
doorForm.name.value = query.get("name") ?? localStorage.getItem("name") ?? `guest ${100 + Math.floor(Math.random() * 900)}`;
doorForm.lobby.value = decodeURIComponent(location.hash.slice(1));
doorForm.addEventListener("submit", () => enter(doorForm.name.value.trim(), doorForm.lobby.value.trim()));
door.addEventListener("cancel", (event) => event.preventDefault());
if (query.has("name")) enter(doorForm.name.value, doorForm.lobby.value);
else door.showModal();

function enter(name, lobby) {
  me.name = name;
  localStorage.setItem("name", name);
  $("#trouble").textContent = "";
  show("connecting", "connecting");
  mesh?.close();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  signaling = new Signaling(`${scheme}//${location.host}/${location.search}`, lobby.split("#").pop());
  const servers = query.getAll("stun").map((urls) => ({ urls }));
  mesh = new Mesh(signaling, { iceServers: servers });
  listen();
}

function listen() {
  signaling.addEventListener("joined", ({ detail }) => {
    history.replaceState(null, "", `#${detail.lobby}`);
    show("joined", `in the lobby as ${signaling.id === 1 ? "host" : `peer ${signaling.id}`}`);
    $("#share").hidden = false;
    $("#game").hidden = false;
  });
  signaling.addEventListener("lost", () => show("connecting", "signaling is away, the game goes on"));
  signaling.addEventListener("sealed", () => show("joined", "sealed: nobody else comes in"));
  signaling.addEventListener("ended", ({ detail }) => {
    show("ended", mesh.open().length ? `${detail.reason}: the game goes on` : detail.reason);
    if ($("#game").hidden) {
      $("#trouble").textContent = detail.reason;
      if (!door.open) door.showModal();
    }
  });
  mesh.addEventListener("open", ({ detail: { peer } }) => {
    peer.send(peer.reliable, HELLO, encode(me.name));
    news(`peer ${peer.id} is connected`);
  });
  mesh.addEventListener("closed", ({ detail: { peer } }) => news(`${nameOf(peer)} has left`));
  mesh.addEventListener("packet", ({ detail: { peer, kind, payload } }) => {
    if (kind === HELLO) peer.name = decode(payload).slice(0, 24);
    if (kind === CHAT) say(nameOf(peer), hue(peer.id), decode(payload).slice(0, 500));
  });
  mesh.addEventListener("change", showPeers);
}

function show(state, text) {
  $("#status").dataset.state = state;
  $("#status span").textContent = text;
}

$("#share").addEventListener("click", async () => {
  const button = $("#share");
  const url = new URL(location.href);
  url.searchParams.delete("name");
  try {
    await navigator.clipboard.writeText(url.href);
    button.textContent = "Copied";
  } catch {
    prompt("The invitation", url.href); // no clipboard without TLS
  }
  setTimeout(() => { button.textContent = "Copy invitation"; }, 1500);
});

// -- chat ------------------------------------------------------------------------------------------

const nameOf = (peer) => peer.name || `peer ${peer.id}`;

function say(name, colour, text) {
  const line = document.createElement("li"), who = document.createElement("b");
  who.textContent = name;
  line.style.setProperty("--hue", colour);
  line.append(who, text);
  append(line);
}

function news(text) {
  const line = document.createElement("li");
  line.className = "news";
  line.textContent = text;
  append(line);
}

function append(line) {
  const list = $("#chat ol");
  list.append(line);
  while (list.children.length > 200) list.firstChild.remove();
  list.scrollTop = list.scrollHeight;
}

$("#chat form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.text, text = input.value.trim();
  if (!text) return;
  mesh.broadcast(CHAT, encode(text));
  say(me.name, hue(signaling.id), text);
  input.value = "";
});

// -- peers and their graphs ------------------------------------------------------------------------

const cards = new Map();
const GRAPHS = {
  rtt: { colour: "#7c8cff", least: 5, write: (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` },
  rate: { colour: "#3ddbb4", least: 2000, write: writeRate },
  loss: { colour: "#ff6b81", least: 10, write: (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} %` },
};

function writeRate(bytes) {
  return bytes < 100_000 ? `${(bytes / 1000).toFixed(1)} kB/s` : `${(bytes / 1e6).toFixed(2)} MB/s`;
}

function showPeers() {
  for (const [id, card] of cards) if (!mesh.peers.has(id)) { card.remove(); cards.delete(id); hues.delete(id); }
  for (const peer of mesh.peers.values()) {
    const card = cards.get(peer.id) ?? addCard(peer);
    card.dataset.state = peer.isOpen ? "open" : "connecting";
    $(".name", card).textContent = nameOf(peer);
    $(".path", card).textContent = peer.isOpen ? peer.path : "connecting";
    $("button", card).hidden = !peer.isOpen;
    for (const [name, graph] of Object.entries(GRAPHS)) {
      const values = peer.graphs[name], figure = $(`.${name}`, card);
      $("b", figure).textContent = values.length ? graph.write(values.at(-1)) : "–";
      draw($("canvas", figure), values, graph);
    }
  }
  $("#count").textContent = mesh.peers.size;
  $("#alone").hidden = mesh.peers.size > 0;
}

function addCard(peer) {
  const card = $("#peer").content.firstElementChild.cloneNode(true);
  card.style.setProperty("--hue", hue(peer.id));
  $("button", card).addEventListener("click", () => peer.burst());
  $("#people ul").append(card);
  cards.set(peer.id, card);
  return card;
}

// Fit a canvas to its place on the screen; returns its context in CSS pixels.
function fit(canvas) {
  const ratio = devicePixelRatio, { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function draw(canvas, values, { colour, least }) {
  const { context, width, height } = fit(canvas);
  const top = Math.max(least, ...values) * 1.1, step = width / 79;
  const x = (index) => width - (values.length - 1 - index) * step;
  const y = (value) => height - 1.5 - (value / top) * (height - 4);
  context.strokeStyle = "#242c3f";
  context.beginPath();
  context.moveTo(0, height - 0.5);
  context.lineTo(width, height - 0.5);
  context.stroke();
  if (values.length < 2) return;
  context.beginPath();
  values.forEach((value, index) => context.lineTo(x(index), y(value)));
  context.strokeStyle = colour;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(x(0), height);
  const fill = context.createLinearGradient(0, 0, 0, height);
  fill.addColorStop(0, colour + "55");
  fill.addColorStop(1, colour + "00");
  context.fillStyle = fill;
  context.fill();
}

// -- the arena -------------------------------------------------------------------------------------

const arena = $("#arena canvas"), trails = new Map();
const RADIUS = 15, INSET = 20, LABEL = 20, TRAIL = 26, IDLE_MS = 100;
let isHeld = false, sentAt = 0, sentDot = null;

function moveTo(event) {
  const box = arena.getBoundingClientRect(), clamp = (value) => Math.min(1, Math.max(0, value));
  me.dot = {
    x: clamp((event.clientX - box.left - INSET) / (box.width - 2 * INSET)),
    y: clamp((event.clientY - box.top - INSET) / (box.height - 2 * INSET - LABEL)),
  };
}
arena.addEventListener("pointerdown", (event) => { isHeld = true; arena.setPointerCapture(event.pointerId); moveTo(event); });
arena.addEventListener("pointermove", (event) => { if (isHeld) moveTo(event); });
for (const name of ["pointerup", "pointercancel"]) arena.addEventListener(name, () => { isHeld = false; });

// A moving dot is sent at most 60 times a second, one at rest ten times: its numbers measure the loss.
function frame(now) {
  requestAnimationFrame(frame);
  if (!mesh || $("#game").hidden) return;
  const hasMoved = me.dot !== sentDot;
  if (now - sentAt >= (hasMoved ? 1000 / 60 - 2 : IDLE_MS)) {
    sentAt = now;
    sentDot = me.dot;
    for (const peer of mesh.open()) peer.sendDot(me.dot.x, me.dot.y);
  }
  const { context, width, height } = fit(arena);
  paintGrid(context, width, height);
  for (const peer of mesh.open()) if (peer.dot) paintDot(context, width, height, peer.id, peer.dot, nameOf(peer));
  paintDot(context, width, height, signaling.id, me.dot, `${me.name} (you)`, true);
  for (const id of trails.keys()) if (id !== signaling.id && !mesh.peers.has(id)) trails.delete(id);
}

function paintGrid(context, width, height) {
  context.strokeStyle = "#1b2233";
  context.lineWidth = 1;
  context.beginPath();
  for (let x = (width / 2) % 48; x < width; x += 48) { context.moveTo(x, 0); context.lineTo(x, height); }
  for (let y = (height / 2) % 48; y < height; y += 48) { context.moveTo(0, y); context.lineTo(width, y); }
  context.stroke();
}

function paintDot(context, width, height, id, dot, name, isOwn = false) {
  const x = INSET + dot.x * (width - 2 * INSET), y = INSET + dot.y * (height - 2 * INSET - LABEL);
  const trail = trails.get(id) ?? [];
  trail.push([x, y]);
  if (trail.length > TRAIL) trail.shift();
  trails.set(id, trail);
  context.lineCap = "round";
  for (let index = 1; index < trail.length; index++) {
    context.strokeStyle = hue(id).replace(")", ` / ${0.4 * (index / trail.length) ** 2})`);
    context.lineWidth = RADIUS * 1.3 * (index / trail.length);
    context.beginPath();
    context.moveTo(...trail[index - 1]);
    context.lineTo(...trail[index]);
    context.stroke();
  }
  context.shadowColor = hue(id);
  context.shadowBlur = 24;
  context.fillStyle = hue(id);
  context.beginPath();
  context.arc(x, y, RADIUS, 0, 2 * Math.PI);
  context.fill();
  context.shadowBlur = 0;
  if (isOwn) {
    context.strokeStyle = "#ffffffcc";
    context.lineWidth = 2.5;
    context.stroke();
  }
  context.fillStyle = "#c9d1e4";
  context.font = "500 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(name, x, y + RADIUS + 17);
}

requestAnimationFrame(frame);
