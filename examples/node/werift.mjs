// A client of server.py in Node, on werift: node client.mjs [HOST [PORT [PLIS_A_SECOND]]]
//
// It decodes nothing: of each frame that has arrived whole it says that the ball is in the middle, so that the latency
// is the network's and the stack's alone. Put a decoder and a detector there. The rules are in docs/protocol.md.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { RTCPeerConnection, useH264, useVP8 } from "werift";

const [host = "127.0.0.1", port = "1234", plis = "0"] = process.argv.slice(2);
const connection = new RTCPeerConnection({
  codecs: { video: [useVP8(), useH264()] }, // the server offers one of them
  iceServers: [],
});
const signaling = connect(Number(port), host);
const say = (message) => signaling.write(JSON.stringify(message) + "\n");
let coordinates; // the data channel

connection.onTrack.subscribe((track) => {
  let next, whole = true;
  track.onReceiveRtp.subscribe(({ header }) => {
    whole &&= next === undefined || header.sequenceNumber === next;
    next = (header.sequenceNumber + 1) & 0xffff;
    if (!header.marker) return; // the marker ends a frame: RFC 7741 section 4.1, RFC 6184 section 5.1
    const place = whole ? { type: "found", x: 319.5, y: 239.5 } : { type: "skipped" };
    if (coordinates.readyState === "open") coordinates.send(JSON.stringify({ ...place, pts: header.timestamp }));
    whole = true;
  });
  if (Number(plis)) {
    const { receiver } = connection.getTransceivers().find((one) => one.kind === "video");
    setInterval(() => track.ssrc && receiver.sendRtcpPLI(track.ssrc), 1000 / Number(plis));
  }
});

createInterface({ input: signaling }).on("line", async (line) => {
  const message = JSON.parse(line);
  if (message.type === "bye") return end();
  await connection.setRemoteDescription(message);
  coordinates = connection.createDataChannel("coordinates", { ordered: false, maxRetransmits: 0 });
  await connection.setLocalDescription(await connection.createAnswer()); // gathers, too
  say({ type: "answer", sdp: connection.localDescription.sdp });
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
