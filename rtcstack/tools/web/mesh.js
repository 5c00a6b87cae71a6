// Peers over the three channels of Godot's WebRTCMultiplayerPeer, and what is measured of them.

import { ANSWER, CANDIDATE, OFFER } from "./signaling.js";

// First byte of a packet; rtcstack/tools/bot.py has the same.
export const CHAT = 1, DOT = 2, PING = 3, PONG = 4, HELLO = 5, BULK = 6;

const SAMPLE_MS = 500, SAMPLES = 80, PING_MS = 250, DOUBT_MS = 8000;
const CHUNK = 16384, BURST = 1_000_000;

export class Peer {
  name = "";
  dot = null;
  isOpen = false;
  graphs = { rtt: [], rate: [], loss: [] };
  path = "";
  lastHeard = 0;
  #early = []; #bytes = 0; #received = 0; #expected = 0; #highest = -1; #rtts = []; #sequence = 0;

  constructor(id, configuration) {
    this.id = id;
    this.connection = new RTCPeerConnection(configuration);
    const make = (label, id, options) => {
      const channel = this.connection.createDataChannel(label, { negotiated: true, id, ...options });
      channel.binaryType = "arraybuffer";
      return channel;
    };
    this.reliable = make("reliable", 1, {});
    this.ordered = make("ordered", 2, { maxRetransmits: 0 });
    this.unreliable = make("unreliable", 3, { ordered: false, maxRetransmits: 0 });
  }

  get channels() { return [this.reliable, this.ordered, this.unreliable]; }

  async addCandidate(candidate) {
    if (this.connection.remoteDescription) await this.connection.addIceCandidate(candidate);
    else this.#early.push(candidate);
  }

  async setRemote(type, sdp) {
    await this.connection.setRemoteDescription({ type, sdp });
    for (const candidate of this.#early.splice(0)) await this.connection.addIceCandidate(candidate);
  }

  send(channel, kind, payload) {
    if (channel.readyState !== "open") return;
    const packet = new Uint8Array(1 + payload.byteLength);
    packet[0] = kind;
    packet.set(new Uint8Array(payload.buffer ?? payload, payload.byteOffset ?? 0, payload.byteLength), 1);
    channel.send(packet);
    this.#bytes += packet.length;
  }

  // A dot carries a number, so that the other side sees which ones are missing.
  sendDot(x, y) {
    const view = new DataView(new ArrayBuffer(8));
    view.setUint32(0, this.#sequence++);
    view.setUint16(4, x * 65535);
    view.setUint16(6, y * 65535);
    this.send(this.unreliable, DOT, view);
  }

  ping() {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, performance.now());
    this.send(this.unreliable, PING, view);
  }

  // The browser's buffer takes it in portions.
  burst() {
    const chunk = new Uint8Array(CHUNK);
    let left = BURST;
    const push = () => {
      while (left > 0 && this.reliable.bufferedAmount < 8 * CHUNK) {
        this.send(this.reliable, BULK, chunk);
        left -= CHUNK;
      }
      if (left <= 0) this.reliable.onbufferedamountlow = null;
    };
    this.reliable.bufferedAmountLowThreshold = 2 * CHUNK;
    this.reliable.onbufferedamountlow = push;
    push();
  }

  // Returns [kind, payload] of what concerns the page, else null.
  receive(data) {
    const bytes = new Uint8Array(data);
    this.#bytes += bytes.length;
    this.lastHeard = performance.now();
    const view = new DataView(data, Math.min(1, bytes.length));
    switch (bytes[0]) {
      case PING:
        if (view.byteLength === 8) this.send(this.unreliable, PONG, bytes.subarray(1));
        return null;
      case PONG:
        if (view.byteLength === 8) this.#rtts.push(performance.now() - view.getFloat64(0));
        return null;
      case DOT:
        if (view.byteLength === 8) this.#takeDot(view);
        return null;
      case BULK:
        return null;
      default:
        return [bytes[0], bytes.subarray(1)];
    }
  }

  #takeDot(view) {
    const number = view.getUint32(0);
    this.#received += 1;
    if (number > this.#highest) {
      this.#expected += this.#highest < 0 ? 1 : number - this.#highest;
      this.#highest = number;
      this.dot = { x: view.getUint16(4) / 65535, y: view.getUint16(6) / 65535 };
    }
  }

  sample() {
    const rtt = this.#rtts.length ? this.#rtts.reduce((a, b) => a + b) / this.#rtts.length : null;
    const loss = this.#expected ? Math.max(0, 1 - this.#received / this.#expected) * 100 : null;
    this.#push("rtt", rtt ?? this.graphs.rtt.at(-1) ?? 0);
    this.#push("rate", (this.#bytes * 1000) / SAMPLE_MS);
    this.#push("loss", loss ?? 0);
    this.#rtts = [];
    this.#bytes = this.#received = this.#expected = 0;
  }

  #push(name, value) {
    const graph = this.graphs[name];
    graph.push(value);
    if (graph.length > SAMPLES) graph.shift();
  }

  async findPath() {
    const stats = await this.connection.getStats();
    const of = (type) => [...stats.values()].filter((entry) => entry.type === type);
    const pair = of("candidate-pair").find((entry) => entry.nominated && entry.state === "succeeded");
    const candidate = pair && stats.get(pair.remoteCandidateId);
    if (candidate) this.path = { host: "direct", srflx: "direct", prflx: "direct", relay: "relayed" }[candidate.candidateType];
  }
}

// Events: open {peer}, closed {peer}, packet {peer, kind, payload}, change.
export class Mesh extends EventTarget {
  peers = new Map();
  #signaling; #configuration; #timers;

  constructor(signaling, configuration) {
    super();
    this.#signaling = signaling;
    this.#configuration = configuration;
    signaling.addEventListener("id", ({ detail }) => { if (detail.isNew) for (const id of [...this.peers.keys()]) this.#drop(id); });
    signaling.addEventListener("peer", ({ detail }) => this.#add(detail.id));
    signaling.addEventListener("gone", ({ detail }) => this.#doubt(detail.id));
    signaling.addEventListener("message", ({ detail }) => this.#follow(detail));
    this.#timers = [
      setInterval(() => { for (const peer of this.open()) peer.ping(); }, PING_MS),
      setInterval(() => {
        for (const peer of this.open()) { peer.sample(); if (!peer.path) peer.findPath(); }
        this.#tell("change");
      }, SAMPLE_MS),
    ];
  }

  close() {
    this.#timers.forEach(clearInterval);
    for (const id of [...this.peers.keys()]) this.#drop(id);
  }

  open() { return [...this.peers.values()].filter((peer) => peer.isOpen); }

  broadcast(kind, payload) { for (const peer of this.open()) peer.send(peer.reliable, kind, payload); }

  #tell(name, detail = {}) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  #add(id) {
    const peer = new Peer(id, this.#configuration);
    const { connection } = peer;
    this.peers.set(id, peer);
    connection.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate)
        this.#signaling.send(CANDIDATE, id, `\n${candidate.sdpMid}\n${candidate.sdpMLineIndex}\n${candidate.candidate}`);
    };
    connection.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(connection.connectionState)) this.#drop(id, peer);
    };
    for (const channel of peer.channels) {
      channel.onopen = () => {
        if (!peer.isOpen && peer.channels.every((each) => each.readyState === "open")) {
          peer.isOpen = true;
          this.#tell("open", { peer });
        }
      };
      channel.onclose = () => this.#drop(id, peer);
      channel.onmessage = ({ data }) => {
        if (typeof data === "string" || !data.byteLength) return;
        const packet = peer.receive(data);
        if (packet) this.#tell("packet", { peer, kind: packet[0], payload: packet[1] });
      };
    }
    if (id < this.#signaling.id) this.#offer(peer); // the larger id offers, as in Godot
    this.#tell("change");
  }

  async #offer(peer) {
    await peer.connection.setLocalDescription(await peer.connection.createOffer());
    this.#signaling.send(OFFER, peer.id, peer.connection.localDescription.sdp);
  }

  async #follow({ type, id, data }) {
    const peer = this.peers.get(id);
    if (!peer) return;
    try {
      if (type === OFFER) {
        await peer.setRemote("offer", data);
        await peer.connection.setLocalDescription(await peer.connection.createAnswer());
        this.#signaling.send(ANSWER, id, peer.connection.localDescription.sdp);
      } else if (type === ANSWER) {
        await peer.setRemote("answer", data);
      } else if (type === CANDIDATE) {
        const [sdpMid, index, candidate] = data.split("\n").filter((part) => part);
        await peer.addCandidate({ sdpMid, sdpMLineIndex: Number(index), candidate });
      }
    } catch (error) {
      console.warn(`message ${type} of peer ${id} is of no use:`, error);
    }
  }

  // Who leaves the lobby may still be in the game: only silence decides.
  #doubt(id) {
    const peer = this.peers.get(id);
    if (!peer) return;
    if (!peer.isOpen) { this.#drop(id, peer); return; }
    const since = performance.now();
    setTimeout(() => { if (peer.lastHeard < since) this.#drop(id, peer); }, DOUBT_MS);
  }

  #drop(id, peer = this.peers.get(id)) {
    if (this.peers.get(id) !== peer) return;
    this.peers.delete(id);
    peer.connection.close();
    if (peer.isOpen) this.#tell("closed", { peer });
    peer.isOpen = false;
    this.#tell("change");
  }
}
