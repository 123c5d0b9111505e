document.getElementById("app").textContent = "hello from vite-vanilla";
