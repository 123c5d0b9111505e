import { createContext } from "react-router";

export type Environment = { GREETING: string };

// environment is what the worker was given: variables, secrets and bindings.
export const environment = createContext<Environment>({ GREETING: "Hello" });
