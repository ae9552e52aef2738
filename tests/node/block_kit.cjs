// Judges Block Kit by Slack's own types: one JSON line in ({surface, document}), one out (what is wrong).
// The schema is generated from the installed @slack/types and kept beside them.
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const folder = process.argv[2];
const installed = require("node:module").createRequire(path.join(folder, "x.js"));

// AnyBlock of @slack/types allows any object with a type; only known blocks are judged here.
const TYPES = `import type { KnownBlock, ModalView } from "@slack/types";
export interface Message { blocks: KnownBlock[] }
export type Modal = Omit<ModalView, "blocks"> & Message;
`;

function generated() {
  const kept = path.join(folder, "block-kit.schema.json");
  const source = path.join(folder, "block-kit.ts");
  const versions = ["@slack/types", "ts-json-schema-generator"].map((name) => {
    return JSON.parse(fs.readFileSync(path.join(folder, "node_modules", name, "package.json"))).version;
  });
  const stamp = JSON.stringify([versions, TYPES]);
  if (fs.existsSync(kept)) {
    const schema = JSON.parse(fs.readFileSync(kept));
    if (schema.$comment === stamp) return schema;
  }
  const mine = `${source.slice(0, -3)}.${process.pid}.ts`;
  fs.writeFileSync(mine, TYPES);
  const { createGenerator } = installed("ts-json-schema-generator");
  const schema = createGenerator({ path: mine, type: "*", skipTypeCheck: true }).createSchema("*");
  fs.rmSync(mine);
  schema.$comment = stamp;
  fs.writeFileSync(`${kept}.${process.pid}`, JSON.stringify(schema));
  fs.renameSync(`${kept}.${process.pid}`, kept);
  return schema;
}

const Ajv = installed("ajv");
const ajv = new Ajv({ allErrors: false, strict: false });
ajv.addSchema(generated(), "kit");
const judges = Object.fromEntries(
  ["Message", "Modal"].map((name) => [name.toLowerCase(), ajv.compile({ $ref: `kit#/definitions/${name}` })]),
);

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { surface, document } = JSON.parse(line);
  const judge = judges[surface];
  const wrong = judge(document) ? [] : judge.errors.map((e) => `${e.instancePath} ${e.message}`);
  process.stdout.write(`${JSON.stringify(wrong)}\n`);
});
