import * as React from "react";

export default function Index() {
  return <h1>hello from gatsby</h1>;
}
