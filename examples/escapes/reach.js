// Ways to reach another place over the network.
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const patience = 1500; // ms; no answer is a refusal

// tcp connects to host:port, [host]:port or the path of a unix socket.
export function tcp(address) {
  return new Promise((resolve, reject) => {
    const [, host, port] = address.match(/^\[?([^\]]*?)\]?:(\d+)$/) ?? [];
    const socket = address.startsWith("/") ? connect(address) : connect(Number(port), host);
    socket.setTimeout(patience, () => socket.destroy(new Error("no answer")));
    socket.on("error", reject);
    socket.on("connect", () => {
      socket.destroy();
      resolve("connected");
    });
  });
}

// udp asks a name server for the root's name servers.
export function udp(host, port) {
  const query = Buffer.from("534c01000001000000000000" + "0000020001", "hex");
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    const timer = setTimeout(() => socket.emit("error", new Error("no answer")), patience);
    socket.on("error", (error) => {
      clearTimeout(timer);
      socket.close();
      reject(error);
    });
    socket.on("message", () => {
      clearTimeout(timer);
      socket.close();
      resolve("answered");
    });
    socket.send(query, port, host, (error) => error && socket.emit("error", error));
  });
}

// proxied asks the build's own proxy for a tunnel.
export function proxied(address) {
  const proxy = process.env.HTTPS_PROXY ?? process.env.https_proxy;
  if (!proxy) throw new Error("there is no proxy");
  const { hostname, port } = new URL(proxy);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port) || 80, hostname);
    socket.setTimeout(4 * patience, () => socket.destroy(new Error("no answer")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
    socket.on("connect", () => socket.write(`CONNECT ${address} HTTP/1.1\r\nHost: ${address}\r\n\r\n`));
    socket.once("data", (answer) => {
      const line = answer.toString("latin1").split("\r\n")[0];
      socket.destroy();
      if (/^HTTP\/1\.[01] 2/.test(line)) resolve(line);
      else reject(new Error(line));
    });
  });
}
