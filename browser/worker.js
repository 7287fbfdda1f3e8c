// The worker: finds the ball in each frame, so that the page stays smooth. Newest wins.
//
//   in   {stream}                               a ReadableStream of VideoFrames (Chromium gives it to the page)
//        {track}                                a MediaStreamTrack to be read here (Safari)
//        {pixels, width, height, pts, read}     a canvas's RGBA
//   out  {readsTracks}                          once: whether a track can be read here
//        {pts, read, place, number}             what was found: place is {x, y, radius} or null; number: of the frame, as
//                                               it stands in the picture, or null
//        {pts, skipped: true}                   passed over to stay current
//
// pts is the RTP time stamp, `read` when the frame came to hand, ms since 1970.

import {blacken, readNumber} from "./code.js";
import {find, planesOf, planesOfPixels, reads} from "./find.js";

const now = () => performance.timeOrigin + performance.now();

let coded = null;   // the size of pictures that have a number
let busy = false, waiting = null, bytes = new Uint8Array(0);

onmessage = ({data}) => {
  if (data.stream) read(data.stream);
  else if (data.track) read(new MediaStreamTrackProcessor({track: data.track, maxBufferSize: 4}).readable);
  else offer(data);
};

postMessage({readsTracks: "MediaStreamTrackProcessor" in self});

async function read(stream) {
  const reader = stream.getReader();
  for (;;) {
    const {value: frame, done} = await reader.read();
    if (done) return;
    offer({frame, pts: frame.metadata().rtpTimestamp, read: now()});
  }
}

// Look at an image, now or when the one before it is done.
async function offer(image) {
  if (busy) {
    if (waiting) pass(waiting);
    waiting = image;
    return;
  }
  busy = true;
  for (let next = image; next; [next, waiting] = [waiting, null]) await look(next);
  busy = false;
}

function pass({frame, pts}) {
  frame?.close();
  postMessage({pts, skipped: true});
}

async function look({frame, pixels, width, height, ...facts}) {
  try {
    const image = frame ? await imageOf(frame) : planesOfPixels(new Uint8Array(pixels), width, height);
    const number = readNumber(image), size = `${image.y.width}x${image.y.height}`;
    if (number !== null) coded = size;
    if (coded === size) blacken(image);
    postMessage({...facts, place: find(image), number, width, height});
  } catch (error) {   // such as a decoder's memory that is gone: the next frame has its own
    console.warn(error);
    postMessage({pts: facts.pts, skipped: true});
  } finally {
    frame?.close();
  }
}

// Return a VideoFrame's image, without a change of format if that can be.
async function imageOf(frame) {
  const {width, height} = frame.visibleRect, options = reads(frame.format) ? {} : {format: "RGBA"};
  const size = frame.allocationSize(options);
  if (bytes.length < size) bytes = new Uint8Array(size);
  const layout = await frame.copyTo(bytes, options);
  return reads(frame.format) ? planesOf(bytes, layout, frame.format, width, height) : planesOfPixels(bytes, width, height);
}
