import type { APIRoute } from "astro";

export const POST: APIRoute = async ({ request, url }) =>
  Response.json({ query: Object.fromEntries(url.searchParams), body: await request.text() });
