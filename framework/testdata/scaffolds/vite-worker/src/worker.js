export default {
  fetch() {
    return Response.json({ says: "hello from vite-worker" });
  },
};
