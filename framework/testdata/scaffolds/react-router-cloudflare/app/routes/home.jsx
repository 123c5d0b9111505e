export function loader({ request }) {
  return { path: new URL(request.url).pathname };
}

export default function Home({ loaderData }) {
  return (
    <>
      <h1>hello from react-router-cloudflare</h1>
      <p>{loaderData.path}</p>
    </>
  );
}
