package model

// Stages is the number of stages of a genotype.
const Stages = 7

// Stage is the genes of one stage of MBConv blocks.
type Stage struct {
	Kernel  int // depthwise kernel, 3 or 5
	Repeats int // blocks before depth scaling, 1..4
	Filters int // output filters before width scaling, in units of 8
	Stride  int // stride of the first block, 1 or 2
}

// Genotype is the evolved part of a network: its seven stages.
type Genotype [Stages]Stage
