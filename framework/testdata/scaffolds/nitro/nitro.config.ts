export default defineNitroConfig({ compatibilityDate: "2025-11-01", srcDir: "server" });
