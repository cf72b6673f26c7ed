import { defineConfig } from "vitest/config";

export default defineConfig({
  // The engine's entry for Node; its entry for bundlers needs a plugin for WebAssembly.
  resolve: { conditions: ["node"] },
  ssr: { resolve: { conditions: ["node"], externalConditions: ["node"] } },
  test: { include: ["test/**/*.test.ts"], server: { deps: { external: ["loro-crdt"] } } },
});
