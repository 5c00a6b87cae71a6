// The client of Godot's webrtc_signaling protocol, with the seats that rtcstack's server keeps.

export const JOIN = 0, ID = 1, PEER_CONNECT = 2, PEER_DISCONNECT = 3, OFFER = 4, ANSWER = 5, CANDIDATE = 6, SEAL = 7;

const FIRST_RETRY = 250, LAST_RETRY = 8000; // milliseconds
const LOST = new Set([1001, 1005, 1006, 1011, 1012, 1013]); // close codes that leave hope

// Events: id {id, isNew}, peer {id}, gone {id}, joined {lobby}, message {type, id, data}, sealed, lost, ended {reason}.
export class Signaling extends EventTarget {
  id = 0;
  lobby = "";
  #url; #socket; #ticket = ""; #known = new Set(); #announced = new Set(); #retry = FIRST_RETRY; #sealed = false; #queue = [];

  constructor(url, lobby) {
    super();
    this.#url = url;
    this.lobby = lobby;
    this.#connect();
  }

  // Messages wait while the connection is away.
  send(type, id, data) {
    const text = JSON.stringify({ type, id, data });
    if (this.isJoined) this.#socket.send(text); else this.#queue.push(text);
  }

  isJoined = false;

  #tell(name, detail = {}) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  #connect() {
    this.#socket = new WebSocket(this.#url);
    this.#announced = new Set();
    this.#socket.onopen = () =>
      this.#socket.send(JSON.stringify({ type: JOIN, id: 0, data: this.lobby, resume: this.#ticket }));
    this.#socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    this.#socket.onclose = (event) => this.#lose(event);
  }

  #lose({ code, reason }) {
    const wasIn = this.id !== 0;
    this.isJoined = false;
    if (!LOST.has(code) || this.#sealed || !wasIn) {
      this.#tell("ended", { reason: reason || (wasIn ? "the connection is gone" : "the server cannot be reached") });
      return;
    }
    this.#tell("lost");
    setTimeout(() => this.#connect(), this.#retry * (0.5 + Math.random()));
    this.#retry = Math.min(this.#retry * 2, LAST_RETRY);
  }

  #receive({ type, id, data, resume }) {
    if (type === ID) {
      const isNew = !(id === this.id && resume && resume === this.#ticket);
      this.id = id;
      this.#ticket = resume ?? "";
      if (isNew) { for (const peer of this.#known) this.#forget(peer); this.#queue = []; }
      this.#tell("id", { id, isNew });
    } else if (type === PEER_CONNECT) {
      this.#announced.add(id);
      if (!this.#known.has(id)) { this.#known.add(id); this.#tell("peer", { id }); }
    } else if (type === PEER_DISCONNECT) {
      this.#forget(id);
    } else if (type === JOIN) {
      for (const peer of [...this.#known]) if (!this.#announced.has(peer)) this.#forget(peer);
      this.lobby = data;
      this.isJoined = true;
      this.#retry = FIRST_RETRY;
      for (const text of this.#queue.splice(0)) this.#socket.send(text);
      this.#tell("joined", { lobby: data });
    } else if (type === SEAL) {
      this.#sealed = true;
      this.#tell("sealed");
    } else {
      this.#tell("message", { type, id, data });
    }
  }

  #forget(id) { if (this.#known.delete(id)) this.#tell("gone", { id }); }
}
