// Package search finds networks by evolution with weight transfer (McNally et
// al., "EvoPose2D", IEEE Access 9, 2021). It is pure Go: package train trains
// what this package proposes.
package search
