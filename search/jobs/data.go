package jobs

import "context"

// Data are the labelled pictures of a search, in the order in which its
// settings speak of them.
type Data struct {
	Train []Set `json:"train"`
	Val   []Set `json:"val"`
}

// Set is a COCO annotation file with the folder of its pictures, on this
// machine.
type Set struct {
	Annotations string `json:"annotations"`
	Images      string `json:"images"`
}

func (c *Coordinator) putData(ctx context.Context, s Search) (string, error) { return "", nil }
func (w *member) localData(ctx context.Context) (Data, error)                { return Data{}, nil }
