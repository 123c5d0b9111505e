import { Suspense, use, useState } from "react";
import { Link } from "react-router";

import { environment } from "../environment";
import type { Route } from "./+types/home";

export const meta: Route.MetaFunction = () => [{ title: "React Router on a server" }];

export function loader({ request, context }: Route.LoaderArgs) {
  const url = new URL(request.url);
  return {
    greeting: context.get(environment).GREETING,
    path: url.pathname + url.search,
    time: new Date().toISOString(),
    // Not awaited: it is streamed after the rest of the page.
    late: new Promise<string>((resolve) => setTimeout(() => resolve("and this came later"), 300)),
  };
}

export default function Home({ loaderData }: Route.ComponentProps) {
  const [count, setCount] = useState(0);
  return (
    <>
      <h1>React Router on a server</h1>
      <p>{`${loaderData.greeting}! This page was rendered for you.`}</p>
      <dl>
        <dt>path</dt>
        <dd id="path">{loaderData.path}</dd>
        <dt>time</dt>
        <dd id="time">{loaderData.time}</dd>
      </dl>
      <p>
        <button id="count" onClick={() => setCount(count + 1)}>
          Clicked <output>{count}</output> times
        </button>
      </p>
      <Suspense fallback={<p>Wait for it</p>}>
        <Late words={loaderData.late} />
      </Suspense>
      <p>
        <Link to="/hello/you">Another page</Link>
      </p>
    </>
  );
}

function Late({ words }: { words: Promise<string> }) {
  return <p id="late">{use(words)}</p>;
}
