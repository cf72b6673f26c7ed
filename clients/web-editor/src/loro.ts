/**
 * The CRDT engine, ready to use.
 *
 * Its default entry for browsers fetches the WebAssembly with a synchronous request, which blocks the page and passes a
 * service worker by. This one streams it; the build makes every import of `loro-crdt` one of this module.
 */
import init from "loro-crdt/web";
import wasm from "loro-crdt/web/loro_wasm_bg.wasm?url";

await init({ module_or_path: wasm });

export * from "loro-crdt/web";
