import { useState } from "react";
import ship from "./ship.svg";

const steps = [
  { name: "validate", does: "checked the request, the quota and the name" },
  { name: "sync", does: "stored only the files that were new" },
  { name: "sandbox", does: "made a place without network or privileges" },
  { name: "build", does: "ran npm ci and npm run build in it" },
  { name: "deploy", does: "checked the release, then made it live" },
  { name: "cleanup", does: "gave back everything it had taken" },
];

export function App() {
  const [count, setCount] = useState(0);

  return (
    <main>
      <header>
        <img src={ship} alt="" width="96" height="96" />
        <h1>Your first Slipway deployment</h1>
        <p>
          This page is a Vite and React project. It was sent as files, built in a sandbox and put live, and you are
          looking at the result at <strong>{window.location.host}</strong>.
        </p>
      </header>

      <section aria-labelledby="try">
        <h2 id="try">It is alive</h2>
        <button type="button" onClick={() => setCount((n) => n + 1)}>
          Count is <output>{count}</output>
        </button>
      </section>

      <section aria-labelledby="how">
        <h2 id="how">How it came here</h2>
        <ol>
          {steps.map((step) => (
            <li key={step.name}>
              <code>{step.name}</code> {step.does}
            </li>
          ))}
        </ol>
      </section>

      <footer>
        <p>
          Change <code>src/App.tsx</code>, run <code>slipway deploy</code>, and reload.
        </p>
      </footer>
    </main>
  );
}
