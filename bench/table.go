package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// unit is what figures are in.
type unit int

const (
	seconds unit = iota
	// micros is microseconds per request, of CPU time or of the clock.
	micros
	// perSecond is a rate.
	perSecond
	// mebibytes is memory.
	mebibytes
)

func (u unit) format(v float64) string {
	switch {
	case u == perSecond:
		return fmt.Sprintf("%.0f/s", v)
	case u == mebibytes:
		return fmt.Sprintf("%.1f MiB", v)
	case u == micros && v < 1:
		return fmt.Sprintf("%.3f µs", v)
	case u == micros:
		return fmt.Sprintf("%.1f µs", v)
	case v < 1:
		return fmt.Sprintf("%.0f ms", v*1000)
	default:
		return fmt.Sprintf("%.2f s", v)
	}
}

// row is one line of the table.
type row struct {
	name, peer string
	unit       unit
	pairs      []pair
	// aim bounds the ratio, or our own figure when absolute is set; 0 is no aim.
	aim      float64
	absolute bool
	// look says where the time went; it is printed when the aim is missed.
	look string
}

// key names the row in the whole table.
func (r row) key() string { return r.name + " ÷ " + r.peer }

// complete says whether there is a figure on both sides.
func (r row) complete() bool {
	for _, p := range r.pairs {
		for _, v := range []float64{p.ours, p.theirs} {
			if !(v > 0) || math.IsInf(v, 0) {
				return false
			}
		}
	}
	return len(r.pairs) > 0
}

func (r row) missed() bool {
	if r.aim == 0 || !r.complete() {
		return false
	}
	if r.absolute {
		return median(ours(r.pairs)) > r.aim
	}
	return ratio(r.pairs) > r.aim
}

func (r row) verdict() string {
	switch {
	case !r.complete():
		return "MISSING"
	case r.aim == 0:
		return ""
	case r.missed():
		return "MISSED"
	default:
		return "met"
	}
}

func (r row) aimText() string {
	switch {
	case r.aim == 0:
		return ""
	case r.absolute:
		return "≤ " + r.unit.format(r.aim)
	default:
		return fmt.Sprintf("≤ %.2f×", r.aim)
	}
}

// printTable prints the rows, and under them what to look at for each missed aim.
func printTable(w io.Writer, rows []row) {
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tSlipway\tpeer\tratio\taim\t\tpeer is\tturns")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%.2f×\t%s\t%s\t%s\t%d\n",
			r.name, r.spread(ours(r.pairs)), r.spread(theirs(r.pairs)), ratio(r.pairs), r.aimText(), r.verdict(), r.peer, len(r.pairs))
	}
	_ = table.Flush()
	fmt.Fprintln(w, "\nMedians, with the lowest and the highest. The ratio is ours ÷ the peer's, the median of the turns' own; of rates (/s) more is better.")
	for _, r := range rows {
		if r.missed() {
			fmt.Fprintf(w, "\nMISSED %s, against %s:\n%s\n", r.name, r.peer, r.look)
		}
	}
}

// spread is the median with the extremes it hides.
func (r row) spread(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	if len(values) == 1 {
		return r.unit.format(low)
	}
	return fmt.Sprintf("%s (%s–%s)", r.unit.format(median(values)), r.unit.format(low), r.unit.format(high))
}
