// Package search finds networks by evolution with weight transfer (McNally et
// al., "EvoPose2D", IEEE Access 9, 2021). It is pure Go: it proposes networks
// and chooses among them, and an Engine has an Evaluator train them: package
// trainer, in this process (Local) or behind a broker (package jobs).
//
//   - Mutate changes a genotype in one gene, by the paper's rules;
//   - Transfer gives a child its parent's weights, Grow a larger one its function, too;
//   - Fitness and ParetoOrder rate what was evaluated;
//   - Evolve is the (mu + lambda) evolution, by generations or in a steady
//     state, with hopeless children ended early;
//   - Journal keeps it, so that it goes on where it was;
//   - Spent tells which weights nobody needs any more;
//   - Lineage and Export make a model of what was found.
//
// # What is deterministic
//
// Each evaluation has an ID. Its genotype, seed and bounds are a function of
// the search's seed, its ID and the results of certain IDs before it: those of
// earlier generations, or, in a steady state, those up to ID-Window. Results
// are placed by ID. So neither the number of workers nor the order in which
// they answer nor an interruption changes a search. A steady state pays for
// this with a wait: an evaluation that takes longer than all others of its
// window holds up the next ones, and a window of twice the number of
// workers makes that rare.
//
// Not deterministic is what is measured: training rounds differently with
// another number of threads or on another machine, and latencies vary. With one
// thread on the same kind of processor a search repeats itself to the last bit.
package search
