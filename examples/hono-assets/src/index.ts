import { Hono } from "hono";

type Env = {
  Bindings: {
    ASSETS: { fetch(request: Request | string): Promise<Response> };
    COUNTERS: {
      get(key: string): Promise<string | null>;
      put(key: string, value: string): Promise<void>;
      delete(key: string): Promise<void>;
    };
    GREETING: string;
  };
};

const app = new Hono<Env>();
const api = app.basePath("/api");

api.get("/hello", (c) => c.json({ says: `${c.env.GREETING}, ${c.req.query("name") ?? "world"}` }));

api.get("/counters/:name", async (c) => c.json({ count: await count(c.env, c.req.param("name")) }));

// Two visitors at once may count as one: a KV namespace has no transactions.
api.post("/counters/:name", async (c) => {
  const name = c.req.param("name");
  const next = (await count(c.env, name)) + 1;
  await c.env.COUNTERS.put(name, String(next));
  return c.json({ count: next });
});

api.delete("/counters/:name", async (c) => {
  await c.env.COUNTERS.delete(c.req.param("name"));
  return c.body(null, 204);
});

api.all("*", (c) => c.json({ error: `There is no ${c.req.path}.` }, 404));

app.get("/pages/:name", (c) => c.html(`<!doctype html><title>A page</title><h1>${escape(c.req.param("name"))}</h1>`));

// A page of the files, with another status: the binding reads what is beside the worker.
app.notFound(async (c) => {
  const page = await c.env.ASSETS.fetch(new URL("/lost", c.req.url).toString());
  return new Response(page.body, { status: 404, headers: page.headers });
});

async function count(env: Env["Bindings"], name: string): Promise<number> {
  return Number((await env.COUNTERS.get(name)) ?? 0);
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

export default app;
