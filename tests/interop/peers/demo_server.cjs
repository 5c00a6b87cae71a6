// The Node server of Godot's webrtc_signaling demo, written anew from its protocol: rules, limits, codes and reasons.
// Prints its port.  Argument: milliseconds from the seal to the end of a lobby (the demo's is 10000).

"use strict";

const crypto = require("node:crypto");
const { Server } = require("ws");

const MAX_PEERS = 4096, MAX_LOBBIES = 1024, NO_LOBBY_MS = 1000, PING_MS = 10000;
const SEAL_MS = Number(process.argv[2] ?? 10000);
const JOIN = 0, ID = 1, PEER_CONNECT = 2, PEER_DISCONNECT = 3, OFFER = 4, ANSWER = 5, CANDIDATE = 6, SEAL = 7;

class ProtocolError extends Error {}

const peers = new Map();
const lobbies = new Map();

const write = (type, id, data = "") => JSON.stringify({ type, id, data });

function drawName() {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  return Array.from({ length: 16 }, () => letters[crypto.randomInt(letters.length)]).join("");
}

function idIn(lobby, peer) {
  return lobby.host === peer.id ? 1 : peer.id;
}

function join(peer, name, isMesh) {
  if (name === "") {
    if (lobbies.size >= MAX_LOBBIES) throw new ProtocolError("Too many lobbies open, disconnecting");
    if (peer.lobby !== "") throw new ProtocolError("Already in a lobby");
    name = drawName();
    lobbies.set(name, { host: peer.id, isMesh, members: [], isSealed: false, timer: null });
  }
  const lobby = lobbies.get(name);
  if (!lobby) throw new ProtocolError("Lobby does not exists");
  if (lobby.isSealed) throw new ProtocolError("Lobby is sealed");
  peer.lobby = name;
  const id = idIn(lobby, peer);
  peer.ws.send(write(ID, id, lobby.isMesh ? "true" : ""));
  for (const member of lobby.members) {
    member.ws.send(write(PEER_CONNECT, id));
    peer.ws.send(write(PEER_CONNECT, idIn(lobby, member)));
  }
  lobby.members.push(peer);
  peer.ws.send(write(JOIN, 0, name));
}

function leave(peer) {
  const lobby = lobbies.get(peer.lobby);
  if (!lobby) return;
  const isHost = lobby.host === peer.id;
  lobby.members = lobby.members.filter((member) => member !== peer);
  for (const member of lobby.members) {
    if (isHost) member.ws.close(4000, "Room host has disconnected");
    else member.ws.send(write(PEER_DISCONNECT, idIn(lobby, peer)));
  }
  if (isHost) {
    clearTimeout(lobby.timer);
    lobbies.delete(peer.lobby);
  }
}

function seal(peer, lobby) {
  if (lobby.host !== peer.id) throw new ProtocolError("Only host can seal the lobby");
  lobby.isSealed = true;
  for (const member of lobby.members) member.ws.send(write(SEAL, 0));
  lobby.timer = setTimeout(() => {
    for (const member of lobby.members) member.ws.close(1000, "Seal complete");
  }, SEAL_MS);
}

function receive(peer, text) {
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ProtocolError("Invalid message format");
  }
  const type = typeof json?.type === "number" ? Math.floor(json.type) : -1;
  const id = typeof json?.id === "number" ? Math.floor(json.id) : -1;
  const data = typeof json?.data === "string" ? json.data : "";
  if (type < 0 || id < 0) throw new ProtocolError("Invalid message format");
  if (type === JOIN) return join(peer, data, id === 0);
  if (peer.lobby === "") throw new ProtocolError("Invalid message when not in a lobby");
  const lobby = lobbies.get(peer.lobby);
  if (!lobby) throw new ProtocolError("Server error, lobby not found");
  if (type === SEAL) return seal(peer, lobby);
  if (![OFFER, ANSWER, CANDIDATE].includes(type)) throw new ProtocolError("Invalid command");
  const wanted = id === 1 ? lobby.host : id;
  const destination = lobby.members.find((member) => member.id === wanted);
  if (!destination) throw new ProtocolError("Invalid destination");
  destination.ws.send(write(type, idIn(lobby, peer), data));
}

const server = new Server({ host: "127.0.0.1", port: 0 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (ws) => {
  if (peers.size >= MAX_PEERS) {
    ws.close(4000, "Too many peers connected");
    return;
  }
  const peer = { ws, id: crypto.randomInt(2, 2 ** 31), lobby: "" };
  peers.set(ws, peer);
  const timer = setTimeout(() => {
    if (peer.lobby === "") ws.close(4000, "Have not joined lobby yet");
  }, NO_LOBBY_MS);
  ws.on("message", (message) => {
    // ws 7 hands over text as a string and binary frames as a Buffer.
    if (typeof message !== "string") {
      ws.close(4000, "Invalid transfer mode, must be text");
      return;
    }
    try {
      receive(peer, message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      ws.close(4000, error.message);
    }
  });
  ws.on("close", () => {
    clearTimeout(timer);
    peers.delete(ws);
    leave(peer);
  });
});
setInterval(() => {
  for (const { ws } of peers.values()) ws.ping();
}, PING_MS);
