// A client of server.py in Node, on libdatachannel: node libdatachannel.mjs [HOST [PORT [PLIS_A_SECOND]]]
//
// It decodes nothing: of each frame that has arrived whole it says that the ball is in the middle, so that the latency
// is the network's and the stack's alone. Put a decoder and a detector there. The rules are in docs/protocol.md.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { PeerConnection, RtcpReceivingSession } from "node-datachannel";

const [host = "127.0.0.1", port = "1234", plis = "0"] = process.argv.slice(2);
const connection = new PeerConnection("client", { iceServers: [], disableAutoNegotiation: true });
const signaling = connect(Number(port), host);
const say = (message) => signaling.write(JSON.stringify(message) + "\n");
let coordinates, video; // video: held, so that it is not collected

connection.onTrack((track) => {
  video = track;
  track.setMediaHandler(new RtcpReceivingSession()); // RTCP: reports, and requests for key frames
  let next, whole = true;
  track.onMessage((packet) => {
    if ((packet[1] & 0x7f) >= 72 && (packet[1] & 0x7f) < 80) return; // RTCP: RFC 5761 section 4
    const sequence = packet.readUInt16BE(2); // RFC 3550 section 5.1
    whole &&= next === undefined || sequence === next;
    next = (sequence + 1) & 0xffff;
    if (!(packet[1] & 0x80)) return; // the marker ends a frame: RFC 7741 section 4.1, RFC 6184 section 5.1
    const place = whole ? { type: "found", x: 319.5, y: 239.5 } : { type: "skipped" };
    if (coordinates.isOpen()) coordinates.sendMessage(JSON.stringify({ ...place, pts: packet.readUInt32BE(4) }));
    whole = true;
  });
  if (Number(plis)) setInterval(() => track.isOpen() && track.requestKeyframe(), 1000 / Number(plis));
});
connection.onGatheringStateChange((state) => {
  if (state === "complete") say(connection.localDescription());
});

createInterface({ input: signaling }).on("line", (line) => {
  const message = JSON.parse(line);
  if (message.type === "bye") return end();
  connection.setRemoteDescription(message.sdp, "offer");
  coordinates = connection.createDataChannel("coordinates", { unordered: true, maxRetransmits: 0 });
  connection.setLocalDescription("answer");
});
signaling.on("close", end);
signaling.on("error", ({ message }) => {
  console.error(message);
  process.exit(1);
});

function end() {
  if (signaling.writable) say({ type: "bye" });
  signaling.end(() => process.exit(0));
}
process.on("SIGINT", end);
process.on("SIGTERM", end);
