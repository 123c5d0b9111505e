// Server-sent events as bytes make them (HTML Standard §9.2.6).
export interface ServerEvent {
  id: string;
  name: string;
  data: string;
}

// EventParser takes a stream in whatever pieces it comes.
export class EventParser {
  #rest = "";
  #event: ServerEvent = { id: "", name: "", data: "" };
  #has = false;

  *push(text: string): Generator<ServerEvent> {
    this.#rest += text;
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end < 0) return;
      const line = this.#rest.slice(0, end).replace(/\r$/, "");
      this.#rest = this.#rest.slice(end + 1);
      if (line === "") {
        if (this.#has) yield { ...this.#event, name: this.#event.name || "message" };
        this.#event = { id: "", name: "", data: "" };
        this.#has = false;
        continue;
      }
      this.#field(line);
    }
  }

  #field(line: string) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    switch (name) {
      case "data":
        this.#event.data = this.#has ? this.#event.data + "\n" + value : value;
        this.#has = true;
        break;
      case "event":
        this.#event.name = value;
        break;
      case "id":
        this.#event.id = value;
        break;
    }
  }
}
