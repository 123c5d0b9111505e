// Mark is the sign of Slipway.
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
      <rect width="32" height="32" rx="7" class="mark-ground" />
      <path d="M7 20.5 20.5 7H25v4.5L11.5 25H7z" fill="#fff" />
      <path d="M7 27.2h18" stroke="#9cc0ff" stroke-width="1.8" stroke-linecap="round" />
    </svg>
  );
}

// Afloat is a boat on calm water, where there is nothing to see.
export function Afloat() {
  return (
    <svg class="afloat" viewBox="0 0 56 40" width="56" height="40" fill="none" stroke="currentcolor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d="M13 23h30l-5 8H18zM27 23V5l12 12H27M22 17h5" />
      <path d="M4 36q4-3 8 0t8 0 8 0 8 0 8 0 8 0" />
    </svg>
  );
}
