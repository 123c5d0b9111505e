import { render } from "solid-js/web";

render(() => <h1>hello from vite-solid</h1>, document.getElementById("app"));
