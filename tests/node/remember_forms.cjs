// The emulator opens modals but does not list them; keep what it answers to views.open, one per line.
const fs = require("node:fs");
const { ServerResponse } = require("node:http");
const parts = new WeakMap();
for (const name of ["write", "end"]) {
  const original = ServerResponse.prototype[name];
  ServerResponse.prototype[name] = function (chunk, ...rest) {
    if ((this.req?.url ?? "").endsWith("/api/views.open")) keep(this, chunk, name === "end");
    return original.call(this, chunk, ...rest);
  };
}
function keep(response, chunk, last) {
  const said = parts.get(response) ?? [];
  if (typeof chunk === "string" || chunk instanceof Uint8Array) said.push(Buffer.from(chunk));
  parts.set(response, said);
  if (last) fs.appendFileSync("opened-forms.jsonl", `${Buffer.concat(said).toString()}\n`);
}
