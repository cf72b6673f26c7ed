/**
 * Puts a `.br` and a `.gz` beside each built file that profits from it, for a server that hands them out as they are.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const COMPRESSIBLE = /\.(?:wasm|js|css|html|svg|json|webmanifest)$/;
/** Below this the header of a response outweighs what is saved. */
const BYTES_MIN = 512;

const dist = process.argv[2];
if (!dist) throw new Error("usage: precompress.js DIST");

const totals = { raw: 0, gzip: 0, brotli: 0 };
for (const entry of readdirSync(dist, { recursive: true })) {
  const path = join(dist, String(entry));
  if (!COMPRESSIBLE.test(path) || statSync(path).size < BYTES_MIN) continue;
  const raw = readFileSync(path);
  const brotli = brotliCompressSync(raw, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
      [constants.BROTLI_PARAM_LGWIN]: 24,
    },
  });
  const gzip = gzipSync(raw, { level: 9 });
  writeFileSync(`${path}.br`, brotli);
  writeFileSync(`${path}.gz`, gzip);
  totals.raw += raw.length;
  totals.gzip += gzip.length;
  totals.brotli += brotli.length;
  if (raw.length > 100_000) report(relative(dist, path), raw.length, gzip.length, brotli.length);
}
report("all", totals.raw, totals.gzip, totals.brotli);

/** @param {string} name @param {number} raw @param {number} gzip @param {number} brotli */
function report(name, raw, gzip, brotli) {
  const kib = (/** @type {number} */ bytes) => `${(bytes / 1024).toFixed(1)} KiB`;
  console.log(`${name}: ${kib(raw)}, gzip ${kib(gzip)}, brotli ${kib(brotli)}`);
}
