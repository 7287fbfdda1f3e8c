// A media server in little, on werift: WHIP in, WHEP out, one film. node relay.mjs PORT, on the loopback.
//
// It prints what it is asked, a line each, so that a test can wait for it. What is published goes to everyone who
// watches, packet by packet, as Janus, mediamtx and LiveKit do it; who joins has the publisher asked for a key frame.
//   TOKEN in the environment: who does not say it is not let in; LINK: what it says of STUN and TURN servers
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(new URL("../../examples/node/", import.meta.url));
const { MediaStreamTrack, RTCPeerConnection, useH264, useVP8 } = require("werift");
const { TOKEN, LINK } = process.env;
const sessions = new Map(); // what is published and watched, by its path
let film, count = 0; // what is published, {connection, track}

function connect(codecs = [useVP8(), useH264()]) {
  return new RTCPeerConnection({ codecs: { video: codecs }, iceServers: [], iceUseIpv6: false, iceAdditionalHostAddresses: ["127.0.0.1"] });
}

async function answer(connection, offer) {
  await connection.setRemoteDescription({ type: "offer", sdp: offer });
  await connection.setLocalDescription(await connection.createAnswer());
  return connection.localDescription.sdp;
}

function askForKeyFrame() {
  const receiver = film?.connection.getTransceivers()[0].receiver;
  if (film?.track?.ssrc) receiver.sendRtcpPLI(film.track.ssrc);
}

async function publish(offer) {
  const connection = connect(), published = { connection, offer, watchers: new Set() };
  connection.onTrack.subscribe((track) => {
    published.track = track;
    track.onReceiveRtp.subscribe((packet) => published.watchers.forEach((watcher) => watcher.writeRtp(packet.clone())));
  });
  film = published;
  return [connection, await answer(connection, offer)];
}

async function watch(offer) {
  const name = /a=rtpmap:\d+ (VP8|H264)\//.exec(film.offer)[1];
  const connection = connect([name === "VP8" ? useVP8() : useH264()]), to = film;
  const track = new MediaStreamTrack({ kind: "video" });
  await connection.setRemoteDescription({ type: "offer", sdp: offer });
  const transceiver = connection.getTransceivers()[0];
  transceiver.setDirection("sendonly");
  await transceiver.sender.replaceTrack(track);
  await connection.setLocalDescription(await connection.createAnswer());
  connection.connectionStateChange.subscribe((state) => {
    if (state === "connected") to.watchers.add(track), askForKeyFrame();
    if (state === "closed" || state === "failed") to.watchers.delete(track);
  });
  transceiver.sender.onPictureLossIndication?.subscribe(askForKeyFrame);
  return [connection, connection.localDescription.sdp];
}

async function take({ method, url: whole, headers }, body) {
  const [url] = whole.split("?");
  console.log(method, url.replace(/\d+$/, "N"));
  if (TOKEN && headers.authorization !== `Bearer ${TOKEN}`) return [401];
  const link = LINK ? { Link: LINK } : {};
  if (method === "OPTIONS") return [204, link];
  if (method === "DELETE") {
    const connection = sessions.get(url);
    if (!sessions.delete(url)) return [404];
    if (connection === film?.connection) film = undefined;
    await connection.close();
    return [200];
  }
  if (method !== "POST" || !["/whip", "/whep"].includes(url)) return [405];
  if (url === "/whep" && !film?.track) return [404];
  const [connection, sdp] = await (url === "/whip" ? publish : watch)(body);
  const path = `${url}/${++count}`;
  sessions.set(path, connection);
  return [201, { ...link, Location: path, "Content-Type": "application/sdp" }, sdp];
}

createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  try {
    const [status, headers = {}, text = ""] = await take(request, body);
    response.writeHead(status, headers).end(text);
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
}).listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
