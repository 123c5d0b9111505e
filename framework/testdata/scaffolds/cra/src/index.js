import { createRoot } from "react-dom/client";

// Never used: a lint warning, which must not fail the build.
const unused = 1;

createRoot(document.getElementById("root")).render(<h1>hello from cra</h1>);
