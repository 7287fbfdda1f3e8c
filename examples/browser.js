// A client of server.py in a browser: takes the SDP of the server's offer, and returns that of the answer.
//
// A page cannot open the TCP connection of the signaling: whoever runs this carries the two lines (docs/protocol.md).
// What the server says of each frame is in window.scores. browser/ has the page for people, which meets it by WHEP.
async function client(sdp) {
  const connection = new RTCPeerConnection(), video = document.createElement("video");
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
  window.scores = [];
  connection.ontrack = ({ track, receiver }) => {
    receiver.jitterBufferTarget = 0;
    video.muted = true;
    video.srcObject = new MediaStream([track]);
    video.requestVideoFrameCallback(look);
    video.play();
  };
  connection.ondatachannel = ({ channel }) => {
    if (channel.label === "scores") channel.onmessage = ({ data }) => scores.push(JSON.parse(data));
  };
  await connection.setRemoteDescription({ type: "offer", sdp });
  const coordinates = connection.createDataChannel("coordinates", { ordered: false, maxRetransmits: 0 });
  const gathered = new Promise((done) => {
    connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && done();
  });
  await connection.setLocalDescription(await connection.createAnswer());
  await gathered;
  return connection.localDescription.sdp;

  function look(now, { rtpTimestamp, width, height }) {
    video.requestVideoFrameCallback(look);
    [canvas.width, canvas.height] = [width, height];
    pen.drawImage(video, 0, 0);
    const data = pen.getImageData(0, 0, width, height).data;
    let sum = 0, x = 0, y = 0;
    for (let i = 0; i < width * height; i++) {
      const green = data[4 * i + 1];
      if (green < 64) continue;
      sum += green;
      x += green * (i % width);
      y += green * Math.floor(i / width);
    }
    const place = sum ? { type: "found", x: x / sum, y: y / sum } : { type: "missed" };
    if (coordinates.readyState === "open") coordinates.send(JSON.stringify({ ...place, pts: rtpTimestamp }));
  }
}
