import { createRequestHandler, RouterContextProvider } from "react-router";

import { environment, type Environment } from "./environment";

const handle = createRequestHandler(() => import("virtual:react-router/server-build"), import.meta.env.MODE);

export default {
  fetch(request: Request, env: Environment): Promise<Response> {
    const context = new RouterContextProvider();
    context.set(environment, env);
    return handle(request, context);
  },
};
