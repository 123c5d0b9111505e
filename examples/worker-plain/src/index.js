import words from "./words.txt";

// A worker without a package: nothing is installed, nothing is built.
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    switch (url.pathname) {
      case "/":
        return new Response(`${env.GREETING} from a plain worker.\n${words}`);
      case "/echo":
        return echo(request, url);
      case "/stream":
        return stream(env.LIMITS.chunks, ctx);
      case "/error":
        throw new Error("this worker throws when asked to");
    }
    return new Response(`There is no ${url.pathname} here.\n`, { status: 404 });
  },
};

// echo says what arrived.
async function echo(request, url) {
  return Response.json(
    {
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: Object.fromEntries(request.headers),
      body: await request.text(),
    },
    { headers: { "X-Echo": request.method } },
  );
}

// stream answers one line at a time, so that a reader sees the first long
// before the last.
function stream(chunks, ctx) {
  const { readable, writable } = new TransformStream();
  ctx.waitUntil(write(writable, chunks));
  return new Response(readable, { headers: { "Content-Type": "text/plain" } });
}

async function write(writable, chunks) {
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  for (let i = 1; i <= chunks; i++) {
    await writer.write(encoder.encode(`chunk ${i} of ${chunks}\n`));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await writer.close();
}
