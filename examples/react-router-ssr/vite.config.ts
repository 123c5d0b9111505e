import { reactRouter } from "@react-router/dev/vite";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [reactRouter()],
  environments: {
    // The server's build starts with the worker instead of the routes alone.
    ssr: { build: { rollupOptions: { input: "./app/worker.ts" } } },
  },
});
