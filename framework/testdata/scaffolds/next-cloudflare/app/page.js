export default function Page() {
  return <h1>hello from next-cloudflare</h1>;
}
