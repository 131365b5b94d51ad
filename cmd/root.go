// Package cmd holds the evopose command line: one file per subcommand.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// usageError marks an error caused by the command line itself, not by the
// work it asked for; it exits with status 2 and points at --help.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef returns a usage error, in the manner of fmt.Errorf.
func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// Execute runs the command line and returns the process's exit status:
// 0 done, 1 failed, 2 wrong usage.
func Execute() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default is back: a second one ends the
	// process at once.
	context.AfterFunc(ctx, stop)
	root := newRoot()
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "evopose: %v\n", err)
	var u usageError
	if errors.As(err, &u) {
		fmt.Fprintf(os.Stderr, "Try '%s --help'.\n", c.CommandPath())
		return 2
	}
	return 1
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "evopose",
		Short:         "Human pose estimation as a service: image in, keypoints out",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(commands()...)
	markUsage(root)
	return root
}

// markUsage makes wrong arguments a usage error in every subcommand.
func markUsage(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		markUsage(sub)
	}
}

// commands lists the subcommands in the order of the contract.
func commands() []*cobra.Command {
	return []*cobra.Command{newServe(), newPredict(), newModels(), newExport(), newImport(), newEval(), newTrain(), newSearch(), newWorker(), newBench(), newRuntime()}
}
