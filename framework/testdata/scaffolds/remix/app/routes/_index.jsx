export default function Index() {
  return <h1>hello from remix</h1>;
}
