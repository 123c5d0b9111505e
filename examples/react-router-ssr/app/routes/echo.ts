import type { Route } from "./+types/echo";

export async function action({ request }: Route.ActionArgs) {
  const url = new URL(request.url);
  return Response.json({ query: Object.fromEntries(url.searchParams), body: await request.text() });
}
