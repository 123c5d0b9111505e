package main

import (
	"math"
	"slices"
)

// pair is one turn: ours and the peer's figure, measured right after each other.
type pair struct{ ours, theirs float64 }

// ratio is the median of the pairs' own ratios: what slows the machine for a
// while slows both of a pair, and drops out.
func ratio(pairs []pair) float64 {
	return median(each(pairs, func(p pair) float64 { return p.ours / p.theirs }))
}

func ours(pairs []pair) []float64   { return each(pairs, func(p pair) float64 { return p.ours }) }
func theirs(pairs []pair) []float64 { return each(pairs, func(p pair) float64 { return p.theirs }) }

func each(pairs []pair, f func(pair) float64) []float64 {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = f(p)
	}
	return values
}

// median is the middle of the values, NaN when there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
