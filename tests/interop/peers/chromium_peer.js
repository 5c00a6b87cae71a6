// The page's half of chromium_peer.py: RTCPeerConnection behind the commands of interop_process.py.

const peers = new Map();

class Peer {
  constructor(name) {
    this.name = name;
    this.channels = new Map();
    this.connection = new RTCPeerConnection();
    this.connection.onicecandidate = ({ candidate }) => {
      if (candidate === null) this.emit("gathered");
      else
        this.emit("candidate", {
          mid: candidate.sdpMid,
          index: candidate.sdpMLineIndex,
          candidate: candidate.candidate,
        });
    };
    this.connection.onconnectionstatechange = () => this.emit("state", { state: this.connection.connectionState });
    this.connection.ondatachannel = ({ channel }) => {
      const key = `incoming-${this.channels.size}`;
      this.emit("channel", {
        channel: key,
        label: channel.label,
        protocol: channel.protocol,
        id: channel.id,
        ordered: channel.ordered,
        negotiated: channel.negotiated,
        maxRetransmits: channel.maxRetransmits,
        maxPacketLifeTime: channel.maxPacketLifeTime,
      });
      this.watch(key, channel);
    };
  }

  emit(on, event = {}) {
    emitLine(JSON.stringify({ on, pc: this.name, ...event }));
  }

  watch(key, channel) {
    this.channels.set(key, channel);
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.emit("open", { channel: key, id: channel.id });
    channel.onclose = () => this.emit("closed", { channel: key });
    channel.onerror = ({ error }) => this.emit("note", { note: `${key}: ${error}` });
    channel.onmessage = ({ data }) =>
      typeof data === "string"
        ? this.emit("message", { channel: key, kind: "text", data })
        : this.emit("message", { channel: key, kind: "binary", data: new Uint8Array(data).toBase64() });
  }

  async describe(description) {
    await this.connection.setLocalDescription(description);
    this.emit("description", { type: description.type, sdp: description.sdp });
  }

  channel({ channel, label, options }) {
    this.watch(channel, this.connection.createDataChannel(label, options));
  }

  media() {
    this.connection.addTransceiver("audio");
    this.connection.addTransceiver("video");
  }

  async offer() {
    await this.describe(await this.connection.createOffer());
  }

  async restart() {
    await this.describe(await this.connection.createOffer({ iceRestart: true }));
  }

  async remote({ type, sdp }) {
    await this.connection.setRemoteDescription({ type, sdp });
    if (type === "offer") await this.describe(await this.connection.createAnswer());
  }

  async candidate({ mid, index, candidate }) {
    await this.connection.addIceCandidate({ sdpMid: mid, sdpMLineIndex: index, candidate });
  }

  send({ channel, messages }) {
    for (const [kind, data] of messages)
      this.channels.get(channel).send(kind === "text" ? data : Uint8Array.fromBase64(data));
  }

  close_channel({ channel }) {
    this.channels.get(channel).close();
  }

  close() {
    this.connection.close();
    // The specification fires no event at the side that closes.
    this.emit("state", { state: "closed" });
    for (const key of this.channels.keys()) this.emit("closed", { channel: key });
  }
}

async function run({ do: what, pc, ...command }) {
  try {
    if (what === "create") peers.set(pc, new Peer(pc));
    else await peers.get(pc)[what](command);
  } catch (error) {
    emitLine(JSON.stringify({ on: "error", pc, error: `${what}: ${error}` }));
  }
}
