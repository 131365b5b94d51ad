package main

import "github.com/evopose/evopose/search"

// schedule returns when each evaluation of a search ends on so many workers, of
// which each takes the next job as soon as it is free and the job is made. That
// can be told afterwards, since a search's jobs do not depend on time.
func schedule(s search.Settings, entries []search.Entry, workers int) []float64 {
	free := make([]float64, workers)
	ends, complete := make([]float64, len(entries)), make([]float64, len(entries))
	for id, e := range entries {
		first := 0
		for w := range free {
			if free[w] < free[first] {
				first = w
			}
		}
		begin := free[first]
		if id > 0 {
			begin = max(begin, complete[needs(s, id)])
			complete[id] = complete[id-1]
		}
		ends[id] = begin + e.Result.Seconds
		free[first], complete[id] = ends[id], max(complete[id], ends[id])
	}
	return ends
}

// needs is the last evaluation of those that must all be there before a job is
// made (search.Settings.Window).
func needs(s search.Settings, id int) int {
	if s.Window > 0 {
		return max(0, id-s.Window)
	}
	return max(0, (s.Generation(id)-1)*s.Children)
}

// by returns the entries that have ended at a time.
func by(entries []search.Entry, ends []float64, time float64) []search.Entry {
	var list []search.Entry
	for i, e := range entries {
		if ends[i] <= time {
			list = append(list, e)
		}
	}
	return list
}
