package assets

import "strings"

// The codings a file can be stored in, best first. A coding's rank is its
// place in this order; identity comes last.
const (
	rankBrotli = iota
	rankGzip
	rankIdentity
	ranks
)

// codingRank is the rank of a coding's name, or -1.
func codingRank(coding string) int {
	switch coding {
	case "br":
		return rankBrotli
	case "gzip":
		return rankGzip
	}
	return -1
}

// negotiate picks the coding for an Accept-Encoding header among those there
// are (RFC 9110 §12.5.3): the highest weight wins, equal ones go by rank.
// Identity is taken when nothing else is welcome, even if it is refused too,
// because a body in a plain form is of more use than a 406.
func negotiate(accept string, available *[ranks]bool) int {
	if accept == "" {
		return rankIdentity
	}
	// Weights in thousandths; -1 is not mentioned.
	weights := [ranks]int{-1, -1, -1}
	wildcard := -1
	for accept != "" {
		var item string
		item, accept, _ = strings.Cut(accept, ",")
		coding, params, _ := strings.Cut(item, ";")
		weight, ok := parseWeight(params)
		if !ok {
			continue
		}
		switch coding = strings.TrimSpace(coding); {
		case coding == "br" || strings.EqualFold(coding, "br"):
			weights[rankBrotli] = weight
		case coding == "gzip" || strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip"):
			weights[rankGzip] = weight
		case coding == "*":
			wildcard = weight
		case strings.EqualFold(coding, "identity"):
			weights[rankIdentity] = weight
		}
	}
	best, bestWeight := rankIdentity, weights[rankIdentity]
	for rank := rankGzip; rank >= rankBrotli; rank-- {
		weight := weights[rank]
		if weight < 0 {
			weight = wildcard
		}
		if available[rank] && weight > 0 && weight >= bestWeight {
			best, bestWeight = rank, weight
		}
	}
	return best
}

// parseWeight reads ";q=0.5". Parameters other than q are skipped.
func parseWeight(params string) (thousandths int, ok bool) {
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if name != "q" && name != "Q" {
			continue
		}
		if len(value) == 0 || len(value) > 5 || (value[0] != '0' && value[0] != '1') {
			return 0, false
		}
		weight, scale := int(value[0]-'0')*1000, 100
		if len(value) > 1 && value[1] != '.' {
			return 0, false
		}
		for i := 2; i < len(value); i++ {
			if value[i] < '0' || value[i] > '9' {
				return 0, false
			}
			weight += int(value[i]-'0') * scale
			scale /= 10
		}
		return min(weight, 1000), true
	}
	return 1000, true
}
