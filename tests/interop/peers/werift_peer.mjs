// werift as a program that speaks the JSON lines of interop_process.py.

import { createInterface } from "node:readline";
import { RTCPeerConnection } from "werift";

const peers = new Map();

function emit(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

class Peer {
  constructor(name) {
    this.name = name;
    this.channels = new Map();
    // Without an empty list, werift asks a public STUN server; it announces 65,536 bytes unless told otherwise.
    this.connection = new RTCPeerConnection({ iceServers: [], maxMessageSize: 262144 });
    this.connection.onIceCandidate.subscribe((candidate) => {
      if (!candidate) return;
      const { sdpMid, sdpMLineIndex, candidate: line } = candidate.toJSON();
      this.emit("candidate", { mid: sdpMid, index: sdpMLineIndex, candidate: line });
    });
    this.connection.iceGatheringStateChange.subscribe((state) => state === "complete" && this.emit("gathered"));
    this.connection.connectionStateChange.subscribe((state) => this.emit("state", { state }));
    this.connection.onDataChannel.subscribe((channel) => {
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
    });
  }

  emit(on, event = {}) {
    emit({ on, pc: this.name, ...event });
  }

  watch(key, channel) {
    this.channels.set(key, channel);
    const tell = (state) => {
      if (state === "open") this.emit("open", { channel: key, id: channel.id });
      if (state === "closed") this.emit("closed", { channel: key });
    };
    channel.stateChanged.subscribe(tell);
    channel.onMessage.subscribe((data) =>
      typeof data === "string"
        ? this.emit("message", { channel: key, kind: "text", data })
        : this.emit("message", { channel: key, kind: "binary", data: data.toString("base64") }),
    );
    tell(channel.readyState);
  }

  channel({ channel, label, options }) {
    this.watch(channel, this.connection.createDataChannel(label, options));
  }

  media() {
    this.connection.addTransceiver("audio");
    this.connection.addTransceiver("video");
  }

  async describe(description) {
    // setLocalDescription() waits for all candidates: tell what it will be before that.
    const { type, sdp } = description;
    this.emit("description", { type, sdp });
    await this.connection.setLocalDescription(description);
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
    if (candidate) await this.connection.addIceCandidate({ candidate, sdpMid: mid, sdpMLineIndex: index });
  }

  send({ channel, messages }) {
    const target = this.channels.get(channel);
    for (const [kind, data] of messages) target.send(kind === "text" ? data : Buffer.from(data, "base64"));
  }

  close_channel({ channel }) {
    this.channels.get(channel).close();
  }

  close() {
    return this.connection.close();
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { do: what, pc, ...command } = JSON.parse(line);
  try {
    if (what === "create") peers.set(pc, new Peer(pc));
    else await peers.get(pc)[what](command);
  } catch (error) {
    emit({ on: "error", pc, error: `${what}: ${error}` });
  }
});
lines.on("close", () => process.exit(0));
emit({ on: "ready" });
