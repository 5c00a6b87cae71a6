// libdatachannel (node-datachannel) as a program that speaks the JSON lines of interop_process.py.

import { createInterface } from "node:readline";
import ndc from "node-datachannel";

const peers = new Map();

function emit(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

class Peer {
  constructor(name) {
    this.name = name;
    this.channels = new Map();
    this.connection = new ndc.PeerConnection(name, { iceServers: [], disableAutoNegotiation: true });
    this.connection.onLocalDescription((sdp, type) => this.emit("description", { type, sdp }));
    this.connection.onLocalCandidate((candidate, mid) => this.emit("candidate", { mid, index: 0, candidate }));
    this.connection.onGatheringStateChange((state) => state === "complete" && this.emit("gathered"));
    this.connection.onStateChange((state) => this.emit("state", { state }));
    this.connection.onDataChannel((channel) => {
      const key = `incoming-${this.channels.size}`;
      // The binding has no getters for the reliability of a channel.
      this.emit("channel", {
        channel: key,
        label: channel.getLabel(),
        protocol: channel.getProtocol(),
        id: channel.getId(),
        negotiated: false,
      });
      this.watch(key, channel);
    });
  }

  emit(on, event = {}) {
    emit({ on, pc: this.name, ...event });
  }

  watch(key, channel) {
    this.channels.set(key, channel);
    channel.onClosed(() => this.emit("closed", { channel: key }));
    channel.onError((error) => this.emit("error", { error: `${key}: ${error}` }));
    channel.onOpen(() => this.emit("open", { channel: key, id: channel.getId() }));
    channel.onMessage((data) =>
      typeof data === "string"
        ? this.emit("message", { channel: key, kind: "text", data })
        : this.emit("message", { channel: key, kind: "binary", data: Buffer.from(data).toString("base64") }),
    );
  }

  channel({ channel, label, options }) {
    const { ordered, ...rest } = options;
    this.watch(channel, this.connection.createDataChannel(label, { ...rest, unordered: ordered === false }));
  }

  media() {
    const audio = new ndc.Audio("audio", "SendRecv");
    audio.addOpusCodec(111);
    const video = new ndc.Video("video", "SendRecv");
    video.addVP8Codec(96);
    this.tracks = [this.connection.addTrack(audio), this.connection.addTrack(video)];
  }

  offer() {
    this.connection.setLocalDescription("offer");
  }

  remote({ type, sdp }) {
    this.connection.setRemoteDescription(sdp, type);
    if (type === "offer") this.connection.setLocalDescription("answer");
  }

  candidate({ mid, candidate }) {
    this.connection.addRemoteCandidate(candidate, mid);
  }

  send({ channel, messages }) {
    const target = this.channels.get(channel);
    for (const [kind, data] of messages) {
      if (kind === "text") target.sendMessage(data);
      else target.sendMessageBinary(Buffer.from(data, "base64"));
    }
  }

  close_channel({ channel }) {
    this.channels.get(channel).close();
  }

  close() {
    this.connection.close();
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { do: what, pc, ...command } = JSON.parse(line);
  try {
    if (what === "create") peers.set(pc, new Peer(pc));
    else peers.get(pc)[what](command);
  } catch (error) {
    emit({ on: "error", pc, error: `${what}: ${error}` });
  }
});
lines.on("close", () => {
  for (const peer of peers.values()) peer.close();
  ndc.cleanup();
  process.exit(0);
});
emit({ on: "ready" });
