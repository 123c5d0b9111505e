package edge

import ("testing";"time";"fmt";"sort";"os")

func TestZZLatency(t *testing.T) {
	w := newWorld(t)
	r := w.deploy("r1", hello)
	w.expect(r, "/", "hello 1")
	var all []time.Duration
	for range 3000 { b := time.Now(); w.get(r, "/"); all = append(all, time.Since(b)) }
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	fmt.Println("p10", all[300], "p50", all[1500], "p90", all[2700], "p99", all[2970])
	for _, s := range w.Status().Workers { fmt.Printf("%+v\n", s) }
	out, _ := os.ReadFile("/sys/fs/cgroup/cpu.stat"); fmt.Println(len(out))
}
