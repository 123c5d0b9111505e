import { data, Link } from "react-router";

import type { Route } from "./+types/hello";

export function loader({ params }: Route.LoaderArgs) {
  if (params.name === "nobody") {
    throw data("There is nobody here.", { status: 404 });
  }
  return { name: params.name };
}

export default function Hello({ loaderData }: Route.ComponentProps) {
  return (
    <>
      <h1>{`Hello, ${loaderData.name}`}</h1>
      <p>
        <Link to="/">Back</Link>
      </p>
    </>
  );
}
