import { useEffect } from "preact/hooks";

// useTitle names the page in the browser's tab.
export function useTitle(title: string | undefined) {
  useEffect(() => {
    document.title = title ? title + " · Slipway" : "Slipway";
  }, [title]);
}
