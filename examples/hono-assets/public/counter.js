const button = document.querySelector("#count");
const output = button.querySelector("output");

async function show(method) {
  const answer = await fetch("/api/counters/visits", { method });
  output.value = (await answer.json()).count;
  button.disabled = false;
}

button.addEventListener("click", () => show("POST"));
show("GET");
