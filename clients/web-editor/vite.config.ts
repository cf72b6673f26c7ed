import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [svelte()],
  resolve: {
    // The SDK is compiled from its sources, not from what was built of it last.
    conditions: ["source", "module", "browser", "development|production"],
    // Everybody who imports the engine shares the one instance that `src/loro.ts` has initialised.
    alias: [{ find: /^loro-crdt$/, replacement: local("src/loro.ts") }],
  },
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 1024 },
  server: {
    proxy: { "/v1": { target: process.env.COLLABEDIT_URL ?? "http://127.0.0.1:8080", ws: true } },
  },
});
