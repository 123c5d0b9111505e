import { render } from "preact";

render(<h1>hello from vite-preact</h1>, document.getElementById("app"));
