package coco

// Again returns another loader of the same samples with another seed. It shares
// the decoded pictures, and what it returns is what a new loader of that seed
// would. Both may be used at the same time; each is closed by itself.
func (l *Loader) Again(seed uint64) (*Loader, error) {
	s, err := newSampler(l.o.Sets, l.o.Epoch, seed)
	if err != nil {
		return nil, err
	}
	o := l.o
	o.Seed = seed
	return &Loader{o: o, sampler: s, pictures: l.pictures, free: make(chan *Batch, o.Ahead+2)}, nil
}
