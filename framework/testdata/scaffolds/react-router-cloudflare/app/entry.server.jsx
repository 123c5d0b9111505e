import { isbot } from "isbot";
import { renderToReadableStream } from "react-dom/server";
import { ServerRouter } from "react-router";

export default async function handleRequest(request, status, headers, routerContext) {
  const body = await renderToReadableStream(<ServerRouter context={routerContext} url={request.url} />, { signal: request.signal });
  if (isbot(request.headers.get("User-Agent"))) {
    await body.allReady;
  }
  headers.set("Content-Type", "text/html");
  return new Response(body, { status, headers });
}
