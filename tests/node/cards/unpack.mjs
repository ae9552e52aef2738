// Unpack the browser, the libraries that a bare machine lacks, and fonts, into the folder of TMPDIR.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import zlib from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(path.join(here, "node_modules", "@sparticuz", "chromium", "package.json"));
const tar = require("tar-fs");
const bin = path.join(here, "node_modules", "@sparticuz", "chromium", "bin");
const into = process.argv[2];

for (const name of ["fonts", "al2023", "swiftshader"]) {
  const packed = fs.createReadStream(path.join(bin, `${name}.tar.br`));
  await pipeline(packed, zlib.createBrotliDecompress(), tar.extract(into));
}
const packed = fs.createReadStream(path.join(bin, "chromium.br"));
const browser = path.join(into, "chromium");
await pipeline(packed, zlib.createBrotliDecompress(), fs.createWriteStream(browser, { mode: 0o755 }));
