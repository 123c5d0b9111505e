// Lists of things: while they are on their way, when there are none, and as a table.
import type { ComponentChildren } from "preact";
import type { Pages, Resource } from "../core/resource";
import { ErrorNote, Loading, More } from "./parts";

export interface Column {
  text: string;
  right?: boolean;
  // There is no room for it on a phone.
  wide?: boolean;
  // It is told to screen readers alone.
  unseen?: boolean;
}

// The column of a row's buttons.
export const actions: Column = { text: "Actions", unseen: true };

// Table has a label that screen readers tell it by, and one head.
export function Table({ label, columns, children }: { label: string; columns: (string | Column)[]; children: ComponentChildren }) {
  return (
    <table class="list" aria-label={label}>
      <thead>
        <tr>
          {columns.map((column) => {
            const c = typeof column === "string" ? { text: column } : column;
            return (
              <th key={c.text} scope="col" class={[c.right && "right", c.wide && "wide-only"].filter(Boolean).join(" ") || undefined}>
                {c.unseen ? <span class="unseen">{c.text}</span> : c.text}
              </th>
            );
          })}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

// Listing shows what is in a list, and says so when that is nothing.
export function Listing<T>({ list, empty, children }: { list: Resource<T[]> & Partial<Pages<T>>; empty: ComponentChildren; children: (items: T[]) => ComponentChildren }) {
  const items = list.data;
  return (
    <>
      <ErrorNote error={list.error} retry={list.reload} />
      {!items && list.loading && <Loading />}
      {items?.length === 0 && empty}
      {items && items.length > 0 && children(items)}
      <More more={list.more} loading={list.loading} />
    </>
  );
}
