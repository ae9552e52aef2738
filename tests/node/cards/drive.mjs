// Open a page in a headless Chromium, wait until it has written its results, and print or draw them.
//
// The DevTools protocol over a pipe (file descriptors 3 and 4, messages end with a zero byte) is all
// that it takes. Source: https://chromedevtools.github.io/devtools-protocol/.
import { spawn } from "node:child_process";
import fs from "node:fs";

const [browser, profile, page, picture, width] = process.argv.slice(2);
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
const child = spawn(
  browser,
  [...flags, `--user-data-dir=${profile}`, "--remote-debugging-pipe", "about:blank"],
  { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] },
);
let complaints = "";
child.stderr.on("data", (data) => (complaints += data));
const watchdog = setTimeout(() => fail("the browser takes too long"), 90_000);
child.on("exit", () => fail("the browser is gone"));

function fail(why) {
  process.stderr.write(`${why}\n${complaints.slice(-2000)}`);
  child.kill("SIGKILL");
  process.exit(1);
}

const waiting = new Map();
let last = 0;
let received = "";
child.stdio[4].setEncoding("utf8");
child.stdio[4].on("data", (data) => {
  received += data;
  const messages = received.split("\0");
  received = messages.pop();
  for (const message of messages.map((text) => JSON.parse(text))) {
    const answered = waiting.get(message.id);
    waiting.delete(message.id);
    if (answered && message.error) fail(JSON.stringify(message.error));
    answered?.(message.result);
  }
});

function call(method, params = {}, sessionId = undefined) {
  last += 1;
  child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  return new Promise((resolve) => waiting.set(last, resolve));
}

const { targetId } = await call("Target.createTarget", { url: "about:blank", width: Number(width), height: 100 });
const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
await call("Page.enable", {}, sessionId);
await call("Page.navigate", { url: page }, sessionId);
const ready = `new Promise((done) => {
  const look = () => {
    const found = document.getElementById("results");
    found ? done(found.textContent) : setTimeout(look, 20);
  };
  look();
})`;
const shown = await call("Runtime.evaluate", { expression: ready, awaitPromise: true }, sessionId);
if (picture) {
  const { cssContentSize } = await call("Page.getLayoutMetrics", {}, sessionId);
  const clip = { x: 0, y: 0, width: cssContentSize.width, height: cssContentSize.height, scale: 1 };
  const shot = await call("Page.captureScreenshot", { clip, captureBeyondViewport: true }, sessionId);
  fs.writeFileSync(picture, Buffer.from(shot.data, "base64"));
} else {
  fs.writeSync(1, shown.result.value);
}
clearTimeout(watchdog);
child.removeAllListeners("exit");
child.on("exit", () => process.exit(0));
await call("Browser.close");
