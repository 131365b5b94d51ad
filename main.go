// Command evopose answers "image -> keypoints" over HTTP with the EvoPose2D
// networks. See the cmd package for its subcommands.
package main

import (
	"os"

	"github.com/evopose/evopose/cmd"
)

func main() {
	cmd.UseHugePages()
	os.Exit(cmd.Execute())
}
