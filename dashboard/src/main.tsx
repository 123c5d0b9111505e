import { render } from "preact";
import { App } from "./app";
import { startLive } from "./core/live";
import { listen } from "./core/router";
import { start } from "./core/session";
import { listenForKeys } from "./ui/keys";

listen();
listenForKeys();
startLive();
void start();
const root = document.getElementById("app");
if (root) render(<App />, root);
