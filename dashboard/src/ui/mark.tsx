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
